package world

import (
	"cmp"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// checkCalls: calls of one order follow each other (G4), each is made by an
// owner, for something that is to be done (G6), and not too many go on at
// once (G7).
func (c *checker) checkCalls() {
	for order, calls := range c.calls {
		if len(c.byOrder[order]) == 0 {
			continue // refused unread, or not about a request
		}
		calls = slices.DeleteFunc(slices.Clone(calls), func(c Call) bool { return c.Late })
		for i := 1; i < len(calls); i++ {
			a, b := calls[i-1], calls[i]
			if a.End.IsZero() || b.Start.Before(a.End) {
				c.find(SideBySide, order, events.Source{}, "%s by %s from %v to %v, and %s by %s from %v", a.Op, a.Caller, a.Start, a.End, b.Op, b.Caller, b.Start)
				break
			}
		}
	}
	c.checkAborted()
	c.checkWork()
	c.checkFences()
	c.checkInFlight()
}

// checkAborted: no call is made for an order that only requests of aborted
// transactions name (G2). Where others name it too nobody can tell.
func (c *checker) checkAborted() {
	seen := make(map[events.Order]bool)
	for _, rec := range c.Aborted {
		order := orderOf(rec.Message)
		calls := c.calls[order]
		if order.OutTradeNo != "" && len(calls) > 0 && len(c.byOrder[order]) == 0 && !seen[order] {
			seen[order] = true
			c.find(AbortedServed, order, rec.Source(), "%d calls, the first a %s by %s at %v, for a request whose transaction was aborted", len(calls), calls[0].Op, calls[0].Caller, calls[0].Start)
		}
	}
}

// checkWork: when a call begins, something about its order is still to be
// done, and due: a request or a retry that was not finished at the last look
// before (G6), and whose time had come.
func (c *checker) checkWork() {
	for order, calls := range c.calls {
		requests := c.byOrder[order]
		if len(requests) == 0 {
			continue
		}
		for _, call := range calls {
			i, found := slices.BinarySearchFunc(c.looks, call.Start, func(l commits, t time.Time) int { return l.look.At.Compare(t) })
			if found {
				i++
			}
			if i == 0 || call.Late {
				continue // no look before the call
			}
			look := c.looks[i-1]
			// The gateway's clock and the record's are the same, but for what
			// a record's timestamp loses in milliseconds.
			start := c.latest(call.Start).Add(time.Millisecond)
			due, waiting := false, time.Time{}
			for _, r := range requests {
				if !look.finished(r.record) {
					// A request that has expired is asked about, however young
					// its order is.
					expired := call.Op == gatewaysim.OrderQuery && !r.expires.IsZero() && !r.expires.After(start)
					if expired || !r.due.After(start) {
						due = true
					} else {
						waiting = r.due
					}
				}
				for _, retry := range r.retries {
					if look.finished(retry) {
						continue
					}
					if at := r.dueAgain(retry); !at.After(c.latestSince(retry.At.Add(-clockSlack), call.Start)) {
						due = true
					} else {
						waiting = at
					}
				}
			}
			switch {
			case due:
				continue
			case !waiting.IsZero():
				c.findFor(requests[0], Early, "%s by %s at %v, put off until %v", call.Op, call.Caller, call.Start, waiting)
			default:
				c.findFor(requests[0], Redone, "%s by %s at %v, all was finished and committed at %v", call.Op, call.Caller, call.Start, look.look.At)
			}
			break
		}
	}
}

// dueAgain is when a retry may be served. One that waits for its merchant may be
// as soon as that works.
func (r *request) dueAgain(retry Record) time.Time {
	if lastHeader(retry.Message, "closeorder-waits-for") != "" {
		return r.due
	}
	// Of one that does not say when, the zero time.
	at, _ := time.Parse(time.RFC3339Nano, lastHeader(retry.Message, "closeorder-due-at"))
	return at
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
