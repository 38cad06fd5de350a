package gatewaysim

import "time"

// Buyers pay orders at random. The share of [Buyers.Share] is of ordinary orders
// that were made up, those whose number has none of the prefixes of [Behaviours],
// and of all that were created. The numbers of one purchase are the created orders
// of a merchant with the same attach: they have one buyer. All shares are 0..1.
type Buyers struct {
	// Share of orders whose buyer tries to pay, once, at any moment Within from
	// the first call of the order or from its creation.
	Share  float64
	Within time.Duration
	// Gap is the share of queries that say NOTPAY after which the buyer pays at
	// once: before whoever asked can close. Of created orders alone.
	Gap float64
	// Twice is the share of purchases whose buyer tries to pay every number that
	// the purchase has ever had, each at any moment Within, when it gets a new one.
	Twice float64
	// CreatedOnly leaves orders alone that were made up.
	CreatedOnly bool
}

// hasBuyer says of an order that was made up whether a buyer may come for it.
func (b *book) hasBuyer(o *order) bool {
	return o.behaviour == &behaviours[0] && !b.cfg.Buyers.CreatedOnly
}

// buyer lets a random buyer pay an order some time.
func (b *book) buyer(o *order, key Order, now time.Time) {
	if b.cfg.Buyers.Share == 0 {
		return
	}
	if d := newDraw(b.cfg.Seed, key, "buyer", 0); d.float() < b.cfg.Buyers.Share {
		o.schedule(now.Add(d.below(b.cfg.Buyers.Within)), PaidByBuyer)
	}
}

// buyersOf lets buyers come for an order that was created: for the order, and
// for every number of its purchase.
func (b *book) buyersOf(o *order, now time.Time) {
	sub := o.submission
	if madeUp := o.events[0].what == Found; !madeUp || !b.hasBuyer(o) { // else he came when it was
		b.buyer(o, sub.key, now)
	}
	purchase := Order{MchID: sub.key.MchID, SubMchID: sub.key.SubMchID, OutTradeNo: sub.purchase}
	if share := b.cfg.Buyers.Twice; share == 0 || sub.purchase == "" || newDraw(b.cfg.Seed, purchase, "twice", 0).float() >= share {
		return
	}
	b.payTwice[purchase] = append(b.payTwice[purchase], o)
	numbers := b.payTwice[purchase]
	if len(numbers) == 1 {
		return
	}
	for _, number := range numbers {
		d := newDraw(b.cfg.Seed, number.submission.key, "twice", len(numbers))
		number.schedule(now.Add(d.below(b.cfg.Buyers.Within)), PaidByBuyer)
	}
}

// asked lets the buyer pay a created order right after a query, the call n,
// that says NOTPAY: a nanosecond later, so that at no moment two things hold.
func (b *book) asked(o *order, n int, now time.Time) {
	if share := b.cfg.Buyers.Gap; share == 0 || o.submission == nil || !o.submission.created ||
		newDraw(b.cfg.Seed, o.submission.key, "gap", n).float() >= share {
		return
	}
	o.schedule(now.Add(1), PaidByBuyer)
}
