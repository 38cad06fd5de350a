package deadletters

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

func FuzzARecordIsTheSameBehindItsLine(f *testing.F) {
	f.Add([]byte("T1"), []byte(`{"a":"b"}`), "key", []byte("v"), false)
	f.Add([]byte{}, []byte(nil), "", []byte{}, true)
	f.Add([]byte{0xff, 0}, []byte("\ufffd \u2028 \x7f \\ufffd <&>"), "\xff", []byte("\xed\xa0\x80"), false)
	f.Fuzz(func(t *testing.T, key, value []byte, name string, text []byte, null bool) {
		rec := kafka.Record{Topic: "dead", Partition: 3, Offset: 7, Time: time.UnixMilli(1)}
		rec.Message = events.Message{Key: key, Value: value, Headers: []events.Header{{Key: name, Value: text}, {Key: name}, {Key: name, Value: []byte{}}}}
		if null {
			rec.Key, rec.Headers = nil, nil
		}
		line, err := json.Marshal(lineOf(rec))
		if err != nil {
			t.Fatal(err)
		}
		back, err := parseLine(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		equal := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
		m := back.Message()
		if !equal(m.Key, rec.Key) || !equal(m.Value, rec.Value) || len(m.Headers) != len(rec.Headers) {
			t.Fatalf("%q became %q: %s", rec.Message, m, line)
		}
		for i, h := range m.Headers {
			if h.Key != rec.Headers[i].Key || !equal(h.Value, rec.Headers[i].Value) {
				t.Fatalf("header %q became %q: %s", rec.Headers[i], h, line)
			}
		}
		if fingerprintOf(m) != fingerprintOf(rec.Message) || back.Partition != 3 || back.Offset != 7 {
			t.Errorf("another place or fingerprint: %s", line)
		}
	})
}

func TestALineSaysWhatItsBytesAre(t *testing.T) {
	rec := kafka.Record{Topic: "dead", Partition: 1, Offset: 2, Time: time.Date(2026, 1, 31, 8, 0, 0, 5e6, time.UTC)}
	rec.Message = events.Message{Key: []byte("订单"), Headers: []events.Header{{Key: "a", Value: []byte{0xff}}, {Key: "a", Value: []byte{}}, {Key: "b"}}}
	line, err := json.Marshal(lineOf(rec))
	const want = `{"topic":"dead","partition":1,"offset":2,"timestamp":"2026-01-31T08:00:00.005Z","key":"订单","value":null,"headers":[["a",{"base64":"/w=="}],["a",""],["b",null]]}`
	if err != nil || string(line) != want {
		t.Errorf("%s, %v", line, err)
	}
}

func TestALineThatIsNoneIsRefused(t *testing.T) {
	const good = `{"topic":"d","partition":0,"offset":0,"timestamp":"","key":null,"value":"v","headers":[["a","b"]]}`
	if _, err := parseLine([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for sentence, c := range map[string]struct{ from, to, says string }{
		"no JSON":                          {`{"topic"`, `"topic"`, "is no JSON object"},
		"a value that is missing":          {`"value":"v",`, ``, `has no "value"`},
		"a member that nobody knows":       {`"key":null`, `"key":null,"kez":1`, `unknown field "kez"`},
		"bytes that are a number":          {`"v"`, `1`, "bytes are null, a string"},
		"an object without base64":         {`"v"`, `{}`, "bytes are null, a string"},
		"base64 that is none":              {`"v"`, `{"base64":"a"}`, "illegal base64"},
		"a header without a value":         {`["a","b"]`, `["a"]`, "a header is a pair"},
		"a header without a key":           {`["a","b"]`, `[null,"b"]`, "a header is a pair"},
		"headers that are null":            {`[["a","b"]]`, `null`, "headers that are null"},
		"half a surrogate pair":            {`"v"`, `"\ud800"`, "half a surrogate pair"},
		"half a pair beside a real U+FFFD": {`"v"`, `"\ud800\ufffd"`, "half a surrogate pair"},
		"bytes that are no UTF-8":          {`"v"`, "\"\xff\"", "no UTF-8"},
	} {
		t.Run(sentence, func(t *testing.T) {
			text := strings.Replace(good, c.from, c.to, 1)
			if _, err := parseLine([]byte(text)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", text, err)
			}
		})
	}
}
