package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/twmb/franz-go/pkg/kerr"
)

// heedless is a Closer that does not look at its context: a bug.
type heedless struct {
	closing
	release chan struct{}
}

func (h *heedless) Close(context.Context, events.Request, bool, consumer.Place) consumer.Verdict {
	<-h.release
	return consumer.Verdict{Class: consumer.Closed, Code: "SUCCESS", Calls: 1}
}

func TestAWorkerThatIsStuckIsFoundWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &heedless{release: make(chan struct{})}
		w, stop := c.workerOf(closer, nil)
		c.request("T1")
		time.Sleep(time.Minute)
		is := w.State().Health
		if is.Live || len(is.Stuck) != 1 || !strings.Contains(is.Stuck[0], "order T1 of merchant 1900000109") {
			t.Errorf("a minute after a call that does not return: %+v", is)
		}
		close(closer.release)
		time.Sleep(10 * time.Second)
		if is := w.State().Health; !is.Live || !is.Ready {
			t.Errorf("when it has returned: %+v", is)
		}
		stop()
	})
}

// Nobody may be killed for any of these: the next one would be no better off.
func TestAWorkerThatWaitsForAReasonIsLiveAndSaysWhy(t *testing.T) {
	for sentence, c := range map[string]struct {
		closer *closing
		begin  func(c *cluster) // when all is well
		want   string           // among what it says
		ready  bool
	}{
		"for nothing": {&closing{}, nil, "", true},
		"for a gateway that is silent": {
			&closing{answer: func(events.Request) consumer.Verdict {
				return consumer.Verdict{Class: consumer.NoAnswer, Code: "TIMEOUT", Calls: 1}
			}, alive: func() bool { return false }},
			nil, "the gateway has not answered for ", true,
		},
		"for a merchant that the gateway refuses": {
			&closing{answer: func(r events.Request) consumer.Verdict {
				return consumer.Verdict{Class: consumer.MerchantRefused, Code: "SIGNERROR", Message: "wrong key", Scope: consumer.Scope{MchID: r.MchID}, Calls: 1}
			}}, nil, "merchant 1900000109 is held for ", true,
		},
		"for a broker that is gone": {&closing{}, func(c *cluster) { c.broker.Close() }, "no member of group g: ", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := newCluster(t)
				w, stop := cluster.workerOf(c.closer, func(cfg *consumer.Config) { cfg.Grace = time.Second })
				defer stop()
				time.Sleep(10 * time.Second)
				cluster.request(numbered("T", 20)...)
				if c.begin != nil {
					c.begin(cluster)
				}
				for range 180 {
					time.Sleep(10 * time.Second)
					if is := w.State().Health; !is.Live {
						t.Fatalf("killed for it: %+v", is)
					}
				}
				is := w.State().Health
				if waits := strings.Join(append(is.Waits, is.NotReady...), "\n"); is.Ready != c.ready || !strings.Contains(waits, c.want) || c.want == "" && waits != "" {
					t.Errorf("after half an hour: %+v", is)
				}
			})
		})
	}
}

func TestAWorkerIsReadyAsASpareAndNotBeforeItIsAMemberNorWhenItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.broker.Close()
		w, stop := c.workerOf(&closing{}, nil)
		time.Sleep(time.Minute)
		if is := w.State().Health; is.Ready || !is.Live || len(is.NotReady) == 0 {
			t.Errorf("without a broker: %+v", is)
		}
		stop()
		if is := w.State().Health; is.Ready {
			t.Errorf("after the stop: %+v", is)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var spares []*consumer.Worker
		for range 4 { // of three partitions
			w, stop := c.workerOf(&closing{takes: 10 * time.Second}, nil)
			defer stop()
			spares = append(spares, w)
			time.Sleep(5 * time.Second)
		}
		time.Sleep(time.Minute)
		without := 0
		for _, w := range spares {
			s := w.State()
			if !s.Health.Ready || !s.Health.Live || !s.Member.Joined {
				t.Errorf("%+v", s.Health)
			}
			if len(s.Partitions) == 0 {
				without++
			}
		}
		if without != 1 {
			t.Errorf("%d workers have no partition, want 1", without)
		}
	})
}

