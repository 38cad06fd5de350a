package world

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// Check compares what stands in the topics with the gateway's order book, and
// says where a promise (G1 to G8) is broken. It shares nothing with the
// workers but the types on the wire: records are read by its own eyes.
//
//	requests, retries, commits -> answered?        G1, G8
//	outcomes, dead letters     -> one and the same? G2, G5
//	outcomes, order book       -> true?             G3
//	calls, outcomes            -> in order, fenced, bounded? G4, G6, G7
func Check(e Evidence) Report {
	c := newChecker(e)
	c.checkOutcomes()
	c.checkDeadLetters()
	c.checkHoles()
	c.checkOnce()
	c.checkRewound()
	c.checkBook()
	c.checkOrderOfAnswers()
	c.checkCalls()
	slices.SortStableFunc(c.report.Findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Promise, b.Promise), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	return c.report
}

// checker holds the evidence by what it is about.
type checker struct {
	Evidence
	requests map[events.Source]*request
	inOrder  []*request // as they stand in the topic
	byOrder  map[events.Order][]*request
	aborted  map[events.Source]bool
	looks    []commits
	calls    map[events.Order][]Call // each by start
	book     map[events.Order]gatewaysim.Entry
	report   Report
}

// request is one record of the requests topic and all that belongs to it.
type request struct {
	record  Record
	order   events.Order // empty where the record names none
	due     time.Time    // not to be served before
	expires time.Time    // zero for never
	answers []answer     // as they stand in the topics
	dead    []Record
	retries []Record
}

// answer is one outcome record.
type answer struct {
	record Record
	events.Outcome
}

func (c *checker) find(k Kind, order events.Order, source events.Source, format string, args ...any) {
	c.report.Findings = append(c.report.Findings, Finding{
		Promise: promises[k], Kind: k, Order: order, Source: source, Detail: fmt.Sprintf(format, args...),
	})
}

func (c *checker) findFor(r *request, k Kind, format string, args ...any) {
	c.find(k, r.order, r.record.Source(), format, args...)
}

func newChecker(e Evidence) *checker {
	c := &checker{
		Evidence: e, requests: make(map[events.Source]*request), byOrder: make(map[events.Order][]*request), aborted: make(map[events.Source]bool),
		calls: make(map[events.Order][]Call), book: make(map[events.Order]gatewaysim.Entry, len(e.Book)),
	}
	for _, rec := range e.Requests {
		doc := readRequest(rec.Message)
		r := &request{record: rec, order: doc.order(), due: doc.dueAt(rec.At, e.MinOrderAge), expires: doc.ExpiresAt}
		c.requests[rec.Source()] = r
		c.inOrder = append(c.inOrder, r)
		if r.order.OutTradeNo != "" {
			c.byOrder[r.order] = append(c.byOrder[r.order], r)
		}
	}
	for _, rec := range e.Aborted {
		c.aborted[rec.Source()] = true
	}
	for _, rec := range e.Retries {
		if r := c.requestOf(rec, "a retry"); r != nil {
			r.retries = append(r.retries, rec)
		}
	}
	for _, rec := range e.DeadLetters {
		if r := c.requestOf(rec, "a dead letter"); r != nil {
			r.dead = append(r.dead, rec)
		}
	}
	for _, rec := range e.Outcomes {
		a, err := readOutcome(rec)
		if err != nil {
			c.find(Unreadable, events.Order{}, rec.Source(), "%v", err)
			continue
		}
		if r := c.requestAt(a.Source, rec, "an outcome", a.Order()); r != nil {
			r.answers = append(r.answers, a)
		}
	}
	for _, look := range e.Looks {
		c.looks = append(c.looks, readLook(look))
	}
	for _, call := range e.Calls {
		c.calls[call.Order] = append(c.calls[call.Order], call)
	}
	for _, calls := range c.calls {
		slices.SortStableFunc(calls, func(a, b Call) int { return a.Start.Compare(b.Start) })
	}
	for _, entry := range e.Book {
		c.book[bookKey(entry)] = entry
	}
	c.report.Requests = len(c.inOrder)
	c.report.DeadLetters = len(e.DeadLetters)
	c.report.Calls = len(e.Calls)
	return c
}

// requestOf is the request that a record was made for; nil, and a finding,
// where there is none.
func (c *checker) requestOf(rec Record, what string) *request {
	source := SourceOf(rec.Message)
	return c.requestAt(source, rec, what, orderOf(rec.Message))
}

