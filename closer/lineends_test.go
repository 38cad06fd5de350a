package closer

import (
	"strings"
	"testing"

	"github.com/closeorder/closeorder/signing"
)

// A reply counts when its signature holds under one reading of line ends, and
// what was signed is what counts.
func TestLineEndsAreReadAsTheyWereSigned(t *testing.T) {
	key := mustKey(t, testKey)
	other := mustKey(t, "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	for sentence, tt := range map[string]struct {
		written string // attach, as text of XML
		signed  string
		counts  bool
	}{
		"CR LF as it stands":                      {"a\r\nb", "a\r\nb", true},
		"CR LF as XML reads it":                   {"a\r\nb", "a\nb", true},
		"CR as it stands":                         {"a\rb", "a\rb", true},
		"CR as XML reads it":                      {"a\rb", "a\nb", true},
		"LF":                                      {"a\nb", "a\nb", true},
		"LF is never CR LF":                       {"a\nb", "a\r\nb", false},
		"CR is never left out":                    {"a\rb", "ab", false},
		"a line end is never trimmed":             {"a\r\n", "a", false},
		"a blank is never trimmed":                {"a ", "a", false},
		"a blank that was signed":                 {" a ", " a ", true},
		"a reference to CR is CR":                 {"a&#13;\nb", "a\r\nb", true},
		"and nothing else beside one that stands": {"a&#13;\r\nb", "a\n\nb", false},
		"each of them as it stands":               {"a&#13;\r\nb", "a\r\r\nb", true},
		"a reference beside one that XML reads":   {"a&#13;\r\nb", "a\r\nb", true},
		"in CDATA as it stands":                   {"<![CDATA[\r]]>\r\n", "\r\r\n", true},
		"in CDATA as XML reads it":                {"<![CDATA[\r]]>\r\n", "\n\n", true},
		"each in another way":                     {"<![CDATA[\r]]>\r\n", "\r\n", false},
	} {
		for _, st := range []signing.Type{signing.MD5, signing.HMACSHA256} {
			real := map[string]string{
				"return_code": "SUCCESS", "result_code": "SUCCESS", "appid": "wx1", "mch_id": "M", "nonce_str": "n",
				"out_trade_no": "T1", "trade_state": "SUCCESS", "attach": tt.signed,
			}
			document := "<xml>\r\n"
			for _, f := range append(fieldsOf(real), signing.Field{Name: "sign", Value: signing.Sign(real, key, st)}) {
				if f.Name == "attach" {
					f.Value = tt.written
				}
				document += "<" + f.Name + ">" + f.Value + "</" + f.Name + ">\r\n"
			}
			document += "</xml>\r\n"
			a := checkReply(nil, []byte(document), CallQuery, readingID, []signing.Key{other, key}, st)
			switch {
			case !tt.counts && (a.failure != FailSignature || a.verified):
				t.Errorf("%s: %v, verified %v", sentence, a.failure, a.verified)
			case tt.counts && (a.failure != "" || !a.verified):
				t.Errorf("%s: %v %v", sentence, a.failure, a.err)
			case tt.counts && a.fields.get("attach") != tt.signed:
				t.Errorf("%s: attach is %q, signed was %q", sentence, a.fields.get("attach"), tt.signed)
			}
			if b := checkReply(nil, []byte(strings.Replace(document, "trade_state>S", "trade_state>s", 1)), CallQuery, readingID, []signing.Key{key}, st); b.verified {
				t.Errorf("%s: another reply was believed", sentence)
			}
		}
	}
}
