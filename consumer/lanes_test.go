package consumer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
)

// road is a set of lanes whose calls the test ends one by one.
type road struct {
	*lanes
	mu      sync.Mutex
	started []string
	ends    map[string]chan bool // true: again
	alive   bool
	needs   map[string]bool // requests with noCall that need a call after all
}

func newRoad(slots int) *road {
	r := &road{ends: make(map[string]chan bool), alive: true}
	r.lanes = newLanes(slots, func(time.Time) bool { r.mu.Lock(); defer r.mu.Unlock(); return r.alive }, nil, silent())
	r.lanes.turn = func(ctx context.Context, t *request, p permit) {
		defer p.unused(ctx)
		r.mu.Lock()
		name := t.req.OutTradeNo + "/" + t.req.RequestID
		r.started = append(r.started, name)
		end := make(chan bool, 1)
		r.ends[name] = end
		r.mu.Unlock()
		select {
		case again := <-end:
			r.lanes.finished(t, again)
		case <-ctx.Done():
			r.lanes.finished(t, true)
		}
	}
	r.lanes.withoutCall = func(t *request) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		name := t.req.OutTradeNo + "/" + t.req.RequestID
		if r.needs[name] {
			return false
		}
		r.started = append(r.started, name+" without a call")
		return true
	}
	return r
}

func (r *road) drive(p *partition, order, id string) {
	r.add(&request{partition: p, req: events.Request{MchID: "m", OutTradeNo: order, RequestID: id}})
	synctest.Wait() // or two calls that start together would be noted in any order
}

// driveUncalled drives a request that needs no call.
func (r *road) driveUncalled(p *partition, order, id string) {
	r.add(&request{partition: p, noCall: true, req: events.Request{MchID: "m", OutTradeNo: order, RequestID: id}})
	synctest.Wait()
}

// end ends a call and waits until what follows has started.
func (r *road) end(name string, again bool) {
	r.mu.Lock()
	end := r.ends[name]
	r.mu.Unlock()
	end <- again
	synctest.Wait()
}

func (r *road) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.started, want) {
		t.Errorf("started %v, want %v", r.started, want)
	}
}

// finishAll loses the partitions, so that all calls end.
func (r *road) finishAll(ps ...*partition) {
	r.revoke(ps, errors.New("test over"))
	r.calls.Wait()
}

