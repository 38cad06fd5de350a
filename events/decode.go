package events

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxCount bounds the counters that come in headers.
const maxCount = math.MaxInt32

var requestNames = []string{
	"out_trade_no", "mch_id", "appid", "sub_mch_id", "sub_appid", "request_id", "reason",
	"order_created_at", "not_before", "expires_at", "replacement_out_trade_no", "metadata",
}

// DecodeRequest reads a close request: CloudEvents 1.x in binary or structured
// mode, or plain JSON without any header.
//
// Names are exact and a known field may occur once; unknown fields, null and
// empty optional fields are ignored. The header closeorder-replay holds the
// replay number.
//
// RequestID is the document's request_id, else the id of the event, else
// "order/MCH_ID/OUT_TRADE_NO", in institution mode
// "order/MCH_ID/SUB_MCH_ID/OUT_TRADE_NO".
//
// The error is a *[ValidationError], or wraps [ErrUnreadable] or
// [ErrTombstone]. No retry can mend any of them. The Request beside an error is
// for naming the order in a failed outcome and for nothing else: it holds what
// could be read, of the identity also what is not valid, if it can be printed
// and has at most 128 bytes. Where a field occurs twice it is left empty.
//
// The Request shares no memory with m.
func DecodeRequest(m Message) (Request, error) {
	var p problems
	var r Request
	e, err := readEnvelope(m, &p)
	r.TraceParent = e.traceParent
	r.Replay = replayNumber(m, &p)
	r.RequestedAt = parseTime(e.field("time"), e.time, &p)
	e.checkType(TypeRequested, &p)
	if len(m.Value) > MaxRequest {
		p.add("value", "has %d bytes, at most %d are allowed", len(m.Value), MaxRequest)
	}
	if e.data != nil {
		o, bad := readObject(e.data, requestNames)
		if bad != nil && err == nil {
			err = fmt.Errorf("%w: %s %w", ErrUnreadable, e.dataName(), bad)
		}
		r.read(&o, &p)
	}
	if !isSane(r.RequestID) {
		r.RequestID = ""
	}
	if r.RequestID == "" {
		checkRequestID(e.field("id"), e.id, &p)
		r.RequestID = e.id
	}
	if r.RequestID == "" || !isSane(r.RequestID) {
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

// dataName says where the data stands, for an error text.
func (e *envelope) dataName() string {
	if e.structured {
		return "data"
	}
	return "value"
}

// read takes the fields of a request from o and checks them.
func (r *Request) read(o *object, p *problems) {
	r.OutTradeNo = o.identity("out_trade_no", p)
	r.MchID = o.identity("mch_id", p)
	r.AppID = o.identity("appid", p)
	r.SubMchID = o.identity("sub_mch_id", p)
	r.SubAppID = o.identity("sub_appid", p)
	r.RequestID = o.identity("request_id", p)
	r.Reason = o.text("reason", p)
	r.OrderCreatedAt = o.time("order_created_at", p)
	r.NotBefore = o.time("not_before", p)
	r.ExpiresAt = o.time("expires_at", p)
	r.ReplacementOutTradeNo = o.identity("replacement_out_trade_no", p)
	r.Metadata = bytes.Clone(o.get("metadata", "object", p))
	r.check(p)
	// The usual reason for a missing field is another spelling of it.
	for i, f := range *p {
		if near := o.nearTo(f.Field); near != "" && f.Problem == problemRequired {
			(*p)[i].Problem += fmt.Sprintf(" (%s is another name: names are exact)", quote(near))
		}
	}
}

// identity reads a string that names something. A whole number in its place,
// the most common mistake, is a problem too, but its text is kept.
func (o *object) identity(name string, p *problems) string {
	s := o.text(name, p)
	if s == "" && p.has(name) {
		var ignored problems
		if raw := o.get(name, "number", &ignored); raw != nil && strings.Trim(string(raw), "0123456789") == "" {
			return string(raw)
		}
	}
	return s
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

// keepSane empties what a failed outcome should not repeat.
func (r *Request) keepSane(p problems) {
	for _, s := range []*string{&r.OutTradeNo, &r.MchID, &r.AppID, &r.SubMchID, &r.SubAppID, &r.ReplacementOutTradeNo} {
		if !isSane(*s) {
			*s = ""
		}
	}
	if p.has("reason") || !isPrintable(r.Reason) {
		r.Reason = ""
	}
	if p.has("metadata") || !isJSONObject(r.Metadata) {
		r.Metadata = nil
	}
}

// replayNumber reads the header closeorder-replay, 0 where there is none.
func replayNumber(m Message, p *problems) int {
	value, ok := m.Header(HeaderReplay)
	if !ok {
		return 0
	}
	n, err := parseCount(string(value))
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
