package consumer

import (
	"context"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// await lets a request that waits for its merchant come back after a pause, or
// as soon as the merchant works. See merchantHolds for the whole of its way.
func (w *Worker) await(r *request, pause time.Duration) {
	r.due = time.Now().Add(pause)
	r.is(waitsForMerchant, &note{until: r.due, why: "the gateway refuses its merchant, or does not answer for it"})
	if w.holds.admits(r, time.Now()) || pause <= 0 {
		w.enter(r)
		return
	}
	w.holds.waitsIn(r.partition)
	waits := r.waits // r may be another's once the timer has begun
	r.partition.after(pause, r, w.enter)
	if w.holds.works(waits) { // since a moment ago, and may have missed it
		w.resume([]Scope{waits})
	}
}

// resume wakes the requests that wait for scopes whose holds were lifted. Rates
// and slots apply to them as to any request.
func (w *Worker) resume(lifted []Scope) {
	if len(lifted) > 0 {
		w.wake(func(r *request) bool { return slices.Contains(lifted, r.waits) })
	}
}

// wake lets those enter who wait for their merchant and whom wanted says yes to,
// and says whether there was one.
func (w *Worker) wake(wanted func(*request) bool) (woken bool) {
	for _, p := range w.holds.waiting() {
		for _, r := range p.wake(wanted) {
			woken = true
			w.enter(r)
		}
	}
	return woken
}

// succeedProbers lets one who waits probe where nobody does: the prober went
// with its partition, had to make room, or found out something else.
func (w *Worker) succeedProbers(ctx context.Context) {
	for kafka.Sleep(ctx, 2*probeEvery) == nil {
		if vacant := w.holds.vacancies(time.Now()); len(vacant) > 0 {
			w.succeed(vacant, events.Order{})
		}
	}
}

// succeed wakes one who waits for each of the scopes, and is not of the order
// not. It says whether there was one.
func (w *Worker) succeed(vacant map[Scope]bool, not events.Order) bool {
	return w.wake(func(r *request) bool {
		if !vacant[r.waits] || r.req.Order() == not || !w.holds.mayProbe(r) {
			return false
		}
		delete(vacant, r.waits)
		return true
	})
}

// handOver lets another order probe where r's alone was refused, and returns
// true when there is one: a refusal that is about one order in words that are
// about its merchant must not hold the others.
func (w *Worker) handOver(r *request) bool {
	scope, alone := w.holds.alone(r)
	if !alone {
		return false
	}
	w.holds.leave(r)
	return w.succeed(map[Scope]bool{scope: true}, r.req.Order())
}
