// Package slips knows the slips of the hand that come with every setting,
// whatever it means: quotes that something kept, the wide signs of a Chinese
// keyboard, and a password where none belongs. It knows no setting.
package slips

import (
	"fmt"
	"regexp"
	"strings"
)

// pairs are the quotes that something leaves round a text: Docker's
// --env-file keeps what a shell would drop, documents and chats make them
// curly.
var pairs = []struct{ open, end string }{
	{`"`, `"`}, {`'`, `'`}, {"`", "`"}, {"“", "”"}, {"‘", "’"}, {"”", "”"}, {"’", "’"}, {"「", "」"}, {"＂", "＂"},
}

// Unquote returns what is within the quotes round s, white space outside of
// them aside; ok is false when there are none, and the text is s then.
func Unquote(s string) (inner string, ok bool) {
	t := strings.TrimSpace(s)
	for _, p := range pairs {
		if len(t) >= len(p.open)+len(p.end) && strings.HasPrefix(t, p.open) && strings.HasSuffix(t, p.end) {
			return t[len(p.open) : len(t)-len(p.end)], true
		}
	}
	return s, false
}

// typed are the signs that a Chinese keyboard gives, or an editor makes, and
// what was meant by them; beside them the wide forms of ASCII, U+FF01 to U+FF5E.
var typed = map[rune]rune{
	'\u3000': ' ', '\u00a0': ' ', '、': ',', '。': '.', '“': '"', '”': '"', '‘': '\'', '’': '\'', '–': '-', '—': '-',
}

// Wide says which sign of s was typed wide or curly and what was meant, to be
// put behind what is wrong with s; nothing where there is none. It shows that
// one sign and no other.
func Wide(s string) string {
	for _, r := range s {
		meant, ok := typed[r]
		if r >= '\uff01' && r <= '\uff5e' {
			meant, ok = r-'\uff01'+'!', true
		}
		switch {
		case !ok:
		case meant == ' ':
			return fmt.Sprintf("it has the wide blank %U, write a plain one or none", r)
		default:
			return fmt.Sprintf("it has the wide sign %c (%U), write %c", r, r, meant)
		}
	}
	return ""
}

var keyForm = regexp.MustCompile(`^[0-9A-Za-z]{32}$`)

// LooksLikeKey reports whether s could be an API key that stands in the wrong
// place, so that it is not shown: those of WeChat Pay (V2) are 32 letters and
// digits.
func LooksLikeKey(s string) bool { return keyForm.MatchString(s) }

// Redacted cuts out of what was meant as one or more URLs or addresses whatever
// can be user and password, which may hold whatever sign: nothing but a scheme
// that can be meant is left of what stands before the last @.
func Redacted(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	for _, scheme := range []string{"http://", "https://", "socks5://"} {
		if strings.HasPrefix(s, scheme) {
			return scheme + "******" + s[at:]
		}
	}
	return "******" + s[at:]
}
