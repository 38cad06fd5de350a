package closer

import (
	"cmp"
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// account is what is kept about a merchant between calls.
type account struct {
	limiter *rate.Limiter
	key     atomic.Int64 // index of the key that worked last

	mu   sync.Mutex
	last time.Time // for when the last one was sent away, see later
}

// accountOf returns the merchant's account, its rate as it stands now.
func (c *Closer) accountOf(m Merchant) *account {
	limit := rate.Limit(cmp.Or(m.Rate, c.cfg.Rate))
	if limit < 0 {
		limit = rate.Inf
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.accounts[m.MchID]
	if a == nil {
		a = &account{limiter: rate.NewLimiter(limit, burst(limit))}
		c.accounts[m.MchID] = a
	}
	if a.limiter.Limit() != limit { // the merchants file has changed
		a.limiter.SetLimit(limit)
		a.limiter.SetBurst(burst(limit))
	}
	return a
}

// burst is a tenth of a second's worth: enough to keep many calls going,
// too little to break a limit that the gateway counts per second.
func burst(limit rate.Limit) int {
	if limit == rate.Inf {
		return 1
	}
	return max(1, int(math.Ceil(float64(limit)/10)))
}

// longestRateWait is how long a Close may wait for its merchant's rate. One
// that would have to wait longer gives its turn back: a backlog of one
// merchant must not take up all the calls that the caller can make at once.
const longestRateWait = 2 * time.Second

// longestComeBack bounds for how long a Close is sent away: the rate may be
// another one by then.
const longestComeBack = time.Minute

// begin waits until the first call of a Close may be made. Where that would
// take longer than longestRateWait it returns at once when to come back.
func (a *account) begin(rest func(time.Duration) error) (later time.Duration, err error) {
	d, err := a.wait(rest, longestRateWait)
	if d > longestRateWait {
		return a.later(d), nil
	}
	return 0, err
}

// wait rests until the merchant may make one more call, first come first
// served, and returns what rest does. Where that would take longer than most it
// returns context.DeadlineExceeded at once, and in any case how long it takes.
func (a *account) wait(rest func(time.Duration) error, most time.Duration) (d time.Duration, err error) {
	if a.limiter.Allow() {
		return 0, rest(0)
	}
	r := a.limiter.Reserve()
	if d = r.Delay(); d > most {
		err = context.DeadlineExceeded
	} else {
		err = rest(d)
	}
	if err != nil {
		r.Cancel()
	}
	return d, err
}

// later says when to come back, one after the other at the merchant's rate: were
// all told the same time, all but a few would come in vain, again and again.
func (a *account) later(wait time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	next := a.last.Add(time.Duration(float64(time.Second) / float64(a.limiter.Limit())))
	if soonest := now.Add(wait); next.Before(soonest) {
		next = soonest
	}
	if next.Sub(now) > longestComeBack {
		return longestComeBack
	}
	a.last = next
	return next.Sub(now)
}

// sleep waits for d or until ctx ends, and returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
