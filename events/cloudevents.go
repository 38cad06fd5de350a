package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// event is what CloudEvents say about a record: its headers in binary mode,
// members of its value in structured mode. Of an event in binary mode whose
// data is an event in structured mode, the attributes of the latter count.
type event struct {
	structured  bool
	id          attribute
	typ         attribute
	time        string
	traceParent string
}

// attribute is the value of one, its name as the sender wrote it, and what is
// wrong with it, for whoever needs it.
type attribute struct {
	value []byte
	field string
	flaw  string
}

func (a *attribute) tell(p *problems) {
	if a.flaw != "" && !p.has(a.field) {
		p.add(a.field, "%s", a.flaw)
	}
}

// field names an attribute that may not be there.
func (e *event) field(attribute string) string {
	if e.structured {
		return attribute
	}
	return "ce_" + attribute
}

// once returns the value of a header that should occur once. Two different ones
// are none.
func (m Message) once(key string) attribute {
	a, found := attribute{field: key}, false
	for _, h := range m.Headers {
		if h.Key != key {
			continue
		}
		value := unquoteHeader(h.Value)
		if found && !bytes.Equal(value, a.value) {
			return attribute{field: key, flaw: "occurs more than once, with different values"}
		}
		a.value, found = value, true
	}
	return a
}

// nearly returns the last header that was meant by key, where key is absent.
func (m Message) nearly(key string) (Header, bool) {
	if _, found := m.Header(key); found {
		return Header{}, false
	}
	for _, h := range slices.Backward(m.Headers) {
		// None of them lacks more than a separator and two letters.
		if len(h.Key)+3 >= len(key) && nearHeader(h.Key) == key {
			return h, true
		}
	}
	return Header{}, false
}

// unquoteHeader returns what a header's value means: Spring Kafka's mapper and
// Kafka Connect's JsonConverter write a text in JSON quotes, the latter with
// schemas.enable as schema and payload.
func unquoteHeader(value []byte) []byte {
	for len(value) >= 2 && (value[0] == '"' || value[0] == '{') {
		inner := unquoteOnce(value)
		if inner == nil {
			break
		}
		value = inner
	}
	return value
}

func unquoteOnce(value []byte) []byte {
	if !json.Valid(value) {
		return nil
	}
	if value[0] == '{' {
		var ignored problems
		o := scanObject(value, layerWords, true)
		value, _ = unconnect(&o, &ignored)
	}
	if len(value) == 0 || value[0] != '"' {
		return nil
	}
	return append([]byte{}, textOf(bytes.TrimSpace(value))...)
}

// readHeaders finds out how m was written. Structured mode is declared by a
// content-type, however its header is written; else the headers are those of
// binary mode. What is present must be right; no attribute is demanded, so
// that plain JSON with a lone ce_id is served as well. An attribute that a
// close does not need never costs one, be it wrong, there twice or misspelt.
func (e *event) readHeaders(m Message, p *problems) (declared bool, err error) {
	if near, ok := m.nearly(HeaderReplay); ok {
		p.add(HeaderReplay, "%s", notKnown(HeaderReplay, near.Key))
	}
	transport, _ := m.Header(headerTraceParent)
	e.takeTraceParent(unquoteHeader(transport))
	media, found := m.Header(headerContentType)
	if !found {
		near, _ := m.nearly(headerContentType)
		media = near.Value
	}
	media = unquoteHeader(media)
	switch format, isEvent := eventFormat(media); {
	case isEvent && (format == "" || format == "+json"):
		e.structured = true
		return true, nil
	case isEvent && strings.HasPrefix(format, "-batch"):
		return false, fmt.Errorf("%w: batched CloudEvents are not accepted, send one event per record", ErrUnreadable)
	case isEvent:
		return false, fmt.Errorf("%w: content-type is %s, want application/cloudevents+json", ErrUnreadable, quote(string(media)))
	}
	version := m.once(headerSpecVersion)
	e.id, e.typ = m.once(headerID), m.once(headerType)
	version.tell(p)
	e.typ.tell(p)
	checkVersion(version, p)
	if near, ok := m.nearly(headerID); ok {
		p.add(headerID, "%s", notKnown(headerID, near.Key))
		e.id.value = unquoteHeader(near.Value) // names the request in a failed outcome
	}
	if near, ok := m.nearly(headerType); ok {
		p.add(headerType, "%s", notKnown(headerType, near.Key))
	}
	e.time = string(m.once(headerTime).value)
	if i := slices.IndexFunc(m.Headers, func(h Header) bool { return h.Key == "ce_traceparent" }); i >= 0 {
		e.takeTraceParent(unquoteHeader(m.Headers[i].Value))
	}
	return false, nil
}

