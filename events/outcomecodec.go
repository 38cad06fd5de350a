package events

import (
	"bytes"
	"slices"
	"time"
)

// outcomeSource is the ce_source of every outcome. It names the program and
// not the instance, so that a repeat by another instance is the same event to
// a reader that goes by both (CloudEvents 1.0.2, attributes id and source).
const outcomeSource = "/closeorder"

// eventType returns the event type of the outcome, "" for a Result that is none.
func (o Outcome) eventType() string {
	switch o.Result {
	case Closed:
		return typeClosed
	case Paid:
		return typePaid
	case Failed:
		return typeFailed
	}
	return ""
}

// EncodeOutcome writes o as a CloudEvent in binary mode: ce_id is o.ID, or
// [OutcomeID] where it is empty, ce_subject is out_trade_no, ce_time is
// completed_at. The record key is o.Key, or out_trade_no where that is empty.
// Metadata goes out byte for byte. RequestedAt is left out where RFC 3339
// cannot write it, as the timestamp of a record can be anything.
//
// The error is a *[ValidationError] and means a mistake of the caller: what
// [DecodeRequest] returned, with or without an error, is always encodable.
// That an order which is not closed is safe to reissue is such a mistake.
func EncodeOutcome(o Outcome) (Message, error) {
	var p problems
	o.check(&p)
	checkYears("completed_at", o.CompletedAt, &p)
	if len(o.Metadata) > 0 && !isJSONObject(o.Metadata) {
		p.add("metadata", "is not a JSON object")
	}
	if err := p.err(); err != nil {
		return Message{}, err
	}
	id := o.ID
	if id == "" {
		id = OutcomeID(o.RequestID, o.Order(), o.Source, o.Replay)
	}
	key := o.Key
	if len(key) == 0 && o.OutTradeNo != "" {
		key = []byte(o.OutTradeNo)
	}
	o.RequestedAt, o.CompletedAt = o.RequestedAt.UTC(), o.CompletedAt.UTC()
	if !isWritable(o.RequestedAt) {
		o.RequestedAt = time.Time{}
	}
	// One piece of memory for the value and those of the headers.
	value := o.appendJSON(make([]byte, 0, o.size()))
	if len(o.Metadata) > 0 {
		value = append(append(value, `,"metadata":`...), o.Metadata...)
	}
	value = append(value, '}')
	headers := eventHeaders(value, o.eventType(), id, outcomeSource, o.OutTradeNo, o.CompletedAt, o.TraceParent)
	return Message{Key: key, Value: slices.Clip(value), Headers: headers}, nil
}

// check adds what contradicts itself in o.
func (o Outcome) check(p *problems) {
	if o.eventType() == "" && !p.has("outcome") {
		p.add("outcome", "is %s, want closed, paid or failed", quote(string(o.Result)))
	}
	if o.SafeToReissue && o.Result != Closed {
		p.add("safe_to_reissue", "is true, but only a closed order can be")
	}
	if o.CompletedAt.IsZero() && !p.has("completed_at") {
		p.add("completed_at", problemRequired)
	}
	for _, n := range []struct {
		field string
		value int64
	}{
		{"attempts", int64(o.Attempts)}, {"replay", int64(o.Replay)},
		{"source.partition", int64(o.Source.Partition)},
	} {
		if n.value < 0 || n.value > maxCount {
			p.add(n.field, "is %d, want 0 to %d", n.value, maxCount)
		}
	}
	if o.Source.Offset < 0 {
		p.add("source.offset", "is %d, want 0 or more", o.Source.Offset)
	}
}

var (
	outcomeWords = vocabularyOf[Outcome](0, exact)
	outcomeShape = shape{words: outcomeWords, own: []string{"outcome"}}
	gatewayWords = vocabularyOf[Gateway](0, exact)
	sourceWords  = vocabularyOf[Source](0, exact)
)

// DecodeOutcome reads an outcome, in binary or structured mode; layers round it
// are taken off as [DecodeRequest] does. It refuses one that contradicts itself:
// an outcome that is not its event type, or safe_to_reissue without closed.
// Unknown fields are ignored, whatever their names: outcomes may get new ones.
//
// The error is a *[ValidationError], or wraps [ErrUnreadable] or
// [ErrTombstone]. Do not act on the Outcome beside an error. The Outcome
// shares no memory with m.
func DecodeOutcome(m Message) (Outcome, error) {
	var p problems
	d, err := openDocument(m, &outcomeShape, &p)
	if err != nil {
		return Outcome{}, err
	}
	if !d.found {
		return Outcome{}, p.err()
	}
	doc := &d.object
	d.id.tell(&p)
	o := Outcome{ID: string(d.id.value), TraceParent: d.traceParent, Key: bytes.Clone(m.Key)}
	doc.read(&o, &p)
	if raw := doc.get("gateway", "object", &p); raw != nil {
		o.Gateway = new(Gateway)
		p.readInner("gateway", raw, gatewayWords, o.Gateway)
	}
	if raw := doc.get("source", "object", &p); raw != nil {
		p.readInner("source", raw, sourceWords, &o.Source)
	}
	if o.ID == "" && !p.has(d.field("id")) {
		p.add(d.field("id"), problemRequired)
	}
	if want := o.eventType(); want != "" {
		d.checkType(want, &p)
	}
	o.check(&p)
	return o, p.err()
}

// readInner fills the struct of a nested object and adds its problems.
func (p *problems) readInner(parent string, raw []byte, words *vocabulary, to any) {
	var in problems
	inner := scanObject(raw, words, true)
	inner.read(to, &in)
	for _, f := range in {
		p.add(parent+"."+f.Field, "%s", f.Problem)
	}
}
