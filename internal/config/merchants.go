package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/merchants"
	"github.com/closeorder/closeorder/internal/slips"
	"github.com/closeorder/closeorder/signing"
)

// loadMerchants reads the merchants: one that is set directly, or a file of many.
func (l *loader) loadMerchants() {
	if !l.asked(Calls) {
		return
	}
	if l.Merchant != "" {
		l.id("mch_id")
	}
	single := ""
	for _, name := range []string{"mch_id", "appid", "api_key", "api_key_file", "sign_type"} {
		// The one merchant of a command is looked for in the file.
		if l.given(name) && !(name == "mch_id" && l.Merchant != "" && l.config.MerchantsFile != "") {
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
	for _, text := range Doubts(l.config.Merchants) {
		l.doubt("%s", text)
	}
}

// Doubts says what WeChat Pay gives to no merchant. It is no mistake: a
// simulator takes any.
func Doubts(merchants []closer.Merchant) []string {
	var doubts []string
	for _, m := range merchants {
		swapped := slips.LooksLikeKey(m.MchID)
		if m.MchID != "" && strings.Trim(m.MchID, "0123456789") != "" {
			id, place := fmt.Sprintf("mch_id %q", m.MchID), "an appid"
			if swapped {
				id, place = "a mch_id (not shown)", "an API key"
			}
			doubts = append(doubts, fmt.Sprintf("%s is not digits alone, as those of WeChat Pay are; look for %s in its place", id, place))
		}
		for _, host := range m.Hosts {
			if doubt := doubtURL(host); doubt != "" {
				doubts = append(doubts, "hosts of a merchant: "+doubt)
			}
		}
		for _, key := range m.Keys {
			if !key.HasPlatformLength() {
				of := m.MchID
				if swapped {
					of = "(not shown)"
				}
				doubts = append(doubts, fmt.Sprintf("an API key of merchant %s is not 32 bytes long, as those (V2) of WeChat Pay are; look whether it is whole, and the V2 key", of))
			}
		}
	}
	return doubts
}

func (l *loader) singleMerchant() {
	m := closer.Merchant{MchID: l.id("mch_id"), AppID: l.id("appid")}
	if !l.given("mch_id") {
		l.wrong("mch_id", "not set; set it with %s", l.howTo("mch_id"))
	}
	t, err := signing.ParseType(l.text("sign_type"))
	if err != nil {
		l.wrong("sign_type", "%v", err)
	}
	m.SignType = t
	if key, ok := l.apiKey(); ok {
		m.Keys = []signing.Key{key}
	}
	l.config.Merchants = []closer.Merchant{m}
}

// id returns a mch_id or an appid, "" when it is not set or not as it must be.
func (l *loader) id(name string) string {
	v := l.values[name]
	if !l.given(name) || l.isWrong(name) {
		return ""
	}
	if v.problem != "" {
		l.wrong(name, "%s", v.problem)
		return ""
	}
	if err := l.settings[l.index(name)].id(v.text); err != nil {
		l.wrong(name, "%v", err)
		return ""
	}
	return v.text
}

// isWrong reports whether something was said about a setting already.
func (l *loader) isWrong(name string) bool {
	return slices.ContainsFunc(l.mistakes, func(m Mistake) bool { return m.Setting == name })
}

func (l *loader) apiKey() (signing.Key, bool) {
	// Not l.text: a key is taken as it is, white space is signing's to refuse.
	name, text := "api_key", l.values["api_key"].text
	var key signing.Key
	var err error
	switch file := l.text("api_key_file"); {
	case file != "" && text != "":
		l.wrong("api_key_file", "api_key is set as well (%s); leave one of them out", l.values["api_key"].where)
		return signing.Key{}, false
	case file != "":
		name = "api_key_file"
		var data []byte
		if data, err = l.read(file); err != nil {
			if slips.LooksLikeKey(filepath.Base(file)) {
				err = errors.New("there is no such file; this looks like a key itself (not shown), which is set with " + l.howTo("api_key"))
			}
		} else if key, err = signing.ReadKey(data); err != nil {
			err = fmt.Errorf("%s: %w", file, err)
		}
	case text == "":
		l.wrong("api_key", "not set; set it with %s, or name a file with %s", l.howTo("api_key"), l.howTo("api_key_file"))
		return signing.Key{}, false
	default:
		key, err = signing.NewKey(text)
	}
	if err != nil {
		l.wrong(name, "%v", err)
	}
	return key, err == nil
}

// merchantsFile reads a file of merchants.
func (l *loader) merchantsFile(name string) {
	file, err := merchants.Open(name)
	var unreadable *fs.PathError
	var mistakes merchants.Mistakes
	switch {
	case errors.As(err, &unreadable):
		l.wrong("merchants_file", "%v", fromHere(err))
		return
	case errors.As(err, &mistakes):
		for _, mistake := range mistakes {
			l.wrong("merchants_file", "%s: %s", name, mistake)
		}
		return
	case err != nil:
		l.wrong("merchants_file", "%s: %v", name, err)
		return
	}
	l.config.Followed = file
	all := file.All()
	if l.Merchant != "" {
		one, ok := file.Merchant(l.Merchant)
		if all = []closer.Merchant{one}; !ok {
			l.wrong("merchants_file", "%s has no merchant %s", name, l.Merchant)
		}
	}
	l.config.Merchants = all
}