// requestAt is the same where its place is known.
func (c *checker) requestAt(source events.Source, rec Record, what string, order events.Order) *request {
	r := c.requests[source]
	switch {
	case r != nil:
	case c.aborted[source]:
		c.find(AbortedServed, order, rec.Source(), "%s of a request whose transaction was aborted: source %+v", what, source)
	default:
		c.find(Orphan, order, rec.Source(), "%s of no request: source %+v", what, source)
	}
	return r
}

// checkOutcomes: one outcome per request, repeats equal to it (G2).
func (c *checker) checkOutcomes() {
	owner := make(map[string]*request)
	for _, r := range c.inOrder {
		if len(r.answers) == 0 {
			continue
		}
		first := r.answers[0]
		switch first.Result {
		case events.Closed:
			c.report.Closed++
		case events.Paid:
			c.report.Paid++
		default:
			c.report.Failed++
		}
		if other := owner[first.ID]; other != nil {
			c.findFor(r, SharedID, "id %s is also that of %+v", first.ID, other.record.Source())
		}
		owner[first.ID] = r
		if named := first.Order(); r.order.OutTradeNo != "" && named != r.order {
			c.findFor(r, Misnamed, "the outcome names %+v", named)
		}
		for _, a := range r.answers[1:] {
			switch {
			case a.ID != first.ID:
				c.findFor(r, ManyIDs, "ids %s and %s", first.ID, a.ID)
			case a.Result != first.Result && c.overtaken(first, a):
				c.report.Overtaken++
				c.repeated(r, first, a)
			case a.Result != first.Result:
				c.findFor(r, Contradiction, "%s (%s) at %v, then %s (%s) at %v", first.Result, first.Code, first.CompletedAt, a.Result, a.Code, a.CompletedAt)
			case a.Order() != first.Order() || a.RequestID != first.RequestID || a.Replay != first.Replay:
				c.findFor(r, Contradiction, "the repeat names another request: %+v, %s", a.Order(), a.RequestID)
			default:
				c.report.Duplicates++
				c.repeated(r, first, a)
			}
		}
	}
}

// repeated is a second outcome that contradicts nothing: a finding where work is
// done exactly once.
func (c *checker) repeated(r *request, first, again answer) {
	if c.ExactlyOnce {
		c.findFor(r, Repeat, "%s at outcome %d, and %s at outcome %d", first.Result, first.record.Offset, again.Result, again.record.Offset)
	}
}

// overtaken reports whether two answers that differ were both true, one after
// the other: the order changed between them, and the request was done again
// after a crash. The book must show the change, and the first answer must not
// have promised that there would be none: it was closed, but not safe to
// reissue, as the order was not known yet, or expired, as it was still open.
// At least once leaves no more; a reader that goes by the id keeps the first,
// and was told that it does not suffice to issue another number.
//
// The later one may stand first in the topic: what a worker had sent just
// before it was cut off can reach the broker after the answer of its heir.
func (c *checker) overtaken(first, again answer) bool {
	if again.CompletedAt.Before(first.CompletedAt) {
		first, again = again, first
	}
	entry, known := c.book[first.Order()]
	if !known {
		return false
	}
	// An answer was true while the gateway gave it.
	asked := entry.StateAt(c.lastCallBefore(first.Order(), first.CompletedAt))
	then, now := entry.StateAt(first.CompletedAt), entry.StateAt(again.CompletedAt)
	switch {
	case first.Result == events.Closed && !first.SafeToReissue:
		return (isClosed(then) || isClosed(asked)) && (again.Result == events.Paid && now.WasPaid() || again.Code == "EXPIRED" && now.Payable())
	case first.Code == "EXPIRED":
		return asked.Payable() && again.Result != events.Failed && !now.Payable()
	}
	return false
}

// ownCodes are reasons of the request's own to fail. They are the words on
// the wire, written down once more.
var ownCodes = []string{"INVALID_REQUEST", "UNKNOWN_MERCHANT", "EXPIRED", "RECORD_TOO_LARGE"}

