//go:build apachekafka

package crashtest

import (
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/rebalances"
)

// TestADeathStopsNobodyElse kills one of three dynamic members under load and
// starts it again at once, as an orchestrator does. The group waits for the dead
// one's session, but only its partitions may: what the others own goes on where
// it is. What that costs in milliseconds is for make rebalances to measure, on a
// machine that does nothing else.
func TestADeathStopsNobodyElse(t *testing.T) {
	const session = 10 * time.Second
	m := newMeasurement(t, demand{program: "this", partitions: 12, perSecond: 60, session: session, first: 3})
	run := m.run(func() {
		m.scene("one is killed and started again", 5*time.Second, session+10*time.Second, func(*rebalances.Scene) {
			m.kill(m.workers[1])
			m.start(m.workers[1])
		})
	})
	s := rebalances.Measure(run).Scenes[0].Summary
	if s.Left != m.partitions/3 || s.Moved > 0 {
		t.Errorf("%d partitions were the dead one's, and %d of others moved: want %d and none", s.Left, s.Moved, m.partitions/3)
	}
	// Half a session: far more than a slow machine takes, far less than a
	// group that waits for the dead one.
	if most := (session / 2).Seconds(); s.Silence > most {
		t.Errorf("a partition of a member that lives stood still for %.1f s, in a session of %v", s.Silence, session)
	}
	if most := (session + waitSlack).Seconds(); s.LeftFor > most {
		t.Errorf("a partition of the dead one stood still for %.1f s, in a session of %v", s.LeftFor, session)
	}
	if s.Requests == 0 || s.Lost > 0 || s.SideBySide > 0 {
		t.Errorf("of %d requests %d have no outcome, and %d had two calls at a time", s.Requests, s.Lost, s.SideBySide)
	}
	t.Logf("the others' partitions stood still for %.1f s at most, the dead one's for %.1f s; p99 %.0f and %.0f ms",
		s.Silence, s.LeftFor, s.Stays.P99, s.Orphaned.P99)
}
