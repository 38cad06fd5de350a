package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// fuzzMessage makes a record out of fuzzed text. The headers are lines of
// "name: value"; a line without a colon is a header with a null value.
func fuzzMessage(key, value []byte, headers string, tombstone bool) Message {
	m := Message{Key: key, Value: value}
	if tombstone {
		m.Value = nil
	} else if value == nil {
		m.Value = []byte{}
	}
	for line := range strings.SplitSeq(headers, "\n") {
		if line == "" {
			continue
		}
		name, text, ok := strings.Cut(line, ": ")
		h := Header{Key: name}
		if ok {
			h.Value = []byte(text)
		}
		m.Headers = append(m.Headers, h)
	}
	return m
}

func addMessage(f *testing.F, m Message) {
	var headers strings.Builder
	for _, h := range m.Headers {
		headers.WriteString(h.Key)
		if h.Value != nil {
			headers.WriteString(": " + string(h.Value))
		}
		headers.WriteString("\n")
	}
	f.Add(m.Key, m.Value, headers.String(), m.Value == nil)
}

func addRequests(f *testing.F) {
	for _, path := range files(f, "requests") {
		var cases []requestCase
		readJSON(f, path, &cases)
		for _, c := range cases {
			addMessage(f, c.Record.Message)
		}
	}
}

// addProducers adds what real libraries write.
func addProducers(f *testing.F) {
	for _, path := range files(f, "producers") {
		var p producerRecord
		readJSON(f, path, &p)
		addMessage(f, p.message())
	}
}

func addGoldens(f *testing.F, folder string) {
	for _, path := range files(f, folder) {
		var r record
		readJSON(f, path, &r)
		addMessage(f, r.Message)
	}
}

func checkErrorText(t *testing.T, err error) {
	if text := err.Error(); len(text) > 4000 || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\x1b\n") {
		t.Fatalf("error of %d bytes: %.4100q", len(text), text)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	addRequests(f)
	addProducers(f)
	f.Fuzz(func(t *testing.T, key, value []byte, headers string, tombstone bool) {
		m := fuzzMessage(key, value, headers, tombstone)
		before := m.Clone()
		r, err := DecodeRequest(m)
		if !sameMessage(m, before) {
			t.Fatal("the record was changed")
		}
		checkAnswerable(t, m)
		if err != nil {
			checkErrorText(t, err)
			for _, s := range []string{r.OutTradeNo, r.MchID, r.AppID, r.SubMchID, r.SubAppID, r.RequestID, r.ReplacementOutTradeNo} {
				if !isSane(s) {
					t.Fatalf("kept %q", s)
				}
			}
			return
		}
		if r.OutTradeNo == "" || r.MchID == "" || r.RequestID == "" {
			t.Fatalf("accepted %+v", r)
		}
		if err := validate(r); err != nil {
			t.Fatalf("accepted what is not valid: %v", err)
		}
		again, err := EncodeRequest(r, "/shop", r.RequestedAt)
		if err != nil {
			t.Fatalf("%+v cannot be encoded: %v", r, err)
		}
		if back, err := DecodeRequest(again); err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%v\n%+v\nwas\n%+v", err, back, r)
		}
	})
}

func FuzzDecodeOutcome(f *testing.F) {
	addGoldens(f, "outcomes")
	f.Fuzz(func(t *testing.T, key, value []byte, headers string, tombstone bool) {
		m := fuzzMessage(key, value, headers, tombstone)
		before := m.Clone()
		o, err := DecodeOutcome(m)
		if !sameMessage(m, before) {
			t.Fatal("the record was changed")
		}
		if err != nil {
			checkErrorText(t, err)
			return
		}
		again, err := EncodeOutcome(o)
		if err != nil {
			t.Fatalf("%+v cannot be encoded: %v", o, err)
		}
		back, err := DecodeOutcome(again)
		if len(o.Key) == 0 && o.OutTradeNo != "" {
			o.Key = []byte(o.OutTradeNo)
		}
		if err != nil || !reflect.DeepEqual(back, o) {
			t.Fatalf("%v\n%+v\nwas\n%+v", err, back, o)
		}
		if Supersedes(o, back) {
			t.Fatal("an outcome supersedes itself")
		}
	})
}

// readObject reads the JSON object doc. Beside an error stands what could be
// read before the trouble.
func readObject(doc []byte, words *vocabulary) (object, error) {
	err := checkText(doc)
	return scanObject(doc, words, err == nil), err
}

// FuzzReadObject holds our reading of objects against encoding/json.
func FuzzReadObject(f *testing.F) {
	for _, path := range files(f, "requests") {
		var cases []requestCase
		readJSON(f, path, &cases)
		for _, c := range cases {
			f.Add(c.Record.Value)
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		o, err := readObject(doc, requestWords)
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(doc, &want)
		if wantErr == nil && want == nil {
			wantErr = errors.New("null")
		}
		if !utf8.Valid(doc) {
			wantErr = errors.New("not UTF-8")
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("we say %v, encoding/json says %v", err, wantErr)
		}
		for i, name := range requestNames {
			if o.raw[i] != nil && !json.Valid(o.raw[i]) {
				t.Fatalf("%s is %q", name, o.raw[i])
			}
			if err != nil || o.seen[i] > 1 {
				continue
			}
			raw := want[name]
			if string(raw) == "null" {
				raw = nil
			}
			if !bytes.Equal(o.raw[i], raw) {
				t.Fatalf("%s is %q, for encoding/json %q", name, o.raw[i], raw)
			}
		}
	})
}
