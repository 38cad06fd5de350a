package closer

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/shares"
)

// serve runs calls through s until done calls have ended, each as outcome
// says, with as many callers at once as given. It returns the most calls that
// were under way at once.
func serve(s *slots, callers, calls int, outcome func() (down bool, took time.Duration)) (most int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	now, left := 0, calls
	for range callers {
		wg.Go(func() {
			for {
				mu.Lock()
				if left == 0 {
					mu.Unlock()
					return
				}
				left--
				mu.Unlock()
				if s.acquire(context.Background(), "m", never()) != nil {
					return
				}
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				down, took := outcome()
				time.Sleep(took)
				mu.Lock()
				now--
				mu.Unlock()
				s.finish("m", down, took, time.Now())
			}
		})
	}
	wg.Wait()
	return most
}

func limitOf(s *slots) int { limit, _ := s.state(); return limit }

// taken returns the calls under way and how many wait for one to end.
func (s *slots) taken() (inFlight, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shares.Taken(), s.shares.Waiting(shares.New)
}

// never is a deadline that no test reaches.
func never() time.Time { return time.Now().Add(24 * time.Hour) }

func TestSlots(t *testing.T) {
	good := func() (bool, time.Duration) { return false, 50 * time.Millisecond }
	slow := func() (bool, time.Duration) { return false, 400 * time.Millisecond }
	bad := func() (bool, time.Duration) { return true, 50 * time.Millisecond }
	every := func(n int, f, g func() (bool, time.Duration)) func() (bool, time.Duration) {
		var mu sync.Mutex
		i := 0
		return func() (bool, time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			if i++; i%n == 0 {
				return f()
			}
			return g()
		}
	}
	for sentence, test := range map[string]func(t *testing.T, s *slots){
		"the limit grows while it is short and latency is good": func(t *testing.T, s *slots) {
			start := time.Now()
			serve(s, 400, 4000, good)
			if got := limitOf(s); got < 400 {
				t.Errorf("limit %d after 4000 good calls of 400 callers", got)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %v, 400 at once would take 0.5 s", took)
			}
		},
		"it stays where nobody needs more": func(t *testing.T, s *slots) {
			serve(s, 10, 2000, good)
			if got := limitOf(s); got != firstSlots {
				t.Errorf("limit %d for 10 callers", got)
			}
		},
		"it never passes the ceiling": func(t *testing.T, s *slots) {
			if most := serve(s, 1000, 20000, good); most > 512 || limitOf(s) != 512 {
				t.Errorf("%d at once, limit %d, ceiling 512", most, limitOf(s))
			}
		},
		"it grows as well where calls take much longer than they could, and none fails": func(t *testing.T, s *slots) {
			serve(s, 10, 100, good)
			serve(s, 400, 4000, slow)
			if got := limitOf(s); got < 400 {
				t.Errorf("limit %d at eight times the latency", got)
			}
		},
		"after failures it does not grow while calls take much longer than they could, for some seconds": func(t *testing.T, s *slots) {
			serve(s, 400, 1000, good)
			serve(s, 400, 1000, bad)
			serve(s, 10, 8, slow)
			if got := limitOf(s); got > fewestSlots {
				t.Errorf("limit %d after 4 round trips at eight times the latency", got)
			}
			time.Sleep(slotCalm)
			serve(s, 10, 40, slow)
			if got := limitOf(s); got < 10 {
				t.Errorf("limit %d when nothing has failed for some seconds", got)
			}
		},
		"after an outage it comes back within some round trips, however slow they are": func(t *testing.T, s *slots) {
			serve(s, 400, 1000, good)
			serve(s, 400, 1000, bad)
			serve(s, 400, 1000, func() (bool, time.Duration) { return false, 2400 * time.Millisecond })
			if got := limitOf(s); got < 256 {
				t.Errorf("limit %d after 1000 good calls", got)
			}
		},
		"after an outage it comes back as well where few calls are made": func(t *testing.T, s *slots) {
			serve(s, 400, 1000, good)
			serve(s, 400, 1000, bad)
			serve(s, 2, 100, good)
			if got := limitOf(s); got < firstSlots {
				t.Errorf("limit %d after 100 good calls one or two at a time", got)
			}
			if got := limitOf(s); got > firstSlots+2 {
				t.Errorf("limit %d that nobody needed", got)
			}
		},
		"a merchant whose calls take long leaves a slot to another": func(t *testing.T, s *slots) {
			s.acquire(t.Context(), "brisk", never())
			s.giveBack("brisk")
			for range 2 * firstSlots {
				go func() {
					if s.acquire(t.Context(), "slow", never()) == nil {
						time.Sleep(7 * time.Second)
						s.giveBack("slow")
					}
				}()
			}
			synctest.Wait()
			start := time.Now()
			s.acquire(t.Context(), "brisk", never())
			s.giveBack("brisk")
			if took := time.Since(start); took > 0 {
				t.Errorf("it took %v", took)
			}
			time.Sleep(time.Minute)
		},
		"above half of where it shrank it grows fast again when there was no trouble for some seconds": func(t *testing.T, s *slots) {
			s.limit = 200
			s.shrink(0.5, time.Now())
			serve(s, 400, 20000, good)
			if got := limitOf(s); got < 380 {
				t.Errorf("limit %d after 20000 good calls of 400 callers", got)
			}
		},
		"a slot that comes just when its caller gives up is another's": func(t *testing.T, s *slots) {
			s.limit = 1
			gaveUp := 0
			for range 200 {
				s.acquire(t.Context(), "m", never())
				ctx, cancel := context.WithCancel(t.Context())
				got := make(chan error)
				go func() { got <- s.acquire(ctx, "m", never()) }()
				synctest.Wait()
				s.mu.Lock()
				cancel()
				s.giveOn("m")
				s.mu.Unlock()
				if <-got == nil {
					s.giveBack("m")
				} else {
					gaveUp++
				}
				if n, w := s.taken(); n != 0 || w != 0 {
					t.Fatalf("%d in flight, %d waiting", n, w)
				}
			}
			if gaveUp == 0 {
				t.Error("nobody gave up")
			}
		},
		"nothing but failures bring it down to the least": func(t *testing.T, s *slots) {
			serve(s, 400, 100, bad)
			if got := limitOf(s); got != fewestSlots || !s.isFailing() {
				t.Errorf("limit %d, failing %v", got, s.isFailing())
			}
		},
		"a few failures do not": func(t *testing.T, s *slots) {
			serve(s, 200, 20000, every(20, bad, good))
			if got := limitOf(s); got < 150 || s.isFailing() {
				t.Errorf("limit %d at 5 %% failures and 200 callers", got)
			}
		},
		"many failures shrink it": func(t *testing.T, s *slots) {
			serve(s, 200, 4000, good)
			before := limitOf(s)
			serve(s, 200, 8000, every(3, bad, good))
			if got := limitOf(s); got >= before*3/4 {
				t.Errorf("limit %d at 33 %% failures, was %d", got, before)
			}
		},
		"after an outage the load grows step by step": func(t *testing.T, s *slots) {
			serve(s, 400, 8000, good)
			serve(s, 400, 1000, bad)
			start := time.Now()
			var mu sync.Mutex
			var inStep [20]int // calls begun in each round trip
			serve(s, 400, 3000, func() (bool, time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				if i := int(time.Since(start) / (50 * time.Millisecond)); i < len(inStep) {
					inStep[i]++
				}
				return false, 50 * time.Millisecond
			})
			if inStep[0] > fewestSlots {
				t.Errorf("the herd met a host that just came up: %v", inStep)
			}
			for i := 1; i < len(inStep); i++ {
				if inStep[i] > 2*inStep[i-1]+2 {
					t.Errorf("more than doubled in round trip %d: %v", i, inStep)
				}
			}
			if inStep[10] < 150 {
				t.Errorf("too slow to come back: %v", inStep)
			}
			if s.isFailing() {
				t.Error("still counts as failing")
			}
		},
		"failures of an outage that is over count no more, wherever in a window it ends": func(t *testing.T, s *slots) {
			const roundTrip = 50 * time.Millisecond
			for after := range slotWindow / roundTrip {
				s, now := newSlots(512), time.Now()
				finish := func(down bool) {
					now = now.Add(roundTrip)
					n := limitOf(s)
					for range n {
						if !s.tryAcquire("m") {
							t.Fatalf("no slot, limit %d", n)
						}
					}
					for range n {
						s.finish("m", down, roundTrip, now)
					}
				}
				for range 200 + after {
					finish(true)
				}
				for before := 0; before < firstSlots/2; {
					finish(false)
					limit := limitOf(s)
					if limit <= before {
						t.Errorf("limit %d behind %d, outage of %v", limit, before, (200+after)*roundTrip)
					}
					before = limit
				}
			}
		},
		"who waits is served in turn": func(t *testing.T, s *slots) {
			s.limit = 1
			s.acquire(t.Context(), "m", never())
			var wg sync.WaitGroup
			var mu sync.Mutex
			var got []int
			for i := range 5 {
				wg.Go(func() {
					s.acquire(context.Background(), "m", never())
					mu.Lock()
					got = append(got, i)
					mu.Unlock()
					s.giveBack("m")
				})
				synctest.Wait()
			}
			s.giveBack("m")
			wg.Wait()
			for i, n := range got {
				if i != n {
					t.Errorf("served in the order %v", got)
					break
				}
			}
		},
		"who gives up waiting loses no slot": func(t *testing.T, s *slots) {
			s.limit = 1
			s.acquire(t.Context(), "m", never())
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := s.acquire(ctx, "m", never()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if s.tryAcquire("m") {
				t.Error("two calls in one slot")
			}
			s.giveBack("m")
			if !s.tryAcquire("m") {
				t.Error("the slot is gone")
			}
			s.giveBack("m")
			if n, w := s.taken(); n != 0 || w != 0 {
				t.Errorf("%d in flight, %d waiting", n, w)
			}
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newSlots(512)) })
		})
	}
}

