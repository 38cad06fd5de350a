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

func seconds(all []time.Duration) (s []float64) {
	for _, d := range all {
		s = append(s, d.Seconds())
	}
	return s
}

func TestWhileNobodyLooksTheBacklogIsMeasuredAndNotRead(t *testing.T) {
	inLooks(t, 0, func(t *testing.T, l *looks, c *cluster) {
		time.Sleep(35 * time.Second)
		if want := []float64{0, 10, 20, 30}; len(c.wholes) > 0 || !slices.Equal(seconds(c.brief), want) {
			t.Errorf("whole looks at %v, samples at %v", seconds(c.wholes), seconds(c.brief))
		}
		s := l.samples[3]
		if *s.Lag != 7 || *s.Waiting != 5 || *s.DueNow != 4 || *s.InFlight != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Hour)
		if n := len(l.samples); n != 361 {
			t.Errorf("%d samples are kept of an hour", n)
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
		if want := []float64{1, 3, 5, 7, 9, 11}; !slices.Equal(seconds(c.wholes), want) {
			t.Errorf("whole looks at %v, want %v", seconds(c.wholes), want)
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
		if n := len(c.wholes); n != 5 {
			t.Errorf("%d looks in 9 seconds", n)
		}
	})
}

func TestNoMoreThanATenthOfTheTimeIsSpentInLooks(t *testing.T) {
	inLooks(t, 12*time.Second, func(t *testing.T, l *looks, c *cluster) { // longer than Kafka may be silent
		for range 300 {
			l.latest(t.Context())
			time.Sleep(time.Second)
		}
		if want := []float64{0, 120, 240}; !slices.Equal(seconds(c.wholes), want) || l.is.Trouble != "" || l.is.Took != 12*time.Second {
			t.Errorf("whole looks at %v, %+v", seconds(c.wholes), l.is)
		}
		if n := len(c.brief); n < 20 {
			t.Errorf("%d samples beside them", n)
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
		if !slices.ContainsFunc(l.samples, func(s Sample) bool { return s.Lag == nil }) {
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