func TestTheNumberToScaleOnIsFlatWhileTheGatewayIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var mu sync.Mutex
		away := false
		closer := &closing{takes: time.Second, alive: func() bool { mu.Lock(); defer mu.Unlock(); return !away }}
		closer.answer = func(events.Request) consumer.Verdict {
			if mu.Lock(); away {
				mu.Unlock()
				return consumer.Verdict{Class: consumer.NoAnswer, Code: "TIMEOUT", Calls: 1}
			}
			mu.Unlock()
			return consumer.Verdict{Class: consumer.Closed, Code: "SUCCESS", Calls: 1}
		}
		w, stop := c.workerOf(closer, func(cfg *consumer.Config) { cfg.MaxInFlight, cfg.Grace = 1, time.Second })
		defer stop()
		time.Sleep(5 * time.Second)
		c.request(numbered("A", 100)...)
		time.Sleep(10 * time.Second)
		if n := w.State().DueNow; n < 80 || n > 95 {
			t.Errorf("%d are due, of 100 after 10 calls of a second", n)
		}
		mu.Lock()
		away = true
		mu.Unlock()
		time.Sleep(10 * time.Second)
		before := w.State()
		c.request(numbered("B", 200)...)
		time.Sleep(5 * time.Minute)
		after := w.State()
		if before.Breaker.State == "closed" || after.DueNow != before.DueNow {
			t.Errorf("breaker %s, %d were due, and %d are with 200 more requests", before.Breaker.State, before.DueNow, after.DueNow)
		}
		lag := int64(0)
		for _, p := range after.Partitions {
			if p.Topic == "requests" {
				lag += p.Lag()
			}
		}
		if lag < 250 {
			t.Errorf("lag %d", lag)
		}
		if after.OldestUnanswered < 5*time.Minute || len(after.Oldest) != 10 || after.Oldest[0].Requested.After(after.Oldest[9].Requested) || after.Oldest[0].OutTradeNo[0] != 'A' {
			t.Errorf("oldest for %v: %+v", after.OldestUnanswered, after.Oldest)
		}
		mu.Lock()
		away = false
		mu.Unlock()
		c.outcomes(300)
		time.Sleep(time.Second)
		if is := w.State(); is.DueNow != 0 || is.OldestUnanswered != 0 || len(is.Oldest) != 0 {
			t.Errorf("all answered: %d are due, the oldest for %v: %+v", is.DueNow, is.OldestUnanswered, is.Oldest)
		}
	})
}

// Calls go on until so much is unpublished that no more begin; what comes then would
// be no quicker with more workers.
func TestTheNumberToScaleOnIsFlatWhileNothingIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		w, stop := c.workerOf(&closing{takes: 100 * time.Millisecond}, func(cfg *consumer.Config) { cfg.MaxInFlight = 8 })
		defer stop()
		time.Sleep(5 * time.Second)
		c.request(numbered("A", 400)...) // for five seconds
		time.Sleep(2 * time.Second)
		due := w.State().DueNow
		time.Sleep(100 * time.Millisecond) // an answer proves it
		if due < 200 || due > 300 {
			t.Fatalf("%d are due, of 400 after two seconds", due)
		}
		refused := c.refuse("outcomes", kerr.NotEnoughReplicas, -1)
		time.Sleep(time.Second)
		before := w.State()
		c.request(numbered("B", 3000)...)
		for range 12 {
			time.Sleep(10 * time.Second)
			if now := w.State(); now.DueNow > due || now.Publishing.Failing.IsZero() {
				t.Fatalf("%d were due, %d and then %d when nothing was acknowledged: %+v", due, before.DueNow, now.DueNow, now.Publishing)
			}
		}
		refused.Remove()
		c.outcomes(3400)
	})
}

func TestAStateSaysWhatARequestWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{takes: 5 * time.Second, answer: func(r events.Request) consumer.Verdict {
			switch r.OutTradeNo {
			case "HELD":
				return consumer.Verdict{Class: consumer.MerchantRefused, Code: "SIGNERROR", Scope: consumer.Scope{MchID: r.MchID, AppID: r.AppID}, Calls: 1}
			case "BUSY":
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return consumer.Verdict{Class: consumer.Closed, Code: "SUCCESS", Calls: 1}
		}}
		w, stop := c.workerOf(closer, func(cfg *consumer.Config) { cfg.MaxInFlight = 8 })
		defer stop()
		time.Sleep(5 * time.Second)
		c.request("BUSY")
		time.Sleep(10 * time.Second)
		stages := func() map[string]consumer.Stage {
			all := make(map[string]consumer.Stage)
			for _, r := range w.State().Oldest {
				all[r.OutTradeNo] = r.Stage
			}
			return all
		}
		c.request("SLOW", "SLOW")
		time.Sleep(time.Second)
		s := w.State()
		if len(s.Oldest) != 3 || s.Oldest[0].OutTradeNo != "BUSY" || s.Oldest[0].Stage != consumer.StageDue || s.Oldest[0].Until.IsZero() || s.Oldest[0].Topic != "retry.10s" || s.Oldest[0].Source.Topic != "requests" {
			t.Errorf("%+v", s.Oldest)
		}
		if got := []consumer.Stage{s.Oldest[1].Stage, s.Oldest[2].Stage}; !slices.Contains(got, consumer.StageCalling) || !slices.Contains(got, consumer.StageQueued) {
			t.Errorf("of two requests of an order: %v, %v", got, stages())
		}
	})
}

