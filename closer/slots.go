package closer

import (
	"context"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/shares"
)

// Bounds and steps of the adaptive limit.
const (
	firstSlots  = 64              // at the start
	fewestSlots = 2               // never below: somebody must find out that a host is back
	slotWindow  = time.Second     // how often failures are weighed
	slotSamples = 10              // fewer calls than that in a window say nothing
	slotCalm    = 3 * time.Second // without trouble, and the limit grows as if there had been none
)

// slots are the calls that may be under way to one host at once, divided among
// merchants (package shares). Their number follows the host. It shrinks when a
// share of the calls fails, and falls to the least when nothing but failures come
// back. It grows by one per good answer, so that after an outage the load doubles
// with each round trip from two calls up, however many requests have piled up
// behind it: no herd. Above half of where it had to shrink it grows by about one
// per round trip, until there was no trouble for some seconds: then that mark
// doubles every second. Up to firstSlots it grows though nobody waits, or an outage
// would leave it low for as long as little is asked for; above that only while
// slots are short.
//
// The share counts, not the single failure: a few orders that always time out
// must not choke the others. Latency counts only after trouble, where it is the
// first sign that there is too much again. A host that is slow and fails nothing
// gets as many calls as it takes: else whoever waits for one slow merchant would
// wait for ever.
type slots struct {
	mu     sync.Mutex
	shares shares.Pool[chan struct{}] // by mch_id

	limit, most float64
	fastUntil   float64 // grow by one per answer below this
	failing     bool    // most calls fail

	best        time.Duration // near the least latency seen
	goods, bads int           // in a row
	start       time.Time     // of the window
	good, bad   int           // in the window
	least       time.Duration // latency in the window
	trouble     time.Time     // when it had to shrink last
}

func newSlots(most int) *slots {
	return &slots{limit: float64(min(firstSlots, most)), most: float64(most), fastUntil: float64(most)}
}

// acquire waits for a slot for a merchant, until ctx ends or the deadline is over.
func (s *slots) acquire(ctx context.Context, mchID string, deadline time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.shares.TryTake(mchID, int(s.limit)) {
		s.mu.Unlock()
		return nil
	}
	granted := make(chan struct{})
	waiter := &shares.Waiter[chan struct{}]{Value: granted}
	s.shares.Push(shares.New, mchID, waiter)
	s.mu.Unlock()

	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	err := context.DeadlineExceeded
	select {
	case <-granted:
		return nil
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-granted: // at the same moment: pass it on
		s.giveOn(mchID)
	default:
		s.shares.Remove(waiter)
	}
	return err
}

// tryAcquire takes a slot for a merchant if one is free for it now.
func (s *slots) tryAcquire(mchID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shares.TryTake(mchID, int(s.limit))
}

// giveOn gives a slot back, and what is free to those who wait.
func (s *slots) giveOn(mchID string) {
	s.shares.Give(mchID)
	for {
		next := s.shares.First(shares.New, int(s.limit))
		if next == nil {
			return
		}
		s.shares.Grant(next)
		close(next.Value)
	}
}

// giveBack returns a slot whose call says nothing about the host.
func (s *slots) giveBack(mchID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveOn(mchID)
}

// finish returns a slot and learns from its call.
func (s *slots) finish(mchID string, down bool, latency time.Duration, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if down {
		s.learnBad(now)
	} else {
		s.learnGood(latency, now)
	}
	s.weigh(now)
	s.giveOn(mchID)
}

func (s *slots) learnGood(latency time.Duration, now time.Time) {
	s.good++
	s.goods++
	s.bads = 0
	if s.failing && s.goods >= 3 {
		s.failing = false
		s.newWindow(now) // what failed in the outage says nothing about a host that is back
	}
	if s.best == 0 || latency < s.best {
		s.best = latency
	}
	if s.least == 0 || latency < s.least {
		s.least = latency
	}
	short := s.shares.Waiting(shares.New) > 0 || float64(s.shares.Taken()) > s.limit*3/4
	if !short && s.limit >= firstSlots || !s.calm(now) && latency > 3*s.best+20*time.Millisecond {
		return
	}
	if s.limit < s.fastUntil {
		s.limit++
	} else {
		s.limit += 1 / s.limit
	}
	s.limit = min(s.limit, s.most)
}

// calm says whether there was no trouble for long enough.
func (s *slots) calm(now time.Time) bool { return now.Sub(s.trouble) >= slotCalm }

func (s *slots) learnBad(now time.Time) {
	s.bad++
	s.bads++
	s.goods = 0
	if float64(s.bads) >= max(slotSamples, s.limit/4) && s.limit > fewestSlots {
		s.shrink(0, now)
		s.failing = true
	}
}

// weigh looks at the share of failures once per window.
func (s *slots) weigh(now time.Time) {
	if s.start.IsZero() {
		s.start = now
	}
	if now.Sub(s.start) < slotWindow || s.good+s.bad < slotSamples {
		return
	}
	share := float64(s.bad) / float64(s.good+s.bad)
	// A host that has become slower for good is believed after some minutes.
	if s.least > s.best {
		s.best += (s.least - s.best) / 100
	}
	s.newWindow(now)
	switch {
	case share >= 0.5:
		s.shrink(0.5, now)
		s.failing = true
	case share >= 0.2:
		s.shrink(0.8, now)
	case s.calm(now):
		s.fastUntil = min(2*s.fastUntil, s.most)
	}
}

func (s *slots) newWindow(now time.Time) { s.start, s.good, s.bad, s.least = now, 0, 0, 0 }

func (s *slots) shrink(factor float64, now time.Time) {
	if !s.failing { // else it is known already, from a better moment
		s.fastUntil = max(s.limit/2, 8)
	}
	s.limit = max(s.limit*factor, min(fewestSlots, s.most))
	s.trouble = now
}

// isFailing reports whether most calls fail at present.
func (s *slots) isFailing() bool {
	_, failing := s.state()
	return failing
}

// state returns the most calls at once at present, and isFailing.
func (s *slots) state() (limit int, failing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.limit), s.failing
}
