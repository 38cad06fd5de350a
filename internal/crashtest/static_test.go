//go:build apachekafka

package crashtest

import (
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/world"
)

// TestAStaticMemberDiesWhileItGivesPartitionsUp kills a worker with a static id
// when its assignment has told it to give partitions up and it has not yet
// joined once more, so that others could get them. Kafka takes its successor in
// without a rebalance: nobody but that can know that one is due.
func TestAStaticMemberDiesWhileItGivesPartitionsUp(t *testing.T) {
	s := newStage(t, settings{
		gateway:    gatewaysim.Config{Latency: gatewaysim.Latency{Min: 1200 * time.Millisecond, Max: 1500 * time.Millisecond}},
		partitions: 4, workers: []string{"worker-0", "worker-1"}, static: []string{"worker-0"},
		env: []string{"CLOSEORDER_KAFKA_SESSION_TIMEOUT=5m", "CLOSEORDER_KAFKA_REBALANCE_TIMEOUT=5m"},
	})
	dies, comes := s.workers[0], s.workers[1]
	s.must(dies.start())
	s.awaitAssigned(dies)
	sent := s.underLoad(15, world.Traffic{Seed: 3}, func() {
		pause(t.Context().Done(), 3*time.Second)
		s.must(comes.start())
		for deadline := time.Now().Add(30 * time.Second); ; pause(t.Context().Done(), 5*time.Millisecond) {
			told, err := dies.entries("partitions assigned")
			s.must(err)
			if n := len(told); n > 1 && told[n-1].Assigned[0] != told[0].Assigned[0] {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("no partition was to be given up")
			}
		}
		s.must(dies.kill())
		s.must(dies.start())
		s.awaitAssigned(dies)
		began := time.Now()
		pause(t.Context().Done(), 5*time.Second)
		told, err := comes.entries("partitions assigned")
		s.must(err)
		if n := len(told); n == 0 || len(told[n-1].Assigned) == 0 {
			t.Errorf("%v after the restart nobody has what was to be given up: %v", time.Since(began).Round(time.Second), told)
		}
	})
	if t.Failed() {
		return
	}
	s.awaitAnswers(sent)
	s.stopAndStart()
	if report, _ := s.check(); report.Requests != sent {
		t.Errorf("%d requests were acknowledged: %v", sent, report)
	}
}
