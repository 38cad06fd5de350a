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

// without is unanswered with a probe of the test's.
func (p pass) without(ctx context.Context, o events.Order, since time.Time, probe func(context.Context) bool) suspicion {
	p.gate.mu.Lock()
	p.gate.ask = func(ctx context.Context, _ events.Request) bool { return probe(ctx) }
	p.gate.mu.Unlock()
	return p.unanswered(ctx, events.Request{MchID: o.MchID, OutTradeNo: o.OutTradeNo}, since)
}

var one = events.Order{OutTradeNo: "T1"}

func TestGate(t *testing.T) {
	open := func(t *testing.T, g *gate) {
		t.Helper()
		if _, ok := g.admit(0); !ok {
			t.Error("shut")
		}
	}
	shut := func(t *testing.T, g *gate) {
		t.Helper()
		if _, ok := g.admit(0); ok {
			t.Error("still open")
		}
	}
	// unanswered lets the n-th of several orders get no answer.
	unanswered := func(t *testing.T, g *gate, n int, probe func(context.Context) bool) suspicion {
		p, _ := g.admit(0)
		time.Sleep(20 * time.Second)
		return p.without(t.Context(), events.Order{OutTradeNo: fmt.Sprint(n)}, time.Time{}, probe)
	}
	// meanwhile answers another call.
	meanwhile := func(g *gate) {
		other, _ := g.admit(1)
		other.answered(events.Request{})
	}
	is := func(t *testing.T, got, want suspicion) {
		t.Helper()
		if got != want {
			t.Errorf("taken for %v, want %v", got, want)
		}
	}
	for sentence, test := range map[string]func(t *testing.T, g *gate){
		"an unanswered call shuts it when a probe is not answered either": func(t *testing.T, g *gate) {
			is(t, unanswered(t, g, 1, dead), itIsTheGateway)
			shut(t, g)
		},
		"it does not when a probe is answered": func(t *testing.T, g *gate) {
			is(t, unanswered(t, g, 1, alive), itIsTheOrder)
			open(t, g)
		},
		"three different orders without an answer keep their place although a probe is answered, and a few calls go on": func(t *testing.T, g *gate) {
			for i := range 2 {
				is(t, unanswered(t, g, i, alive), itIsTheOrder)
			}
			is(t, unanswered(t, g, 2, alive), nobodyKnows)
			if _, ok := g.admit(careful - 1); !ok {
				t.Error("shut")
			}
			if _, ok := g.admit(careful); ok {
				t.Error("open as if all were well")
			}
		},
		"one answer among them ends the doubt": func(t *testing.T, g *gate) {
			for i := range 3 {
				unanswered(t, g, i, alive)
			}
			bad, _ := g.admit(0)
			time.Sleep(15 * time.Second)
			meanwhile(g)
			is(t, bad.without(t.Context(), one, time.Time{}, alive), itIsTheOrder)
		},
		"an unanswered call among answered ones speaks against its order": func(t *testing.T, g *gate) {
			lost, _ := g.admit(0)
			for range 20 {
				time.Sleep(time.Second)
				meanwhile(g)
			}
			is(t, lost.without(t.Context(), one, time.Time{}, alive), itIsTheOrder)
			open(t, g)
		},
		"or against its merchant, when a probe in its name is not answered": func(t *testing.T, g *gate) {
			lost, _ := g.admit(0)
			time.Sleep(10 * time.Second)
			meanwhile(g)
			is(t, lost.without(t.Context(), one, time.Time{}, dead), itIsTheMerchant)
			open(t, g)
		},
		"when nobody was asked lately, one who was answered before is asked": func(t *testing.T, g *gate) {
			for _, c := range []struct {
				answers map[string]bool
				want    suspicion
			}{{map[string]bool{"b": true}, itIsTheMerchant}, {nil, itIsTheGateway}} {
				good, _ := g.admit(0)
				good.answered(events.Request{MchID: "b"})
				time.Sleep(time.Hour)
				lost, _ := g.admit(0)
				time.Sleep(10 * time.Second)
				g.ask = func(_ context.Context, r events.Request) bool { return c.answers[r.MchID] }
				is(t, lost.unanswered(t.Context(), events.Request{MchID: "a"}, time.Time{}), c.want)
			}
		},
		"one lost probe among answered calls says nothing": func(t *testing.T, g *gate) {
			lost, _ := g.admit(0)
			time.Sleep(10 * time.Second)
			meanwhile(g)
			asked := 0
			is(t, lost.without(t.Context(), one, time.Time{}, func(context.Context) bool { asked++; return asked > 1 }), itIsTheOrder)
		},
		"an answer to others from before the call does not count": func(t *testing.T, g *gate) {
			early, _ := g.admit(0)
			time.Sleep(10 * time.Second)
			meanwhile(g)
			time.Sleep(time.Second)
			since := time.Now() // its last call begins
			is(t, early.without(t.Context(), one, since, dead), itIsTheGateway)
		},
		"nor does one from long before its end": func(t *testing.T, g *gate) {
			early, _ := g.admit(0)
			time.Sleep(time.Second)
			meanwhile(g)
			time.Sleep(silence)
			is(t, early.without(t.Context(), one, time.Time{}, dead), itIsTheGateway)
		},
		"a shut gate opens when a probe is answered": func(t *testing.T, g *gate) {
			unanswered(t, g, 1, dead)
			time.Sleep(probeEvery + time.Second)
			is(t, unanswered(t, g, 1, alive), itIsTheOrder)
			if _, ok := g.admit(1); !ok {
				t.Error("still shut")
			}
		},
		"many different orders without an answer at once keep their place though a probe is answered at last": func(t *testing.T, g *gate) {
			slow := func(context.Context) bool { time.Sleep(time.Second); return true }
			found := make(chan suspicion, 20)
			for i := range 20 {
				p, _ := g.admit(i)
				go func() {
					found <- p.without(t.Context(), events.Order{OutTradeNo: fmt.Sprint(i)}, time.Time{}, slow)
				}()
			}
			for range 20 {
				is(t, <-found, nobodyKnows)
			}
		},
		"all that ask for one merchant at once share one probe": func(t *testing.T, g *gate) {
			var probes atomic.Int32
			slow := func(context.Context) bool { probes.Add(1); time.Sleep(10 * time.Second); return false }
			found := make(chan suspicion, 3)
			for _, mchID := range []string{"a", "a", "b"} {
				p, _ := g.admit(0)
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
		"one probe at a time goes through a shut gate": func(t *testing.T, g *gate) {
			p, _ := g.admit(0)
			p.without(t.Context(), one, time.Time{}, dead)
			time.Sleep(probeEvery + time.Second)
			probe, ok := g.admit(0)
			if !ok {
				t.Fatal("no probe")
			}
			if _, ok := g.admit(0); ok {
				t.Error("a second probe")
			}
			probe.without(t.Context(), one, time.Time{}, dead)
			if _, ok := g.admit(0); ok {
				t.Error("open after a probe without an answer")
			}
		},
		"a probe that was not used leaves its place to another": func(t *testing.T, g *gate) {
			p, _ := g.admit(0)
			p.without(t.Context(), one, time.Time{}, dead)
			time.Sleep(probeEvery + time.Second)
			probe, _ := g.admit(0)
			probe.unused()
			if _, ok := g.admit(0); !ok {
				t.Error("no further probe")
			}
		},
		"after an outage each answer makes room for one more call": func(t *testing.T, g *gate) {
			p, _ := g.admit(0)
			p.without(t.Context(), one, time.Time{}, dead)
			time.Sleep(probeEvery + time.Second)
			probe, _ := g.admit(0)
			if _, ok := g.admit(1); ok {
				t.Error("a second call beside the probe")
			}
			probe.answered(events.Request{})
			if _, ok := g.admit(2); ok {
				t.Error("three calls after one answer")
			}
			second, ok := g.admit(1)
			if !ok {
				t.Fatal("not two calls after one answer")
			}
			second.answered(events.Request{})
			if _, ok := g.admit(2); !ok {
				t.Error("not three calls after two answers")
			}
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(100, func() {}, nil, silent())
				defer g.stop()
				test(t, g)
			})
		})
	}
}

func TestALostPartitionLetsGoOfWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPartition(t.Context(), place{"t", 0})
		var came []int64
		for i := range int64(3) {
			p.after(time.Duration(i+1)*time.Minute, &task{offset: i}, func(t *task) { came = append(came, t.offset) })
		}
		time.Sleep(90 * time.Second)
		p.forget()
		p.after(time.Minute, &task{offset: 9}, func(t *task) { came = append(came, t.offset) })
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
