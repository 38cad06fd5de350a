package world

import (
	"context"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// sellerWith has one purchase of 100 fen with numbers in the states that the order book
// has of them.
func sellerWith(rules Rules, numbers ...gatewaysim.State) (*Seller, *purchase, []gatewaysim.Entry) {
	s := &Seller{
		Sales: Sales{Rules: rules}, payments: make(map[events.Order]*payment),
		inbox: make(map[requestName]events.Outcome), seen: make(map[string]bool),
	}
	p := &purchase{id: "p", merchant: merchants()[0], fee: 100}
	s.purchases = append(s.purchases, p)
	var book []gatewaysim.Entry
	for _, state := range numbers {
		pay := p.newPayment()
		s.payments[pay.order()] = pay
		book = append(book, gatewaysim.Entry{
			Order: gatewaysim.Order{MchID: pay.merchant.MchID, OutTradeNo: pay.outTradeNo},
			State: state, Payable: state.Payable(), TotalFee: 100,
		})
	}
	return s, p, book
}

func TestTheMoneyOfAPurchase(t *testing.T) {
	const unpaid, done = gatewaysim.NotPay, gatewaysim.Closed
	for name, c := range map[string]struct {
		numbers  []gatewaysim.State
		state    purchaseState
		times    int // delivered
		inFlight bool
		want     Balance
	}{
		"paid once and delivered": {
			numbers: []gatewaysim.State{done, gatewaysim.Paid}, state: purchasePaid, times: 1, want: Balance{Delivered: 1},
		},
		"given up, and nobody can pay": {
			numbers: []gatewaysim.State{done, done}, state: purchaseGivenUp, want: Balance{GivenUp: 1},
		},
		"given up before its order reached the gateway": {
			numbers: []gatewaysim.State{gatewaysim.Unknown}, state: purchaseGivenUp, want: Balance{GivenUp: 1},
		},
		"paid with both numbers": {
			numbers: []gatewaysim.State{gatewaysim.Paid, gatewaysim.Paid}, state: purchasePaid, times: 1, want: Balance{PaidTwice: 1, Twice: 100},
		},
		"delivered for each of two payments": {
			numbers: []gatewaysim.State{gatewaysim.Paid, gatewaysim.Paid}, state: purchasePaid, times: 2, want: Balance{PaidTwice: 1, Twice: 100},
		},
		"paid and given up": {
			numbers: []gatewaysim.State{gatewaysim.Paid}, state: purchaseGivenUp, want: Balance{NeverDelivered: 1, Undelivered: 100},
		},
		"paid and never heard of": {
			numbers: []gatewaysim.State{gatewaysim.Paid}, want: Balance{NeverDelivered: 1, Undelivered: 100, LeftOpen: 1},
		},
		"delivered and not paid": {
			numbers: []gatewaysim.State{done}, state: purchasePaid, times: 1, want: Balance{DeliveredUnpaid: 1},
		},
		"delivered twice for one payment": {
			numbers: []gatewaysim.State{gatewaysim.Paid}, state: purchasePaid, times: 2, want: Balance{DeliveredUnpaid: 1},
		},
		"given up, and somebody can pay": {
			numbers: []gatewaysim.State{unpaid}, state: purchaseGivenUp, want: Balance{LeftOpen: 1},
		},
		"given up, and its create is on its way": {
			numbers: []gatewaysim.State{gatewaysim.Unknown}, inFlight: true, state: purchaseGivenUp, want: Balance{LeftOpen: 1},
		},
		"delivered, and the other number can be paid": {
			numbers: []gatewaysim.State{gatewaysim.Paid, unpaid}, state: purchasePaid, times: 1, want: Balance{LeftOpen: 1},
		},
		"neither paid nor given up": {
			numbers: []gatewaysim.State{done}, want: Balance{LeftOpen: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, p, book := sellerWith(Careful, c.numbers...)
			p.state, p.delivered, book[0].CreateInFlight = c.state, c.times, c.inFlight
			got := s.Balance(book)
			got.Examples = nil
			c.want.Purchases, c.want.Numbers = 1, len(c.numbers)
			if text, want := got.String(), c.want.String(); text != want || got.Twice != c.want.Twice || got.Undelivered != c.want.Undelivered {
				t.Errorf("got  %v (%d, %d fen)\nwant %v (%d, %d fen)", text, got.Twice, got.Undelivered, want, c.want.Twice, c.want.Undelivered)
			}
		})
	}
}

// What a shop has done after the outcomes of one number: how many numbers there
// are, the state of the purchase, and whether it asks again.
func TestWhatAShopDoesAboutOutcomes(t *testing.T) {
	outcome := func(id, request string, result events.Result, safe bool) events.Outcome {
		return events.Outcome{
			ID: id, Result: result, SafeToReissue: safe, RequestID: request, CompletedAt: time.Unix(1, 0),
			MchID: "1900000109", OutTradeNo: "p-1", Source: events.Source{Topic: "t", Offset: int64(len(id))},
		}
	}
	first := outcome("1", "p-1/1", events.Closed, true)
	copied := outcome("22", "p-1/1", events.Closed, true)
	unsafe := outcome("1", "p-1/1", events.Closed, false)
	failed := outcome("1", "p-1/1", events.Failed, false)
	settled := outcome("333", "p-1/2", events.Paid, false)
	for name, c := range map[string]struct {
		rules    Rules
		deadline bool
		outcomes []events.Outcome
		numbers  int
		state    purchaseState
		listed   bool
	}{
		"safe: a new number":                            {outcomes: []events.Outcome{first}, numbers: 2},
		"safe, and too late to sell: given up":          {deadline: true, outcomes: []events.Outcome{first}, numbers: 1, state: purchaseGivenUp},
		"the same outcome again: nothing":               {outcomes: []events.Outcome{first, first}, numbers: 2},
		"a request sent twice: one new number":          {outcomes: []events.Outcome{first, copied}, numbers: 2},
		"closed and not safe: no new number":            {outcomes: []events.Outcome{unsafe}, numbers: 1},
		"failed: on the list":                           {outcomes: []events.Outcome{failed}, numbers: 1, listed: true},
		"failed, and paid when asked again":             {outcomes: []events.Outcome{failed, settled}, numbers: 1, state: purchasePaid},
		"paid, and a closed of before comes late":       {outcomes: []events.Outcome{settled, first}, numbers: 1, state: purchasePaid},
		"closed alone, by mistake: a new number":        {rules: ClosedIsSafe, outcomes: []events.Outcome{unsafe}, numbers: 2},
		"failed, by mistake: nothing":                   {rules: FailedIsNoise, outcomes: []events.Outcome{failed}, numbers: 1},
		"known ids alone, by mistake: two numbers":      {rules: IDsAlone, outcomes: []events.Outcome{first, copied}, numbers: 3},
		"known ids alone: the same outcome again":       {rules: IDsAlone, outcomes: []events.Outcome{first, first}, numbers: 2},
		"an outcome of an order that is another shop's": {outcomes: []events.Outcome{{MchID: "1900000109", OutTradeNo: "other", Result: events.Closed, SafeToReissue: true}}, numbers: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, p, _ := sellerWith(c.rules, gatewaysim.NotPay)
			s.ctx, s.stop = context.WithCancel(t.Context())
			s.stop() // nothing that is put off goes on
			p.deadline, p.payments[0].state = c.deadline, closing
			for _, o := range c.outcomes {
				s.act(o)
			}
			if len(p.payments) != c.numbers || p.state != c.state || p.payments[0].listed != c.listed {
				t.Errorf("%d numbers, state %d, listed %v; want %d, %d, %v", len(p.payments), p.state, p.payments[0].listed, c.numbers, c.state, c.listed)
			}
		})
	}
}
