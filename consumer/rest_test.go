package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/closeorder/closeorder/events"
)

// inn is a road whose turns rest when the test says so.
type inn struct {
	*road
	orders map[string]chan stop
}

// stop is a rest, or the end of a turn where it is none.
type stop struct {
	rest   time.Duration
	called bool
}

func newInn(slots int) *inn {
	n := &inn{road: newRoad(slots), orders: make(map[string]chan stop)}
	n.lanes.turn = func(ctx context.Context, t *request, p permit) {
		defer p.unused(ctx)
		name := t.req.OutTradeNo
		n.note(name)
		for {
			var s stop
			select {
			case s = <-n.of(name):
			case <-ctx.Done():
				n.lanes.finished(t, true)
				return
			}
			if s.rest == 0 {
				n.lanes.finished(t, false)
				return
			}
			if t.lane.Rest(ctx, s.rest, s.called) != nil {
				n.note(name + " cut off")
				n.lanes.finished(t, true)
				return
			}
			n.note(name + " back")
		}
	}
	return n
}

func (n *inn) note(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.started = append(n.started, what)
}

func (n *inn) of(name string) chan stop {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.orders[name] == nil {
		n.orders[name] = make(chan stop, 10)
	}
	return n.orders[name]
}

func (n *inn) rest(name string, d time.Duration, called bool) {
	n.of(name) <- stop{d, called}
	synctest.Wait()
}

func (n *inn) over(name string) { n.rest(name, 0, true) }

// widen makes it more slots.
func (n *inn) widen(slots int) {
	n.lanes.slots, n.breaker.slots, n.breaker.limit = slots, slots, slots
}

// asks drives a request of an order of a merchant.
func (n *inn) asks(p *partition, mchID, order string) {
	n.add(&request{partition: p, taken: time.Now(), req: events.Request{MchID: mchID, OutTradeNo: order}})
	synctest.Wait()
}

// seatsTaken fails the test where another number of slots is taken, or of turns
// rests.
func (n *inn) seatsTaken(t *testing.T, seats, resting int) {
	t.Helper()
	n.lanes.mu.Lock()
	defer n.lanes.mu.Unlock()
	if n.seats.Taken() != seats || n.resting.Taken() != resting {
		t.Errorf("%d slots are taken and %d rest, want %d and %d", n.seats.Taken(), n.resting.Taken(), seats, resting)
	}
}

