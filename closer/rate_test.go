package closer

import (
	"context"
	"sync"
	"testing"
	"time"
)

func TestMerchantRate(t *testing.T) {
	inBubble(t, script(closeSuccess()), nil, func(t *testing.T, c *Closer, g *gateway) {
		fast, slow := g.m, g.m
		fast.MchID, slow.MchID, slow.Rate = "fast", "slow", 10
		c.cfg.Merchants = MerchantMap{"fast": fast, "slow": slow}
		start := time.Now()
		var wg sync.WaitGroup
		last := map[string]time.Duration{}
		var mu sync.Mutex
		for _, m := range []string{"slow", "fast"} {
			for range 21 {
				wg.Go(func() {
					o := order()
					o.MchID = m
					if v := c.Close(t.Context(), o); v.Class != Closed {
						t.Errorf("%s: %+v", m, v)
					}
					mu.Lock()
					last[m] = time.Since(start)
					mu.Unlock()
				})
			}
		}
		wg.Wait()
		// One goes at once, the twenty after it at ten a second.
		if got := last["slow"].Round(time.Millisecond); got != 2*time.Second {
			t.Errorf("21 calls at 10/s took %v", got)
		}
		if last["fast"] > time.Second {
			t.Errorf("the other merchant was held up for %v", last["fast"])
		}

		slow.Rate = 1000 // the merchants file has changed
		c.cfg.Merchants = MerchantMap{"fast": fast, "slow": slow}
		start = time.Now()
		for range 100 {
			o := order()
			o.MchID = "slow"
			c.Close(t.Context(), o)
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("100 calls at the new rate took %v", took)
		}
	})
}

// Waiting for the rate is not a call that takes long: it uses up no budget.
func TestRateDoesNotUseUpTheBudget(t *testing.T) {
	inBubble(t, script(closeSuccess()), func(cfg *Config, g *gateway) {
		cfg.Budget, g.m.Rate = time.Second, 0.5
	}, func(t *testing.T, c *Closer, g *gateway) {
		c.Close(t.Context(), order())
		start := time.Now()
		if v := c.Close(t.Context(), order()); v.Class != Closed {
			t.Errorf("got %+v", v)
		}
		if took := time.Since(start).Round(time.Millisecond); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if v := c.Close(ctx, order()); v.Class != Interrupted {
			t.Errorf("interrupted while waiting for the rate: %+v", v)
		}
	})
}

// A backlog of one merchant must not take up all the calls of a worker.
func TestALongWaitForTheRateIsGivenBackAtOnce(t *testing.T) {
	inBubble(t, script(closeSuccess()), func(cfg *Config, g *gateway) {
		g.m.Rate = 0.1
	}, func(t *testing.T, c *Closer, g *gateway) {
		c.Close(t.Context(), order())
		start := time.Now()
		// Each gives its turn back, so the next need not wait for it; they are
		// to come back one after the other, and within a minute.
		for _, want := range []int{10, 20, 30, 40, 50, 60, 60, 60} {
			v := c.Close(t.Context(), order())
			if v.Class != Temporary || v.Code != CodeOwnRate || v.Calls != 0 || v.RetryAfter.Round(time.Millisecond) != time.Duration(want)*time.Second {
				t.Errorf("want %ds, got %+v", want, v)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
		time.Sleep(10 * time.Second)
		if v := c.Close(t.Context(), order()); v.Class != Closed {
			t.Errorf("got %+v", v)
		}
	})
}
