package world

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// checkCalls: calls of one order follow each other (G4), none is made for
// what is finished and committed (G6), and not too many go on at once (G7).
func (c *checker) checkCalls() {
	for order, calls := range c.callIndex() {
		if order.OutTradeNo == "" {
			continue
		}
		for i := 1; i < len(calls); i++ {
			a, b := calls[i-1], calls[i]
			if a.End.IsZero() || b.Start.Before(a.End) {
				c.find(SideBySide, order, events.Source{}, "%s by %s from %v to %v, and %s by %s from %v", a.Op, a.Caller, a.Start, a.End, b.Op, b.Caller, b.Start)
				break
			}
		}
	}
	c.checkRedone()
	c.checkInFlight()
}

// checkRedone looks for calls of orders all of whose requests were finished
// and committed before the call began.
func (c *checker) checkRedone() {
	if len(c.Looks) == 0 {
		return
	}
	looks := make([]commits, len(c.Looks))
	for i, l := range c.Looks {
		looks[i] = readLook(l)
	}
	for order, calls := range c.callIndex() {
		requests := c.byOrder[order]
		if len(requests) == 0 {
			continue
		}
		for _, call := range calls {
			i, _ := slices.BinarySearchFunc(looks, call.Start, func(l commits, t time.Time) int { return l.look.At.Compare(t) })
			if i == 0 {
				continue // no look before the call
			}
			look := looks[i-1]
			open := slices.ContainsFunc(requests, func(r *request) bool {
				return !look.finished(r.record) || look.waits(r) || len(r.retries) > 0 && !r.answeredBy(look.look)
			})
			if !open {
				c.findFor(requests[0], Redone, "%s by %s at %v, all was finished and committed at %v", call.Op, call.Caller, call.Start, look.look.At)
				break
			}
		}
	}
}

// checkInFlight counts the calls that go on at the same time.
func (c *checker) checkInFlight() {
	if c.MaxInFlight == 0 {
		return
	}
	type step struct {
		at time.Time
		by int
	}
	var steps []step
	for _, call := range c.Calls {
		steps = append(steps, step{call.Start, 1})
		if !call.End.IsZero() {
			steps = append(steps, step{call.End, -1})
		}
	}
	// At one moment the ends come first: a slot that is free is used at once.
	slices.SortFunc(steps, func(a, b step) int { return cmp.Or(a.at.Compare(b.at), a.by-b.by) })
	now, most := 0, 0
	var when time.Time
	for _, s := range steps {
		if now += s.by; now > most {
			most, when = now, s.at
		}
	}
	if most > c.MaxInFlight {
		c.find(TooMany, events.Order{}, events.Source{}, "%d calls at once at %v, at most %d are allowed", most, when, c.MaxInFlight)
	}
}

// callIndex is the calls by order, each by start.
func (c *checker) callIndex() map[events.Order][]Call {
	if c.byCall == nil {
		c.byCall = make(map[events.Order][]Call)
		for _, call := range c.Calls {
			c.byCall[call.Order] = append(c.byCall[call.Order], call)
		}
		for _, calls := range c.byCall {
			slices.SortStableFunc(calls, func(a, b Call) int { return a.Start.Compare(b.Start) })
		}
	}
	return c.byCall
}

func (c *checker) callsOf(o events.Order) []Call { return c.callIndex()[o] }

func (c *checker) bookByOrder() map[events.Order]gatewaysim.Entry {
	book := make(map[events.Order]gatewaysim.Entry, len(c.Book))
	for _, e := range c.Book {
		book[bookKey(e)] = e
	}
	return book
}

// behavioursThatFail are the orders that can only fail, by what the
// simulator's own table says of their prefix.
func behavioursThatFail(book []gatewaysim.Entry) map[events.Order]bool {
	fails := make(map[string]bool)
	for _, b := range gatewaysim.Behaviours() {
		fails[b.Prefix] = strings.HasPrefix(b.Outcome, "failed")
	}
	orders := make(map[events.Order]bool)
	for _, e := range book {
		if fails[e.Behaviour] {
			orders[bookKey(e)] = true
		}
	}
	return orders
}
