package gatewaysim

import (
	"cmp"
	"slices"
	"time"
)

// act lets the call take effect, and says what to answer. The reply is not
// signed yet.
func (c *conversation) act() *reply {
	b := &c.s.book
	now := b.open()
	defer b.mu.Unlock()
	c.order.catchUp(now)
	rep := c.newReply(c.req)

	fault := c.fault
	untouched := fault.Code != "" && !fault.Applied || fault.ReturnMsg != ""
	code := ""
	switch {
	case c.call.Op == CloseOrder && !untouched:
		code = c.order.close(now)
	case c.late != nil:
		code = c.late.code
	case c.call.Op == UnifiedOrder && !untouched:
		code = b.create(c.order, c.req, now)
	case c.call.Op == OrderQuery && c.order.state == Unknown && fault.TradeState == 0:
		code = "ORDERNOTEXIST"
	}
	switch {
	case fault.Code == "SUCCESS" && (c.call.Op != OrderQuery || fault.TradeState != 0):
		code = ""
	case fault.Code != "" && fault.Code != "SUCCESS":
		code = fault.Code
	}

	switch {
	case fault.ReturnMsg != "":
		return failReply(fault.ReturnMsg)
	case code != "":
		return rep.fail(code)
	case c.call.Op == OrderQuery:
		state := c.order.state
		if fault.TradeState != 0 {
			state = fault.TradeState
		}
		rep.queried(c.req, state, c.order.fee, c.order.paidAt(), transactionID(b.cfg.Seed, c.req.order))
		if state == NotPay {
			b.asked(c.order, c.call.N, now)
		}
		rep.add("attach", cmp.Or(fault.Attach, c.order.purchase()))
		return rep
	case c.call.Op == UnifiedOrder:
		rep.success()
		id := c.s.draw(c.req.order, "prepay", 0).text(20, "0123456789abcdef")
		rep.add("trade_type", c.req.fields["trade_type"])
		rep.add("prepay_id", "wx"+id)
		if c.req.fields["trade_type"] == "NATIVE" {
			rep.add("code_url", "weixin://wxpay/bizpayurl?pr="+id[:9])
		}
		return rep
	default:
		return rep.success()
	}
}

// close closes what is payable and returns "", or says why not.
func (o *order) close(now time.Time) (code string) {
	switch o.state {
	case UserPaying:
		if o.behaviour.busy != "" {
			return o.behaviour.busy
		}
		return "USERPAYING"
	case Unknown:
		return "ORDERNOTEXIST"
	}
	if code := o.ended(); code != "" {
		return code
	}
	o.set(now, Closed, CloseAccepted)
	return ""
}

// create makes an order payable that was unknown; asking again for one that
// is payable is fine.
func (o *order) create(now time.Time, fee int64) (code string) {
	if code := o.ended(); code != "" {
		o.set(now, o.state, CreateRefused)
		return code
	}
	if o.state == Unknown {
		o.fee = fee
		o.set(now, NotPay, Created)
	}
	return ""
}

// ended is the code for an order that can neither be paid nor closed again.
func (o *order) ended() (code string) {
	switch o.state {
	case Paid, Refunded:
		return "ORDERPAID"
	case Closed:
		return "ORDERCLOSED"
	case Revoked:
		return "ORDERREVERSED"
	}
	return ""
}

// paidAt is when the buyer paid; of an order that was found paid, a minute
// before that.
func (o *order) paidAt() time.Time {
	for _, e := range slices.Backward(o.events) {
		if e.what == PaidByBuyer {
			return time.Unix(0, e.at)
		}
	}
	return time.Unix(0, o.events[0].at).Add(-time.Minute)
}
