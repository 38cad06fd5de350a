package main

import (
	"fmt"
	"time"

	"github.com/closeorder/closeorder/events"
)

// The rules of the shop, and nothing else: what is known goes in, what to do
// comes out. No database, no Kafka, no clock; rules_test.go is their table.

// purchase is what a buyer buys.
type purchase struct {
	id    string
	fee   int64 // fen
	state string
}

// payment is one number of a purchase.
type payment struct {
	outTradeNo string
	purchase   string
	n          int
	fee        int64 // fen
	state      string
	newNumber  bool // wanted once this one is closed; else the purchase is given up
	requests   int  // to close it, so far
	createdAt  int64
	createSent int64 // the last create call
}

// States of a purchase, and of a payment. schema.sql says what they mean.
const (
	open, paid, givenUp               = "open", "paid", "given_up"
	created, payable, closing, closed = "created", "payable", "closing", "closed"
)

// requestID names the n-th request to close a number. It is derived, never
// drawn: whatever is done again after a crash has the same name.
func (p payment) requestID(n int) string { return fmt.Sprintf("%s/close/%d", p.outTradeNo, n) }

// hasAsked reports whether a request is one of ours.
func (p payment) hasAsked(requestID string) bool {
	for n := 1; n <= p.requests; n++ {
		if p.requestID(n) == requestID {
			return true
		}
	}
	return false
}

// decision is what to do, all of it in one transaction. The zero decision is
// to do nothing.
type decision struct {
	payment     string        // its new state, "" for no change
	purchase    string        // its new state, "" for no change; paid is delivered
	reissue     bool          // a new number for the purchase
	closeOthers bool          // other numbers of the purchase that could still be paid
	askAgain    time.Duration // to close the number, after so long, under a new request_id; 0 is not
	todo        string        // a line of this kind for a person,
	why         string        // and what it says
}

// onOutcome is what to do about an outcome that counts: the inbox has dropped
// repeats, and what events.Supersedes does not let through.
func onOutcome(p purchase, pay payment, o events.Outcome) decision {
	switch {
	case o.Result == events.Paid && o.Gateway != nil && o.Gateway.TradeState == "REFUND" && p.state == open:
		// All of it or a part, and not by this program: to deliver is a person's
		// to decide.
		return decision{todo: "amount", why: "paid, and money went back: not delivered, look at the gateway"}

	case o.Result == events.Paid:
		var fee int64
		if o.Gateway != nil {
			fee = o.Gateway.TotalFee
		}
		return onPaid(p, pay, fee)

	case pay.state == closed:
		return decision{} // by the outcome of another request for the number

	case pay.state == paid:
		if o.Result == events.Closed {
			return decision{todo: "close", why: "closed by an outcome, and paid by what came before: look at the gateway"}
		}
		return decision{}

	case !pay.hasAsked(o.RequestID):
		// Somebody else has asked, a person perhaps, who does not know when our last
		// create call was sent. Where that closed the number we ask ourselves.
		if o.Result == events.Closed && pay.state != closing {
			return decision{askAgain: time.Second}
		}
		return decision{}

	case o.SafeToReissue:
		// The one moment at which a new number may be issued: the old one can
		// never be paid. And only while somebody still wants to buy.
		d := decision{payment: closed}
		switch {
		case p.state != open:
		case pay.newNumber:
			d.reissue = true
		default:
			d.purchase = givenUp
		}
		return d

	case o.RequestID != pay.requestID(pay.requests):
		return decision{} // asked again already; the newer request will tell

	case o.Result == events.Closed:
		// Nothing is payable now, but our create call may still arrive and make
		// it so. No new number; ask again when it cannot be on its way any more.
		return decision{askAgain: unsafePause}

	default:
		// Failed: nothing is known, the number may be payable. A person looks why,
		// and we ask again, as many reasons go away by themselves.
		return decision{
			askAgain: failedPause(pay.requests),
			todo:     "close", why: fmt.Sprintf("close failed, %s: %s", o.Code, o.Message),
		}
	}
}

// onPaid is what to do when it is proven that a number was paid: by an outcome
// or by a notice, whichever comes first. fee is what the proof says in fen, 0
// where it does not.
func onPaid(p purchase, pay payment, fee int64) decision {
	switch {
	case pay.state == paid:
		return decision{} // told before: outcomes and notices race, and notices come again
	case fee != 0 && fee != pay.fee:
		return decision{todo: "amount", why: fmt.Sprintf("paid with %d fen in place of %d: not delivered, look at the gateway", fee, pay.fee)}
	case p.state == open:
		return decision{payment: paid, purchase: paid, closeOthers: true}
	default:
		// Delivered for another number, or given up: this money goes back.
		return decision{payment: paid, todo: "refund", why: fmt.Sprintf("refund %d fen, unless they went back already: the purchase was %s before", pay.fee, p.state)}
	}
}

// unsafePause is how long after a "closed" that is not safe the close is asked
// for again: longer than any create call takes.
const unsafePause = time.Minute

// failedPause grows: a reason that a person has to mend takes its time.
func failedPause(requests int) time.Duration {
	return min(3*time.Second<<min(requests, 12), time.Hour)
}