func TestLanes(t *testing.T) {
	for sentence, test := range map[string]func(t *testing.T, r *road, p, q *partition){
		"a second request of an order waits for the first, another order does not": func(t *testing.T, r *road, p, q *partition) {
			r.drive(p, "A", "1")
			r.drive(p, "A", "2")
			r.drive(p, "B", "1")
			r.want(t, "A/1", "B/1")
			r.end("A/1", false)
			r.want(t, "A/1", "B/1", "A/2")
		},
		"the same order read from another partition waits too": func(t *testing.T, r *road, p, q *partition) {
			r.drive(p, "A", "1")
			r.drive(q, "A", "2")
			r.want(t, "A/1")
		},
		"a hot order goes to the end of the queue after each call": func(t *testing.T, r *road, p, q *partition) {
			for _, id := range []string{"1", "2", "3"} {
				r.drive(p, "HOT", id)
			}
			for _, o := range []string{"A", "B", "C"} {
				r.drive(p, o, "1")
			}
			r.want(t, "HOT/1", "A/1")
			r.end("HOT/1", false)
			r.end("B/1", false)
			r.end("C/1", false)
			r.want(t, "HOT/1", "A/1", "B/1", "C/1", "HOT/2")
		},
		"a request whose partition is taken away does not rest, what stands behind it goes on": func(t *testing.T, r *road, p, q *partition) {
			r.add(&request{partition: p, rest: time.Hour, req: events.Request{MchID: "m", OutTradeNo: "A", RequestID: "1"}})
			r.drive(q, "A", "2")
			r.want(t, "A/1")
			r.revoke([]*partition{p}, errors.New("another's"))
			r.want(t, "A/1", "A/2")
		},
		"no call starts for a partition that is paused, others go on": func(t *testing.T, r *road, p, q *partition) {
			r.pause([]*partition{p})
			r.drive(p, "A", "1")
			r.drive(q, "B", "1")
			r.want(t, "B/1")
		},
		"no call starts for a partition that is lost, not even one that waits behind another": func(t *testing.T, r *road, p, q *partition) {
			r.drive(q, "A", "1")
			r.drive(p, "A", "2")
			r.drive(p, "B", "1")
			r.drive(p, "C", "1")
			r.want(t, "A/1", "B/1")
			r.revoke([]*partition{p}, errors.New("reassigned"))
			r.end("A/1", false)
			r.drive(p, "D", "1")
			r.want(t, "A/1", "B/1")
		},
		"a lost partition gives up what was parked while it was paused": func(t *testing.T, r *road, p, q *partition) {
			r.pause([]*partition{p})
			r.drive(p, "A", "1")
			r.drive(q, "A", "2")
			r.want(t)
			r.revoke([]*partition{p}, errors.New("reassigned"))
			r.want(t, "A/2")
		},
		"no call starts when the membership is in doubt, until it is not": func(t *testing.T, r *road, p, q *partition) {
			r.mu.Lock()
			r.alive = false
			r.mu.Unlock()
			r.drive(p, "A", "1")
			r.want(t)
			r.mu.Lock()
			r.alive = true
			r.mu.Unlock()
			r.poke()
			r.want(t, "A/1")
		},
		"calls in flight end when the membership is in doubt, and are made again when it is not": func(t *testing.T, r *road, p, q *partition) {
			r.drive(p, "A", "1")
			r.drive(q, "B", "1")
			r.pause([]*partition{q}) // it drains: it is this member's until that is over
			r.mu.Lock()
			r.alive = false
			r.mu.Unlock()
			r.interrupt(errors.New("in doubt"))
			synctest.Wait()
			if calls, _ := r.load([]*partition{p}); calls != 0 {
				t.Errorf("%d calls go on", calls)
			}
			if calls, _ := r.load([]*partition{q}); calls != 1 {
				t.Error("the call of a partition that drains was cut off, too")
			}
			r.want(t, "A/1", "B/1")
			r.mu.Lock()
			r.alive = true
			r.mu.Unlock()
			r.poke()
			r.want(t, "A/1", "B/1", "A/1")
			r.interrupt(errors.New("in doubt again"))
			synctest.Wait()
			r.want(t, "A/1", "B/1", "A/1", "A/1")
			r.end("B/1", false)
		},
		"a call that was cut off is not made again here, nor are later requests of its order": func(t *testing.T, r *road, p, q *partition) {
			r.drive(p, "A", "1")
			r.drive(p, "A", "2")
			synctest.Wait()
			r.pause([]*partition{p})
			r.cut([]*partition{p}, errors.New("budget over"))
			r.want(t, "A/1")
			r.revoke([]*partition{p}, errors.New("reassigned"))
			r.want(t, "A/1")
		},
		"a request that needs no call has its turn though all slots are taken": func(t *testing.T, r *road, p, q *partition) {
			r.drive(p, "A", "1")
			r.drive(p, "B", "1")
			r.drive(p, "C", "1")
			r.driveUncalled(p, "D", "1")
			r.want(t, "A/1", "B/1", "D/1 without a call")
		},
		"one behind a request of its order waits for that, and the next for it": func(t *testing.T, r *road, p, q *partition) {
			r.drive(p, "A", "1")
			r.driveUncalled(p, "A", "2")
			r.drive(p, "A", "3")
			r.want(t, "A/1")
			r.end("A/1", false)
			r.want(t, "A/1", "A/2 without a call", "A/3")
		},
		"one that needs a call after all waits for a slot, before later requests of its order": func(t *testing.T, r *road, p, q *partition) {
			r.needs = map[string]bool{"C/1": true}
			r.drive(p, "A", "1")
			r.drive(p, "B", "1")
			r.driveUncalled(p, "C", "1")
			r.drive(p, "C", "2")
			r.want(t, "A/1", "B/1")
			r.end("A/1", false)
			r.want(t, "A/1", "B/1", "C/1")
			r.end("C/1", false)
			r.want(t, "A/1", "B/1", "C/1", "C/2")
		},
		"for a partition that is paused or lost not even such a request has its turn": func(t *testing.T, r *road, p, q *partition) {
			r.pause([]*partition{p})
			r.driveUncalled(p, "A", "1")
			r.revoke([]*partition{q}, errors.New("reassigned"))
			r.driveUncalled(q, "B", "1")
			r.want(t)
		},
		"when a partition is lost, what stands behind its request goes where it belongs": func(t *testing.T, r *road, p, q *partition) {
			r.drive(p, "A", "1")
			r.drive(p, "B", "1")
			r.drive(q, "C", "1")
			r.driveUncalled(p, "C", "2")
			r.revoke([]*partition{q}, errors.New("reassigned"))
			r.want(t, "A/1", "B/1", "C/2 without a call")
		},
		"no such request has its turn when the membership is in doubt, until it is not": func(t *testing.T, r *road, p, q *partition) {
			r.mu.Lock()
			r.alive = false
			r.mu.Unlock()
			r.driveUncalled(p, "A", "1")
			r.want(t)
			r.mu.Lock()
			r.alive = true
			r.mu.Unlock()
			r.poke()
			r.want(t, "A/1 without a call")
		},
		"draining waits for calls and for verdicts on their way": func(t *testing.T, r *road, p, q *partition) {
			r.drive(p, "A", "1")
			r.drive(q, "B", "1")
			synctest.Wait()
			r.publishing(p)
			drained := make(chan bool, 1)
			go func() { drained <- r.drain(t.Context(), []*partition{p}) }()
			r.end("A/1", false)
			select {
			case <-drained:
				t.Error("drained while a verdict was on its way")
			default:
			}
			r.published(p)
			if !<-drained {
				t.Error("not drained")
			}
		},
		"draining ends with its context": func(t *testing.T, r *road, p, q *partition) {
			r.drive(p, "A", "1")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if r.drain(ctx, []*partition{p}) {
				t.Error("drained while a call was in flight")
			}
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, q := newPartition(t.Context(), topicPartition{"t", 0}), newPartition(t.Context(), topicPartition{"t", 1})
				r := newRoad(2)
				defer r.finishAll(p, q)
				test(t, r, p, q)
			})
		})
	}
}

func TestQueueKeepsItsOrderAndLetsGoOfWhatWasTaken(t *testing.T) {
	var q queue[int]
	next, want := 0, 0
	for range 1000 {
		for range 3 {
			q.push(next)
			next++
		}
		for range 2 {
			if got := q.pop(); got != want {
				t.Fatalf("got %d, want %d", got, want)
			}
			want++
		}
	}
	for q.len() > 0 {
		if got := q.pop(); got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
		want++
	}
	if want != next || len(q.items) != 0 {
		t.Errorf("took %d of %d, %d left in memory", want, next, len(q.items))
	}
}
