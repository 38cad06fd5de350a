package audit

import (
	"slices"
	"time"
)

// count says of each request what became of it, once all topics were read.
// Whatever is finished and unanswered is marked, to be looked at again.
func (a *auditor) count() {
	r := a.report
	superseded := a.superseded()
	a.table.each(func(partition int, offset int64, e *entry) {
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
		if e.is(failed) && e.request != 0 {
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
// acted on, and how many records without an order have two such outcomes.
// Across records, a closed that was not safe to reissue contradicts nothing:
// it said itself that the order could still be paid.
func (a *auditor) contradictions() (orders map[uint64]bool, unnamed int64) {
	orders = map[uint64]bool{}
	var paidOrders []uint64
	a.table.each(func(_ int, _ int64, e *entry) {
		if e.is(conflict) {
			if e.order == 0 {
				unnamed++
			} else {
				orders[e.order] = true
			}
		}
		if e.is(paid) && e.order != 0 {
			paidOrders = append(paidOrders, e.order)
		}
	})
	slices.Sort(paidOrders)
	wasPaid := func(e *entry) bool {
		_, found := slices.BinarySearch(paidOrders, e.order)
		return found && e.is(closed) && e.order != 0
	}
	a.table.each(func(_ int, _ int64, e *entry) {
		if e.is(safe) && wasPaid(e) {
			orders[e.order] = true
		}
	})
	a.table.each(func(_ int, _ int64, e *entry) {
		if !e.is(safe) && wasPaid(e) && !orders[e.order] {
			a.report.ClosedThenPaid++
		}
	})
	return orders, unnamed
}
