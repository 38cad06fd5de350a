package events

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// maxCount bounds the counters that come in headers.
const maxCount = math.MaxInt32

var (
	requestWords = vocabularyOf[Request](2, slips)
	requestNames = requestWords.names
	requestShape = shape{words: requestWords, own: requestNames[:2]}
)

// DecodeRequest reads a close request: CloudEvents 1.x in binary or structured
// mode, or plain JSON without any header. Layers round it whose meaning is
// certain are taken off: the bytes that a schema registry's serializer puts in
// front of JSON, JSON in a JSON string, Kafka Connect's schema and payload. A
// structured event is known by its content-type or by its shape. A header's
// value may stand in JSON quotes.
//
// Names are exact and a known field may occur once; null and empty optional
// fields are ignored. So are unknown fields, but for one that is nearly a known
// name while that name is absent (expire_at, mchId): it is refused with that
// name. The header closeorder-replay holds the replay number. Attributes that a
// close does not need, such as ce_time, are ignored where they cannot be read.
//
// RequestID is the document's request_id, else the id of the event, else
// "order/MCH_ID/OUT_TRADE_NO", in institution mode
// "order/MCH_ID/SUB_MCH_ID/OUT_TRADE_NO".
//
// The error is a *[ValidationError], or wraps [ErrUnreadable] or
// [ErrTombstone]. No retry can mend any of them. The Request beside an error is
// for naming the order in a failed outcome and for nothing else: it holds what
// could be read, of the identity also what is not valid or stands under a
// misspelt name or in a layer that is not served, if it can be printed and has
// at most 128 bytes. Where a field occurs twice it is left empty.
//
// The Request shares no memory with m.
func DecodeRequest(m Message) (Request, error) {
	var p problems
	var r Request
	d, err := openDocument(m, &requestShape, &p)
	r.TraceParent = d.traceParent
	r.Replay = replayNumber(m, &p)
	r.RequestedAt = readTime(d.time)
	d.checkType(typeRequested, &p)
	if len(m.Value) > MaxRequest {
		p.add("value", "has %d bytes, at most %d are allowed", len(m.Value), MaxRequest)
	}
	if d.found {
		r.read(&d.object, &p)
	}
	certain := true
	if r.OutTradeNo == "" && (!d.found || d.object.saysNothingOf("out_trade_no")) {
		certain = false
		r.findOrder(m.Value, p)
	}
	if r.RequestID == "" || !isSane(r.RequestID) {
		r.RequestID = string(d.id.value)
		d.id.tell(&p)
		p.check(d.id.field, r.RequestID, false, checkRequestID)
	}
	if !isSane(r.RequestID) {
		r.RequestID = ""
	}
	if r.RequestID == "" && certain {
		r.RequestID = derivedRequestID(r, p)
	}
	p.sort()
	if err == nil {
		err = p.err()
	}
	if err != nil {
		r.keepSane(p)
	}
	return r, err
}

// wrongValue says what is wrong with a value that stands under a misspelt name
// and would be under the right one too: its kind.
func wrongValue(name string, raw []byte) string {
	var p problems
	switch name {
	case "order_created_at", "not_before", "expires_at":
		timeOf(name, raw, &p)
	case "reason", "metadata":
		return ""
	default:
		if kindOf(raw) == "number" {
			return problemNumber(string(raw))
		}
	}
	if len(p) == 0 {
		return ""
	}
	return p[0].Problem
}

// findOrder names the order of a request that could not be read, and where it
// stands instead.
func (r *Request) findOrder(value []byte, p problems) {
	var f finder
	f.look(value, "", maxLayers)
	switch {
	case !f.found || f.many:
		return
	case r.MchID == "":
		r.MchID, r.SubMchID = f.order.MchID, f.order.SubMchID
	case f.order.MchID != "" || f.order.SubMchID != "":
		return // a whole order inside one is another one
	}
	r.OutTradeNo = f.order.OutTradeNo
	if r.RequestID == "" {
		var ignored problems
		r.RequestID = f.object.identity("request_id", &ignored)
	}
	remedy := "send that object as the value"
	if f.order.MchID == "" {
		remedy = "all fields belong at the top of the value"
	}
	for i, problem := range p {
		if f.member != "" && problem == (FieldError{"out_trade_no", problemRequired}) {
			p[i].Problem += fmt.Sprintf("; one stands inside %s: %s", quote(f.member), remedy)
		}
	}
}

// derivedRequestID names the request after its order. Neither part can have a
// slash in it, so that different orders have different ids. Where the order
// cannot be named for certain there is none.
func derivedRequestID(r Request, p problems) string {
	if r.OutTradeNo == "" || r.MchID == "" || p.has("out_trade_no") || p.has("mch_id") || p.has("sub_mch_id") {
		return ""
	}
	id := "order/" + r.MchID
	if r.SubMchID != "" {
		id += "/" + r.SubMchID
	}
	return id + "/" + r.OutTradeNo
}

// isSane reports whether a value that may not be valid can be repeated.
func isSane(s string) bool { return len(s) <= MaxRequestID && isPrintable(s) }

// replayNumber reads the header closeorder-replay, 0 where there is none.
func replayNumber(m Message, p *problems) int {
	value, ok := m.Header(HeaderReplay)
	if !ok {
		return 0
	}
	n, err := parseCount(string(unquoteHeader(value)))
	if err != nil {
		p.add(HeaderReplay, "%v", err)
	}
	return n
}

// parseCount reads a whole number from 0 to maxCount.
func parseCount(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, errors.New("is " + quote(s) + ", want a whole number from 0 to " + strconv.Itoa(maxCount))
	}
	return int(n), nil
}
