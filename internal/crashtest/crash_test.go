//go:build apachekafka

package crashtest

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/world"
)

// oddOrders are prefixes of out_trade_no, see gatewaysim.Behaviours: what real
// orders do at times.
var oddOrders = []string{
	"PAID", "REFUND", "CLOSED", "REVOKED", "UNKNOWN", "FLAKY", "SLOW", "DEAD", "PAYING", "PAYERROR", "LIMIT",
	"GAP", "LOST", "APPLIED", "RATE", "STALE", "VACUOUS", "LATECREATE", "DROP", "STALL", "RESET", "STATUS", "SYSERR",
}

// mixedTraffic is what order services ask for in the tests with crashes.
func mixedTraffic(seed uint64) world.Traffic {
	behaviours := slices.Clone(oddOrders)
	for range 6 * len(oddOrders) {
		behaviours = append(behaviours, "") // ordinary
	}
	return world.Traffic{Seed: seed, Poison: .01, Repeats: .05, Hot: .01, Behaviours: behaviours}
}

// realGateway takes its time, and is not quite reliable.
func realGateway(seed uint64) gatewaysim.Config {
	return gatewaysim.Config{
		Seed:       seed,
		Latency:    gatewaysim.Latency{Min: 30 * time.Millisecond, Max: 120 * time.Millisecond, Jitter: 40 * time.Millisecond},
		Failures:   gatewaysim.Failures{SystemError: .005, Drop: .005, Lose: .005, BadGateway: .005},
		Buyers:     gatewaysim.Buyers{Share: .05, Within: 10 * time.Second},
		Slow:       time.Second,
		BuyerTime:  2 * time.Second,
		LateCreate: 3 * time.Second,
	}
}

// disturbances counts what was done to a stage.
type disturbances struct {
	kills, starts int // of workers
	cutOff        int // calls that were in flight at the kills
	killed        int // brokers, with SIGKILL
	stopped       int // brokers, with SIGTERM
}

// killWorkers kills workers in the middle of their work and starts them again,
// one, two or all at a time, as long as more says so.
func (s *stage) killWorkers(r *rand.Rand, done *disturbances, more func() bool) {
	s.t.Helper()
	for more() {
		victims := s.workers
		if n := r.IntN(10); n < 7 {
			victims = pick(r, s.workers, 1)
		} else if n < 9 {
			victims = pick(r, s.workers, 2)
		}
		// A kill that hits nobody at work is none: wait for calls in flight.
		// While a broker is away there may be none for long.
		for tries := 0; tries < 100 && !busy(victims); tries++ {
			pause(s.t.Context().Done(), 50*time.Millisecond)
		}
		for _, w := range victims {
			cutOff := int(w.host.inFlight.Load())
			s.must(w.kill())
			s.note("%s killed with %d calls in flight", w.name, cutOff)
			done.cutOff += cutOff
			done.kills++
		}
		pause(s.t.Context().Done(), time.Duration(r.Int64N(int64(time.Second))))
		for _, w := range victims {
			s.must(w.start())
			s.note("%s started", w.name)
			done.starts++
		}
		pause(s.t.Context().Done(), 500*time.Millisecond+time.Duration(r.Int64N(int64(3*time.Second))))
	}
}

func pick(r *rand.Rand, all []*worker, n int) []*worker {
	var out []*worker
	for _, i := range r.Perm(len(all))[:n] {
		out = append(out, all[i])
	}
	return out
}

func busy(workers []*worker) bool {
	for _, w := range workers {
		if w.host.inFlight.Load() == 0 {
			return false
		}
	}
	return true
}

// bounceBroker takes a broker away, with SIGKILL or SIGTERM, and brings it
// back after a while; it returns when the cluster is whole again.
func (s *stage) bounceBroker(broker int, kill bool, away time.Duration, done *disturbances) error {
	if kill {
		done.killed++
		if err := s.kafka.KillBroker(broker); err != nil {
			return err
		}
	} else {
		done.stopped++
		if err := s.kafka.StopBroker(broker); err != nil {
			return err
		}
	}
	s.note("broker %d away, killed: %v", broker, kill)
	pause(s.t.Context().Done(), away)
	if err := s.kafka.RestartBroker(broker); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	err := s.kafka.WaitReady(ctx)
	s.note("broker %d back: %v", broker, err)
	return err
}

