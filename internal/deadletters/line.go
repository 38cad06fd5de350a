package deadletters

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// Line is one record of the dead-letter topic as a JSON document, byte for byte.
// Its names are stable.
//
// Bytes are null, a string where they are UTF-8, and else {"base64": "..."}; an
// empty string is not null. Headers are pairs of key and value, in their order,
// also where a key stands there twice.
type Line struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	// Timestamp is the record's, in RFC 3339 and UTC: for people, as a record
	// that is written again has one of its own.
	Timestamp string `json:"timestamp"`
	Key       exact  `json:"key"`
	Value     exact  `json:"value"`
	Headers   []pair `json:"headers"`
}

// lineOf makes a line of a record.
func lineOf(rec kafka.Record) Line {
	l := Line{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Timestamp: rec.Time.UTC().Format(time.RFC3339Nano),
		Key: exact(rec.Key), Value: exact(rec.Value), Headers: []pair{},
	}
	for _, h := range rec.Headers {
		l.Headers = append(l.Headers, pair{exact(h.Key), exact(h.Value)})
	}
	return l
}

// Message is the record of a line.
func (l Line) Message() events.Message {
	m := events.Message{Key: l.Key, Value: l.Value}
	for _, h := range l.Headers {
		m.Headers = append(m.Headers, events.Header{Key: string(h[0]), Value: h[1]})
	}
	return m
}

// exact are bytes, or nil.
type exact []byte

type base64Text struct {
	Base64 *string `json:"base64"`
}

// MarshalJSON implements json.Marshaler.
func (e exact) MarshalJSON() ([]byte, error) {
	switch {
	case e == nil:
		return []byte("null"), nil
	case utf8.Valid(e):
		return plainJSON(string(e))
	}
	text := base64.StdEncoding.EncodeToString(e)
	return plainJSON(base64Text{&text})
}

// plainJSON leaves <, > and & as they are.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *exact) UnmarshalJSON(b []byte) error {
	var text string
	var coded base64Text
	switch {
	case string(b) == "null":
		*e = nil
		return nil
	case b[0] == '"':
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		if err := wholeText(b); err != nil {
			return err
		}
		*e = append(exact{}, text...)
		return nil
	case b[0] == '{':
		if err := strict(b, &coded); err != nil {
			return err
		}
		if coded.Base64 == nil {
			break
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(*coded.Base64)
		*e = append(exact{}, raw...)
		return err
	}
	return errors.New(`bytes are null, a string, or {"base64": "..."}`)
}

// wholeText refuses what encoding/json would replace in a string: half of a
// surrogate pair, and what is no UTF-8.
func wholeText(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("a string is no UTF-8")
	}
	var text string
	_ = json.Unmarshal(b, &text)
	if bytes.Count(b, []byte("\ufffd"))+escapedReplacements(b) != bytes.Count([]byte(text), []byte("\ufffd")) {
		return errors.New("a string holds half a surrogate pair")
	}
	return nil
}

// escapedReplacements counts the characters U+FFFD that are written as an escape.
func escapedReplacements(b []byte) (n int) {
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		if i++; i+4 < len(b) && b[i] == 'u' && bytes.EqualFold(b[i+1:i+5], []byte("fffd")) {
			n++
		}
	}
	return n
}

// pair is a header.
type pair [2]exact

// UnmarshalJSON implements json.Unmarshaler.
func (p *pair) UnmarshalJSON(b []byte) error {
	var both []exact
	if err := json.Unmarshal(b, &both); err != nil {
		return err
	}
	if len(both) != 2 || both[0] == nil {
		return errors.New("a header is a pair: its key, which is never null, and its value")
	}
	p[0], p[1] = both[0], both[1]
	return nil
}

// parseLine reads a line. Each member must be there: bytes that are missing are
// not the same as null.
func parseLine(b []byte) (Line, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return Line{}, fmt.Errorf("is no JSON object: %w", err)
	}
	for _, name := range []string{"topic", "partition", "offset", "timestamp", "key", "value", "headers"} {
		if _, there := members[name]; !there {
			return Line{}, fmt.Errorf("has no %q: it is no line of \"deadletters export\"", name)
		}
	}
	var l Line
	if err := strict(b, &l); err != nil {
		return Line{}, err
	}
	if l.Headers == nil {
		return Line{}, errors.New("has headers that are null, want a list")
	}
	return l, nil
}

// strict reads one JSON document and nothing besides.
func strict(b []byte, to any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("has something behind the document")
	}
	return nil
}
