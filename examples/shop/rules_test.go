package main

import (
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
)

func TestWhatAnOutcomeLeadsTo(t *testing.T) {
	const newest, older = "N-1/close/2", "N-1/close/1"
	outcome := func(result events.Result, safe bool, request string) events.Outcome {
		return events.Outcome{Result: result, SafeToReissue: safe, RequestID: request, Code: "CODE", Message: "why"}
	}
	paidWith := func(fee int64) events.Outcome {
		o := outcome(events.Paid, false, newest)
		o.Gateway = &events.Gateway{TotalFee: fee}
		return o
	}
	refunded := paidWith(500)
	refunded.Gateway.TradeState = "REFUND"
	for _, tt := range []struct {
		what      string
		purchase  string
		payment   string
		newNumber bool
		outcome   events.Outcome
		want      decision
	}{
		{"safe, and a new number is wanted", open, closing, true, outcome(events.Closed, true, newest), decision{payment: closed, reissue: true}},
		{"safe, and nobody wants to buy any more", open, closing, false, outcome(events.Closed, true, newest), decision{payment: closed, purchase: givenUp}},
		{"safe by a request that was asked again since: proof all the same", open, closing, true, outcome(events.Closed, true, older), decision{payment: closed, reissue: true}},
		{"safe, and the purchase was paid with another number", paid, closing, true, outcome(events.Closed, true, newest), decision{payment: closed}},
		{"safe, and the purchase is given up", givenUp, closing, true, outcome(events.Closed, true, newest), decision{payment: closed}},
		{"safe a second time, by another request: no second new number", open, closed, true, outcome(events.Closed, true, newest), decision{}},
		{"closed by somebody else's request: we ask ourselves, who know when the create call was sent", open, payable, false, outcome(events.Closed, true, "theirs"), decision{askAgain: time.Second}},
		{"closed by somebody else's request, while ours is under way", open, closing, true, outcome(events.Closed, true, "theirs"), decision{}},
		{"somebody else's request failed", open, payable, false, outcome(events.Failed, false, "theirs"), decision{}},
		{"closed and not safe: no new number, asked again", open, closing, true, outcome(events.Closed, false, newest), decision{askAgain: unsafePause}},
		{"closed and not safe, and asked again already", open, closing, true, outcome(events.Closed, false, older), decision{}},
		{"closed and not safe, of a number that is closed", open, closed, true, outcome(events.Closed, false, newest), decision{}},
		{"paid: delivered, and no other number stays payable", open, closing, true, paidWith(500), decision{payment: paid, purchase: paid, closeOthers: true}},
		{"paid, without an amount in the outcome", open, closing, true, outcome(events.Paid, false, newest), decision{payment: paid, purchase: paid, closeOthers: true}},
		{"paid with another amount: to a person", open, closing, true, paidWith(499), decision{todo: "amount", why: "paid with 499 fen in place of 500: not delivered, look at the gateway"}},
		{"paid, and refunded by somebody: to a person", open, closing, true, refunded, decision{todo: "amount", why: "paid, and money went back: not delivered, look at the gateway"}},
		{"paid, by an older request", open, closing, true, outcome(events.Paid, false, older), decision{payment: paid, purchase: paid, closeOthers: true}},
		{"paid, as the notice has said before", paid, paid, true, paidWith(500), decision{}},
		{"paid, of a purchase that another number has paid", paid, closing, true, paidWith(500), decision{payment: paid, todo: "refund", why: "refund 500 fen, unless they went back already: the purchase was paid before"}},
		{"paid, of a purchase that is given up", givenUp, closed, false, paidWith(500), decision{payment: paid, todo: "refund", why: "refund 500 fen, unless they went back already: the purchase was given_up before"}},
		{"failed: to a person, and asked again", open, closing, true, outcome(events.Failed, false, newest), decision{askAgain: 12 * time.Second, todo: "close", why: "close failed, CODE: why"}},
		{"failed, and asked again already", open, closing, true, outcome(events.Failed, false, older), decision{}},
		{"failed, of a number that is closed", open, closed, true, outcome(events.Failed, false, newest), decision{}},
		{"failed, of a number that was paid", paid, paid, true, outcome(events.Failed, false, newest), decision{}},
		{"closed, of a number that was paid: two proofs that contradict", paid, paid, true, outcome(events.Closed, true, newest),
			decision{todo: "close", why: "closed by an outcome, and paid by what came before: look at the gateway"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			p := purchase{id: "N", fee: 500, state: tt.purchase}
			pay := payment{outTradeNo: "N-1", purchase: "N", n: 1, fee: 500, state: tt.payment, newNumber: tt.newNumber, requests: 2}
			if got := onOutcome(p, pay, tt.outcome); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestPausesGrowAndEnd(t *testing.T) {
	last := time.Duration(0)
	for requests := range 100 {
		pause := failedPause(requests)
		if pause < last || pause <= 0 || pause > time.Hour {
			t.Fatalf("after %d requests the pause is %v, before it was %v", requests, pause, last)
		}
		last = pause
	}
	if last != time.Hour {
		t.Errorf("the longest pause is %v", last)
	}
}
