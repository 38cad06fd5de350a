package gatewaysim

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Book returns every order, sorted by merchant, sub-merchant and number, as
// of now. The order book is the truth; it shares no memory with the
// Simulator.
func (s *Simulator) Book() []Entry {
	b := &s.book
	now := b.open()
	defer b.mu.Unlock()
	entries := make([]Entry, 0, len(b.orders))
	for key, o := range b.orders {
		o.catchUp(now)
		entries = append(entries, b.entry(key, o))
	}
	slices.SortFunc(entries, func(x, y Entry) int {
		return cmp.Or(cmp.Compare(x.MchID, y.MchID), cmp.Compare(x.SubMchID, y.SubMchID), cmp.Compare(x.OutTradeNo, y.OutTradeNo))
	})
	return entries
}

// Lookup returns one order as of now. It reports false for one that nobody
// asked for and nobody created; asking does not make one up.
func (s *Simulator) Lookup(key Order) (Entry, bool) {
	b := &s.book
	now := b.open()
	defer b.mu.Unlock()
	o := b.orders[key]
	if o == nil {
		return Entry{}, false
	}
	o.catchUp(now)
	return b.entry(key, o), true
}

func (b *book) entry(key Order, o *order) Entry {
	e := Entry{
		Order: key, Behaviour: o.behaviour.Prefix,
		State: o.state, Payable: o.state.Payable(), CreateInFlight: o.createInFlight(),
		TotalFee: o.fee, Purchase: o.purchase(),
		Closes: int(o.closes), Queries: int(o.queries), Creates: int(o.creates),
		InProgress: int(o.inProgress), MaxInProgress: int(o.maxInProgress), RepeatedNonces: int(o.repeat),
		CallsForgotten: int(o.forgotten),
	}
	if o.state.WasPaid() {
		e.TransactionID = transactionID(b.cfg.Seed, key)
	}
	if n := o.notice(); n != nil {
		e.Noticed = n.taken
	}
	if b.cfg.History == 0 {
		e.CallsForgotten = e.Closes + e.Queries + e.Creates
	}
	for _, ev := range o.events {
		e.Events = append(e.Events, Event{At: time.Unix(0, ev.at), What: ev.what, State: ev.state})
	}
	for _, r := range o.calls {
		c := Call{Order: key, Op: r.op, N: int(r.n), Host: r.host, Remote: r.remote, Start: time.Unix(0, r.start), Answer: r.answer, GaveUp: r.gaveUp}
		if r.end != 0 {
			c.End = time.Unix(0, r.end)
		}
		e.Calls = append(e.Calls, c)
	}
	return e
}

// Stats are counts over the whole life of a [Simulator].
type Stats struct {
	// Calls came in, refused ones included. InProgress go on now;
	// MaxInProgress was their greatest number at once.
	Calls, InProgress, MaxInProgress int
	// Answers counts accepted calls that have ended, by Call.Answer; Refusals
	// counts the others.
	Answers, Refusals map[string]int
	// Orders counts the orders in the book by their state now.
	Orders map[State]int
}

// Stats returns the counts as of now. It looks at every order.
func (s *Simulator) Stats() Stats {
	b := &s.book
	now := b.open()
	defer b.mu.Unlock()
	st := Stats{
		Calls: b.calls, InProgress: b.inProgress, MaxInProgress: b.maxInProgress,
		Answers: maps.Clone(b.answers), Refusals: maps.Clone(b.refusals), Orders: make(map[State]int),
	}
	for _, o := range b.orders {
		o.catchUp(now)
		st.Orders[o.state]++
	}
	return st
}