// A turn that only waits holds no slot.
func TestRest(t *testing.T) {
	for sentence, test := range map[string]func(t *testing.T, n *inn, p, q *partition){
		"who rests gives its slot to another order and comes back in time": func(t *testing.T, n *inn, p, q *partition) {
			n.asks(p, "m", "A")
			n.asks(p, "m", "B")
			n.rest("A", 5*time.Second, true)
			n.want(t, "A", "B")
			n.seatsTaken(t, 1, 1)
			n.over("B")
			time.Sleep(5 * time.Second)
			n.want(t, "A", "B", "A back")
			n.over("A")
			n.seatsTaken(t, 0, 0)
		},
		"whoever comes back goes before what is new of its merchant": func(t *testing.T, n *inn, p, q *partition) {
			n.asks(p, "m", "A")
			n.asks(p, "m", "B")
			n.asks(p, "m", "C")
			n.rest("A", time.Second, true)
			time.Sleep(2 * time.Second) // its slot is B's
			n.want(t, "A", "B")
			n.over("B")
			n.want(t, "A", "B", "A back")
			n.over("A")
			n.want(t, "A", "B", "A back", "C")
			n.over("C")
		},
		"but not before another merchant that has none": func(t *testing.T, n *inn, p, q *partition) {
			n.widen(2)
			n.asks(p, "m", "A")
			n.rest("A", time.Second, true)
			n.asks(p, "m", "B")
			n.asks(p, "m", "C")
			n.asks(p, "other", "D")
			time.Sleep(2 * time.Second)
			n.over("B")
			n.want(t, "A", "B", "C", "D")
			n.over("C")
			n.want(t, "A", "B", "C", "D", "A back")
			n.over("A")
			n.over("D")
		},
		"what stands behind it in its lane waits all the while": func(t *testing.T, n *inn, p, q *partition) {
			n.asks(p, "m", "A")
			n.asks(q, "m", "A")
			n.rest("A", time.Second, true)
			n.want(t, "A")
			time.Sleep(2 * time.Second)
			n.over("A")
			n.want(t, "A", "A back", "A")
			n.over("A")
		},
		"one too many keeps its slot": func(t *testing.T, n *inn, p, q *partition) {
			n.mostResting = 1
			n.asks(p, "m", "A")
			n.asks(p, "m", "B")
			n.asks(p, "m", "C")
			n.rest("A", time.Minute, true)
			n.rest("B", time.Minute, true)
			n.want(t, "A", "B")
			n.seatsTaken(t, 1, 1)
			time.Sleep(time.Minute)
			synctest.Wait()
			n.over("B")
			n.over("A")
			n.over("C")
			n.seatsTaken(t, 0, 0)
		},
		"of those that wait for their first call there are but a few of each merchant": func(t *testing.T, n *inn, p, q *partition) {
			n.widen(8)
			n.mostUncalled = 2
			for i := range 4 {
				n.asks(p, "m", fmt.Sprint("A", i))
			}
			n.asks(p, "m", "A4")
			n.rest("A0", time.Second, false)
			n.rest("A1", time.Second, false)
			n.want(t, "A0", "A1", "A2", "A3", "A4") // had begun
			n.asks(p, "m", "A5")
			n.asks(p, "other", "B")
			n.want(t, "A0", "A1", "A2", "A3", "A4", "B")
			time.Sleep(2 * time.Second)
			synctest.Wait()
			n.mu.Lock()
			if !slices.Contains(n.started, "A5") {
				t.Errorf("started %v, and A5 should have when one was back", n.started)
			}
			n.mu.Unlock()
			for i := range 6 {
				n.over(fmt.Sprint("A", i))
			}
			n.over("B")
			if len(n.atRate) != 0 {
				t.Errorf("still counted: %v", n.atRate)
			}
		},
		"when one of them may call, one begins in its place, and not all": func(t *testing.T, n *inn, p, q *partition) {
			n.widen(8)
			n.mostUncalled = 3
			for i := range 3 {
				n.asks(p, "m", fmt.Sprint("A", i))
				n.rest(fmt.Sprint("A", i), time.Duration(i+1)*time.Minute, false)
			}
			for i := range 10 {
				n.asks(p, "m", fmt.Sprint("B", i))
			}
			n.seatsTaken(t, 0, 3)
			time.Sleep(61 * time.Second)
			n.seatsTaken(t, 2, 2) // A0 and B0, which may call or rest
			n.rest("B0", time.Hour, false)
			n.seatsTaken(t, 1, 3)
			n.over("A0")
			n.seatsTaken(t, 0, 3)
			time.Sleep(time.Minute)
			n.seatsTaken(t, 2, 2) // A1 and B1
			n.over("B1")
			n.seatsTaken(t, 2, 2) // A1 and B2
			n.rest("B2", time.Hour, true)
			n.seatsTaken(t, 2, 3) // A1 and B3
		},
		"the breaker, the lease and the standing of its partition keep nobody from coming back": func(t *testing.T, n *inn, p, q *partition) {
			n.asks(p, "m", "A")
			n.rest("A", time.Second, true)
			n.pause([]*partition{p})
			n.mu.Lock()
			n.alive = false
			n.mu.Unlock()
			n.breaker.mu.Lock()
			n.breaker.state, n.breaker.limit, n.breaker.trialAt = open, 1, time.Now().Add(time.Hour)
			n.breaker.mu.Unlock()
			n.asks(q, "m", "B")
			time.Sleep(2 * time.Second)
			n.want(t, "A", "A back")
			n.over("A")
			n.want(t, "A", "A back")
		},
		"a drain waits for who rests": func(t *testing.T, n *inn, p, q *partition) {
			n.asks(p, "m", "A")
			n.rest("A", time.Minute, true)
			n.pause([]*partition{p})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if n.drain(ctx, []*partition{p}) {
				t.Error("drained while a turn rested")
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			n.over("A")
			if !n.drain(t.Context(), []*partition{p}) {
				t.Error("not drained")
			}
		},
		"who is cut off while it rests ends at once, and no slot is lost": func(t *testing.T, n *inn, p, q *partition) {
			n.asks(p, "m", "A")
			n.rest("A", time.Hour, false)
			n.asks(q, "m", "B")
			n.want(t, "A") // one that waits for its first call holds up what is new
			n.revoke([]*partition{q}, errors.New("reassigned"))
			n.pause([]*partition{p})
			n.cut([]*partition{p}, errors.New("the grace is over"))
			n.want(t, "A", "A cut off")
			n.seatsTaken(t, 0, 0)
		},
		"and so does who is cut off while it waits for its slot": func(t *testing.T, n *inn, p, q *partition) {
			n.asks(p, "m", "A")
			n.rest("A", time.Second, true)
			n.asks(q, "m", "B")
			time.Sleep(2 * time.Second)
			n.want(t, "A", "B")
			n.pause([]*partition{p})
			n.cut([]*partition{p}, errors.New("the grace is over"))
			n.want(t, "A", "B", "A cut off")
			n.seatsTaken(t, 1, 0)
			n.over("B")
			n.seatsTaken(t, 0, 0)
		},
		"whose membership is in doubt is cut off as well while it rests": func(t *testing.T, n *inn, p, q *partition) {
			n.asks(p, "m", "A")
			n.rest("A", time.Hour, true)
			n.interrupt(errors.New("in doubt"))
			n.want(t, "A", "A cut off", "A")
			n.over("A")
		},
		"a pause of nothing is none": func(t *testing.T, n *inn, p, q *partition) {
			n.asks(p, "m", "A")
			n.lanes.mu.Lock()
			ln := n.byOrder[events.Order{MchID: "m", OutTradeNo: "A"}]
			n.lanes.mu.Unlock()
			if err := ln.Rest(t.Context(), 0, true); err != nil {
				t.Error(err)
			}
			n.seatsTaken(t, 1, 0)
			n.over("A")
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, q := newPartition(t.Context(), topicPartition{"t", 0}), newPartition(t.Context(), topicPartition{"t", 1})
				n := newInn(1)
				defer n.breaker.stop()
				defer n.finishAll(p, q)
				test(t, n, p, q)
			})
		})
	}
}

