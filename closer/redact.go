package closer

import (
	"strings"
	"unicode"

	"github.com/closeorder/closeorder/signing"
)

// mayBeSign is from how many hex digits in a row on a text may be a signature,
// whole or cut.
const mayBeSign = 16

// maskHex hides what may be a signature in a text that others have written.
func maskHex(s string) string { return maskRuns(s, nil) }

// maskRuns puts a mask in the place of each run of hex digits that may be a
// signature and that nobody keeps.
func maskRuns(s string, keep func(run string) bool) string {
	var masked []byte
	behind := 0 // of what is copied
	for start := 0; start < len(s); start++ {
		end := start
		for end < len(s) && isHex(s[end]) {
			end++
		}
		if end-start >= mayBeSign && (keep == nil || !keep(s[start:end])) {
			masked = append(append(masked, s[behind:start]...), "******"...)
			behind = end
		}
		start = end
	}
	if masked == nil {
		return s
	}
	return string(append(masked, s[behind:]...))
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// ours are the fields whose values we know, or that may well be long numbers.
var ours = map[string]bool{
	"appid": true, "mch_id": true, "sub_appid": true, "sub_mch_id": true, "out_trade_no": true,
	"nonce_str": true, "transaction_id": true,
}

// shown is a reply as observers see it: without the signature, and without
// whatever may be one in a text: a hostile or curious gateway can send back the
// one that was sent.
func shown(read fields, id identity, sent string) map[string]string {
	seen := make(map[string]string, len(read))
	for _, f := range read {
		switch {
		case strings.EqualFold(f.Name, signing.FieldSign), maskHex(f.Name) != f.Name:
		case !ours[f.Name] || strings.Contains(strings.ToUpper(f.Value), sent):
			seen[f.Name] = id.mask(f.Value)
		default:
			seen[f.Name] = f.Value
		}
	}
	return seen
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
	if len(text) < mayBeSign {
		return text
	}
	return maskRuns(text, func(run string) bool {
		for _, ours := range id.fields() {
			if strings.Contains(ours.Value, run) {
				return true
			}
		}
		return false
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
