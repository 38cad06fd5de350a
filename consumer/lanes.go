package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/shares"
	"github.com/sirupsen/logrus"
)

// lanes starts calls: one lane per order, in which requests wait for each other,
// and a number of call slots for all lanes together (G4, G7).
//
// A lane with something to do waits for a slot behind the others of its merchant
// and goes to their end after each call, so that a hot order cannot starve the
// others and a slow one holds up nobody else. The slots are divided among the
// merchants, see package shares. A turn that only waits, for its merchant's rate or
// between two calls, has none: see rest.go.
//
// A lane whose first request needs no call (request.noCall) waits in a queue of
// its own, for neither a slot nor the gateway: only for room among the decisions
// on their way. That it needs none is a guess from when it was added; withoutCall
// decides, at its turn, and may send it to the other queue.
//
// Whatever may start a call is decided under one lock, together with the
// standing of the partition: after pause or revoke has returned, no call starts
// for that partition. Lanes are safe for concurrent use.
type lanes struct {
	slots          int                                     // calls in flight at the most
	mostResting    int                                     // turns that rest at the most, see rest.go
	mostUncalled   int                                     // of a merchant at its rate that have made no call yet
	maxUnpublished int                                     // decisions not yet acknowledged at the most
	leaseValid     func(now time.Time) bool                // whether the membership holds, see group.Member
	breaker        *gatewayBreaker                         // whether the gateway may be called
	turn           func(context.Context, *request, permit) // serves one; ends with finished; not under mu
	// withoutCall settles one without a call and returns true, or returns false
	// when it needs one after all; not under mu.
	withoutCall func(*request) bool

	// mu guards what is below, and in each partition standing, calls and what is
	// counted there. gatewayBreaker.mu and partition.mu may be taken under it.
	mu          sync.Mutex
	byOrder     map[events.Order]*lane
	seats       shares.Pool[*lane] // the call slots, by mch_id
	noCall      queue[*lane]       // ready as well: the first request needs no call
	resting     shares.Pool[*lane] // turns without a slot, see rest.go
	relieved    time.Time          // when some were put off that waited already
	latest      [2]asked           // merchants of the last requests, two different ones, see crowd.go
	atRate      map[string]*atRate // merchants whose rate is used up, by mch_id
	looking     int                // calls of withoutCall that go on
	unpublished int
	waiting     int           // drains under way
	changed     chan struct{} // closed and renewed for them when a call or a settlement ends
	calls       callers
}

// lane holds the requests of one order in the order of their arrival. The first
// one is in flight, or the lane rests, or it waits in lanes.seats, in
// lanes.noCall or in partition.parked, exactly once.
type lane struct {
	lanes    *lanes
	order    events.Order
	requests queue[*request]
	busy     bool                 // the first request is in flight, or looked at
	rests    *time.Timer          // wakes it; sweep ends the one of a lane that is gone
	seated   bool                 // it has a call slot
	seatedAt time.Time            // since when, or since its calls, or a rest with it, were over
	uncalled bool                 // it rests before its first call
	begins   *atRate              // it began while its merchant was at its rate, and has neither rested nor ended since
	waits    shares.Waiter[*lane] // for a call slot
	since    time.Time            // when it began to wait for one, for a new turn
	back     chan struct{}        // of a turn that waits for its slot again: closed when it has it
}

func newLanes(slots int, leaseValid func(time.Time) bool, probe func(context.Context, events.Request) bool, log logrus.FieldLogger) *lanes {
	l := &lanes{
		slots:          slots,
		mostResting:    4 * slots,
		mostUncalled:   max(slots/4, 1),
		maxUnpublished: max(16*slots, 1024),
		leaseValid:     leaseValid,
		byOrder:        make(map[events.Order]*lane),
		atRate:         make(map[string]*atRate),
		changed:        make(chan struct{}),
	}
	l.calls.most, l.calls.serve = slots, l.serve
	l.breaker = newGatewayBreaker(slots, l.poke, probe, log)
	return l
}