func TestSlotsOfOne(t *testing.T) {
	s := newSlots(1)
	for range 100 {
		if err := s.acquire(t.Context(), "m", never()); err != nil {
			t.Fatal(err)
		}
		s.finish("m", true, time.Millisecond, time.Now())
	}
	if got := limitOf(s); got != 1 {
		t.Errorf("limit %d, ceiling 1", got)
	}
}

// Slots that stay taken until the budget is over are no answer, and no call.
func TestHostBusy(t *testing.T) {
	inBubble(t, script(after(time.Hour, closeSuccess())), func(cfg *Config, _ *gateway) {
		cfg.MaxConcurrency, cfg.AttemptTimeout = 1, time.Hour
	}, func(t *testing.T, c *Closer, g *gateway) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { c.Close(ctx, order()) })
		synctest.Wait()
		start := time.Now()
		v := c.Close(t.Context(), order())
		if v.Class != NoAnswer || v.Code != "HOST_BUSY" || v.Calls != 0 || !v.Starved || time.Since(start) != 30*time.Second {
			t.Errorf("got %+v after %v", v, time.Since(start))
		}
		slots := c.hosts["http://main.test"].slots
		if n, w := slots.taken(); n != 1 || w != 0 || c.Hosts()[0].Limit != 1 {
			t.Errorf("%d in flight, %d waiting, health %+v", n, w, c.Hosts()[0])
		}
		cancel()
		wg.Wait()
		if n, _ := slots.taken(); n != 0 || c.Hosts()[0].Failed != 0 {
			t.Errorf("after the interruption: %d in flight, %+v", n, c.Hosts()[0])
		}
	})
}

// The wait for a slot is no try: who waited long has its whole budget after it.
func TestTheBudgetBeginsWithTheFirstCall(t *testing.T) {
	answer := func(_ call, n int) reply {
		if n == 1 { // holds the only slot
			return after(25*time.Second, closeSuccess())
		}
		return code("SYSTEMERROR")
	}
	inBubble(t, answer, func(cfg *Config, _ *gateway) {
		cfg.MaxConcurrency, cfg.AttemptTimeout, cfg.Confirm = 1, time.Hour, ConfirmNever
	}, func(t *testing.T, c *Closer, g *gateway) {
		var wg sync.WaitGroup
		wg.Go(func() { c.Close(t.Context(), order()) })
		synctest.Wait()
		start := time.Now()
		v := c.Close(t.Context(), order())
		wg.Wait()
		if v.Class != Temporary || v.Calls < 5 {
			t.Errorf("got %+v", v)
		}
		if took := time.Since(start); took < 40*time.Second || took > 56*time.Second {
			t.Errorf("took %v: 25s for the slot, and up to 30s of budget", took)
		}
		if ago := time.Since(v.LastCall); ago < 0 || ago > time.Second {
			t.Errorf("the last call began %v ago", ago)
		}
	})
}
