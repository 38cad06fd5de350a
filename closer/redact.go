package closer

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/closeorder/closeorder/signing"
)

// hexRun is what may be a signature, whole or cut.
var hexRun = regexp.MustCompile(`[0-9A-Fa-f]{16,}`)

// maskHex hides what may be a signature in a text that others have written.
func maskHex(s string) string { return hexRun.ReplaceAllString(s, "******") }

// ours are the fields whose values we know, or that may well be long numbers.
var ours = map[string]bool{
	"appid": true, "mch_id": true, "sub_appid": true, "sub_mch_id": true, "out_trade_no": true,
	"nonce_str": true, "transaction_id": true,
}

// shown drops the signature from what observers see, and whatever may be one
// in a text: a hostile or curious gateway can send back the one that was sent.
func shown(fields map[string]string, id identity, sent string) map[string]string {
	for name, value := range fields {
		switch {
		case strings.EqualFold(name, signing.FieldSign), hexRun.MatchString(name):
			delete(fields, name)
		case !ours[name] || strings.Contains(strings.ToUpper(value), sent):
			fields[name] = id.mask(value)
		}
	}
	return fields
}

// excerpt is the beginning of a body that could not be read, fit to be
// printed: a reply that is nearly right may have a signature in it.
func excerpt(body []byte) string {
	s := maskHex(strings.ToValidUTF8(string(body[:min(len(body), 1024)]), "?"))
	return strings.ToValidUTF8(s[:min(len(s), 256)], "")
}

// said is a text of the gateway's for people: short, and without what may be
// a signature.
func (id identity) said(text string) string {
	const most = 1024
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return id.mask(text)
}

// mask is maskHex, but for the identities that were sent: an appid is long
// enough to be one half of a signature.
func (id identity) mask(text string) string {
	return hexRun.ReplaceAllStringFunc(text, func(run string) string {
		for _, ours := range id.fields() {
			if strings.Contains(ours.value, run) {
				return run
			}
		}
		return maskHex(run)
	})
}

// words is what the gateway says, for people, to be appended to a reason: in
// one line, short, and without what may be a signature.
func (a answer) words(text string) string {
	text = strings.Join(strings.FieldsFunc(a.id.said(text), func(r rune) bool {
		return !unicode.IsPrint(r) || r == ' '
	}), " ")
	if text == "" {
		return ""
	}
	return ` (in its own words: "` + text + `")`
}
