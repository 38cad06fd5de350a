package events

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

// outcomeSource is the ce_source of every outcome. It names the program and
// not the instance, so that a repeat by another instance is the same event to
// a reader that goes by both (CloudEvents 1.0.2, attributes id and source).
const outcomeSource = "/closeorder"

// NewOutcome returns the beginning of the answer to r: who asked for what,
// and its id. Result, Code, CompletedAt and the rest are the caller's. key is
// the record key of the request, source its place in the requests topic.
// RecordKey is filled where the order could not be named.
func NewOutcome(r Request, key []byte, source Source) Outcome {
	o := Outcome{
		ID:         OutcomeID(r.RequestID, r.Order(), source, r.Replay),
		OutTradeNo: r.OutTradeNo, MchID: r.MchID, AppID: r.AppID, SubMchID: r.SubMchID, SubAppID: r.SubAppID,
		RequestID: r.RequestID, ReplacementOutTradeNo: r.ReplacementOutTradeNo, Metadata: r.Metadata,
		Replay: r.Replay, RequestedAt: r.RequestedAt, Source: source,
		TraceParent: r.TraceParent, Key: key,
	}
	if o.OutTradeNo == "" && isSane(string(key)) {
		o.RecordKey = string(key)
	}
	return o
}

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
	headers := eventHeaders(o.eventType(), id, outcomeSource, o.OutTradeNo, o.CompletedAt, o.TraceParent)
	metadata := o.Metadata
	o.Metadata = nil
	o.RequestedAt, o.CompletedAt = o.RequestedAt.UTC(), o.CompletedAt.UTC()
	if !isWritable(o.RequestedAt) {
		o.RequestedAt = time.Time{}
	}
	value, err := marshal(o, metadata)
	if err != nil {
		return Message{}, fmt.Errorf("encode outcome: %w", err)
	}
	return Message{Key: key, Value: value, Headers: headers}, nil
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
	outcomeWords = newVocabulary(namesOf[Outcome](), 0, exact)
	outcomeShape = shape{words: outcomeWords, own: []string{"outcome"}}
	gatewayWords = newVocabulary(namesOf[Gateway](), 0, exact)
	sourceWords  = newVocabulary(namesOf[Source](), 0, exact)
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
	o := Outcome{
		ID:                    string(d.id.value),
		Result:                Result(doc.text("outcome", &p)),
		OutTradeNo:            doc.text("out_trade_no", &p),
		MchID:                 doc.text("mch_id", &p),
		AppID:                 doc.text("appid", &p),
		SubMchID:              doc.text("sub_mch_id", &p),
		SubAppID:              doc.text("sub_appid", &p),
		RecordKey:             doc.text("record_key", &p),
		RequestID:             doc.text("request_id", &p),
		ReplacementOutTradeNo: doc.text("replacement_out_trade_no", &p),
		Metadata:              bytes.Clone(doc.get("metadata", "object", &p)),
		Code:                  doc.text("code", &p),
		Message:               doc.text("message", &p),
		SafeToReissue:         doc.boolean("safe_to_reissue", &p),
		ConfirmedBy:           doc.text("confirmed_by", &p),
		Attempts:              int(doc.number("attempts", 0, maxCount, &p)),
		Replay:                int(doc.number("replay", 0, maxCount, &p)),
		RequestedAt:           doc.time("requested_at", &p),
		CompletedAt:           doc.time("completed_at", &p),
		TraceParent:           d.traceParent,
		Key:                   bytes.Clone(m.Key),
	}
	if raw := doc.get("gateway", "object", &p); raw != nil {
		o.Gateway = readGateway(raw, &p)
	}
	if raw := doc.get("source", "object", &p); raw != nil {
		o.Source = readSource(raw, &p)
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

func readGateway(raw []byte, p *problems) *Gateway {
	doc := scanObject(raw, gatewayWords, true)
	var in problems
	g := &Gateway{
		Host:          doc.text("host", &in),
		ReturnCode:    doc.text("return_code", &in),
		ReturnMsg:     doc.text("return_msg", &in),
		ResultCode:    doc.text("result_code", &in),
		ErrCode:       doc.text("err_code", &in),
		ErrCodeDes:    doc.text("err_code_des", &in),
		TradeState:    doc.text("trade_state", &in),
		TransactionID: doc.text("transaction_id", &in),
		TotalFee:      doc.number("total_fee", math.MinInt64, math.MaxInt64, &in),
		TimeEnd:       doc.text("time_end", &in),
	}
	p.within("gateway", in)
	return g
}

func readSource(raw []byte, p *problems) Source {
	doc := scanObject(raw, sourceWords, true)
	var in problems
	s := Source{
		Topic:     doc.text("topic", &in),
		Partition: int(doc.number("partition", 0, maxCount, &in)),
		Offset:    doc.number("offset", 0, math.MaxInt64, &in),
	}
	p.within("source", in)
	return s
}

// within adds the problems of a nested object.
func (p *problems) within(parent string, in problems) {
	for _, f := range in {
		*p = append(*p, FieldError{parent + "." + f.Field, f.Problem})
	}
}