// underLoad publishes requests and looks at what comes of them while disturb
// goes on, and returns when all that was published is acknowledged.
func (s *stage) underLoad(perSecond int, traffic world.Traffic, disturb func()) (sent int) {
	s.t.Helper()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { s.shop.load(s.t.Context(), stop, perSecond, traffic) })
	wg.Go(func() { s.watch(stop) })
	func() {
		defer wg.Wait()
		defer close(stop)
		disturb()
	}()
	ctx, cancel := s.context()
	defer cancel()
	sent, err := s.shop.flush(ctx)
	s.must(err)
	return sent
}

// conclude waits for all outcomes, has everything checked, and prints and
// returns the result of a test that killed workers.
func (s *stage) conclude(sent int, done disturbances, began time.Time) (world.Report, world.Evidence) {
	s.t.Helper()
	s.awaitAnswers(sent)
	s.stopAndStart()
	report, e := s.check()
	if report.Requests != sent {
		s.t.Errorf("%d requests were acknowledged, the topic holds %d", sent, report.Requests)
	}
	// What can be published twice is what was in flight: an outcome is
	// committed within moments.
	if most := s.maxInFlight * (done.kills + done.killed); report.Duplicates >= most {
		s.t.Errorf("%d duplicates after %d kills of workers with at most %d calls each", report.Duplicates, done.kills, s.maxInFlight)
	}
	s.t.Logf("%d kills of workers with %d calls in flight, %d restarts; brokers killed %d times, stopped %d times",
		done.kills, done.cutOff, done.starts, done.killed, done.stopped)
	s.t.Logf("%d requests, %d outcomes, %d duplicates (same id; %d of them written twice, the others made twice), holes %d, contradictions %d",
		report.Requests, len(e.Outcomes), report.Duplicates, writtenTwice(e), report.Count(world.Hole), report.Count(world.Contradiction))
	s.t.Logf("%v; %d looks at the commits; %s", report, len(e.Looks), seconds(time.Since(began)))
	return report, e
}

// writtenTwice counts the outcomes that are the same record again: their
// producer did not get the answer to the first. The other duplicates come of a
// second call, after a worker died between its outcome and its commit.
func writtenTwice(e world.Evidence) int {
	n := 0
	seen := make(map[string]bool)
	for _, r := range e.Outcomes {
		text := string(r.Value) // holds source and completed_at
		if seen[text] {
			n++
		}
		seen[text] = true
	}
	return n
}

// TestCrash kills workers at random and restarts the only broker under load.
// Nothing may be lost, and nothing answered in two ways.
func TestCrash(t *testing.T) {
	const kills, perSecond = 21, 70
	began := time.Now()
	r, seed := random(t)
	t.Logf("seed %d", seed)
	s := newStage(t, settings{
		gateway: realGateway(seed), partitions: 6,
		// Both kinds of membership: one restart moves nothing, the other
		// makes the group wait for the dead member's session.
		workers: []string{"worker-0", "worker-1", "worker-2"}, static: []string{"worker-0", "worker-1"},
	})
	s.startAll()
	sent, done := s.crash(r, mixedTraffic(seed), kills, perSecond)
	s.conclude(sent, done, began)
}

// crash kills workers at random under load, and the only broker in between; a
// little later that is restarted as well.
func (s *stage) crash(r *rand.Rand, traffic world.Traffic, kills, perSecond int) (sent int, done disturbances) {
	s.t.Helper()
	sent = s.underLoad(perSecond, traffic, func() {
		killed := func(n int) func() bool { return func() bool { return done.kills < n } }
		s.killWorkers(r, &done, killed(kills/4))
		crash := meanwhile(func() error { return s.bounceBroker(0, true, 0, &done) })
		s.killWorkers(r, &done, killed(kills*3/4))
		s.must(<-crash)
		restart := meanwhile(func() error { return s.bounceBroker(0, false, 2*time.Second, &done) })
		s.killWorkers(r, &done, killed(kills))
		s.must(<-restart)
	})
	return sent, done
}

// meanwhile runs f beside the caller, who must take what it returns.
func meanwhile(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}
