package events

import (
	"bytes"
	"encoding/json"
	"time"
)

// Request asks for one order to be closed. MchID and OutTradeNo are required.
type Request struct {
	// OutTradeNo is the merchant's number of the order to close.
	OutTradeNo string `json:"out_trade_no"`
	// MchID is the merchant; in institution mode the service provider.
	MchID string `json:"mch_id"`
	// AppID is empty for the merchant's default.
	AppID string `json:"appid,omitempty"`
	// SubMchID and SubAppID are for institution mode, where SubMchID is required.
	SubMchID string `json:"sub_mch_id,omitempty"`
	SubAppID string `json:"sub_appid,omitempty"`
	// RequestID names the request. After decoding it is never empty: the
	// document's own, else the CloudEvents id, else one derived from the
	// identity of the order. Ask again with a new one.
	RequestID string `json:"request_id,omitempty"`
	// Reason is payment_failed, payment_timeout or free text.
	Reason string `json:"reason,omitempty"`
	// OrderCreatedAt is when the order was submitted to WeChat Pay, if known.
	OrderCreatedAt time.Time `json:"order_created_at,omitzero"`
	// NotBefore holds the request back until then.
	NotBefore time.Time `json:"not_before,omitzero"`
	// ExpiresAt ends the request: from then on nothing is closed, and the
	// outcome is failed with code EXPIRED, unless the order is paid or closed
	// already.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// ReplacementOutTradeNo is the number the shop wants to issue next; echoed.
	ReplacementOutTradeNo string `json:"replacement_out_trade_no,omitempty"`
	// Metadata is any JSON object of at most [MaxMetadata] bytes; echoed.
	Metadata json.RawMessage `json:"metadata,omitempty"`

	// RequestedAt is when the request was made: ce_time, zero if unknown.
	RequestedAt time.Time `json:"-"`
	// TraceParent is the W3C trace context that came with the request.
	TraceParent string `json:"-"`
	// Replay counts how often the request was replayed from the dead
	// letters; 0 for an original.
	Replay int `json:"-"`
}

// Order returns the identity of the order the request is about.
func (r Request) Order() Order {
	return Order{MchID: r.MchID, SubMchID: r.SubMchID, OutTradeNo: r.OutTradeNo}
}

// read takes the fields of a request from o and checks them.
func (r *Request) read(o *object, p *problems) {
	o.misspelt(p, wrongValue, requestNames...)
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
}

// check adds what is wrong with r. A field that has a problem already is left
// alone: one thing wrong with a field is enough to say.
func (r Request) check(p *problems) {
	p.check("out_trade_no", r.OutTradeNo, true, checkOutTradeNo)
	p.check("mch_id", r.MchID, true, CheckMchID)
	p.check("appid", r.AppID, false, checkAppID)
	p.check("sub_mch_id", r.SubMchID, false, CheckMchID)
	p.check("sub_appid", r.SubAppID, false, checkAppID)
	if r.SubAppID != "" && r.SubMchID == "" && !p.has("sub_mch_id") && !p.has("sub_appid") {
		p.add("sub_appid", "needs sub_mch_id beside it")
	}
	p.check("request_id", r.RequestID, false, checkRequestID)
	p.check("reason", r.Reason, false, checkReason)
	if !r.NotBefore.IsZero() && !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(r.NotBefore) && !p.has("expires_at") {
		p.add("expires_at", "is %s, must be after not_before %s", formatTime(r.ExpiresAt), formatTime(r.NotBefore))
	}
	checkYears("order_created_at", r.OrderCreatedAt, p)
	checkYears("not_before", r.NotBefore, p)
	checkYears("expires_at", r.ExpiresAt, p)
	p.check("replacement_out_trade_no", r.ReplacementOutTradeNo, false, checkOutTradeNo)
	if r.ReplacementOutTradeNo != "" && r.ReplacementOutTradeNo == r.OutTradeNo && !p.has("replacement_out_trade_no") {
		p.add("replacement_out_trade_no", "is the same as out_trade_no")
	}
	checkMetadata(r.Metadata, p)
	if (r.Replay < 0 || r.Replay > maxCount) && !p.has(HeaderReplay) {
		p.add(HeaderReplay, "is %d, want 0 to %d", r.Replay, maxCount)
	}
}

// keepSane empties what a failed outcome should not repeat. A line end behind a
// number does not keep it from being named.
func (r *Request) keepSane(p problems) {
	for _, s := range []*string{&r.OutTradeNo, &r.MchID, &r.AppID, &r.SubMchID, &r.SubAppID, &r.ReplacementOutTradeNo} {
		if !isSane(*s) {
			*s = trimSpace(*s)
		}
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
