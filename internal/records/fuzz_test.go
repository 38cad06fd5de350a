package records

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/closeorder/closeorder/events"
)

// fuzzMessage makes a record out of fuzzed text. The headers are lines of
// "name: value"; a line without a colon is a header with a null value.
func fuzzMessage(key, value []byte, headers string, tombstone bool) events.Message {
	m := events.Message{Key: key, Value: value}
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
		h := events.Header{Key: name}
		if ok {
			h.Value = []byte(text)
		}
		m.Headers = append(m.Headers, h)
	}
	return m
}

func addMessage(f *testing.F, m events.Message) {
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

func FuzzDecodeDeadLetter(f *testing.F) {
	addGoldens(f, "dead-letters")
	addGoldens(f, "retries")
	f.Fuzz(func(t *testing.T, key, value []byte, headers string, tombstone bool) {
		m := fuzzMessage(key, value, headers, tombstone)
		before := clone(m)
		// Any record at all can become a dead letter and come back.
		d := sampleDeadLetter(m)
		back, err := DecodeDeadLetter(EncodeDeadLetter(d))
		if err != nil || !sameMessage(back.Original, before) || !reflect.DeepEqual(back, d) {
			t.Fatalf("%v\n%+v\nwas\n%+v", err, back, d)
		}
		d, err = DecodeDeadLetter(m)
		if !sameMessage(m, before) {
			t.Fatal("the record was changed")
		}
		if err != nil {
			checkErrorText(t, err)
			return
		}
		if len(d.ErrorMessage) > maxErrorMessage || len(d.ValueOmitted) > 0 {
			return // is cut or left out, on purpose
		}
		if back, err = DecodeDeadLetter(EncodeDeadLetter(d)); err != nil || !reflect.DeepEqual(back, d) {
			t.Fatalf("%v\n%+v\nwas\n%+v", err, back, d)
		}
		if _, err := d.ReplayMessage(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzDecodeRetry(f *testing.F) {
	addGoldens(f, "retries")
	addGoldens(f, "dead-letters")
	f.Fuzz(func(t *testing.T, key, value []byte, headers string, tombstone bool) {
		m := fuzzMessage(key, value, headers, tombstone)
		before := clone(m)
		r := sampleRetry(m)
		back, err := DecodeRetry(EncodeRetry(r))
		if err != nil || !sameMessage(back.Original, before) || !reflect.DeepEqual(back, r) {
			t.Fatalf("%v\n%+v\nwas\n%+v", err, back, r)
		}
		r, err = DecodeRetry(m)
		if !sameMessage(m, before) {
			t.Fatal("the record was changed")
		}
		if err != nil {
			checkErrorText(t, err)
			return
		}
		if len(r.Reason) > maxErrorMessage {
			return // is cut, on purpose
		}
		if back, err = DecodeRetry(EncodeRetry(r)); err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%v\n%+v\nwas\n%+v", err, back, r)
		}
	})
}
