package closer

import (
	"cmp"
	"fmt"
	"strconv"
	"time"
)

// gather keeps the gateway's words for the verdict. Of an answer that could
// not be believed only the host is kept. A query does not overwrite what the
// close was answered.
func (r *run) gather(call Call, h *host, a answer) {
	e := &r.evidence
	if e.ReturnCode == "" {
		e.Host = h.url
	}
	if a.failure != "" {
		return
	}
	f := a.fields
	if call == CallClose || e.ReturnCode == "" {
		e.Host = h.url
		e.ReturnCode, e.ReturnMsg = r.id.said(f.get("return_code")), r.id.said(cmp.Or(f.get("return_msg"), f.get("retmsg")))
		e.ResultCode, e.ErrCode, e.ErrCodeDes = r.id.said(f.get("result_code")), r.id.said(f.get("err_code")), r.id.said(f.get("err_code_des"))
	}
	if call != CallQuery || !a.verified {
		return
	}
	e.TradeState, e.TransactionID, e.TimeEnd = f.get("trade_state"), f.get("transaction_id"), f.get("time_end")
	e.TotalFee = 0
	if fee, err := strconv.ParseInt(f.get("total_fee"), 10, 64); err == nil && fee > 0 {
		e.TotalFee = fee
	}
}

// concluded is the verdict of a ruling.
func (r *run) concluded(ru ruling) Verdict {
	code, why := r.last.code, r.last.reason
	if ru.confirmedBy == ConfirmedByOrderQuery {
		why = "orderquery says " + r.tradeCode
		if r.last.class != ru.class || r.lastTrade == tradeUnknown {
			code = r.tradeCode
		}
	}
	return Verdict{Class: ru.class, Code: code, Message: why, ConfirmedBy: ru.confirmedBy, SafeToReissue: ru.safe}
}

// unconfirmed is the verdict about a doubt that the query has not ended. Where
// the host gave it no answer, that is what there is to say.
func (r *run) unconfirmed(code, why string) Verdict {
	if f := Failure(r.tradeCode); r.lastTrade == unanswered && f.hostDown() {
		return Verdict{Class: NoAnswer, Code: string(f), Message: why}
	}
	return Verdict{Class: Temporary, Code: code, Message: why}
}

// unsettled is the verdict about an order that is not there, yet.
func (r *run) unsettled(code string) Verdict {
	return Verdict{
		Class: Temporary, Code: code, RetryAfter: max(r.c.cfg.SettleAge-time.Since(r.created), 0),
		Message: "the gateway does not know the order, which is so young that its create call may still arrive",
	}
}

// refused is the verdict about a merchant whose calls cannot work.
func (r *run) refused() Verdict {
	return Verdict{Class: MerchantRefused, Code: r.last.code, Message: r.last.reason, Scope: r.scope, Unsigned: r.last.unsigned}
}

// exhausted is the verdict when the budget, or the bound of a certain answer,
// is over.
func (r *run) exhausted() Verdict {
	d := r.last
	switch d.class {
	case Unknown:
		if r.c.cfg.Confirm != ConfirmNever && (r.lastTrade == notQueried || r.lastTrade == unanswered) {
			// In trouble the query may not have come through: that is no
			// reason of the order's own to fail.
			return r.unconfirmed(cmp.Or(d.code, "UNKNOWN"), d.reason+", and orderquery has not been answered")
		}
		return Verdict{Class: Failed, Code: cmp.Or(d.code, "UNKNOWN"), Message: d.reason}
	case NoAnswer:
		return Verdict{Class: NoAnswer, Code: d.code, Message: d.reason, Unsigned: Failure(d.code).unsigned()}
	case MerchantRefused:
		return r.refused()
	case Closed, Paid, Failed:
		if r.lastTrade == notQueried {
			r.lastTrade, r.tradeCode = unanswered, "not asked"
		}
		if ru := r.rule(); ru.step == conclude {
			return r.concluded(ru)
		}
		// The doubt was not ended: what the query said, or did not, is why.
		return r.unconfirmed(r.tradeCode, fmt.Sprintf("%s, but orderquery does not confirm it: %s", d.reason, r.tradeCode))
	}
	// What the table said, and nothing of what concludes. Temporary where no close was made.
	return Verdict{Class: cmp.Or(d.class, Temporary), Code: d.code, Message: d.reason, RetryAfter: d.wait, Unsigned: d.unsigned, Unworkable: d.unworkable}
}