// seen counts what an Observer is told.
type seen struct {
	consumer.Observer
	mu       sync.Mutex
	took     map[string]int
	turns    []consumer.Turn
	answers  []consumer.Answer
	putOff   []consumer.PutOff
	written  map[string]int
	commits  int
	assigned int
	drained  int
	failures []error
}

func (s *seen) lock() func() { s.mu.Lock(); return s.mu.Unlock }

func (s *seen) Took(topic string)                    { defer s.lock()(); s.took[topic]++ }
func (s *seen) Called(t consumer.Turn)               { defer s.lock()(); s.turns = append(s.turns, t) }
func (s *seen) Answered(a consumer.Answer)           { defer s.lock()(); s.answers = append(s.answers, a) }
func (s *seen) PutOff(p consumer.PutOff)             { defer s.lock()(); s.putOff = append(s.putOff, p) }
func (s *seen) Assigned(got, _ int)                  { defer s.lock()(); s.assigned += got }
func (s *seen) Drained(n int, _ time.Duration)       { defer s.lock()(); s.drained += n }
func (s *seen) Committed(time.Duration, error)       { defer s.lock()(); s.commits++ }
func (s *seen) Unfetched(string, int, error)         {}
func (s *seen) Throttled(int, string, time.Duration) {}
func (s *seen) Published(topic string, n int, _ time.Duration, err error) {
	defer s.lock()()
	if s.written[topic] += n; err != nil {
		s.failures = append(s.failures, err)
	}
}

func TestAnObserverSeesEachRequestOnce(t *testing.T) {
	for _, exactlyOnce := range []bool{false, true} {
		t.Run(fmt.Sprint("exactly once: ", exactlyOnce), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				tries := make(map[string]int)
				var mu sync.Mutex
				closer := &closing{takes: 100 * time.Millisecond, answer: func(r events.Request) consumer.Verdict {
					mu.Lock()
					defer mu.Unlock()
					switch tries[r.OutTradeNo]++; {
					case r.OutTradeNo == "PAID":
						return consumer.Verdict{Class: consumer.Paid, Code: "ORDERPAID", Calls: 1}
					case r.OutTradeNo == "BAD":
						return consumer.Verdict{Class: consumer.Failed, Code: "PARAM_ERROR", Message: "no", Calls: 1}
					case r.OutTradeNo == "LATER" && tries["LATER"] == 1:
						return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 2}
					}
					return consumer.Verdict{Class: consumer.Closed, Code: "SUCCESS", SafeToReissue: true, Calls: 1}
				}}
				s := &seen{took: make(map[string]int), written: make(map[string]int)}
				stop := c.worker(closer, func(cfg *consumer.Config) {
					cfg.Observer, cfg.ExactlyOnce = s, exactlyOnce
					cfg.TransactionInterval, cfg.TransactionTimeout = 100*time.Millisecond, 10*time.Second
				})
				time.Sleep(2 * time.Second)
				c.request("T1", "PAID", "BAD", "LATER")
				c.outcomes(4)
				time.Sleep(time.Second)
				stop()
				got := make(map[string]consumer.Answer)
				for _, a := range s.answers {
					got[a.Order.OutTradeNo] = a
				}
				for order, want := range map[string]consumer.Answer{
					"T1":    {Result: events.Closed, Code: "SUCCESS", SafeToReissue: true, Calls: 1},
					"PAID":  {Result: events.Paid, Code: "ORDERPAID", Calls: 1},
					"BAD":   {Result: events.Failed, Code: "PARAM_ERROR", Message: "no", Calls: 1},
					"LATER": {Result: events.Closed, Code: "SUCCESS", SafeToReissue: true, Calls: 3},
				} {
					a := got[order]
					if a.Result != want.Result || a.Code != want.Code || a.Message != want.Message || a.SafeToReissue != want.SafeToReissue || a.Calls != want.Calls ||
						a.Source.Topic != "requests" || a.Took <= 0 || a.Order.MchID != "1900000109" {
						t.Errorf("%s: %+v", order, a)
					}
				}
				if len(s.answers) != 4 || len(s.turns) != 5 || len(s.putOff) != 1 || s.putOff[0].Topic != "retry.10s" || s.putOff[0].Code != "SYSTEMERROR" || !s.putOff[0].Counts {
					t.Errorf("%d answers, %d turns, put off %+v", len(s.answers), len(s.turns), s.putOff)
				}
				if s.took["requests"] != 4 || s.took["retry.10s"] != 1 || s.written["outcomes"] != 4 || s.written["dead"] != 1 || s.written["retry.10s"] != 1 || len(s.failures) > 0 {
					t.Errorf("took %v, wrote %v, failures %v", s.took, s.written, s.failures)
				}
				if s.assigned != 12 || s.drained != 12 || s.commits == 0 {
					t.Errorf("assigned %d, drained %d, %d commits", s.assigned, s.drained, s.commits)
				}
			})
		})
	}
}
