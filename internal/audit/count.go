package audit

import (
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
)

// count says of each request what became of it, once all topics were read.
// Whatever is finished and unanswered is marked, to be looked at again.
func (a *auditor) count() {
	r := a.report
	superseded := a.superseded()
	a.table.each(func(partition int, offset int64, e *entry) {
		e.flags &^= suspect
		switch {
		case e.is(closed):
			r.Closed++
		case e.is(paid):
			r.Paid++
		case e.is(failed):
			r.Failed++
			if superseded(e) {
				r.FailedSuperseded++
			}
		case e.is(waiting):
			r.Waiting++
			older(&r.OldestWaiting, e.time())
		case a.done(a.scope.Topics.Requests, partition, offset):
			e.flags |= suspect
		default:
			r.InFlight++
			older(&r.OldestInFlight, e.time())
			a.inFlight.Add("", a.merchants.name(e.id), e.time(), time.Time{})
		}
	})
}

func older(oldest *time.Time, t time.Time) {
	if oldest.IsZero() || t.Before(*oldest) {
		*oldest = t
	}
}

// superseded tells of a failed request whether another record of the same
// request has an outcome that takes its place, as events.Supersedes has it.
func (a *auditor) superseded() func(failed *entry) bool {
	final, replayed := map[uint64]bool{}, map[uint64]uint16{}
	a.table.each(func(_ int, _ int64, e *entry) {
		if e.is(failed) && named(e.request) {
			final[e.request] = false
		}
	})
	a.table.each(func(_ int, _ int64, e *entry) {
		if _, wanted := final[e.request]; !wanted || !e.is(answered) {
			return
		}
		if e.is(failed) {
			replayed[e.request] = max(replayed[e.request], e.replay)
		} else {
			final[e.request] = true
		}
	})
	return func(e *entry) bool { return final[e.request] || replayed[e.request] > e.replay }
}

// contradictions returns the orders of which two outcomes cannot both be
// acted on, and the records without an order that have two such outcomes, as
// they stand in the topic: keys are hashes of orders, and places. Across
// records, a closed that was not safe to reissue contradicts nothing: it said
// itself that the order could still be paid.
func (a *auditor) contradictions() []any {
	var paidOrders []uint64
	contradicted := map[uint64]bool{}
	a.table.each(func(_ int, _ int64, e *entry) {
		if e.is(paid) && e.order != 0 {
			paidOrders = append(paidOrders, e.order)
		}
	})
	slices.Sort(paidOrders)
	wasPaid := func(e *entry) bool {
		_, found := slices.BinarySearch(paidOrders, e.order)
		return found && e.is(closed) && e.order != 0
	}
	var found []any
	a.table.each(func(partition int, offset int64, e *entry) {
		switch {
		case e.is(conflict) && e.order == 0:
			found = append(found, events.Source{Topic: a.scope.Topics.Requests, Partition: partition, Offset: offset})
		case (e.is(conflict) || e.is(safe) && wasPaid(e)) && !contradicted[e.order]:
			contradicted[e.order] = true
			found = append(found, e.order)
		}
	})
	a.table.each(func(_ int, _ int64, e *entry) {
		if !e.is(safe) && wasPaid(e) && !contradicted[e.order] {
			a.report.ClosedThenPaid++
		}
	})
	return found
}
