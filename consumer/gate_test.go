package consumer

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
)

// dead and alive are what a probe finds.
func dead(context.Context) bool  { return false }
func alive(context.Context) bool { return true }

var one = events.Order{OutTradeNo: "T1"}

func TestGate(t *testing.T) {
	for sentence, test := range map[string]func(t *testing.T, g *gate){
		"one unanswered call shuts it when a probe is not answered either": func(t *testing.T, g *gate) {
			p, _ := g.admit(0)
			time.Sleep(20 * time.Second)
			if !p.unanswered(t.Context(), one, time.Time{}, dead) {
				t.Error("not taken for an outage")
			}
			if _, ok := g.admit(0); ok {
				t.Error("still open")
			}
		},
		"one unanswered call does not when a probe is answered": func(t *testing.T, g *gate) {
			p, _ := g.admit(0)
			time.Sleep(20 * time.Second)
			if p.unanswered(t.Context(), one, time.Time{}, alive) {
				t.Error("taken for an outage")
			}
			if _, ok := g.admit(0); !ok {
				t.Error("shut")
			}
		},
		"three different orders without an answer keep their place whatever a probe says, and a few calls go on": func(t *testing.T, g *gate) {
			keeps := false
			for i := range 3 {
				p, _ := g.admit(0)
				time.Sleep(20 * time.Second)
				keeps = p.unanswered(t.Context(), events.Order{OutTradeNo: fmt.Sprint(i)}, time.Time{}, alive)
			}
			if !keeps {
				t.Error("the third one loses a try")
			}
			if _, ok := g.admit(careful - 1); !ok {
				t.Error("shut")
			}
			if _, ok := g.admit(careful); ok {
				t.Error("open as if all were well")
			}
		},
		"one answer among them ends the doubt": func(t *testing.T, g *gate) {
			for i := range 3 {
				p, _ := g.admit(0)
				time.Sleep(20 * time.Second)
				p.unanswered(t.Context(), events.Order{OutTradeNo: fmt.Sprint(i)}, time.Time{}, alive)
			}
			bad, _ := g.admit(0)
			good, _ := g.admit(1)
			time.Sleep(15 * time.Second)
			good.answered()
			if bad.unanswered(t.Context(), one, time.Time{}, dead) {
				t.Error("it keeps its place although another order is answered")
			}
		},
		"a shut gate opens when a probe is answered": func(t *testing.T, g *gate) {
			p, _ := g.admit(0)
			p.unanswered(t.Context(), one, time.Time{}, dead)
			time.Sleep(probeEvery + time.Second)
			bad, _ := g.admit(0)
			time.Sleep(20 * time.Second)
			if bad.unanswered(t.Context(), one, time.Time{}, alive) {
				t.Error("a bad order is taken for an outage")
			}
			if _, ok := g.admit(1); !ok {
				t.Error("still shut")
			}
		},
		"many different orders without an answer at once shut it though a probe is answered": func(t *testing.T, g *gate) {
			kept := make(chan bool, 20)
			for i := range 20 {
				p, _ := g.admit(i)
				go func() { kept <- p.unanswered(t.Context(), events.Order{OutTradeNo: fmt.Sprint(i)}, time.Time{}, alive) }()
			}
			burnt := 0
			for range 20 {
				if !<-kept {
					burnt++
				}
			}
			if burnt >= enough {
				t.Errorf("%d requests burn a try in an outage", burnt)
			}
		},
		"many that ask at once share one probe": func(t *testing.T, g *gate) {
			probes := 0
			slow := func(context.Context) bool { probes++; time.Sleep(10 * time.Second); return false }
			outages := make(chan bool, 2)
			for range 2 {
				p, _ := g.admit(0)
				go func() { outages <- p.unanswered(t.Context(), one, time.Time{}, slow) }()
			}
			for range 2 {
				if !<-outages {
					t.Error("not taken for an outage")
				}
			}
			if probes != 1 {
				t.Errorf("%d probes", probes)
			}
		},
		"an unanswered call among answered ones says nothing": func(t *testing.T, g *gate) {
			lost, _ := g.admit(0)
			for range 20 {
				time.Sleep(time.Second)
				other, _ := g.admit(1)
				other.answered()
			}
			if lost.unanswered(t.Context(), one, time.Time{}, dead) {
				t.Error("taken for an outage")
			}
			if _, ok := g.admit(0); !ok {
				t.Error("shut")
			}
		},
		"a call that began before the last answer and outlived it by the silence counts": func(t *testing.T, g *gate) {
			early, _ := g.admit(0)
			other, _ := g.admit(1)
			time.Sleep(time.Second)
			other.answered()
			time.Sleep(silence)
			if !early.unanswered(t.Context(), one, time.Time{}, dead) {
				t.Error("the beginning of an outage was not seen")
			}
		},
		"one probe at a time goes through a shut gate": func(t *testing.T, g *gate) {
			p, _ := g.admit(0)
			p.unanswered(t.Context(), one, time.Time{}, dead)
			time.Sleep(probeEvery + time.Second)
			probe, ok := g.admit(0)
			if !ok {
				t.Fatal("no probe")
			}
			if _, ok := g.admit(0); ok {
				t.Error("a second probe")
			}
			probe.unanswered(t.Context(), one, time.Time{}, dead)
			if _, ok := g.admit(0); ok {
				t.Error("open after a probe without an answer")
			}
		},
		"a probe that was not used leaves its place to another": func(t *testing.T, g *gate) {
			p, _ := g.admit(0)
			p.unanswered(t.Context(), one, time.Time{}, dead)
			time.Sleep(probeEvery + time.Second)
			probe, _ := g.admit(0)
			probe.unused()
			if _, ok := g.admit(0); !ok {
				t.Error("no further probe")
			}
		},
		"after an outage each answer makes room for one more call": func(t *testing.T, g *gate) {
			p, _ := g.admit(0)
			p.unanswered(t.Context(), one, time.Time{}, dead)
			time.Sleep(probeEvery + time.Second)
			probe, _ := g.admit(0)
			if _, ok := g.admit(1); ok {
				t.Error("a second call beside the probe")
			}
			probe.answered()
			if _, ok := g.admit(2); ok {
				t.Error("three calls after one answer")
			}
			second, ok := g.admit(1)
			if !ok {
				t.Fatal("not two calls after one answer")
			}
			second.answered()
			if _, ok := g.admit(2); !ok {
				t.Error("not three calls after two answers")
			}
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(100, func() {}, silent())
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
	for _, c := range []struct{ sentence, got, want string }{
		{"the first retry takes the shortest delay", retry(0, 0), "10s"},
		{"each further one the next", retry(3, 0), "30m"},
		{"after the last there is none", retry(5, 0), "none"},
		{"a delay that was asked for is kept", retry(0, 20*time.Second), "1m"},
		{"one longer than all takes the longest", retry(0, 3*time.Hour), "2h"},
		{"a wait takes the longest delay that is not longer", ts.forWait(29 * time.Minute).Topic, "5m"},
		{"a wait shorter than all takes the shortest", ts.forWait(time.Second).Topic, "10s"},
		{"a wait longer than all takes the longest", ts.forWait(100 * time.Hour).Topic, "2h"},
		{"a request just held asks again soon", ts.forHold(0).Topic, "10s"},
		{"one held for long never waits longer than five minutes", ts.forHold(1000 * time.Hour).Topic, "5m"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.sentence, c.got, c.want)
		}
	}
}
