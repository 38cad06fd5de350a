package gatewaysim

import (
	"cmp"
	"slices"
	"time"
)

// submission is what only an order has that a create call came for.
type submission struct {
	key  Order
	late int32 // create calls on their way

	// created: a create call took effect. What it said counts from then on; a
	// later one of the same number changes nothing.
	created  bool
	purchase string // attach
	notice   *notice
}

// lateCreate is a create call that has come in, and takes effect later. The
// book's lock guards it.
type lateCreate struct {
	at    int64 // Unix time in ns
	order *order
	req   *request
	code  string // what it is answered, once it took effect
}

// createLate lets a create call take effect at a time, whoever waits for it.
func (b *book) createLate(o *order, req *request, at time.Time) *lateCreate {
	b.open()
	defer b.mu.Unlock()
	late := &lateCreate{at: at.UnixNano(), order: o, req: req}
	b.submission(o, req.order).late++
	i, _ := slices.BinarySearchFunc(b.late, late, func(a, b *lateCreate) int { return cmp.Or(cmp.Compare(a.at, b.at), -1) })
	b.late = slices.Insert(b.late, i, late)
	b.agenda.add(late.at, o)
	return late
}

// arrive lets the late create calls take effect that are due, by time: a new
// number of a purchase may bring a payment to its other numbers, so that they
// cannot wait until somebody looks at the order itself.
func (b *book) arrive(now time.Time) {
	for len(b.late) > 0 && b.late[0].at <= now.UnixNano() {
		due := b.late[0]
		b.late[0] = nil
		if b.late = b.late[1:]; len(b.late) == 0 {
			b.late = nil
		}
		at := time.Unix(0, due.at)
		due.order.catchUp(at)
		due.order.submission.late--
		due.code = b.create(due.order, due.req, at)
	}
}

// create lets a create call take effect, or returns the code of why not.
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
	sub.notice = newNotice(&b.agenda, req)
	for _, e := range o.plan {
		sub.notice.planned(o, e.at)
	}
	b.buyersOf(o, now)
	return ""
}

func (b *book) submission(o *order, key Order) *submission {
	if o.submission == nil {
		o.submission = &submission{key: key}
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
