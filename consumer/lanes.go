package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus"
)

// lanes starts calls: one lane per order, in which tasks wait for each other,
// and a number of call slots for all lanes together (G4, G7).
//
// A lane with something to do waits in a queue for a slot and goes to the end
// of the queue after each call, so that a hot order cannot starve the others
// and a slow one holds up nobody else.
//
// A lane whose first task needs no call (task.noCall) waits in a queue of its
// own, for neither a slot nor the gateway: only for room among the verdicts on
// their way. That it needs none is a guess from when it was added; unasked
// decides, at its turn, and may send it to the other queue.
//
// Whatever may start a call is decided under one lock, together with the
// standing of the partition: after pause or lose has returned, no call starts
// for that partition. Lanes are safe for concurrent use.
type lanes struct {
	slots       int                                // calls in flight at the most
	maxSettling int                                // verdicts not yet acknowledged at the most
	alive       func(now time.Time) bool           // whether the membership holds, see group.Member.LeaseValid
	gate        *gate                              // whether the gateway may be called
	call        func(context.Context, *task, pass) // makes one call; not under the lock
	// unasked settles a task without a call and returns true, or returns false
	// when it needs one after all; not under the lock.
	unasked func(*task) bool

	mu       sync.Mutex
	byOrder  map[events.Order]*lane
	ready    queue[*lane]
	noCall   queue[*lane] // ready as well: the first task needs no call
	inFlight int
	looking  int // calls of unasked that go on
	settling int
	waiting  int           // drains under way
	changed  chan struct{} // closed and renewed for them when a call or a settlement ends
	calls    sync.WaitGroup
}

// lane holds the tasks of one order in the order of their arrival. The first
// one is in flight, or the lane rests, or it stands in lanes.ready, in
// lanes.noCall or in partition.parked, exactly once.
type lane struct {
	order events.Order
	tasks queue[*task]
	busy  bool // the first task is in flight, or looked at
}

func newLanes(slots int, alive func(time.Time) bool, ask func(context.Context, events.Request) bool, log logrus.FieldLogger) *lanes {
	l := &lanes{
		slots:       slots,
		maxSettling: max(16*slots, 1024),
		alive:       alive,
		byOrder:     make(map[events.Order]*lane),
		changed:     make(chan struct{}),
	}
	l.gate = newGate(slots, l.poke, ask, log)
	return l
}

// add queues a task in the lane of its order.
func (l *lanes) add(t *task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	order := t.order()
	if ln := l.byOrder[order]; ln != nil {
		ln.tasks.push(t)
		return
	}
	ln := &lane{order: order}
	ln.tasks.push(t)
	l.byOrder[order] = ln
	l.queue(ln)
	l.pump()
}

// queue lets a lane wait for its turn, without the tasks of lost partitions
// that stand first in it. One that has no others is gone.
func (l *lanes) queue(ln *lane) {
	for ln.tasks.len() > 0 && ln.tasks.first().partition.standing == lost {
		ln.tasks.pop()
	}
	switch {
	case ln.tasks.len() == 0:
		delete(l.byOrder, ln.order)
	case ln.tasks.first().noCall:
		l.noCall.push(ln)
	default:
		l.ready.push(ln)
	}
}

// pump starts what can start.
func (l *lanes) pump() {
	l.pumpNoCall()
	l.pumpCalls()
}

func (l *lanes) pumpCalls() {
	if l.ready.len() == 0 || l.inFlight >= l.slots || l.settling >= l.maxSettling || !l.alive(time.Now()) {
		return
	}
	for l.inFlight < l.slots && l.ready.len() > 0 {
		ln := l.ready.first()
		t := ln.tasks.first()
		switch t.partition.standing {
		case paused:
			l.ready.pop()
			t.partition.parked = append(t.partition.parked, ln)
		case running:
			leave, ok := l.gate.admit(l.inFlight)
			if !ok {
				return
			}
			l.ready.pop()
			ln.busy = true
			l.inFlight++
			t.partition.inFlight++
			ctx := t.partition.calls
			l.calls.Go(func() { l.call(ctx, t, leave) })
		}
	}
}

// pumpNoCall settles what can be settled without a call.
func (l *lanes) pumpNoCall() {
	if l.noCall.len() == 0 || !l.alive(time.Now()) {
		return
	}
	for l.noCall.len() > 0 && l.looking+l.settling < l.maxSettling {
		ln := l.noCall.pop()
		t := ln.tasks.first()
		switch t.partition.standing {
		case paused:
			t.partition.parked = append(t.partition.parked, ln)
		case running:
			ln.busy = true
			l.looking++
			t.partition.inFlight++
			l.calls.Go(func() { l.looked(t, l.unasked(t)) })
		}
	}
}

