package console

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/admin"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/status"
)

// cluster answers looks, and remembers when each began.
type cluster struct {
	mu     sync.Mutex
	takes  time.Duration // a whole look
	away   bool
	began  time.Time
	wholes []time.Duration // since began
	brief  []time.Duration
}

func (c *cluster) look(ctx context.Context, scope status.Scope) (*status.Report, error) {
	c.mu.Lock()
	away, takes := c.away, c.takes
	if scope.LagOnly {
		c.brief, takes = append(c.brief, time.Since(c.began)), 0
	} else {
		c.wholes = append(c.wholes, time.Since(c.began))
	}
	c.mu.Unlock()
	if away {
		<-ctx.Done()
		return nil, errors.New("no broker answers")
	}
	for ; takes > 0; takes -= time.Second {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(min(time.Second, takes)):
			scope.OnRead(1)
		}
	}
	return &status.Report{
		At:      time.Now(),
		Topics:  []status.Topic{{Topic: scope.Topics.Requests, Lag: 7}, {Topic: "retry.a", Lag: 2}, {Topic: "retry.b", Lag: 3}},
		Members: []status.Member{{ID: "a", Says: &admin.Status{State: consumer.State{DueNow: 4, Lanes: consumer.LaneState{InFlight: 1}}}}, {ID: "b", Silent: "no"}},
	}, nil
}

func (c *cluster) set(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

// inLooks runs a test while looks are taken, in virtual time.
func inLooks(t *testing.T, takes time.Duration, f func(t *testing.T, l *looks, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{takes: takes, began: time.Now()}
		l := newLooks(Config{Topics: config.Default().Topics})
		l.look = c.look
		var running sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		running.Go(func() { l.run(ctx) })
		synctest.Wait()
		f(t, l, c)
		cancel()
		running.Wait()
	})
}

// seen is when looks began, once none is being taken.
func (c *cluster) seen() (wholes, brief []float64) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return seconds(c.wholes), seconds(c.brief)
}

func seconds(all []time.Duration) (s []float64) {
	for _, d := range all {
		s = append(s, d.Seconds())
	}
	return s
}

func TestWhileNobodyLooksTheBacklogIsMeasuredAndNotRead(t *testing.T) {
	inLooks(t, 0, func(t *testing.T, l *looks, c *cluster) {
		time.Sleep(35 * time.Second)
		if wholes, brief := c.seen(); len(wholes) > 0 || !slices.Equal(brief, []float64{0, 10, 20, 30}) {
			t.Errorf("whole looks at %v, samples at %v", wholes, brief)
		}
		_, samples := l.latest(t.Context())
		s := samples[3]
		if *s.Lag != 7 || *s.Waiting != 5 || *s.DueNow != 4 || *s.InFlight != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Hour)
		if _, samples := l.latest(t.Context()); len(samples) != 361 {
			t.Errorf("%d samples are kept of an hour", len(samples))
		}
	})
}

func TestLooksAreTakenWhileSomebodyLooksAndForTenSecondsAfter(t *testing.T) {
	inLooks(t, 0, func(t *testing.T, l *looks, c *cluster) {
		time.Sleep(time.Second)
		is, _ := l.latest(t.Context()) // waits for the first one
		if is.Report == nil || time.Since(c.began) != time.Second {
			t.Errorf("%+v after %v", is, time.Since(c.began))
		}
		time.Sleep(time.Minute)
		if wholes, _ := c.seen(); !slices.Equal(wholes, []float64{1, 3, 5, 7, 9, 11}) {
			t.Errorf("whole looks at %v", wholes)
		}
	})
}

func TestOneLookServesAllViewers(t *testing.T) {
	inLooks(t, 0, func(t *testing.T, l *looks, c *cluster) {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for range 9 {
					l.latest(t.Context())
					time.Sleep(time.Second)
				}
			})
		}
		all.Wait()
		if wholes, _ := c.seen(); len(wholes) != 5 {
			t.Errorf("looks at %v", wholes)
		}
	})
}

func TestNoMoreThanATenthOfTheTimeIsSpentInLooks(t *testing.T) {
	inLooks(t, 12*time.Second, func(t *testing.T, l *looks, c *cluster) { // longer than Kafka may be silent
		for range 300 {
			l.latest(t.Context())
			time.Sleep(time.Second)
		}
		wholes, brief := c.seen()
		if is, _ := l.latest(t.Context()); !slices.Equal(wholes, []float64{0, 120, 240}) || is.Trouble != "" || is.Took != 12*time.Second {
			t.Errorf("whole looks at %v, %+v", wholes, is)
		}
		if len(brief) < 20 {
			t.Errorf("%d samples beside them", len(brief))
		}
	})
}

func TestWhileKafkaIsAwayTheLastLookStaysWithItsAge(t *testing.T) {
	inLooks(t, 0, func(t *testing.T, l *looks, c *cluster) {
		viewer := func(d time.Duration) (is lookedAt) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
				is, _ = l.latest(t.Context())
			}
			return is
		}
		was := viewer(5 * time.Second)
		c.set(true)
		is := viewer(20 * time.Second)
		if is.Report != was.Report && is.Ended.Sub(was.Ended) > 2*time.Second || is.Report == nil || is.Trouble != "no broker answers" {
			t.Errorf("%+v, it was %+v", is, was)
		}
		_, samples := l.latest(t.Context())
		if !slices.ContainsFunc(samples, func(s Sample) bool { return s.Lag == nil }) {
			t.Error("no sample says that nothing could be measured")
		}
		c.set(false)
		if is := viewer(15 * time.Second); is.Trouble != "" || time.Since(is.Ended) > 3*time.Second {
			t.Errorf("when it is back: %+v", is)
		}
	})
}

func TestALookThatKafkaDoesNotAnswerSaysSo(t *testing.T) {
	inLooks(t, 0, func(t *testing.T, l *looks, c *cluster) {
		l.look = func(ctx context.Context, _ status.Scope) (*status.Report, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		l.latest(t.Context())
		time.Sleep(11 * time.Second)
		if is, _ := l.latest(t.Context()); !strings.Contains(is.Trouble, "Kafka does not answer within 10s") {
			t.Errorf("%+v", is)
		}
	})
}
