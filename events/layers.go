package events

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
)

// A producer's library, a connector or a bridge wraps what it is given. Layers
// whose meaning is certain are taken off here, one after the other, until the
// document itself is there; each has a function of its own:
//
//	the prefix of a schema registry    unframe
//	a byte order mark                  (RFC 8259, section 8.1, lets a reader ignore it)
//	JSON in a JSON string              unquoteText
//	base64 of JSON, alone or in one    unbase64
//	Kafka Connect's schema + payload   unconnect
//	a structured CloudEvent            readStructured (cloudevents.go)
//
// An object that has a name of the document's own at its top is the document,
// whatever else it has: a request with a field called payload is a request.

// maxLayers bounds how many layers are taken off. The longest sensible way
// has five: prefix, Connect, string, CloudEvent, string.
const maxLayers = 6

// shape is what one kind of document is known by.
type shape struct {
	words *vocabulary
	own   []string // one of these at the top makes an object the document
}

// document is what a record says, without the layers round it.
type document struct {
	event
	object object // as far as it could be read
	found  bool   // an object was reached
	where  string // where it stands, for an error text
	framed bool   // right behind the prefix of a schema registry
}

// openDocument takes the layers off m. The error wraps ErrUnreadable or
// ErrTombstone; beside it stands what could be read. What is wrong with a layer
// is added to p.
func openDocument(m Message, s *shape, p *problems) (document, error) {
	var d document
	declared, err := d.readHeaders(m, p)
	switch {
	case err != nil:
		return d, err
	case m.Value == nil:
		return d, ErrTombstone
	case len(m.Value) == 0:
		return d, fmt.Errorf("%w: value is empty", ErrUnreadable)
	}
	if err := d.open(m.Value, declared, s, p); err != nil {
		return d, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return d, nil
}

// open takes the layers off doc. declared says that the next object is a
// CloudEvent, by the record's content-type. The first error is returned, but
// what is whole in a broken layer is opened all the same: it may name the order.
func (d *document) open(doc []byte, declared bool, s *shape, p *problems) error {
	var first error
	d.where = "value"
	for range maxLayers + 1 {
		inner, err := d.peel(doc, &declared, s, p)
		if first == nil {
			first = err
		}
		if inner == nil {
			return first
		}
		doc = inner
	}
	if first == nil {
		first = fmt.Errorf("value is wrapped more than %d times, send the JSON itself", maxLayers)
	}
	return first
}

// peel takes one layer off doc and returns what is inside. It returns nil where
// there is no layer: then d.object is what doc is read as.
func (d *document) peel(doc []byte, declared *bool, s *shape, p *problems) ([]byte, error) {
	doc = bytes.TrimPrefix(doc, byteOrderMark)
	if inner, prefix := unframe(doc); prefix > 0 {
		if inner == nil {
			return nil, fmt.Errorf("%s starts with a schema registry's five bytes and is not JSON (Avro or Protobuf?); send JSON", d.where)
		}
		d.inside(fmt.Sprintf("%s behind %d bytes of a schema registry", d.where, prefix))
		d.framed = true
		return inner, nil
	}
	if text, quoted, err := unquoteText(doc); quoted {
		if err != nil {
			return nil, d.bad(err)
		}
		d.inside("text in " + d.where)
		if inner := unbase64(text); inner != nil {
			return inner, nil
		}
		return text, nil
	}
	if inner := unbase64(doc); inner != nil {
		d.inside("base64 in " + d.where)
		return inner, nil
	}
	bad := checkText(doc)
	if !*declared {
		d.object, d.found = scanObject(doc, s.words, bad == nil), true
		if slices.ContainsFunc(s.own, d.object.has) {
			return nil, d.bad(bad)
		}
	}
	layer := scanObject(doc, layerWords, bad == nil)
	if payload, ok := unconnect(&layer, p); ok {
		d.found = false
		bad = d.bad(bad)
		d.inside("payload")
		return payload, bad
	}
	if *declared || isEvent(&layer) {
		d.found, *declared = false, false
		if bad != nil {
			bad = fmt.Errorf("CloudEvent in structured mode %w", bad)
		}
		d.inside("data")
		return d.readStructured(&layer, bad != nil, p), bad
	}
	return nil, d.bad(bad)
}

// inside says that what is read from now on is one layer further in.
func (d *document) inside(where string) { d.where, d.framed = where, false }

// bad says where the trouble is; nil for nil.
func (d *document) bad(err error) error {
	switch {
	case err == nil:
		return nil
	case d.framed:
		return fmt.Errorf("%s %w (Avro or Protobuf? send JSON)", d.where, err)
	}
	return fmt.Errorf("%s %w", d.where, err)
}

// layerWords are the members of the layers that are objects.
var layerWords = newVocabulary([]string{
	"schema", "payload",
	"specversion", "id", "type", "source", "time", "traceparent", "data", "data_base64",
}, 0, casing)

// unframe takes off what a serializer of a schema registry puts in front of
// JSON, and returns how long that is, 0 where there is none: a zero byte and
// the schema's id in four bytes (Confluent's wire format) or in eight
// (Apicurio's older default), or AWS Glue's 3, 0 and a UUID. inner is nil where
// something follows a zero byte and five is all there is to go by: no JSON.
func unframe(doc []byte) (inner []byte, prefix int) {
	const confluent, apicurio, glue = 1 + 4, 1 + 8, 2 + 16
	at := func(n int) bool { return len(doc) > n && looksLikeJSON(doc[n:]) }
	switch {
	case len(doc) == 0:
	case doc[0] == 0 && at(confluent):
		return doc[confluent:], confluent
	case doc[0] == 0 && at(apicurio):
		return doc[apicurio:], apicurio
	case doc[0] == 0 && len(doc) > confluent:
		return nil, confluent
	case len(doc) > 1 && doc[0] == 3 && doc[1] == 0 && at(glue):
		return doc[glue:], glue
	}
	return nil, 0
}

// looksLikeJSON reports whether doc begins as an object or a string does.
func looksLikeJSON(doc []byte) bool {
	doc = bytes.TrimPrefix(doc, byteOrderMark)
	at := skipSpace(doc, 0)
	return at < len(doc) && (doc[at] == '{' || doc[at] == '"')
}

// unquoteText returns the text of doc where that is a JSON string; the error
// says why it is none although it begins like one.
func unquoteText(doc []byte) (text []byte, quoted bool, err error) {
	if at := skipSpace(doc, 0); at >= len(doc) || doc[at] != '"' {
		return nil, false, nil
	}
	if err := checkJSON(doc); err != nil {
		return nil, true, err
	}
	return []byte(textOf(bytes.TrimSpace(doc))), true, nil
}

// unbase64 returns the JSON that text is the base64 of, as JSON serializers
// write an array of bytes; nil where it is none. No JSON is base64 of JSON.
func unbase64(text []byte) []byte {
	if looksLikeJSON(text) {
		return nil
	}
	inner, err := decode64(text)
	if err != nil || !looksLikeJSON(inner) || !json.Valid(inner) {
		return nil
	}
	return inner
}

// decode64 reads base64 in either of its alphabets, with or without padding:
// no text has more than one meaning in them.
func decode64(text []byte) ([]byte, error) {
	text = bytes.TrimRight(text, "=\r\n")
	text = bytes.ReplaceAll(text, []byte("-"), []byte("+"))
	text = bytes.ReplaceAll(text, []byte("_"), []byte("/"))
	return base64.RawStdEncoding.AppendDecode(nil, text)
}

// unconnect returns the payload of the envelope that Kafka Connect's
// JsonConverter makes with schemas.enable: an object with schema, which may be
// null, and payload, and with nothing else. It is nil where there is none to
// read, which is a problem.
func unconnect(o *object, p *problems) (payload []byte, isConnect bool) {
	if o.members != 2 || !o.has("schema") || !o.has("payload") {
		return nil, false
	}
	raw := o.any("payload", p)
	switch {
	case raw == nil:
		p.add("payload", "is null, want an object or a string with JSON in it")
	case !looksLikeJSON(raw):
		p.add("payload", "is %s, want an object or a string with JSON in it", article(kindOf(raw)))
		raw = nil
	}
	return raw, true
}
