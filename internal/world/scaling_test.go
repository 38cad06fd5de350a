package world

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// A worker of these tests has 8 calls under way that take 1.6 s: it does five
// requests a second, and the threshold is what it does in 15 s, as docs/operations.md
// derives it. All of it is a thousandth of what it is with the defaults.
const (
	perWorker = 5
	threshold = 15 * perWorker
)

func fivePerSecond() Config {
	return Config{
		Partitions: 8, GatewayHosts: 2,
		Gateway: gatewaysim.Config{Latency: gatewaysim.Latency{Min: 1400 * time.Millisecond, Max: 1800 * time.Millisecond}},
		Tune:    func(c *config.Config) { c.MaxInFlight = 8 },
	}
}

// tuned is cfg with one change more.
func tuned(cfg Config, change func(*config.Config)) Config {
	before := cfg.Tune
	cfg.Tune = func(c *config.Config) { before(c); change(c) }
	return cfg
}

// orders are requests at an even pace for orders of an hour of age, of merchants
// and partitions in turn. what, if not empty, stands in each of them.
func orders(name string, perSecond float64, over time.Duration, what string, merchants ...string) []Publication {
	if len(merchants) == 0 {
		merchants = []string{"1900000109", troubled}
	}
	created := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	all := make([]Publication, int(perSecond*over.Seconds()))
	for i := range all {
		all[i] = Publication{
			After:   time.Duration(float64(i) / perSecond * float64(time.Second)),
			Spread:  uint32(i),
			Message: Message{Value: fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":"%s-%d",%s"order_created_at":%q}`, merchants[i%len(merchants)], name, i, what, created)},
		}
	}
	return all
}

// publishes asks in the background, and returns what waits for the end of it.
func (s *stage) publishes(all []Publication) (wait func()) {
	done := make(chan error, 1)
	go func() { done <- s.shop.Ask(s.t.Context(), all) }()
	return func() {
		s.t.Helper()
		if err := <-done; err != nil {
			s.t.Fatal(err)
		}
	}
}

// clean checks that nothing was lost, and nothing done twice, however often the
// group was rebalanced.
func (a *autoscaler) clean() {
	a.t.Helper()
	if report := a.check(nil); report.Duplicates > 0 || report.Failed > 0 {
		a.t.Errorf("%d repeated, %d failed", report.Duplicates, report.Failed)
	}
	a.t.Log(a.history, a.report())
}

func TestASurgeIsServedByMoreWorkers(t *testing.T) {
	for sentence, c := range map[string]struct {
		static    bool
		guarantee string
	}{
		"a Deployment, at least once":                 {false, config.AtLeastOnce},
		"a StatefulSet with static ids, exactly once": {true, config.ExactlyOnce},
	} {
		t.Run(sentence, func(t *testing.T) {
			inVirtualTime(t, tuned(fivePerSecond(), func(to *config.Config) { to.ProcessingGuarantee = c.guarantee }), func(t *testing.T, s *stage) {
				a := s.autoscale(1, c.static, dueNow)
				a.plays(30 * time.Second)
				always := s.publishes(orders("A", .5, 9*time.Minute, ""))
				a.plays(30 * time.Second)
				begun := time.Now()
				surge := s.publishes(orders("S", 15, 75*time.Second, ""))
				a.plays(75 * time.Second)
				surge()
				if a.highest() < 3 {
					t.Errorf("a surge three times what one worker does: %v", a.history)
				}
				a.plays(time.Minute)
				// One worker alone would have the last one wait for two and a half minutes.
				if slowest := s.slowest(span{begun, time.Now()}); slowest > 75*time.Second {
					t.Errorf("a request waited for %v", slowest)
				}
				a.plays(time.Until(begun.Add(9 * time.Minute)))
				always()
				a.playsUntil(time.Minute)
				if len(a.pods) != 1 {
					t.Errorf("%d workers long after: %v", len(a.pods), a.history)
				}
				a.steady()
				a.clean()
			})
		})
	}
}

// Requests come for one worker at four fifths of what it does, and wait for a
// reason that more workers cannot change. When it is over, more of them may come
// for what has waited.
func TestWhatWaitsForAReasonDoesNotScale(t *testing.T) {
	freeze := func(hosts ...int) func(s *stage) (end func()) {
		return func(s *stage) func() {
			for _, i := range hosts {
				s.Gateway.Host(i).Freeze()
			}
			return func() {
				for _, i := range hosts {
					s.Gateway.Host(i).Heal()
				}
			}
		}
	}
	for sentence, c := range map[string]struct {
		cfg    func(*Config)
		on     func(scraped map[string]float64) float64 // nil: what is due now
		more   float64                                  // requests a second of the troubled merchant
		begins func(s *stage) (end func())
		scales bool
	}{
		"the gateway falls silent": {begins: freeze(0, 1)},
		// This one shows that the others can fail.
		"the gateway falls silent, and it is scaled on lag": {on: lag, begins: freeze(0, 1), scales: true},
		"the gateway refuses all connections": {begins: func(s *stage) func() {
			for i := range 2 {
				s.Gateway.SetOutage(GatewayName(i)+":80", gatewaysim.OutageRefuse)
			}
			return func() {
				for i := range 2 {
					s.Gateway.SetOutage(GatewayName(i)+":80", gatewaysim.NoOutage)
				}
			}
		}},
		"one of two hosts falls silent": {begins: freeze(0)},
		"a merchant is held": {begins: func(s *stage) func() {
			s.must(s.Gateway.Refuse(troubled, "NOAUTH"))
			return func() { s.must(s.Gateway.Refuse(troubled, "")) }
		}},
		"a merchant asks for more than its rate": {cfg: func(cfg *Config) {
			*cfg = tuned(*cfg, func(c *config.Config) {
				for i, m := range c.Merchants {
					if m.MchID == troubled {
						c.Merchants[i].Rate = 2.5
					}
				}
			})
		}, more: 3},
		"a merchant asks for more than the gateway takes of it": {cfg: func(cfg *Config) { cfg.Gateway.Rate = 2.5 }, more: .8},
	} {
		t.Run(sentence, func(t *testing.T) {
			cfg := fivePerSecond()
			if c.cfg != nil {
				c.cfg(&cfg)
			}
			on := c.on
			if on == nil {
				on = dueNow
			}
			inVirtualTime(t, cfg, func(t *testing.T, s *stage) {
				a := s.autoscale(1, false, on)
				a.plays(30 * time.Second)
				always := s.publishes(orders("A", .8*perWorker, 150*time.Second, ""))
				a.plays(30 * time.Second)
				begun, end := time.Now(), func() {}
				if c.begins != nil {
					end = c.begins(s)
				}
				if c.more > 0 {
					s.publishes(orders("M", c.more, time.Minute, "", troubled))
				}
				a.plays(2 * time.Minute)
				if scaled := a.scaled(begun, time.Now()); len(scaled) > 0 != c.scales {
					t.Errorf("meanwhile it scales: %v%v", scaled, a.report())
				}
				end()
				always()
				a.playsUntil(15 * time.Minute)
				a.clean()
			})
		})
	}
}

// The worst time for an outage: workers come, and take partitions with a backlog of
// those who saw the gateway fall silent.
func TestAnOutageInASurge(t *testing.T) {
	inVirtualTime(t, fivePerSecond(), func(t *testing.T, s *stage) {
		a := s.autoscale(1, false, dueNow)
		a.plays(30 * time.Second)
		surge := s.publishes(orders("S", 12, 2*time.Minute, ""))
		for len(a.pods) == 1 {
			a.plays(5 * time.Second)
		}
		a.plays(5 * time.Second) // their processes do not run yet
		for i := range 2 {
			s.Gateway.Host(i).Freeze()
		}
		// What was scraped and wanted before has its effects a little later.
		waited, silent := s.unanswered(), time.Now().Add(30*time.Second)
		a.plays(10 * time.Minute)
		surge()
		if now, scaled := a.largest(silent, time.Now()), a.scaled(silent, time.Now()); now > float64(waited) || len(scaled) > 0 {
			t.Errorf("%v waited, and %v are due in the outage: %v%v", waited, now, scaled, a.report())
		}
		for i := range 2 {
			s.Gateway.Host(i).Heal()
		}
		a.playsUntil(3 * time.Minute)
		if a.highest() != 4 {
			t.Errorf("at most %d workers for what has waited", a.highest())
		}
		a.plays(6 * time.Minute)
		a.steady()
		a.clean()
	})
}

// Partitions go from one to another while the gateway is silent. Each is counted
// once, by whom it had when that began, or by nobody if that one has gone; and by its
// owner from the first answer on.
func TestPartitionsThatMoveInAnOutageAreCountedOnce(t *testing.T) {
	inVirtualTime(t, fivePerSecond(), func(t *testing.T, s *stage) {
		a := s.autoscale(2, true, dueNow)
		a.looks = true
		a.plays(30 * time.Second)
		s.publishes(orders("S", 20, 20*time.Second, ""))
		a.plays(20 * time.Second)
		for i := range 2 {
			s.Gateway.Host(i).Freeze()
		}
		a.plays(time.Minute)
		due := func() (all []int64) {
			for i, p := range a.pods {
				all = append(all, p.is.State().DueNow)
				if has := len(p.is.State().Partitions); has == 0 {
					t.Errorf("worker %d has no partition", i)
				}
			}
			return all
		}
		before := due()
		if before[0] < 20 || before[1] < 20 {
			t.Fatalf("%v are due: too few to tell", before)
		}
		s.publishes(orders("M", 4, time.Minute, ""))()
		a.add(0)
		a.plays(time.Minute)
		if now := due(); now[0] != before[0] || now[1] != before[1] || now[2] != 0 {
			t.Errorf("%v were due, and with another worker %v", before, now)
		}
		a.remove()
		a.plays(time.Minute)
		if now := due(); now[0] != before[0] || now[1] != before[1] {
			t.Errorf("%v were due, and when the other one has gone %v", before, now)
		}
		a.remove()
		a.plays(time.Minute)
		if now := due(); now[0] != before[0] {
			t.Errorf("%v were due, and with the first one alone %v", before, now)
		}
		for i := range 2 {
			s.Gateway.Host(i).Heal()
		}
		a.plays(20 * time.Second)
		if now, open := due()[0], s.unanswered(); math.Abs(float64(now)-float64(open)) > perWorker {
			t.Errorf("%d are due by what the worker says, and %d without an outcome", now, open)
		}
		a.playsUntil(4 * time.Minute)
		a.clean()
	})
}

// Hundreds wait in a retry topic, more than fit into memory, until they are due at
// one moment.
func TestRetriesThatAreDueTogetherScaleThen(t *testing.T) {
	cfg := tuned(fivePerSecond(), func(c *config.Config) {
		c.Topics.RetryDelays = []time.Duration{10 * time.Second, 30 * time.Minute}
		c.Kafka.MaxBuffered = 256 << 10
	})
	inVirtualTime(t, cfg, func(t *testing.T, s *stage) {
		a := s.autoscale(1, false, dueNow)
		a.plays(30 * time.Second)
		due := time.Now().Add(31 * time.Minute)
		s.publishes(orders("A", .2, 32*time.Minute, "")) // a count is believed while answers come
		s.publishes(orders("T", 20, 30*time.Second, fmt.Sprintf(`"not_before":%q,`, due.UTC().Format(time.RFC3339))))()
		a.plays(10 * time.Minute)
		a.remove() // and another one finds them all
		a.add(0)
		a.plays(time.Until(due.Add(-5 * time.Second)))
		if most := a.largest(s.began, due); most > threshold || len(a.history) > 0 {
			t.Errorf("%v are due before their time: %v%v", most, a.history, a.report())
		}
		a.playsUntil(3 * time.Minute)
		if a.highest() != 4 {
			t.Errorf("at most %d workers: %v", a.highest(), a.history)
		}
		a.plays(7 * time.Minute)
		a.steady()
		a.clean()
	})
}
