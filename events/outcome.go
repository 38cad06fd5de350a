package events

import (
	"encoding/json"
	"time"
)

// Result is the one answer to a request.
type Result string

const (
	// Closed: the order is closed at WeChat Pay, or was never known there.
	Closed Result = "closed"
	// Paid: the buyer has paid; treat the order as a normal paid trade.
	Paid Result = "paid"
	// Failed: nothing was proven; see [Outcome.Code]. The order may be payable.
	Failed Result = "failed"
)

// Codes of our own in [Outcome.Code], all of them Failed. All other codes are
// the gateway's, as the gateway spelt them. This is the one list of them.
const (
	// CodeInvalidRequest: no call was made, Message names every bad field; or
	// the gateway says so, then Gateway.ErrCode is there.
	CodeInvalidRequest = "INVALID_REQUEST"
	// CodeUnknownMerchant: the worker does not know the mch_id; no call was made.
	CodeUnknownMerchant = "UNKNOWN_MERCHANT"
	// CodeExpired: expires_at passed first; nothing is closed after it.
	CodeExpired = "EXPIRED"
	// CodeRetriesExhausted: no final answer after all retries. The close may
	// have happened.
	CodeRetriesExhausted = "RETRIES_EXHAUSTED"
	// CodeRecordTooLarge: the request had to wait, and the retry topic does not
	// take a record of its size.
	CodeRecordTooLarge = "RECORD_TOO_LARGE"
)

// Values of [Outcome.ConfirmedBy]: the call whose signed reply proves it.
const (
	ConfirmedByCloseOrder = "closeorder"
	ConfirmedByOrderQuery = "orderquery"
)

// Outcome answers one request. Closed and Paid are final; Failed gives way to
// what another record of the same request says, see [Supersedes].
type Outcome struct {
	// ID is the event id: the same for every repeat of this outcome, so that
	// a reader may drop what it has seen. It is derived, see [OutcomeID].
	ID string `json:"-"`

	Result Result `json:"outcome"`

	// The identity fields of the request, as far as they could be read.
	OutTradeNo string `json:"out_trade_no,omitempty"`
	MchID      string `json:"mch_id,omitempty"`
	AppID      string `json:"appid,omitempty"`
	SubMchID   string `json:"sub_mch_id,omitempty"`
	SubAppID   string `json:"sub_appid,omitempty"`

	// RecordKey is the record key of a request whose out_trade_no could not be
	// read, if it is text that can be printed and has at most 128 bytes, so that
	// who waits can match the answer. Empty wherever OutTradeNo is not.
	RecordKey string `json:"record_key,omitempty"`

	RequestID             string          `json:"request_id,omitempty"`
	ReplacementOutTradeNo string          `json:"replacement_out_trade_no,omitempty"`
	Metadata              json.RawMessage `json:"metadata,omitempty"`

	// Code is the gateway's, or one of the Code constants.
	Code string `json:"code,omitempty"`
	// Message is for people; never parse it.
	Message string `json:"message,omitempty"`
	// SafeToReissue is true only when the old number can no longer be paid.
	SafeToReissue bool `json:"safe_to_reissue"`
	// ConfirmedBy is closeorder, orderquery, or empty when nothing was confirmed.
	ConfirmedBy string `json:"confirmed_by,omitempty"`
	// Gateway is what the gateway said, if it said anything.
	Gateway *Gateway `json:"gateway,omitempty"`

	// Attempts is the number of calls made to the gateway for the request.
	Attempts int `json:"attempts"`
	// Replay is the replay number of the request, 0 for an original.
	Replay int `json:"replay"`

	RequestedAt time.Time `json:"requested_at,omitzero"`
	CompletedAt time.Time `json:"completed_at"`
	// Source is the record that was answered.
	Source Source `json:"source"`

	// TraceParent is carried on from the request.
	TraceParent string `json:"-"`
	// Key is the record key: the request's, out_trade_no where that had none.
	Key []byte `json:"-"`
}

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

// Gateway is the gateway's side of an outcome. It never holds a signature.
type Gateway struct {
	Host          string `json:"host,omitempty"`
	ReturnCode    string `json:"return_code,omitempty"`
	ReturnMsg     string `json:"return_msg,omitempty"`
	ResultCode    string `json:"result_code,omitempty"`
	ErrCode       string `json:"err_code,omitempty"`
	ErrCodeDes    string `json:"err_code_des,omitempty"`
	TradeState    string `json:"trade_state,omitempty"`
	TransactionID string `json:"transaction_id,omitempty"`
	// TotalFee is in fen (1/100 CNY), 0 when unknown.
	TotalFee int64 `json:"total_fee,omitempty"`
	// TimeEnd is when the buyer paid, as the gateway wrote it (yyyyMMddHHmmss, Beijing time).
	TimeEnd string `json:"time_end,omitempty"`
}

// Order returns the identity of the order the outcome is about.
func (o Outcome) Order() Order {
	return Order{MchID: o.MchID, SubMchID: o.SubMchID, OutTradeNo: o.OutTradeNo}
}
