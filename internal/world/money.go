package world

import (
	"fmt"
	"strings"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// Balance is the money of a shop, each purchase by what the gateway's order book
// says that its buyer has paid and by what the shop has sent out. Of the sums none
// comes from what the shop has been told.
type Balance struct {
	Purchases int
	// Delivered and GivenUp are how purchases end that nothing is wrong with;
	// Numbers is how many all of them had together.
	Delivered, GivenUp, Numbers int
	// PaidTwice: the buyer has paid more than once, and Twice is by how much too
	// much, in fen.
	PaidTwice int
	Twice     int64
	// NeverDelivered: the buyer has paid and got nothing, and Undelivered is how
	// much.
	NeverDelivered int
	Undelivered    int64
	// DeliveredUnpaid: sent out, or sent out twice, without as much money.
	DeliveredUnpaid int
	// LeftOpen: neither paid nor given up, or with a number that can still be paid.
	LeftOpen int
	// Examples of what is wrong, some of each.
	Examples []string
}

// Balance sums up the money, by the order book at the end.
func (s *Seller) Balance(book []gatewaysim.Entry) Balance {
	s.mu.Lock()
	defer s.mu.Unlock()
	orders := make(map[events.Order]gatewaysim.Entry, len(book))
	for _, e := range book {
		orders[bookKey(e)] = e
	}
	b := Balance{Purchases: len(s.purchases)}
	for _, p := range s.purchases {
		received, payableStill := int64(0), false
		for _, pay := range p.payments {
			e := orders[pay.order()]
			if e.State.WasPaid() {
				received += e.TotalFee
			}
			payableStill = payableStill || e.Payable || e.CreateInFlight
		}
		b.Numbers += len(p.payments)
		b.count(p, received, payableStill)
	}
	return b
}

// count enters one purchase. It can be wrong in more than one way.
func (b *Balance) count(p *purchase, received int64, payable bool) {
	fine := true
	wrong := func(n *int, what string, args ...any) {
		fine = false
		if *n++; *n <= 3 {
			b.Examples = append(b.Examples, p.id+" "+fmt.Sprintf(what, args...))
		}
	}
	if received > p.fee {
		wrong(&b.PaidTwice, "was paid %d fen of %d", received, p.fee)
		b.Twice += received - p.fee
	}
	if received > 0 && p.delivered == 0 {
		wrong(&b.NeverDelivered, "was paid %d fen and not delivered", received)
		b.Undelivered += received
	}
	if int64(p.delivered)*p.fee > received {
		wrong(&b.DeliveredUnpaid, "was delivered %d times for %d fen of %d", p.delivered, received, p.fee)
	}
	if p.state == purchaseOpen || payable {
		wrong(&b.LeftOpen, "is open: state %d, payable %v", p.state, payable)
	}
	switch {
	case !fine:
	case p.delivered > 0:
		b.Delivered++
	default:
		b.GivenUp++
	}
}

// Wrong is how many things are wrong.
func (b Balance) Wrong() int { return b.PaidTwice + b.NeverDelivered + b.DeliveredUnpaid + b.LeftOpen }

// Add sums up the balances of shops.
func (b *Balance) Add(o Balance) {
	b.Purchases += o.Purchases
	b.Delivered += o.Delivered
	b.GivenUp += o.GivenUp
	b.Numbers += o.Numbers
	b.PaidTwice += o.PaidTwice
	b.Twice += o.Twice
	b.NeverDelivered += o.NeverDelivered
	b.Undelivered += o.Undelivered
	b.DeliveredUnpaid += o.DeliveredUnpaid
	b.LeftOpen += o.LeftOpen
	b.Examples = append(b.Examples, o.Examples...)
}

func (b Balance) String() string {
	return fmt.Sprintf("%d purchases with %d numbers: %d delivered, %d given up; %d paid twice, %d never delivered, %d delivered unpaid, %d left open%s",
		b.Purchases, b.Numbers, b.Delivered, b.GivenUp, b.PaidTwice, b.NeverDelivered, b.DeliveredUnpaid, b.LeftOpen,
		strings.TrimRight("\n  "+strings.Join(b.Examples, "\n  "), "\n "))
}