// Beside a merchant with a backlog of thousands the order of another is called at
// once, and the breaker's ramp and lanes with their own order change nothing of it.
func TestABacklogOfOneMerchantLeavesASlotToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPartition(t.Context(), topicPartition{"t", 0})
		n := newInn(16)
		defer n.finishAll(p)
		n.asks(p, "other", "before")
		n.over("before")
		for i := range 5000 {
			n.add(&request{partition: p, req: events.Request{MchID: "m", OutTradeNo: fmt.Sprint(i)}})
		}
		synctest.Wait()
		n.seatsTaken(t, 14, 0)
		for i := range 20 {
			order := fmt.Sprint("other ", i)
			n.asks(p, "other", order)
			n.mu.Lock()
			if last := n.started[len(n.started)-1]; last != order {
				t.Errorf("%s waits, %s came before", order, last)
			}
			n.mu.Unlock()
			n.over(order)
		}
	})
}

// A turn costs no goroutine of its own where one is idle, and the idle ones are
// bounded and end.
func TestCallersAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := callers{most: 2}
		begun, end := make(chan int), make(chan struct{})
		c.serve = func(j job) { begun <- j.request.retries; <-end; c.ending() }
		for range 3 {
			for i := range 5 {
				c.do(job{request: &request{retries: i}})
				if got := <-begun; got != i {
					t.Errorf("served %d, want %d", got, i)
				}
			}
			for range 5 {
				end <- struct{}{}
			}
			synctest.Wait()
			c.mu.Lock()
			if len(c.idle) != 2 {
				t.Errorf("%d are idle, want 2", len(c.idle))
			}
			c.mu.Unlock()
		}
		c.Wait() // or synctest tells of goroutines that are left
	})
}

// Whoever waits for the next turn holds nothing of the one before.
func TestACallerThatWaitsHoldsNoRequest(t *testing.T) {
	c := callers{most: 2}
	defer c.Wait()
	served := make(chan struct{}, 1)
	c.serve = func(job) { served <- struct{}{}; c.ending() }
	var held [3]weak.Pointer[request]
	for i := range held { // the first with a new goroutine, the others with that one
		r := new(request)
		held[i] = weak.Make(r)
		c.do(job{ctx: t.Context(), request: r})
		<-served
		for idle := 0; idle == 0; runtime.Gosched() {
			c.mu.Lock()
			idle = len(c.idle)
			c.mu.Unlock()
		}
		runtime.GC()
		if held[i].Value() != nil {
			t.Errorf("turn %d: its request is held", i)
		}
	}
}

// Whoever has a turn served, one that ends or another, it is served once.
func TestNoTurnIsLost(t *testing.T) {
	const chains, each = 50, 200
	c := callers{most: 3}
	var all sync.WaitGroup
	all.Add(chains * each)
	var served atomic.Int64
	c.serve = func(j job) {
		served.Add(1)
		c.ending()
		if j.request.retries > 0 {
			c.do(job{request: &request{retries: j.request.retries - 1}})
		}
		all.Done()
	}
	for range chains {
		go c.do(job{request: &request{retries: each - 1}})
	}
	all.Wait()
	c.Wait()
	if n := served.Load(); n != chains*each || c.ends != 0 || c.next.len() != 0 {
		t.Errorf("%d turns were served, want %d; %d are about to end, %d are next", n, chains*each, c.ends, c.next.len())
	}
}
