package audit

import (
	"slices"
	"time"
)

// count says of each request what became of it, once all topics were read.
// Whatever is finished and unanswered is marked, to be looked at again.
func (a *auditor) count() {
	r := a.report
	replayed := a.answeredReplays()
	a.table.each(func(partition int, offset int64, e *entry) {
		switch {
		case e.is(closed):
			r.Closed++
		case e.is(paid):
			r.Paid++
		case e.is(failed):
			r.Failed++
			if replayed[e.request] > e.replay {
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

// answeredReplays returns the highest replay number with an outcome, by
// request. A topic of which nothing was replayed costs nothing.
func (a *auditor) answeredReplays() map[uint64]uint16 {
	replayed := map[uint64]uint16{}
	if a.report.Replays == 0 {
		return replayed
	}
	a.table.each(func(_ int, _ int64, e *entry) {
		if e.replay > 0 && e.is(answered) && e.request != 0 {
			replayed[e.request] = max(replayed[e.request], e.replay)
		}
	})
	return replayed
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
