package events

import (
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
