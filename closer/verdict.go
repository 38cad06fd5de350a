package closer

import (
	"time"
)

// Values of [Verdict.ConfirmedBy].
const (
	ConfirmedByCloseOrder = "closeorder"
	ConfirmedByOrderQuery = "orderquery"
)

// Codes of our own in [Verdict.Code], beside the names of a [Failure]. All
// other codes are the gateway's, as the gateway spelt them.
const (
	// CodeInvalidRequest: the order's fields cannot be sent. Class Failed, no call was made.
	CodeInvalidRequest = "INVALID_REQUEST"
	// CodeUnknownMerchant: [Merchants] does not know the mch_id. Class Failed, no call was made.
	CodeUnknownMerchant = "UNKNOWN_MERCHANT"
	// CodeMerchantIncomplete: the merchant has no key or no host. Class
	// MerchantRefused, no call was made.
	CodeMerchantIncomplete = "MERCHANT_INCOMPLETE"
	// CodeUnsignedFail: return_code=FAIL, which nobody signs. It concludes
	// nothing; Evidence.ReturnMsg has its words.
	CodeUnsignedFail = "UNSIGNED_FAIL"
	// CodeOwnRate: no call was made, because the merchant's configured rate is
	// used up for longer than a Close may wait. Class Temporary.
	CodeOwnRate = "OWN_RATE_LIMIT"
	// CodeNotAsked: a Query with ConfirmNever. Class Failed, no call was made.
	CodeNotAsked = "NOT_ASKED"
	// CodeInterrupted: the context ended. Class Interrupted.
	CodeInterrupted = "INTERRUPTED"
)

// Verdict is what one Close came to. docs/verdicts.md has the whole table.
type Verdict struct {
	Class Class
	// Code is the gateway's err_code (or result_code, or trade_state), as the
	// gateway spelt it, the name of a [Failure], or one of the Code constants.
	Code string
	// Message is for people; never parse it.
	Message string
	// ConfirmedBy is the call whose reply proves Closed or Paid: one of the
	// ConfirmedBy constants; empty for every other class.
	ConfirmedBy string
	// SafeToReissue is true only for Closed, and only when the number can no
	// longer be paid: a new out_trade_no cannot lead to a double payment.
	SafeToReissue bool
	// Gateway is what the gateway said last, verified or not: see Unsigned.
	Gateway Evidence
	// Unsigned: the class rests on a reply without proof: nobody signed it, or
	// with NoAnswer, it is forged, foreign or incomplete. Then the host did answer:
	// that is no outage. Never true for Closed, Paid and Failed.
	Unsigned bool
	// Unworkable: the words of an unsigned refusal say that the request as it
	// stands cannot work. They conclude nothing, but many more calls are in
	// vain. Only with Temporary.
	Unworkable bool
	// Starved: a call that would have settled more was not made, because no call
	// slot of the host, or no place at the caller's, became free within the
	// budget. It says nothing of the order. Only with Temporary and NoAnswer.
	Starved bool
	// Calls is the number of calls made, closes and queries; LastCall is when
	// the last one began.
	Calls    int
	LastCall time.Time
	// RetryAfter is the least time to wait before asking again; 0 when the
	// gateway gave no reason for a certain one.
	RetryAfter time.Duration
	// Scope is what a MerchantRefused verdict is about; the zero Scope otherwise.
	Scope Scope
}

// Scope is the part of a merchant that the gateway refuses. An empty field
// means every value. It can be a map key.
type Scope struct {
	MchID    string
	AppID    string
	SubMchID string
}

// Evidence is the gateway's side of a verdict. It never holds a signature.
type Evidence struct {
	// Host is the base URL that gave the answer below, or, without one, that
	// was called last.
	Host       string
	ReturnCode string
	ReturnMsg  string
	ResultCode string
	ErrCode    string
	ErrCodeDes string
	// TradeState, TransactionID, TotalFee and TimeEnd come from orderquery.
	TradeState    string
	TransactionID string
	// TotalFee is in fen (1/100 CNY); 0 when unknown.
	TotalFee int64
	// TimeEnd is when the buyer paid, as the gateway wrote it: yyyyMMddHHmmss, Beijing time.
	TimeEnd string
}