// looked ends a call of unasked.
func (l *lanes) looked(t *task, settled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looking--
	t.noCall = false
	l.leave(t, !settled)
}

// finished gives the slot of t's call back. With again t is still to do, after
// t.rest; otherwise its verdict has been handed to settle.
func (l *lanes) finished(t *task, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	l.leave(t, again)
}

// leave lets the lane of t go on: with t when it is to be done again.
func (l *lanes) leave(t *task, again bool) {
	t.partition.inFlight--
	ln := l.byOrder[t.order()]
	ln.busy = false
	switch {
	case !again:
		ln.tasks.pop()
		l.queue(ln)
	case t.rest > 0:
		time.AfterFunc(t.rest, func() { l.wake(ln) })
		t.rest = 0
	default:
		l.queue(ln)
	}
	l.pump()
	l.notify()
}

// wake lets a lane that has rested go on.
func (l *lanes) wake(ln *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byOrder[ln.order] != ln { // all its tasks were of lost partitions
		return
	}
	l.queue(ln)
	l.pump()
}

// alone says whether nobody waits behind t, which is in flight, in its lane.
func (l *lanes) alone(t *task) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byOrder[t.order()].tasks.len() == 1
}

// settle counts a verdict on its way out; settled ends it. Between them the
// partition is not drained.
func (l *lanes) settle(p *partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settling++
	p.settling++
}

func (l *lanes) settled(p *partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settling--
	p.settling--
	l.pump()
	l.notify()
}

func (l *lanes) notify() {
	if l.waiting == 0 {
		return
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// pause lets no more calls start for the partitions.
func (l *lanes) pause(ps []*partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range ps {
		if p.standing == running {
			p.standing = paused
		}
	}
}

// resume lets calls start again for paused partitions.
func (l *lanes) resume(ps []*partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range ps {
		if p.standing != paused {
			continue
		}
		p.standing = running
		if p.calls.Err() != nil {
			p.calls, p.cutCalls = context.WithCancelCause(p.owned)
		}
		l.unpark(p)
	}
	l.pump()
}

// lose forgets what is not finished of the partitions; their calls in flight
// are cut off and their verdicts dropped.
func (l *lanes) lose(ps []*partition, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range ps {
		p.standing = lost
		p.lose(why)
		p.forget()
		l.unpark(p)
	}
	if len(ps) > 0 {
		l.sweep()
	}
	l.pump()
	l.notify()
}

// sweep lets go of the tasks of lost partitions, which would else stay in
// memory until their lanes get a slot: behind a shut gate, for hours.
func (l *lanes) sweep() {
	for order, ln := range l.byOrder {
		ln.tasks.keep(func(i int, t *task) bool { return t.partition.standing != lost || i == 0 && ln.busy })
		if ln.tasks.len() == 0 {
			delete(l.byOrder, order)
		}
	}
	// Who is first in a lane may be another now, and wait for something else.
	ready, noCall := l.ready, l.noCall
	l.ready, l.noCall = queue[*lane]{}, queue[*lane]{}
	for _, q := range []queue[*lane]{ready, noCall} {
		for q.len() > 0 {
			l.queue(q.pop())
		}
	}
}

func (l *lanes) unpark(p *partition) {
	for _, ln := range p.parked {
		l.queue(ln)
	}
	p.parked = nil
}

// cut ends the calls in flight of the partitions.
func (l *lanes) cut(ps []*partition, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range ps {
		p.cutCalls(why)
	}
}

// drain waits until the partitions have no call in flight and no verdict on
// its way. It returns false when ctx ends first.
func (l *lanes) drain(ctx context.Context, ps []*partition) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting++
	defer func() { l.waiting-- }()
	for {
		busy := 0
		for _, p := range ps {
			busy += p.inFlight + p.settling
		}
		if busy == 0 {
			return true
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		l.mu.Lock()
		if ctx.Err() != nil {
			return false
		}
	}
}

// poke starts what could not start while the membership was in doubt.
func (l *lanes) poke() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pump()
}

// load returns the calls in flight and the verdicts on their way.
func (l *lanes) load() (inFlight, settling int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inFlight, l.settling
}

// queue is a first-in first-out queue that reuses its memory.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int { return len(q.items) - q.head }
func (q *queue[T]) first() T { return q.items[q.head] }
func (q *queue[T]) push(x T) { q.items = append(q.items, x) }

// keep drops the items that wanted says no to; i counts from the first.
func (q *queue[T]) keep(wanted func(i int, x T) bool) {
	kept := q.items[:0]
	for i, x := range q.items[q.head:] {
		if wanted(i, x) {
			kept = append(kept, x)
		}
	}
	clear(q.items[len(kept):])
	q.items, q.head = kept, 0
}

func (q *queue[T]) pop() T {
	var zero T
	x := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head > 64 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return x
}
