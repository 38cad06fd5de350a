package gateway

import (
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/bench/v2"
	"github.com/valyala/fasthttp"
)

const key v2.Key = "0123456789abcdef0123456789abcdef"

// ask sends one call to a gateway without a network.
func ask(t *testing.T, cfg Config, path, mch, no string) []v2.Field {
	t.Helper()
	cfg.Key = key
	var ctx fasthttp.RequestCtx
	ctx.Request.SetRequestURI(path)
	ctx.Request.SetBody(key.Append(nil, []v2.Field{
		{Name: []byte("appid"), Value: []byte("wx1")}, {Name: []byte("mch_id"), Value: []byte(mch)},
		{Name: []byte("nonce_str"), Value: []byte("N1")}, {Name: []byte("out_trade_no"), Value: []byte(no)},
	}))
	cfg.answer(&ctx)
	fields, err := key.Read(ctx.Response.Body(), nil)
	if err != nil {
		t.Fatalf("%s: %v: %s", path, err, ctx.Response.Body())
	}
	for name, want := range map[string]string{"appid": "wx1", "mch_id": mch, "nonce_str": "N1"} {
		if got := string(v2.Get(fields, name)); got != want {
			t.Errorf("%s: %s is %q, want %q", path, name, got, want)
		}
	}
	return fields
}

func TestAnswersAreWhatTheConfigurationSays(t *testing.T) {
	limited := map[string]Trouble{"1": {Code: "FREQUENCY_LIMITED"}}
	for sentence, c := range map[string]struct {
		cfg               Config
		path              string
		code, state, tell string
	}{
		"a close is SUCCESS":                           {Config{}, "/pay/closeorder", "", "", "SUCCESS"},
		"a query says CLOSED":                          {Config{}, "/pay/orderquery", "", "CLOSED", "SUCCESS"},
		"a paid order refuses a close":                 {Config{Paid: 1}, "/pay/closeorder", "ORDERPAID", "", "FAIL"},
		"a paid order says so when asked":              {Config{Paid: 1}, "/pay/orderquery", "", "SUCCESS", "SUCCESS"},
		"an order that was closed refuses a close":     {Config{Closed: 1}, "/pay/closeorder", "ORDERCLOSED", "", "FAIL"},
		"SYSTEMERROR of a close":                       {Config{SystemError: 1}, "/pay/closeorder", "SYSTEMERROR", "", "FAIL"},
		"a close that was SYSTEMERROR has taken place": {Config{SystemError: 1}, "/pay/orderquery", "", "CLOSED", "SUCCESS"},
		"a merchant in trouble gets its code":          {Config{Merchants: limited}, "/pay/closeorder", "FREQUENCY_LIMITED", "", "FAIL"},
		"a merchant in trouble gets it when it asks":   {Config{Merchants: limited}, "/pay/orderquery", "FREQUENCY_LIMITED", "", "FAIL"},
	} {
		fields := ask(t, c.cfg, c.path, "1", "A1")
		for name, want := range map[string]string{"err_code": c.code, "trade_state": c.state, "result_code": c.tell} {
			if got := string(v2.Get(fields, name)); got != want {
				t.Errorf("%s: %s is %q, want %q", sentence, name, got, want)
			}
		}
	}
	fields := ask(t, Config{Merchants: limited}, "/pay/closeorder", "2", "A1")
	if code := v2.Get(fields, "err_code"); code != nil {
		t.Errorf("the trouble of another merchant: %s", code)
	}
}

func TestAnOrderIsTheSameEachTime(t *testing.T) {
	cfg := Config{Key: key, Paid: .3, Closed: .3}
	seen := make(map[string]int)
	for i := range 1000 {
		no := []byte{byte('A' + i%26), byte('a' + i/26)}
		code := cfg.codeOf(no)
		if again := cfg.codeOf(no); again != code {
			t.Fatalf("%s: %q, then %q", no, code, again)
		}
		seen[code]++
	}
	for _, code := range []string{"", "ORDERPAID", "ORDERCLOSED"} {
		if seen[code] < 200 {
			t.Errorf("%q of 1000 orders: %v", code, seen)
		}
	}
}

func TestARequestThatIsSignedWrongIsNoQuickAnswer(t *testing.T) {
	var ctx fasthttp.RequestCtx
	ctx.Request.SetBody(v2.Key("another key of the same length..").Append(nil, []v2.Field{{Name: []byte("mch_id"), Value: []byte("1")}}))
	Config{Key: key, Latency: time.Hour}.answer(&ctx)
	if ctx.Response.StatusCode() != fasthttp.StatusBadRequest {
		t.Errorf("status %d", ctx.Response.StatusCode())
	}
}
