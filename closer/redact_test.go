package closer

import (
	"regexp"
	"testing"
)

// hexRun is what may be a signature, whole or cut.
var hexRun = regexp.MustCompile(`[0-9A-Fa-f]{16,}`)

// What is masked is what a regular expression finds, the identities excepted.
func FuzzMask(f *testing.F) {
	f.Add("")
	f.Add("0123456789abcdef")
	f.Add("0123456789abcde 0123456789ABCDEF0123456789ABCDEFg签0123456789abcdef")
	f.Add("wx0123456789abcdef0 is 0123456789abcdef01")
	id := identity{appID: "wx0123456789abcdef0", mchID: "1900000109190000010"}
	f.Fuzz(func(t *testing.T, text string) {
		if got, want := maskHex(text), hexRun.ReplaceAllString(text, "******"); got != want {
			t.Errorf("%q is masked as %q, not %q", text, got, want)
		}
		want := hexRun.ReplaceAllStringFunc(text, func(run string) string {
			for _, ours := range id.fields() {
				if regexp.MustCompile(regexp.QuoteMeta(run)).MatchString(ours.Value) {
					return run
				}
			}
			return "******"
		})
		if got := id.mask(text); got != want {
			t.Errorf("%q is masked for an order as %q, not %q", text, got, want)
		}
	})
}