// takeTraceParent keeps the first trace context that is one.
func (e *event) takeTraceParent(value []byte) {
	if e.traceParent == "" && len(value) > 0 && validTraceParent(string(value)) {
		e.traceParent = string(value)
	}
}

// eventFormat returns what follows application/cloudevents in a media type,
// and whether it is such a one at all.
func eventFormat(media []byte) (format string, isEvent bool) {
	const prefix = "application/cloudevents"
	media, _, _ = bytes.Cut(media, []byte(";"))
	media = bytes.TrimSpace(media)
	if len(media) < len(prefix) || !bytes.EqualFold(media[:len(prefix)], []byte(prefix)) {
		return "", false
	}
	return strings.ToLower(string(media[len(prefix):])), true
}

// isEvent reports whether an object is a CloudEvent although no content-type
// says so: Python's SDK writes the content-type of the data, others none. Names
// in another case count, so that they can be told.
func isEvent(o *object) bool {
	has := func(name string) bool { return o.has(name) || len(o.meant(name)) > 0 }
	return has("specversion") && (has("id") || has("type") || has("source")) && (has("data") || has("data_base64"))
}

// readStructured reads an event in structured mode and returns its data, nil
// where there is none to read. Of a broken event that may still name the order.
func (e *event) readStructured(o *object, broken bool, p *problems) []byte {
	e.structured = true
	text := func(name string) attribute {
		var wrong problems
		a := attribute{value: unquoteHeader([]byte(o.text(name, &wrong))), field: name}
		if len(wrong) > 0 {
			a.flaw = wrong[0].Problem
		}
		return a
	}
	version := text("specversion")
	version.tell(p)
	checkVersion(version, p)
	o.misspelt(p, nothingElse, "id", "type", "data", "data_base64")
	if id := text("id"); len(id.value) > 0 || id.flaw != "" || p.has("id") {
		e.id = id
	}
	typ := text("type")
	typ.tell(p)
	if len(typ.value) > 0 || p.has("type") {
		if len(e.typ.value) > 0 && !bytes.Equal(e.typ.value, typ.value) && !p.has("type") {
			p.add("type", "is %s, but %s is %s", quote(string(typ.value)), e.typ.field, quote(string(e.typ.value)))
		}
		e.typ = typ
	}
	var ignored problems
	if at := o.text("time", &ignored); at != "" {
		e.time = at
	}
	e.takeTraceParent([]byte(o.text("traceparent", &ignored)))
	if broken {
		p = &ignored
	}
	data, encoded := o.any("data", p), o.text("data_base64", p)
	switch {
	case data == nil && encoded == "" && p.has("data"):
		if near := o.meant("data"); len(near) == 1 && looksLikeJSON(near[0].raw) {
			return near[0].raw // names the order in a failed outcome
		}
	case p.has("data") || p.has("data_base64"):
	case data != nil && encoded != "":
		p.add("data", "stands beside data_base64, only one is allowed")
	case data != nil && !looksLikeJSON(data):
		p.add("data", "is %s, want an object", article(kindOf(data)))
	case data != nil:
		return data
	case encoded != "":
		inner, err := decode64([]byte(encoded))
		if err == nil {
			return append([]byte{}, inner...)
		}
		p.add("data_base64", "is not base64")
	default:
		p.add("data", "is required in structured mode; a plain request has the content-type %s", contentTypeJSON)
	}
	return nil
}

func nothingElse(string, []byte) string { return "" }

// checkVersion refuses an event that is not of version 1: 1, 1.0, 1.0.2.
func checkVersion(version attribute, p *problems) {
	if len(version.value) > 0 && string(version.value) != specVersion && !version1.Match(version.value) {
		p.add(version.field, "is %s, want 1.x", quote(string(version.value)))
	}
}

var version1 = regexp.MustCompile(`^1(\.\d+)*$`)

// checkType refuses an event of another type.
func (e *event) checkType(want string, p *problems) {
	if len(e.typ.value) > 0 && string(e.typ.value) != want && !p.has(e.typ.field) {
		p.add(e.typ.field, "is %s, want %s", quote(string(e.typ.value)), want)
	}
}

var (
	// ErrTombstone: the record has no value (a delete marker), so it asks for nothing.
	ErrTombstone = errors.New("record is a tombstone: it has no value")
	// ErrUnreadable: the value is not one JSON object, so its fields cannot be judged.
	ErrUnreadable = errors.New("unreadable record")
)
