//go:build apachekafka

package crashtest

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/world"
)

// TestRollingRestart restarts three workers with static ids one after the
// other under load, as an upgrade does. No request is started twice, and the
// workers that are not restarted notice nothing.
func TestRollingRestart(t *testing.T) {
	const partitions, perSecond = 6, 120
	names := []string{"worker-0", "worker-1", "worker-2"}
	s := newStage(t, settings{
		gateway:    gatewaysim.Config{Latency: gatewaysim.Latency{Min: 30 * time.Millisecond, Max: 120 * time.Millisecond, Jitter: 40 * time.Millisecond}},
		partitions: partitions, workers: names, static: names,
	})
	s.startAll()
	s.awaitStable(len(names))
	rebalances := s.rebalances()
	generation := s.generations()

	var from, to time.Time
	sent := s.underLoad(perSecond, world.Traffic{Seed: 1}, func() {
		pause(t.Context().Done(), 3*time.Second)
		from = time.Now()
		for _, w := range s.workers {
			stopping := time.Now()
			s.must(w.stop())
			stopped := time.Now()
			s.must(w.start())
			s.awaitAssigned(w)
			t.Logf("%s: stopped in %v, has its partitions %v after its start", w.name,
				stopped.Sub(stopping).Round(time.Millisecond), time.Since(stopped).Round(10*time.Millisecond))
			pause(t.Context().Done(), 2*time.Second)
		}
		to = time.Now()
		pause(t.Context().Done(), time.Second)
	})
	s.awaitAnswers(sent)
	if n := s.rebalances(); n != rebalances {
		t.Errorf("the broker began %d rebalances during the restarts", n-rebalances)
	}
	if g := s.generations(); !slices.Equal(g, generation) {
		t.Errorf("generations were %v and are %v", generation, g)
	}
	s.stopAndStart()
	report, e := s.check()
	if report.Requests != sent || report.Closed != sent || report.Duplicates > 0 {
		t.Errorf("%d requests were acknowledged, and all orders can be closed: %v", sent, report)
	}
	twice := 0
	for _, entry := range e.Book {
		if entry.Closes != 1 {
			twice++
			t.Errorf("order %s was closed %d times\n%s", entry.OutTradeNo, entry.Closes,
				e.History(events.Order{MchID: entry.MchID, SubMchID: entry.SubMchID, OutTradeNo: entry.OutTradeNo}))
		}
	}
	t.Logf("3 workers restarted one after the other, generation %v all the time: %d requests, %d started twice, %d duplicates", generation, sent, twice, report.Duplicates)
	for p := range partitions {
		before, during := longestPause(e, p, time.Time{}, from), longestPause(e, p, from, to)
		t.Logf("partition %d: the longest time without an outcome was %v during the restarts, %v before", p, during, before)
	}
}

// longestPause is the longest time between two outcomes of requests of one
// partition, within a span of time.
func longestPause(e world.Evidence, partition int, from, to time.Time) time.Duration {
	var at []time.Time
	for _, r := range e.Outcomes {
		if o, err := events.DecodeOutcome(r.Message); err == nil && o.Source.Partition == partition && o.CompletedAt.After(from) && o.CompletedAt.Before(to) {
			at = append(at, o.CompletedAt)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	longest := time.Duration(0)
	for i := 1; i < len(at); i++ {
		longest = max(longest, at[i].Sub(at[i-1]))
	}
	return longest.Round(time.Millisecond)
}

// rebalances counts the rebalances of the group that the brokers have logged.
func (s *stage) rebalances() int {
	s.t.Helper()
	n := 0
	for _, file := range s.kafka.LogFiles() {
		text, err := os.ReadFile(file)
		s.must(err)
		n += strings.Count(string(text), "Preparing to rebalance group "+group+" ")
	}
	return n
}

// generations are those in which the workers have their partitions.
func (s *stage) generations() []int {
	s.t.Helper()
	var out []int
	for _, w := range s.workers {
		got, err := w.entries("partitions assigned")
		s.must(err)
		if len(got) == 0 {
			s.t.Fatalf("%s has no partitions", w.name)
		}
		out = append(out, got[len(got)-1].Generation)
	}
	return out
}

// awaitStable waits until the group has so many members, all in the same
// generation.
func (s *stage) awaitStable(members int) {
	s.t.Helper()
	s.awaitGroup(members)
	s.eventually("one generation", func(ctx context.Context) (bool, error) {
		g := s.generations()
		return slices.Min(g) == slices.Max(g), nil
	})
}
