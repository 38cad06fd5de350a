package events

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// envelope is what CloudEvents say about a record, and the data in it. Of an
// event in binary mode and of plain JSON the data is the value; in structured
// mode it is a member of it.
type envelope struct {
	structured  bool
	id          string
	typ         string
	time        string
	traceParent string
	data        []byte
}

var envelopeNames = []string{"specversion", "id", "type", "time", "traceparent", "data", "data_base64"}

// field names an attribute as the sender wrote it.
func (e *envelope) field(attribute string) string {
	if e.structured {
		return attribute
	}
	return "ce_" + attribute
}

// readEnvelope finds out how m was written: structured mode by its
// content-type, else binary mode as far as there are ce_ headers, else plain
// JSON. What is present must be right; no attribute is demanded, so that
// plain JSON with a lone ce_id is served as well. The error wraps
// ErrTombstone or ErrUnreadable.
func readEnvelope(m Message, p *problems) (envelope, error) {
	var e envelope
	if tp, ok := m.Header(HeaderTraceParent); ok && validTraceParent(string(tp)) {
		e.traceParent = string(tp)
	}
	media, _ := m.Header(HeaderContentType)
	switch format, isEvent := eventFormat(string(media)); {
	case !isEvent:
		e.readBinary(m, p)
		return e, checkValue(m)
	case format == "" || format == "+json":
		e.structured = true
		if err := checkValue(m); err != nil {
			return e, err
		}
		return e, e.readStructured(m.Value, p)
	case strings.HasPrefix(format, "-batch"):
		return e, fmt.Errorf("%w: batched CloudEvents are not accepted, send one event per record", ErrUnreadable)
	default:
		return e, fmt.Errorf("%w: content-type is %s, want application/cloudevents+json", ErrUnreadable, quote(string(media)))
	}
}

func checkValue(m Message) error {
	switch {
	case m.Value == nil:
		return ErrTombstone
	case len(m.Value) == 0:
		return fmt.Errorf("%w: value is empty", ErrUnreadable)
	}
	return nil
}

// eventFormat returns what follows application/cloudevents in a media type,
// and whether it is such a one at all.
func eventFormat(media string) (format string, isEvent bool) {
	media, _, _ = strings.Cut(media, ";")
	return strings.CutPrefix(strings.ToLower(strings.TrimSpace(media)), "application/cloudevents")
}

func (e *envelope) readBinary(m Message, p *problems) {
	e.data = m.Value
	get := func(key string) string {
		var value string
		for i, found := 0, false; i < len(m.Headers); i++ {
			if h := m.Headers[i]; h.Key != key {
				continue
			} else if found && string(h.Value) != value {
				p.add(key, "occurs more than once, with different values")
				return ""
			} else {
				value, found = string(h.Value), true
			}
		}
		return value
	}
	version := get(HeaderSpecVersion)
	e.id, e.typ, e.time = get(HeaderID), get(HeaderType), get(HeaderTime)
	if tp := get("ce_traceparent"); e.traceParent == "" && validTraceParent(tp) {
		e.traceParent = tp
	}
	e.checkVersion(version, p)
}

func (e *envelope) readStructured(value []byte, p *problems) error {
	o, err := readObject(value, envelopeNames)
	e.checkVersion(o.text("specversion", p), p)
	e.id, e.typ, e.time = o.text("id", p), o.text("type", p), o.text("time", p)
	var ignored problems
	if tp := o.text("traceparent", &ignored); e.traceParent == "" && validTraceParent(tp) {
		e.traceParent = tp
	}
	if err != nil {
		// What there is of the data may still name the order.
		e.data = o.get("data", "object", &ignored)
		return fmt.Errorf("%w: CloudEvent in structured mode %w", ErrUnreadable, err)
	}
	e.data = o.get("data", "object", p)
	encoded := o.text("data_base64", p)
	switch {
	case p.has("data") || p.has("data_base64"):
	case e.data != nil && encoded != "":
		p.add("data", "stands beside data_base64, only one is allowed")
		e.data = nil
	case encoded != "":
		if e.data, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			p.add("data_base64", "is not base64")
			e.data = nil
		}
	case e.data == nil:
		p.add("data", "is required in structured mode")
	}
	return nil
}

func (e *envelope) checkVersion(version string, p *problems) {
	minor, ok := strings.CutPrefix(version, "1.")
	if version == "" || ok && minor != "" && strings.Trim(minor, "0123456789") == "" {
		return
	}
	p.add(e.field("specversion"), "is %s, want 1.x", quote(version))
}

// checkType refuses an event of another type.
func (e *envelope) checkType(want string, p *problems) {
	if e.typ != "" && e.typ != want {
		p.add(e.field("type"), "is %s, want %s", quote(e.typ), want)
	}
}

var (
	// ErrTombstone: the record has no value (a delete marker), so it asks for nothing.
	ErrTombstone = errors.New("record is a tombstone: it has no value")
	// ErrUnreadable: the value is not one JSON object, so its fields cannot be judged.
	ErrUnreadable = errors.New("unreadable record")
)