// add queues a request in the lane of its order.
func (l *lanes) add(r *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.crowd(r)
	order := r.order()
	if ln := l.byOrder[order]; ln != nil {
		r.lane = ln
		ln.requests.push(r)
		return
	}
	ln := &lane{lanes: l, order: order}
	ln.waits.Value = ln
	r.lane = ln
	ln.requests.push(r)
	l.byOrder[order] = ln
	l.queue(ln)
	l.pump()
}

// queue lets a lane wait for its turn, without the requests of partitions
// that were taken away that stand first in it. One that has no others is gone.
func (l *lanes) queue(ln *lane) {
	for ln.requests.len() > 0 && ln.requests.first().partition.standing == revoked {
		ln.requests.pop()
	}
	switch {
	case ln.requests.len() == 0:
		delete(l.byOrder, ln.order)
	case ln.requests.first().noCall:
		l.noCall.push(ln)
	default:
		ln.since = time.Now()
		l.seats.Push(shares.New, ln.order.MchID, &ln.waits)
	}
}

// pump starts what can start: what needs no call, then calls.
func (l *lanes) pump() {
	starts, asked := true, false
	valid := func() bool { // is asked where something could start, and not each time
		if !asked {
			starts, asked = l.leaseValid(time.Now()), true
		}
		return starts
	}
	for l.noCall.len() > 0 && l.looking+l.unpublished < l.maxUnpublished && valid() {
		ln := l.noCall.pop()
		if l.park(ln) {
			continue
		}
		l.looking++
		l.start(ln, permit{}, false)
	}
	for {
		again, next := l.seats.First(shares.Again, l.slots), (*shares.Waiter[*lane])(nil)
		if starts && l.unpublished < l.maxUnpublished {
			next = l.seats.First(shares.New, min(l.slots, l.breaker.room()))
		}
		if next != nil && !valid() {
			next = nil
		}
		switch {
		case again != nil && (next == nil || again.Before(next)):
			l.goBack(again.Value)
		case next == nil:
			return
		case l.park(next.Value):
			l.seats.Remove(next)
		default:
			p, admitted := l.breaker.admit(l.seats.Taken())
			if !admitted {
				starts = false // but who comes back is no new call
				continue
			}
			l.seats.Grant(next)
			next.Value.seated, next.Value.seatedAt = true, time.Now()
			l.begins(next.Value)
			l.start(next.Value, p, true)
		}
	}
}

// park parks a lane whose first request is of a partition that is paused, and
// returns true.
func (l *lanes) park(ln *lane) bool {
	p := ln.requests.first().partition
	if p.standing == paused {
		p.parked = append(p.parked, ln)
	}
	return p.standing == paused
}

// start gives the first request of a lane its turn.
func (l *lanes) start(ln *lane, p permit, called bool) {
	ln.busy = true
	r := ln.requests.first()
	r.partition.inFlight++
	l.calls.do(job{r.partition.calls, r, p, called})
}

// serve is a turn, on a goroutine of callers.
func (l *lanes) serve(j job) {
	if j.called {
		l.turn(j.ctx, j.request, j.permit)
		return
	}
	l.looked(j.request, l.withoutCall(j.request))
}

// looked ends a call of withoutCall.
func (l *lanes) looked(r *request, settled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.ending()
	l.looking--
	r.noCall = false
	l.goOn(r, !settled)
}

// finished ends r's turn and gives its slot back. With again it has another one,
// after r.rest; otherwise it was settled, or waits elsewhere.
func (l *lanes) finished(r *request, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.ending()
	l.begun(r.lane)
	l.leaveSeat(r.lane) // it has none where it was cut off while it rested
	l.relieve(r.lane.order.MchID)
	l.goOn(r, again)
}

