package events

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func fullRequest() Request {
	r := sampleRequest()
	r.SubMchID, r.SubAppID, r.Reason = "1900000211", "wx7777777777777777", "买家 <超时>"
	r.OrderCreatedAt, r.NotBefore, r.ExpiresAt = noon.Add(-time.Hour), noon.Add(time.Minute), noon.Add(time.Hour)
	r.Replay = 2
	return r
}

func TestRequestsOnTheWire(t *testing.T) {
	for name, r := range map[string]Request{
		"least": {OutTradeNo: "T2", MchID: "1900000109"},
		"full":  fullRequest(),
	} {
		t.Run(name, func(t *testing.T) {
			m, err := EncodeRequest(r, "/shops/42", noon)
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, "published/"+name+".json", m)
			back, err := DecodeRequest(m)
			if err != nil {
				t.Fatal(err)
			}
			want := r
			want.RequestedAt = noon
			if want.RequestID == "" {
				want.RequestID = "order/1900000109/T2"
			}
			if !reflect.DeepEqual(back, want) {
				t.Errorf("comes back as\n%+v\nwas\n%+v", back, want)
			}
		})
	}
}

func TestEncodeRequest(t *testing.T) {
	header := func(t *testing.T, r Request, at time.Time, key string) string {
		t.Helper()
		m, err := EncodeRequest(r, "/shop", at)
		if err != nil {
			t.Fatal(err)
		}
		value, _ := m.Header(key)
		return string(value)
	}
	t.Run("the time of the request is the time given", func(t *testing.T) {
		if got := header(t, sampleRequest(), noon.Add(time.Second), headerTime); got != "2025-11-23T12:00:01Z" {
			t.Error(got)
		}
	})
	t.Run("without one it is that of the request", func(t *testing.T) {
		if got := header(t, sampleRequest(), time.Time{}, headerTime); got != "2025-11-23T12:00:00Z" {
			t.Error(got)
		}
	})
	t.Run("times are written in UTC, also from a zone with seconds", func(t *testing.T) {
		r := sampleRequest()
		r.NotBefore = noon.In(time.FixedZone("LMT", 8*3600+5*60+43))
		m, err := EncodeRequest(r, "/shop", r.NotBefore)
		if err != nil {
			t.Fatal(err)
		}
		if at, _ := m.Header(headerTime); string(at) != "2025-11-23T12:00:00Z" || !strings.Contains(string(m.Value), `"not_before":"2025-11-23T12:00:00Z"`) {
			t.Errorf("%s %s", at, m.Value)
		}
	})
	t.Run("a broken trace context is not passed on", func(t *testing.T) {
		r := sampleRequest()
		r.TraceParent = "garbage"
		if got := header(t, r, noon, headerTraceParent); got != "" {
			t.Error(got)
		}
	})
	t.Run("the given request is not changed", func(t *testing.T) {
		r := fullRequest()
		if _, err := EncodeRequest(r, "/shop", noon); err != nil || !reflect.DeepEqual(r, fullRequest()) {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("everything wrong is named at once", func(t *testing.T) {
		r := Request{
			OutTradeNo: "a b", AppID: strings.Repeat("x", 33), SubAppID: "wx", RequestID: strings.Repeat("r", 129),
			Reason: "\xff", ReplacementOutTradeNo: "#", Metadata: []byte(`[]`), Replay: -1,
			ExpiresAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		}
		_, err := EncodeRequest(r, "", noon)
		kind, lines := judge(err)
		want := []string{
			"closeorder-replay: is -1, want 0 to 2147483647",
			"ce_source: is required",
			`out_trade_no: has " " at byte 2, allowed are letters, digits and _-|*@`,
			"mch_id: is required",
			"appid: has 33 bytes, at most 32 are allowed",
			"sub_appid: needs sub_mch_id beside it",
			"request_id: has 129 bytes, at most 128 are allowed",
			"reason: is not UTF-8",
			"expires_at: is in the year 10000, outside 1 to 9999",
			`replacement_out_trade_no: has "#" at byte 1, allowed are letters, digits and _-|*@`,
			"metadata: is not a JSON object",
		}
		if kind != "invalid" || !slices.Equal(lines, want) {
			t.Errorf("got %s\n%s\nwant\n%s", kind, strings.Join(lines, "\n"), strings.Join(want, "\n"))
		}
	})
	for source, want := range map[string]string{
		"/shops/42":              "",
		"https://shop.example/1": "",
		"urn:shop:42":            "",
		"":                       "ce_source: is required",
		"my shop":                `ce_source: is "my shop", want a URI-reference such as /shops/42`,
		"/商店":                    `ce_source: is "/商店", want a URI-reference such as /shops/42`,
		strings.Repeat("/", 129): "ce_source: has 129 bytes, at most 128 are allowed",
	} {
		got := ""
		if _, err := EncodeRequest(sampleRequest(), source, noon); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("source %.20q: %q, want %q", source, got, want)
		}
	}
}

func TestValidTraceParent(t *testing.T) {
	for s, want := range map[string]bool{
		traceParent: true,
		"01" + traceParent[2:] + "-what-a-later-version-adds": true,
		"01" + traceParent[2:]:                                true,
		"":                                                    false,
		"ff" + traceParent[2:]:                                false,
		traceParent + "-x":                                    false,
		traceParent + "0":                                     false,
		strings.ToUpper(traceParent):                          false,
		traceParent[:54]:                                      false,
		strings.ReplaceAll(traceParent, "-", "_"):             false,
		"00-" + strings.Repeat("0", 32) + traceParent[35:]:      false,
		traceParent[:36] + strings.Repeat("0", 16) + "-01":      false,
		"01" + traceParent[2:] + "-\n":                          false,
		"01" + traceParent[2:] + "-" + strings.Repeat("x", 300): false,
	} {
		if validTraceParent(s) != want {
			t.Errorf("%q: want %v", s, want)
		}
	}
}
