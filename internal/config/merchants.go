package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/signing"
)

// loadMerchants reads the merchants: one that is set directly, or a file of many.
func (l *loader) loadMerchants() {
	if !l.asked(Calls) {
		return
	}
	single := ""
	for _, name := range []string{"mch_id", "appid", "api_key", "api_key_file", "sign_type"} {
		if l.given(name) {
			single = name
			break
		}
	}
	switch file := l.config.MerchantsFile; {
	case file != "" && single != "":
		l.wrong("merchants_file", "%s is set as well (%s); give the file or the single merchant, not both", single, l.values[single].where)
	case file != "":
		l.merchantsFile(file)
	case single == "":
		l.wrong("mch_id", "no merchant is configured; set mch_id (%s) and api_key (%s), or name a file of merchants with %s",
			l.howTo("mch_id"), l.howTo("api_key"), l.howTo("merchants_file"))
	default:
		l.singleMerchant()
	}
	l.config.Warnings = append(l.config.Warnings, Doubts(l.config.Merchants)...)
}

// Doubts says what WeChat Pay gives to no merchant. It is no mistake: a
// simulator takes any.
func Doubts(merchants []closer.Merchant) []string {
	var doubts []string
	for _, m := range merchants {
		if m.MchID != "" && strings.Trim(m.MchID, "0123456789") != "" {
			doubts = append(doubts, fmt.Sprintf("mch_id %q is not digits alone, as those of WeChat Pay are; look for an appid or a space in its place", m.MchID))
		}
		for _, key := range m.Keys {
			if !key.HasPlatformLength() {
				doubts = append(doubts, fmt.Sprintf("an API key of merchant %s is not 32 bytes long, as those (V2) of WeChat Pay are; look whether it is whole, and the V2 key", m.MchID))
			}
		}
	}
	return doubts
}

func (l *loader) singleMerchant() {
	m := closer.Merchant{MchID: l.text("mch_id"), AppID: l.text("appid")}
	if m.MchID == "" {
		l.wrong("mch_id", "not set; set it with %s", l.howTo("mch_id"))
	}
	t, err := signing.ParseType(l.text("sign_type"))
	if err != nil {
		l.wrong("sign_type", "%q is neither MD5 nor HMAC-SHA256", l.text("sign_type"))
	}
	m.SignType = t
	if key, ok := l.apiKey(); ok {
		m.Keys = []signing.Key{key}
		if m.MchID != "" && err == nil {
			if err := m.Check(); err != nil {
				l.wrong("mch_id", "%v", err)
			}
		}
	}
	l.config.Merchants = []closer.Merchant{m}
}

func (l *loader) apiKey() (signing.Key, bool) {
	// Not l.text: a key is taken as it is, white space is signing's to refuse.
	name, text := "api_key", l.values["api_key"].text
	if file := l.text("api_key_file"); file != "" {
		if text != "" {
			l.wrong("api_key_file", "api_key is set as well (%s); leave one of them out", l.values["api_key"].where)
			return signing.Key{}, false
		}
		var ok bool
		if text, ok = l.secretFile("api_key_file", file); !ok {
			return signing.Key{}, false
		}
		name = "api_key_file"
	}
	if text == "" {
		l.wrong("api_key", "not set; set it with %s, or name a file with %s", l.howTo("api_key"), l.howTo("api_key_file"))
		return signing.Key{}, false
	}
	key, err := signing.NewKey(text)
	if err != nil {
		l.wrong(name, "%v", err)
	}
	return key, err == nil
}

// merchantsFile reads a file of merchants; closer owns its form.
func (l *loader) merchantsFile(file string) {
	all, err := closer.LoadMerchants(file)
	var unreadable *fs.PathError
	if errors.As(err, &unreadable) {
		l.wrong("merchants_file", "%v", fromHere(err))
		return
	}
	if err != nil {
		for line := range strings.Lines(strings.TrimPrefix(err.Error(), "merchants file "+file+": ")) {
			l.wrong("merchants_file", "%s: %s", file, strings.TrimSpace(line))
		}
		return
	}
	if l.Merchant != "" {
		all = slices.DeleteFunc(all, func(m closer.Merchant) bool { return m.MchID != l.Merchant })
		if len(all) == 0 {
			l.wrong("merchants_file", "%s has no merchant %s", file, l.Merchant)
		}
	}
	l.config.Merchants = all
}
