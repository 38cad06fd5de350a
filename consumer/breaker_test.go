package consumer

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
)

// dead and alive are what a probe finds.
func dead(context.Context) bool  { return false }
func alive(context.Context) bool { return true }

// without gives a permit back unanswered, with a probe of the test's.
func (p permit) without(ctx context.Context, o events.Order, since time.Time, probe func(context.Context) bool) finding {
	p.breaker.mu.Lock()
	p.breaker.probe = func(ctx context.Context, _ events.Request) bool { return probe(ctx) }
	p.breaker.mu.Unlock()
	return p.giveBack(ctx, events.Request{MchID: o.MchID, OutTradeNo: o.OutTradeNo}, unanswered, since)
}

// answered gives a permit back with an answer to r.
func (p permit) answered(ctx context.Context, r events.Request) {
	p.giveBack(ctx, r, answered, time.Time{})
}

// unused gives a permit back without a call.
func (p permit) unused(ctx context.Context) {
	p.giveBack(ctx, events.Request{}, unused, time.Time{})
}

var one = events.Order{OutTradeNo: "T1"}

func TestGatewayBreaker(t *testing.T) {
	passes := func(t *testing.T, b *gatewayBreaker) {
		t.Helper()
		if _, ok := b.admit(0); !ok {
			t.Error("it is open")
		}
	}
	blocks := func(t *testing.T, b *gatewayBreaker) {
		t.Helper()
		if _, ok := b.admit(0); ok {
			t.Error("it is still closed")
		}
	}
	// lost lets the n-th of several orders get no answer.
	lost := func(t *testing.T, b *gatewayBreaker, n int, probe func(context.Context) bool) finding {
		p, _ := b.admit(0)
		time.Sleep(20 * time.Second)
		return p.without(t.Context(), events.Order{OutTradeNo: fmt.Sprint(n)}, time.Time{}, probe)
	}
	// meanwhile answers another call.
	meanwhile := func(b *gatewayBreaker) {
		other, _ := b.admit(1)
		other.answered(context.Background(), events.Request{})
	}
	is := func(t *testing.T, got, want finding) {
		t.Helper()
		if got != want {
			t.Errorf("taken for %v, want %v", got, want)
		}
	}
	for sentence, test := range map[string]func(t *testing.T, b *gatewayBreaker){
		"an unanswered call opens it when a probe is not answered either": func(t *testing.T, b *gatewayBreaker) {
			is(t, lost(t, b, 1, dead), itIsTheGateway)
			blocks(t, b)
		},
		"it does not when a probe is answered": func(t *testing.T, b *gatewayBreaker) {
			is(t, lost(t, b, 1, alive), itIsTheOrder)
			passes(t, b)
		},
		"three different orders without an answer keep their place although a probe is answered, and a few calls go on": func(t *testing.T, b *gatewayBreaker) {
			for i := range 2 {
				is(t, lost(t, b, i, alive), itIsTheOrder)
			}
			is(t, lost(t, b, 2, alive), nobodyKnows)
			if _, ok := b.admit(careful - 1); !ok {
				t.Error("it is open")
			}
			if _, ok := b.admit(careful); ok {
				t.Error("closed as if all were well")
			}
		},
		"one answer among them ends the doubt": func(t *testing.T, b *gatewayBreaker) {
			for i := range 3 {
				lost(t, b, i, alive)
			}
			bad, _ := b.admit(0)
			time.Sleep(15 * time.Second)
			meanwhile(b)
			is(t, bad.without(t.Context(), one, time.Time{}, alive), itIsTheOrder)
		},
		"an unanswered call among answered ones speaks against its order": func(t *testing.T, b *gatewayBreaker) {
			bad, _ := b.admit(0)
			for range 20 {
				time.Sleep(time.Second)
				meanwhile(b)
			}
			is(t, bad.without(t.Context(), one, time.Time{}, alive), itIsTheOrder)
			passes(t, b)
		},
		"or against its merchant, when a probe in its name is not answered": func(t *testing.T, b *gatewayBreaker) {
			bad, _ := b.admit(0)
			time.Sleep(10 * time.Second)
			meanwhile(b)
			is(t, bad.without(t.Context(), one, time.Time{}, dead), itIsTheMerchant)
			passes(t, b)
		},
		"when nobody was asked lately, one who was answered before is asked": func(t *testing.T, b *gatewayBreaker) {
			for _, c := range []struct {
				answers map[string]bool
				want    finding
			}{{map[string]bool{"b": true}, itIsTheMerchant}, {nil, itIsTheGateway}} {
				good, _ := b.admit(0)
				good.answered(t.Context(), events.Request{MchID: "b"})
				time.Sleep(time.Hour)
				bad, _ := b.admit(0)
				time.Sleep(10 * time.Second)
				b.probe = func(_ context.Context, r events.Request) bool { return c.answers[r.MchID] }
				is(t, bad.giveBack(t.Context(), events.Request{MchID: "a"}, unanswered, time.Time{}), c.want)
			}
		},
		"one lost probe among answered calls says nothing": func(t *testing.T, b *gatewayBreaker) {
			bad, _ := b.admit(0)
			time.Sleep(10 * time.Second)
			meanwhile(b)
			asked := 0
			is(t, bad.without(t.Context(), one, time.Time{}, func(context.Context) bool { asked++; return asked > 1 }), itIsTheOrder)
		},
		"an answer to others from before the call does not count": func(t *testing.T, b *gatewayBreaker) {
			early, _ := b.admit(0)
			time.Sleep(10 * time.Second)
			meanwhile(b)
			time.Sleep(time.Second)
			since := time.Now() // its last call begins
			is(t, early.without(t.Context(), one, since, dead), itIsTheGateway)
		},
		"nor does one from long before its end": func(t *testing.T, b *gatewayBreaker) {
			early, _ := b.admit(0)
			time.Sleep(time.Second)
			meanwhile(b)
			time.Sleep(silence)
			is(t, early.without(t.Context(), one, time.Time{}, dead), itIsTheGateway)
		},
		"an open breaker closes when a probe is answered": func(t *testing.T, b *gatewayBreaker) {
			lost(t, b, 1, dead)
			time.Sleep(probeEvery + time.Second)
			is(t, lost(t, b, 1, alive), itIsTheOrder)
			if _, ok := b.admit(1); !ok {
				t.Error("it is still open")
			}
		},
		"many different orders without an answer at once keep their place though a probe is answered at last": func(t *testing.T, b *gatewayBreaker) {
			slow := func(context.Context) bool { time.Sleep(time.Second); return true }
			found := make(chan finding, 20)
			for i := range 20 {
				p, _ := b.admit(i)
				go func() {
					found <- p.without(t.Context(), events.Order{OutTradeNo: fmt.Sprint(i)}, time.Time{}, slow)
				}()
			}
			for range 20 {
				is(t, <-found, nobodyKnows)
			}
		},
		"all that ask for one merchant at once share one probe": func(t *testing.T, b *gatewayBreaker) {
			var probes atomic.Int32
			slow := func(context.Context) bool { probes.Add(1); time.Sleep(10 * time.Second); return false }
			found := make(chan finding, 3)
			for _, mchID := range []string{"a", "a", "b"} {
				p, _ := b.admit(0)
				go func() {
					found <- p.without(t.Context(), events.Order{MchID: mchID, OutTradeNo: "T1"}, time.Time{}, slow)
				}()
			}
			for range 3 {
				is(t, <-found, itIsTheGateway)
			}
			if n := probes.Load(); n != 2 {
				t.Errorf("%d probes for two merchants", n)
			}
		},
		"one probe at a time goes through an open breaker": func(t *testing.T, b *gatewayBreaker) {
			p, _ := b.admit(0)
			p.without(t.Context(), one, time.Time{}, dead)
			time.Sleep(probeEvery + time.Second)
			probe, ok := b.admit(0)
			if !ok {
				t.Fatal("no probe")
			}
			if _, ok := b.admit(0); ok {
				t.Error("a second probe")
			}
			probe.without(t.Context(), one, time.Time{}, dead)
			if _, ok := b.admit(0); ok {
				t.Error("closed after a probe without an answer")
			}
		},
		"a probe that was not used leaves its place to another": func(t *testing.T, b *gatewayBreaker) {
			p, _ := b.admit(0)
			p.without(t.Context(), one, time.Time{}, dead)
			time.Sleep(probeEvery + time.Second)
			probe, _ := b.admit(0)
			probe.unused(t.Context())
			if _, ok := b.admit(0); !ok {
				t.Error("no further probe")
			}
		},
		"what a call from before it opened comes to is old news": func(t *testing.T, b *gatewayBreaker) {
			early, _ := b.admit(0)
			late, _ := b.admit(0)
			lost(t, b, 1, dead)
			early.answered(t.Context(), events.Request{})
			blocks(t, b)
			time.Sleep(probeEvery + time.Second)
			trial, _ := b.admit(0)
			trial.answered(t.Context(), events.Request{})
			late.over(unanswered)
			passes(t, b)
		},
		"it lets a call through again exactly after its time": func(t *testing.T, b *gatewayBreaker) {
			p, _ := b.admit(0)
			p.without(t.Context(), one, time.Time{}, dead)
			time.Sleep(probeEvery - time.Millisecond)
			blocks(t, b)
			time.Sleep(time.Millisecond)
			passes(t, b)
		},
		"after an outage each answer makes room for one more call": func(t *testing.T, b *gatewayBreaker) {
			p, _ := b.admit(0)
			p.without(t.Context(), one, time.Time{}, dead)
			time.Sleep(probeEvery + time.Second)
			probe, _ := b.admit(0)
			if _, ok := b.admit(1); ok {
				t.Error("a second call beside the probe")
			}
			probe.answered(t.Context(), events.Request{})
			if _, ok := b.admit(2); ok {
				t.Error("three calls after one answer")
			}
			second, ok := b.admit(1)
			if !ok {
				t.Fatal("not two calls after one answer")
			}
			second.answered(t.Context(), events.Request{})
			if _, ok := b.admit(2); !ok {
				t.Error("not three calls after two answers")
			}
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newGatewayBreaker(100, func() {}, nil, silent())
				defer b.stop()
				test(t, b)
			})
		})
	}
}

func TestARevokedPartitionLetsGoOfWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPartition(t.Context(), topicPartition{"t", 0})
		var came []int64
		for i := range int64(3) {
			p.after(time.Duration(i+1)*time.Minute, &request{offset: i}, func(t *request) { came = append(came, t.offset) })
		}
		time.Sleep(90 * time.Second)
		p.forget()
		p.after(time.Minute, &request{offset: 9}, func(t *request) { came = append(came, t.offset) })
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(came) != 1 || came[0] != 0 {
			t.Errorf("came: %v, want the first alone", came)
		}
	})
}

func TestTiers(t *testing.T) {
	ts := tiers{{"10s", 10 * time.Second}, {"1m", time.Minute}, {"5m", 5 * time.Minute}, {"30m", 30 * time.Minute}, {"2h", 2 * time.Hour}}
	retry := func(attempt int, least time.Duration) string {
		tier, ok := ts.forRetry(attempt, least)
		if !ok {
			return "none"
		}
		return tier.Topic
	}
	hold := func(ts tiers, climbed int) string {
		tier, last := ts.forHold(climbed)
		if last {
			return tier.Topic + " and no further"
		}
		return tier.Topic
	}
	for _, c := range []struct{ sentence, got, want string }{
		{"the first retry takes the shortest delay", retry(0, 0), "10s"},
		{"each further one the next", retry(3, 0), "30m"},
		{"after the last there is none", retry(5, 0), "none"},
		{"a delay that was asked for is kept", retry(0, 20*time.Second), "1m"},
		{"one longer than all takes the longest", retry(0, 3*time.Hour), "2h"},
		{"a wait takes the longest delay that is not longer", ts.forWait(29 * time.Minute).Topic, "5m"},
		{"a wait shorter than all takes the shortest", ts.forWait(time.Second).Topic, "10s"},
		{"a wait longer than all takes the longest", ts.forWait(100 * time.Hour).Topic, "2h"},
		{"a request just held asks again soon", hold(ts, 0), "10s"},
		{"with each further hop it climbs", hold(ts, 1) + " " + hold(ts, 2), "1m 5m"},
		{"one held for long never waits longer than half an hour", hold(ts, 1000), "30m and no further"},
		{"where all delays are short the longest is the top", hold(ts[:2], 2), "1m and no further"},
		{"where all are long the shortest is", hold(ts[4:], 0) + ", " + hold(ts[4:], 1), "2h, 2h and no further"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.sentence, c.got, c.want)
		}
	}
}