// checkDeadLetters: each stands beside a failed outcome and is the request
// byte for byte (G2), and none is there for an outage (G5).
func (c *checker) checkDeadLetters() {
	mustFail := make(map[string]bool) // by what the simulator's own table says of a prefix
	for _, b := range gatewaysim.Behaviours() {
		mustFail[b.Prefix] = strings.HasPrefix(b.Outcome, "failed")
	}
	for _, r := range c.inOrder {
		var failed *answer
		if i := slices.IndexFunc(r.answers, func(a answer) bool { return a.Result == events.Failed }); i >= 0 {
			failed = &r.answers[i]
		}
		switch {
		case len(r.dead) > 0 && failed == nil:
			// A dead letter is published beside its outcome, not before it:
			// a worker that died in between leaves one that is answered again.
			if c.Settled && len(r.answers) == 0 {
				c.findFor(r, Unpaired, "a dead letter and no outcome")
			}
		case failed != nil && len(r.dead) == 0 && failed.Code != "EXPIRED" && (c.Settled || c.finishedAtLast(r.record)):
			c.findFor(r, Unpaired, "failed with %s and no dead letter", failed.Code)
		}
		for _, d := range slices.Concat(r.dead, r.retries) {
			if why := altered(r.record.Message, d.Message); why != "" {
				c.findFor(r, Altered, "%s[%d]@%d: %s", d.Topic, d.Partition, d.Offset, why)
			}
		}
		if failed != nil && failed.Code == "EXPIRED" && (r.expires.IsZero() || r.expires.After(c.latest(failed.CompletedAt))) {
			c.findFor(r, Early, "expired at %v, its time is %v", failed.CompletedAt, r.expires)
		}
		if failed != nil && c.Book != nil && !c.OutagesMayFail && !slices.Contains(ownCodes, failed.Code) && !mustFail[c.book[r.order].Behaviour] {
			c.findFor(r, DeadForOutage, "failed with %s: %s", failed.Code, failed.Message)
		}
	}
}

// checkBook: what an outcome says of an order is so at the gateway (G3).
func (c *checker) checkBook() {
	if c.Book == nil {
		return
	}
	for _, r := range c.inOrder {
		for _, a := range r.answers {
			if a.Result == events.Failed {
				continue
			}
			entry, known := c.book[a.Order()]
			if !known {
				wrong := map[events.Result]Kind{events.Closed: WrongClosed, events.Paid: WrongPaid}
				c.findFor(r, wrong[a.Result], "the gateway was never asked about the order")
				continue
			}
			at := a.CompletedAt
			// What the gateway answered was true while it answered.
			state, before := entry.StateAt(at), entry.StateAt(c.lastCallBefore(a.Order(), at))
			switch {
			case a.Result == events.Closed && !isClosed(state) && !isClosed(before):
				c.findFor(r, WrongClosed, "closed (%s, confirmed by %q) at %v, in the book: %v", a.Code, a.ConfirmedBy, at, state)
			case a.Result == events.Paid && !state.WasPaid():
				c.findFor(r, WrongPaid, "paid (%s) at %v, in the book: %v", a.Code, at, state)
			}
			if a.SafeToReissue {
				for _, ev := range entry.Events {
					if ev.At.After(at) && !isClosed(ev.State) {
						c.findFor(r, Unsafe, "safe to reissue at %v, and %v at %v", at, ev.State, ev.At)
						break
					}
				}
				if entry.CreateInFlight {
					c.findFor(r, Unsafe, "safe to reissue at %v, with a create on its way", at)
				}
			}
		}
	}
}

// isClosed says that nobody can pay an order in this state, or has paid it.
func isClosed(s gatewaysim.State) bool { return !s.Payable() && !s.WasPaid() }

// checkOrderOfAnswers: of the requests of one order in one partition, those
// that were never put off are answered in their order (G4).
func (c *checker) checkOrderOfAnswers() {
	for _, rs := range c.byOrder {
		last := make(map[int]*request) // by partition of the request
		for _, r := range rs {
			if len(r.answers) == 0 || len(r.retries) > 0 {
				continue
			}
			before := last[r.record.Partition]
			last[r.record.Partition] = r
			if before == nil {
				continue
			}
			a, b := before.answers[0].record, r.answers[0].record
			if a.Partition == b.Partition && b.Offset < a.Offset {
				c.findFor(r, OutOfOrder, "answered at outcome %d, the request at %d only at %d", b.Offset, before.record.Offset, a.Offset)
			}
		}
	}
}

// lastCallBefore is when the last call of an order began that had ended by t.
func (c *checker) lastCallBefore(o events.Order, t time.Time) time.Time {
	last := t
	for _, call := range c.calls[o] {
		if !call.End.IsZero() && !call.End.After(t) {
			last = call.Start
		}
	}
	return last
}
