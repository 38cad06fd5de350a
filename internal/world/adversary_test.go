package world

import (
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A coordinator that takes nobody for a while is not asked without a pause.
func TestACoordinatorThatKnowsNobody(t *testing.T) {
	for sentence, c := range map[string]struct {
		key kmsg.Key
		err *kerr.Error
	}{
		"JoinGroup says that the member is unknown":     {kmsg.JoinGroup, kerr.UnknownMemberID},
		"SyncGroup says that the member is unknown":     {kmsg.SyncGroup, kerr.UnknownMemberID},
		"SyncGroup says that the generation is over":    {kmsg.SyncGroup, kerr.IllegalGeneration},
		"SyncGroup says that the group rebalances":      {kmsg.SyncGroup, kerr.RebalanceInProgress},
		"JoinGroup gives a member id and wants another": {kmsg.JoinGroup, kerr.MemberIDRequired},
	} {
		t.Run(sentence, func(t *testing.T) {
			inVirtualTime(t, Config{Gateway: unhurried}, func(t *testing.T, s *stage) {
				began := time.Now()
				h := s.Kafka.Cluster().Fault(kfake.Fault{
					Keys: []kmsg.Key{c.key}, Group: s.Config.Kafka.Group, Count: 3000, Err: c.err,
				})
				s.workers(1)
				s.asks(Traffic{Seed: 1, Requests: 50, Over: 30 * time.Second})()
				if n := h.Hits(); n > 200 {
					t.Errorf("%d requests in %v", n, time.Since(began))
				}
				h.Remove()
				s.answered(2 * time.Minute)
				s.check(nil)
			})
		})
	}
}

// A connection that waits for the end of a rebalance says nothing for as long, and
// whoever is on the way may forget it. Then the group goes on, and waits for nobody's
// session: JoinGroup is sent again.
func TestTheAnswerToJoinGroupIsLost(t *testing.T) {
	inVirtualTime(t, Config{Brokers: 3, Partitions: 12, Gateway: unhurried}, func(t *testing.T, s *stage) {
		all := s.workers(3)
		s.stays(20 * time.Second)
		all[1].Kill()
		s.worker("worker-3", nil)
		s.stays(10 * time.Second)
		for _, wk := range []*Worker{all[0], all[2]} {
			s.Network.Requests(wk.Name, kmsg.JoinGroup.Int16()).Strand()
		}
		generation := s.generation()
		for s.generation() == generation {
			s.stays(time.Second)
		}
		after := span{time.Now(), time.Now().Add(30 * time.Second)}
		s.asks(Traffic{Seed: 31, Requests: 900, Over: 30 * time.Second})()
		s.answered(time.Minute)
		if slowest := s.slowest(after); slowest > 10*time.Second {
			t.Errorf("a request waited for %v", slowest)
		}
		s.check(nil)
	})
}

// A coordinator lets a member go whose JoinGroup does not reach it, or whose
// SyncGroup does not, at the end of the rebalance time-out, however many of its
// heartbeats do. By then it calls nobody, with what it has begun neither.
func TestOnlyTheHeartbeatsOfAMemberArrive(t *testing.T) {
	for sentence, api := range map[string]kmsg.Key{"JoinGroup does not": kmsg.JoinGroup, "SyncGroup does not": kmsg.SyncGroup} {
		t.Run(sentence, func(t *testing.T) {
			const rebalance = 12 * time.Second
			tune := func(c *config.Config) { c.Kafka.RebalanceTimeout = rebalance }
			inVirtualTime(t, Config{Brokers: 3, Partitions: 6, Gateway: unhurried, Tune: tune}, func(t *testing.T, s *stage) {
				all := s.workers(2)
				s.stays(20 * time.Second)
				// Such an order is called again and again for as long as its turn lasts.
				wait := s.asks(Traffic{Seed: 32, Requests: 600, Over: 40 * time.Second, Behaviours: []string{"SYSERR", "SLOW", "STALL", "GAP", ""}})
				ordinary := s.asks(Traffic{Seed: 33, Requests: 600, Over: 9 * time.Minute})
				s.stays(10 * time.Second)
				s.Network.Requests(all[0].Name, api.Int16()).Freeze()
				s.worker("worker-2", nil)
				s.stays(rebalance + 30*time.Second)
				all[0].Kill()
				wait()
				ordinary()
				s.answered(5 * time.Minute)
				s.check(nil)
			})
		})
	}
}

// A member whose SyncGroup came too late for a generation says that it holds what it
// holds in that one: a leader that believes the newest generation alone would deal it
// to others at once.
func TestWhatIsHeldIsAsNewAsTheLastGeneration(t *testing.T) {
	inVirtualTime(t, Config{Partitions: 6, Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.workers(2)
		s.stays(20 * time.Second)
		generation := s.generation()
		late := s.Kafka.Cluster().Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.SyncGroup}, Group: s.Config.Kafka.Group, Err: kerr.RebalanceInProgress,
			When: func(r kmsg.Request) bool {
				sync := r.(*kmsg.SyncGroupRequest)
				return nameOf(sync.MemberID) == "worker-0" && sync.Generation == generation+1
			},
		})
		var said []int32
		s.Kafka.Cluster().Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.JoinGroup}, Group: s.Config.Kafka.Group, Count: -1, Observe: true,
			When: func(r kmsg.Request) bool {
				join := r.(*kmsg.JoinGroupRequest)
				var m kmsg.ConsumerMemberMetadata
				if nameOf(join.MemberID) == "worker-0" && m.ReadFrom(join.Protocols[0].Metadata) == nil && len(m.OwnedPartitions) > 0 {
					said = append(said, m.Generation)
				}
				return false
			},
		})
		s.worker("worker-2", nil)
		s.stays(20 * time.Second)
		if late.Hits() != 1 || len(said) < 2 || said[0] != generation || said[1] != generation+1 {
			t.Errorf("after generation %d and %d SyncGroup that came too late it said that it owns since %v", generation, late.Hits(), said)
		}
		s.asks(Traffic{Seed: 34, Requests: 100, Over: 10 * time.Second})()
		s.answered(time.Minute)
		s.check(nil)
	})
}
