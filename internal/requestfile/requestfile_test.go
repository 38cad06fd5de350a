package requestfile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/requestfile"
)

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "{}", "mch_id,out_trade_no\n1,2\n", `{"mch_id":"1","out_trade_no":"2"}`, "\ufeff\n\"", "mch_id\n\"a\"b\n"} {
		f.Add(seed, "")
		f.Add(seed, "payment_failed")
	}
	f.Fuzz(func(t *testing.T, text, reason string) {
		defaults := map[string]string{}
		if reason != "" {
			defaults["reason"] = reason
		}
		parsed, err := requestfile.Parse(strings.NewReader(text), defaults)
		if err != nil {
			return
		}
		for _, r := range parsed.Requests {
			if _, err := events.EncodeRequest(r, "/test", time.Unix(1, 0)); err != nil {
				t.Fatalf("%s was accepted: %v", r.OutTradeNo, err)
			}
		}
		last := 0
		for _, b := range parsed.Bad {
			if b.Line <= last || b.Err == nil {
				t.Fatalf("bad lines are %+v", parsed.Bad)
			}
			last = b.Line
		}
	})
}
