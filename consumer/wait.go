package consumer

import (
	"context"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// wait lets a request wait for its merchant, which a says is held, and returns
// true when it keeps its place. See holds for the whole of its way.
func (w *Worker) wait(t *task, a Answer) (again bool) {
	t.waits = a.Scope
	now := time.Now()
	tier, last := w.retries.forHold(t.climbed)
	switch {
	case w.holds.probes(t) && t.partition.roomy() && w.lanes.alone(t) && now.Sub(t.taken) < longestHold:
		// In its place it holds up the commits of its partition, and at last its
		// intake: only while there is room. Those behind it in its lane, which
		// may expire and may be of another partition, have waited long enough.
		// And what stays uncommitted for days may be deleted for its age.
		t.attempts += a.Attempts
		t.rest = w.soonest(t, 2*probeEvery)
		return true
	case now.Before(t.due):
		// It was woken, and the merchant is held again: its record waits on.
		// Written is only what is due, however often a merchant comes and goes.
		t.attempts += a.Attempts
		w.await(t, t.due.Sub(now))
		return false
	case last && t.partition.roomy() && now.Sub(t.taken)+tier.Delay <= longestHold:
		// The longest of short delays: it stays for some of them.
		t.attempts += a.Attempts
		w.await(t, w.soonest(t, tier.Delay))
		return false
	}
	w.settle(t, a)
	return false
}

// soonest is a wait, or less where the request expires before its end.
func (w *Worker) soonest(t *task, wait time.Duration) time.Duration {
	if t.req.ExpiresAt.IsZero() {
		return wait
	}
	return max(min(wait, t.req.ExpiresAt.Sub(w.now())), time.Millisecond)
}

// await lets a request that waits for its merchant come back after a wait, or
// as soon as the merchant works.
func (w *Worker) await(t *task, wait time.Duration) {
	t.due = time.Now().Add(wait)
	if w.holds.admits(t, time.Now()) || wait <= 0 {
		w.enter(t)
		return
	}
	w.holds.waitsIn(t.partition)
	t.partition.after(wait, t, w.enter)
	if w.holds.works(t.waits) { // since a moment ago, and may have missed it
		w.wake(t.partition, t.waits)
	}
}

// resume wakes the requests that wait for scopes whose holds were lifted. Rates
// and slots apply to them as to any request.
func (w *Worker) resume(lifted []Scope) {
	for _, scope := range lifted {
		for _, p := range w.holds.waiting() {
			w.wake(p, scope)
		}
	}
}

func (w *Worker) wake(p *partition, scope Scope) {
	for _, t := range p.wake(func(t *task) bool { return t.waits == scope }) {
		w.enter(t)
	}
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
func (w *Worker) succeed(vacant map[Scope]bool, not events.Order) (succeeded bool) {
	next := func(t *task) bool {
		if !vacant[t.waits] || t.req.Order() == not || !w.holds.mayProbe(t) {
			return false
		}
		delete(vacant, t.waits)
		return true
	}
	for _, p := range w.holds.waiting() {
		for _, t := range p.wake(next) {
			succeeded = true
			w.enter(t)
		}
	}
	return succeeded
}

// handOver lets another order probe where t's alone was refused, and returns
// true when there is one: a refusal that is about one order in words that are
// about its merchant must not hold the others.
func (w *Worker) handOver(t *task) bool {
	scope, alone := w.holds.alone(t)
	if !alone {
		return false
	}
	w.holds.leave(t)
	return w.succeed(map[Scope]bool{scope: true}, t.req.Order())
}
