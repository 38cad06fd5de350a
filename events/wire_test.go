package events

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/closeorder/closeorder/internal/golden"
)

var update = golden.Update

const testdata = "../testdata/events"

// record is a Message in the files under testdata/events, as its README
// describes it.
type record struct {
	Message
}

// wireText is bytes as text, or in base64 where they are not UTF-8.
func wireText(b []byte) (text, encoded *string) {
	switch {
	case b == nil:
		return nil, nil
	case utf8.Valid(b):
		s := string(b)
		return &s, nil
	default:
		s := base64.StdEncoding.EncodeToString(b)
		return nil, &s
	}
}

func wireBytes(text, encoded *string) ([]byte, error) {
	switch {
	case text != nil:
		return append([]byte{}, *text...), nil
	case encoded != nil:
		return base64.StdEncoding.DecodeString(*encoded)
	}
	return nil, nil
}

type wireRecord struct {
	Key         *string      `json:"key,omitempty"`
	KeyBase64   *string      `json:"key_base64,omitempty"`
	Headers     [][2]*string `json:"headers,omitempty"`
	Value       *string      `json:"value,omitempty"`
	ValueBase64 *string      `json:"value_base64,omitempty"`
}

func (r record) MarshalJSON() ([]byte, error) {
	var w wireRecord
	w.Key, w.KeyBase64 = wireText(r.Key)
	w.Value, w.ValueBase64 = wireText(r.Value)
	for _, h := range r.Headers {
		value, encoded := wireText(h.Value)
		if encoded != nil {
			return nil, fmt.Errorf("header %s is not UTF-8", h.Key)
		}
		w.Headers = append(w.Headers, [2]*string{&h.Key, value})
	}
	return encodeIndented(w)
}

func (r *record) UnmarshalJSON(text []byte) error {
	var w wireRecord
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return err
	}
	var err error
	if r.Key, err = wireBytes(w.Key, w.KeyBase64); err != nil {
		return err
	}
	if r.Value, err = wireBytes(w.Value, w.ValueBase64); err != nil {
		return err
	}
	r.Headers = nil
	for _, h := range w.Headers {
		header := Header{Key: *h[0]}
		if h[1] != nil {
			header.Value = []byte(*h[1])
		}
		r.Headers = append(r.Headers, header)
	}
	return nil
}

func encodeIndented(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

// files returns the .json files of a folder under testdata/events.
func files(t testing.TB, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(testdata, folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatalf("no files in %s/%s", testdata, folder)
	}
	return paths
}

func readJSON(t testing.TB, path string, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func writeJSON(t testing.TB, path string, v any) {
	t.Helper()
	text, err := encodeIndented(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// checkGolden holds m against the record in a file, or writes it there.
func checkGolden(t testing.TB, path string, m Message) {
	t.Helper()
	text, err := encodeIndented(record{m})
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, filepath.Join(testdata, path), string(text))
}

// sameMessage is equality byte for byte; nil and empty are different.
func sameMessage(a, b Message) bool {
	if !sameBytes(a.Key, b.Key) || !sameBytes(a.Value, b.Value) || len(a.Headers) != len(b.Headers) {
		return false
	}
	for i := range a.Headers {
		if a.Headers[i].Key != b.Headers[i].Key || !sameBytes(a.Headers[i].Value, b.Headers[i].Value) {
			return false
		}
	}
	return true
}

func sameBytes(a, b []byte) bool {
	return bytes.Equal(a, b) && (a == nil) == (b == nil)
}

// Clone returns a copy that shares no memory with m.
func (m Message) Clone() Message {
	c := Message{Key: bytes.Clone(m.Key), Value: bytes.Clone(m.Value), Headers: slices.Clone(m.Headers)}
	for i := range c.Headers {
		c.Headers[i].Value = bytes.Clone(c.Headers[i].Value)
	}
	return c
}
