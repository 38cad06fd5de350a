package events

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// requestCase is one of the cases under testdata/events/requests.
type requestCase struct {
	Sentence string       `json:"sentence"`
	Record   record       `json:"record"`
	Request  *wantRequest `json:"request,omitempty"`
	// Kind is invalid, unreadable or tombstone, absent where all is well.
	Kind  string   `json:"kind,omitempty"`
	Error []string `json:"error,omitempty"`
}

// wantRequest is a Request with all its fields; metadata as text, since it
// must come out byte for byte.
type wantRequest struct {
	OutTradeNo            string    `json:"out_trade_no,omitempty"`
	MchID                 string    `json:"mch_id,omitempty"`
	AppID                 string    `json:"appid,omitempty"`
	SubMchID              string    `json:"sub_mch_id,omitempty"`
	SubAppID              string    `json:"sub_appid,omitempty"`
	RequestID             string    `json:"request_id,omitempty"`
	Reason                string    `json:"reason,omitempty"`
	OrderCreatedAt        time.Time `json:"order_created_at,omitzero"`
	NotBefore             time.Time `json:"not_before,omitzero"`
	ExpiresAt             time.Time `json:"expires_at,omitzero"`
	ReplacementOutTradeNo string    `json:"replacement_out_trade_no,omitempty"`
	Metadata              string    `json:"metadata,omitempty"`
	RequestedAt           time.Time `json:"requested_at,omitzero"`
	TraceParent           string    `json:"traceparent,omitempty"`
	Replay                int       `json:"replay,omitempty"`
}

func wanted(r Request) *wantRequest {
	return &wantRequest{
		r.OutTradeNo, r.MchID, r.AppID, r.SubMchID, r.SubAppID, r.RequestID, r.Reason,
		r.OrderCreatedAt, r.NotBefore, r.ExpiresAt, r.ReplacementOutTradeNo, string(r.Metadata),
		r.RequestedAt, r.TraceParent, r.Replay,
	}
}

// judge returns the kind of an error, and its text in lines.
func judge(err error) (kind string, lines []string) {
	if err == nil {
		return "", nil
	}
	if invalid, ok := errors.AsType[*ValidationError](err); ok {
		for _, f := range invalid.Fields {
			lines = append(lines, f.Field+": "+f.Problem)
		}
		return "invalid", lines
	}
	switch {
	case errors.Is(err, ErrTombstone):
		return "tombstone", []string{err.Error()}
	case errors.Is(err, ErrUnreadable):
		return "unreadable", []string{err.Error()}
	}
	return "unknown", []string{err.Error()}
}

func TestDecodeRequest(t *testing.T) {
	for _, path := range files(t, "requests") {
		var cases []requestCase
		readJSON(t, path, &cases)
		if len(cases) == 0 {
			t.Errorf("%s has no cases", path)
		}
		for i, c := range cases {
			t.Run(c.Sentence, func(t *testing.T) {
				m := c.Record.Clone()
				r, err := DecodeRequest(m)
				if !sameMessage(m, c.Record.Message) {
					t.Error("the record was changed")
				}
				got := requestCase{Sentence: c.Sentence, Record: c.Record, Request: wanted(r)}
				got.Kind, got.Error = judge(err)
				if *got.Request == (wantRequest{}) {
					got.Request = nil
				}
				if *update {
					cases[i] = got
					return
				}
				if got.Kind != c.Kind || !slices.Equal(got.Error, c.Error) {
					t.Errorf("got %s %q\nwant %s %q", got.Kind, got.Error, c.Kind, c.Error)
				}
				if (got.Request == nil) != (c.Request == nil) || got.Request != nil && *got.Request != *c.Request {
					t.Errorf("got  %+v\nwant %+v", got.Request, c.Request)
				}
				if err != nil && len(err.Error()) > 2000 {
					t.Errorf("the error has %d bytes", len(err.Error()))
				}
			})
		}
		if *update {
			writeJSON(t, path, cases)
		}
	}
}

func TestARequestThatIsTooLongStillNamesItsOrder(t *testing.T) {
	long := `{"padding":"` + strings.Repeat("x", 1<<20) + `","mch_id":"1900000109","out_trade_no":"T2"}`
	r, err := DecodeRequest(Message{Value: []byte(long)})
	kind, lines := judge(err)
	if kind != "invalid" || !slices.Equal(lines, []string{fmt.Sprintf("value: has %d bytes, at most 65536 are allowed", len(long))}) {
		t.Errorf("got %s %q", kind, lines)
	}
	if r.OutTradeNo != "T2" || r.MchID != "1900000109" {
		t.Errorf("got %+v", r)
	}
}

func TestADeepValueIsRefused(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 1<<16)
	for _, value := range []string{deep, strings.Repeat("[", 1<<20), `{"metadata":` + deep} {
		if _, err := DecodeRequest(Message{Value: []byte(value)}); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%.20s...: %v", value, err)
		}
	}
}

func TestARequestSharesNoMemoryWithItsRecord(t *testing.T) {
	m := Message{
		Value:   []byte(`{"mch_id":"1900000109","out_trade_no":"T2","request_id":"r","metadata":{"a":1}}`),
		Headers: []Header{{headerTraceParent, []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}},
	}
	r, err := DecodeRequest(m)
	if err != nil {
		t.Fatal(err)
	}
	want := *wanted(r)
	want.Metadata = strings.Clone(want.Metadata)
	for i := range m.Value {
		m.Value[i] = 'x'
	}
	for i := range m.Headers[0].Value {
		m.Headers[0].Value[i] = 'x'
	}
	if got := *wanted(r); got != want {
		t.Errorf("became %+v", got)
	}
}

// Almost all records are plain or in binary mode: what is done for the others
// must cost them nothing.
func TestTheLayersCostAPlainRequestNoMemory(t *testing.T) {
	binary, err := EncodeRequest(Request{OutTradeNo: "T2", MchID: "1900000109", RequestID: "r-1"}, "/shop", noon)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		m    Message
		most float64
	}{
		"plain":  {Message{Value: binary.Value}, 3}, // its three texts
		"binary": {binary, 4},                       // and ce_time
	} {
		if got := testing.AllocsPerRun(100, func() {
			if _, err := DecodeRequest(c.m); err != nil {
				t.Fatal(err)
			}
		}); got > c.most {
			t.Errorf("%s: %v allocations, want at most %v", name, got, c.most)
		}
	}
}

func BenchmarkDecodeRequest(b *testing.B) {
	r := Request{OutTradeNo: "T20251123000001", MchID: "1900000109", RequestID: "r-1", Reason: "payment_timeout"}
	r.OrderCreatedAt = time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC)
	binary, err := EncodeRequest(r, "/shop", r.OrderCreatedAt)
	if err != nil {
		b.Fatal(err)
	}
	doc := string(binary.Value)
	for _, c := range []struct {
		name string
		m    Message
	}{
		{"binary", binary},
		{"plain", Message{Key: binary.Key, Value: binary.Value}},
		{"prefix", Message{Value: []byte("\x00\x00\x00\x00\x07" + doc)}},
		{"Connect", Message{Value: []byte(`{"schema":null,"payload":` + doc + `}`)}},
		{"structured", Message{Value: []byte(`{"specversion":"1.0","id":"r-1","type":"closeorder.requested","data":` + doc + `}`)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeRequest(c.m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
