package gatewaysim

import (
	"cmp"
	"slices"
	"time"
)

// submission is what only an order has that a create call came for.
type submission struct {
	book *book
	key  Order
	late []*lateCreate // on their way, by arrival

	// created: a create call took effect. What it said counts from then on; a
	// later one of the same number changes nothing.
	created  bool
	purchase string // attach
}

// lateCreate is a create call that has come in, and takes effect later. The
// book's lock guards it.
type lateCreate struct {
	at   int64 // Unix time in ns
	req  *request
	code string // what it is answered, once it took effect
}

// createLate lets a create call take effect at a time, whoever waits for it.
func (b *book) createLate(o *order, req *request, at time.Time) *lateCreate {
	b.mu.Lock()
	defer b.mu.Unlock()
	late := &lateCreate{at: at.UnixNano(), req: req}
	sub := b.submission(o, req.order)
	i, _ := slices.BinarySearchFunc(sub.late, late, func(a, b *lateCreate) int { return cmp.Or(cmp.Compare(a.at, b.at), -1) })
	sub.late = slices.Insert(sub.late, i, late)
	o.schedule(at, createCall)
	return late
}

// arrive lets the first of the late create calls take effect.
func (sub *submission) arrive(o *order, at int64) {
	late := sub.late[0]
	if sub.late = sub.late[1:]; len(sub.late) == 0 {
		sub.late = nil
	}
	late.code = sub.book.create(o, late.req, time.Unix(0, at))
}

// create lets a create call take effect, and returns the code of why not.
func (b *book) create(o *order, req *request, now time.Time) (code string) {
	if code = o.create(now, parseFee(req.fields["total_fee"])); code != "" {
		return code
	}
	sub := b.submission(o, req.order)
	if sub.created {
		return ""
	}
	sub.created = true
	sub.purchase = req.fields["attach"]
	if madeUp := o.events[0].what == Found; !madeUp || !b.hasBuyer(o) { // else he came when it was
		b.buyer(o, req.order, now)
	}
	return ""
}

func (b *book) submission(o *order, key Order) *submission {
	if o.submission == nil {
		o.submission = &submission{book: b, key: key}
	}
	return o.submission
}

// purchase is the attach of the create call, empty for none.
func (o *order) purchase() string {
	if o.submission == nil {
		return ""
	}
	return o.submission.purchase
}
