package closer

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// Bounds and steps of the adaptive limit.
const (
	firstSlots  = 64          // at the start
	fewestSlots = 2           // never below: somebody must find out that a host is back
	slotWindow  = time.Second // how often failures are weighed
	slotSamples = 10          // fewer calls than that in a window say nothing
)

// slots are the calls that may be under way to one host at once. Their number
// follows the host: it grows by one per good answer up to where it last had
// to shrink, by about one per round trip after that, and only while slots are
// short and latency stays near the best seen; it shrinks when a share of the
// calls fails, and falls to the least when nothing but failures come back.
// After an outage the load so doubles with each round trip from two calls up,
// however many requests have piled up behind it: no herd.
//
// The share counts, not the single failure: a few orders that always time out
// must not choke the others.
type slots struct {
	mu       sync.Mutex
	inFlight int
	waiters  list.List // of chan struct{}, first come first served

	limit, most float64
	fastUntil   float64 // grow by one per answer below this
	failing     bool    // most calls fail

	best        time.Duration // near the least latency seen
	goods, bads int           // in a row
	start       time.Time     // of the window
	good, bad   int           // in the window
	least       time.Duration // latency in the window
}

func newSlots(most int) *slots {
	return &slots{limit: float64(min(firstSlots, most)), most: float64(most), fastUntil: float64(most)}
}

// acquire waits for a slot until ctx ends.
func (s *slots) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.free() {
		s.inFlight++
		s.mu.Unlock()
		return nil
	}
	granted := make(chan struct{})
	e := s.waiters.PushBack(granted)
	s.mu.Unlock()

	select {
	case <-granted:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-granted: // at the same moment: pass it on
		s.inFlight--
		s.grant()
	default:
		s.waiters.Remove(e)
	}
	return ctx.Err()
}

// tryAcquire takes a slot if one is free now.
func (s *slots) tryAcquire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.free() {
		return false
	}
	s.inFlight++
	return true
}

func (s *slots) free() bool { return s.waiters.Len() == 0 && float64(s.inFlight+1) <= s.limit }

func (s *slots) grant() {
	for s.waiters.Len() > 0 && float64(s.inFlight+1) <= s.limit {
		s.inFlight++
		close(s.waiters.Remove(s.waiters.Front()).(chan struct{}))
	}
}

// giveBack returns a slot whose call says nothing about the host.
func (s *slots) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	s.grant()
}

// finish returns a slot and learns from its call.
func (s *slots) finish(down bool, latency time.Duration, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if down {
		s.learnBad()
	} else {
		s.learnGood(latency, now)
	}
	s.weigh(now)
	s.inFlight--
	s.grant()
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
	short := s.waiters.Len() > 0 || float64(s.inFlight) > s.limit*3/4
	if !short || latency > 3*s.best+20*time.Millisecond {
		return
	}
	if s.limit < s.fastUntil {
		s.limit++
	} else {
		s.limit += 1 / s.limit
	}
	s.limit = min(s.limit, s.most)
}

func (s *slots) learnBad() {
	s.bad++
	s.bads++
	s.goods = 0
	if float64(s.bads) >= max(slotSamples, s.limit/4) && s.limit > fewestSlots {
		s.shrink(0)
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
		s.shrink(0.5)
		s.failing = true
	case share >= 0.2:
		s.shrink(0.8)
	}
}

func (s *slots) newWindow(now time.Time) { s.start, s.good, s.bad, s.least = now, 0, 0, 0 }

func (s *slots) shrink(factor float64) {
	if !s.failing { // else it is known already, from a better moment
		s.fastUntil = max(s.limit/2, 8)
	}
	s.limit = max(s.limit*factor, min(fewestSlots, s.most))
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