// goOn lets the lane of r go on: with r again, or with what stands behind it.
func (l *lanes) goOn(r *request, again bool) {
	r.partition.inFlight--
	ln := r.lane
	ln.busy = false
	switch {
	case !again:
		ln.requests.pop()
		l.queue(ln)
	case r.rest > 0 && r.partition.standing != revoked: // or nobody would stop the timer
		ln.rests = time.AfterFunc(r.rest, func() { l.wake(ln) })
		r.rest = 0
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
	if l.byOrder[ln.order] != ln { // all its requests were of partitions that were taken away
		return
	}
	l.queue(ln)
	l.pump()
}

// alone says whether nobody waits behind r, which is in flight, in its lane.
func (l *lanes) alone(r *request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return r.lane.requests.len() == 1
}

// publishing counts a decision on its way out; published ends it. Between them
// the partition is not drained.
func (l *lanes) publishing(p *partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unpublished++
	p.unpublished++
}

func (l *lanes) published(p *partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unpublished--; l.looking+l.unpublished+1 >= l.maxUnpublished {
		l.pump() // what waited for that
	}
	p.unpublished--
	l.notify()
}

func (l *lanes) notify() {
	if l.waiting == 0 {
		return
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// pause lets no more calls start for the partitions, which are to be given up.
func (l *lanes) pause(ps []*partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range ps {
		if p.standing == running {
			p.standing = paused
		}
	}
}

// revoke forgets what is not finished of the partitions; their calls in flight
// are cut off and their decisions dropped.
func (l *lanes) revoke(ps []*partition, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range ps {
		p.standing = revoked
		p.revoke(why)
		p.forget()
		l.unpark(p)
	}
	if len(ps) > 0 {
		l.sweep()
	}
	l.pump()
	l.notify()
}

// sweep lets go of the requests of partitions that were taken away, which would
// else stay in memory until their lanes get a slot: behind an open breaker, for
// hours.
func (l *lanes) sweep() {
	for order, ln := range l.byOrder {
		var kept queue[*request]
		for busy := ln.busy; ln.requests.len() > 0; busy = false {
			if r := ln.requests.pop(); busy || r.partition.standing != revoked {
				kept.push(r)
			}
		}
		if ln.requests = kept; kept.len() == 0 {
			delete(l.byOrder, order)
			if ln.rests != nil {
				ln.rests.Stop()
			}
		}
	}
	// Who is first in a lane may be another now, and wait for something else.
	ready, noCall := l.seats.Clear(shares.New), l.noCall
	l.noCall = queue[*lane]{}
	for noCall.len() > 0 {
		ready = append(ready, noCall.pop())
	}
	for _, ln := range ready {
		l.queue(ln)
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

// interrupt ends all calls in flight for the time being: their requests keep their
// place and are called again when the membership holds.
func (l *lanes) interrupt(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ln := range l.byOrder {
		if p := ln.requests.first().partition; ln.busy && p.standing == running {
			p.cutCalls(why)
		}
	}
	for _, ln := range l.byOrder {
		if p := ln.requests.first().partition; p.standing == running && p.calls.Err() != nil && p.owned.Err() == nil {
			p.calls, p.cutCalls = context.WithCancelCause(p.owned)
		}
	}
}

// drain waits until the partitions have no call in flight and no decision on
// its way. It returns false when ctx ends first.
func (l *lanes) drain(ctx context.Context, ps []*partition) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting++
	defer func() { l.waiting-- }()
	for {
		busy := 0
		for _, p := range ps {
			busy += p.inFlight + p.unpublished
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

// load returns the calls in flight of partitions, and their decisions on the way.
func (l *lanes) load(ps []*partition) (inFlight, unpublished int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range ps {
		inFlight += p.inFlight
		unpublished += p.unpublished
	}
	return inFlight, unpublished
}

// queue is a first-in first-out queue that reuses its memory.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int { return len(q.items) - q.head }
func (q *queue[T]) first() T { return q.items[q.head] }
func (q *queue[T]) push(x T) { q.items = append(q.items, x) }

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
