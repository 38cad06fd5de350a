//go:build apachekafka && chaos

package crashtest

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/apachekafka"
)

// TestChaos lives on three brokers of which one is away most of the time:
// killed or stopped, and back, a different one each time. The workers are
// killed as well. It goes on for CLOSEORDER_CHAOS_TIME (5m) with each guarantee,
// and then wants what TestCrash wants, and with exactly_once no repeat.
func TestChaos(t *testing.T) {
	for _, guarantee := range []string{atLeastOnce, exactlyOnce} {
		t.Run(guarantee, func(t *testing.T) { chaos(t, guarantee) })
	}
}

func chaos(t *testing.T, guarantee string) {
	const perSecond, leastBounces, leastKills = 60, 6, 20
	span := 5 * time.Minute
	if text := os.Getenv("CLOSEORDER_CHAOS_TIME"); text != "" {
		var err error
		if span, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CLOSEORDER_CHAOS_TIME: %v", err)
		}
	}
	began := time.Now()
	r, seed := random(t)
	t.Logf("seed %d", seed)
	s := newStage(t, settings{
		kafka:   apachekafka.Config{Brokers: 3},
		gateway: realGateway(seed), partitions: 6,
		workers: []string{"worker-0", "worker-1", "worker-2"}, static: []string{"worker-0", "worker-1"}, guarantee: guarantee,
	})
	s.startAll()
	var done disturbances
	end := time.Now().Add(span)
	sent := s.underLoad(perSecond, mixedTraffic(seed), func() {
		over := make(chan struct{})
		brokers := meanwhile(func() error {
			return s.bounceBrokers(rand.New(rand.NewPCG(seed, 0x62726f6b6572)), &done, over, end, leastBounces)
		})
		s.killWorkers(r, &done, func() bool { return time.Now().Before(end) || done.kills < leastKills })
		close(over)
		s.must(<-brokers)
	})
	// That nothing comes again with exactly_once is for the checker to see.
	s.conclude(sent, done, began)
}

// bounceBrokers takes one broker after the other away and brings it back,
// until over is closed, end has come and so many were away.
func (s *stage) bounceBrokers(r *rand.Rand, done *disturbances, over <-chan struct{}, end time.Time, least int) error {
	last := -1
	for n := 0; n < least || time.Now().Before(end); n++ {
		i := r.IntN(3)
		for i == last {
			i = r.IntN(3)
		}
		last = i
		kill := r.IntN(3) > 0
		away := time.Second + time.Duration(r.Int64N(int64(10*time.Second)))
		if err := s.bounceBroker(i, kill, away, done); err != nil {
			return err
		}
		// Time for the replicas to catch up, often enough.
		pause(over, time.Duration(r.Int64N(int64(8*time.Second))))
	}
	return nil
}
