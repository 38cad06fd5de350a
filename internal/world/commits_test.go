package world

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// committedAll fails where a partition of the requests is not committed up to
// its end.
func (s *stage) committedAll() {
	s.t.Helper()
	look := s.look()
	for place, end := range look.Ends {
		if place.Topic == s.Config.Topics.Requests && look.Commits[place].Offset != end {
			s.t.Errorf("%v: committed %d of %d", place, look.Commits[place].Offset, end)
		}
	}
}

// A commit that was given up because no answer came, and that the network still
// holds, does not arrive when those after it are done.
func TestACommitThatTheNetworkHolds(t *testing.T) {
	inVirtualTime(t, Config{Partitions: 4, Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.workers(1)
		s.stays(20 * time.Second)
		// Commits go over the connection that the group was joined over, and over
		// another one when it is gone.
		joined := s.Network.Requests("worker-0", kmsg.SyncGroup.Int16())
		joined.Freeze()
		s.asks(Traffic{Seed: 31, Requests: 400, Over: 20 * time.Second})()
		s.stays(20 * time.Second)
		s.committedAll()
		joined.Heal()
		s.stays(10 * time.Second)
		s.committedAll()
		s.answered(time.Minute)
		s.check(nil)
	})
}

// One that stands before a broker that does not read cannot be taken back: when
// the broker goes on it may be read behind those after it. What it takes back is
// committed again within seconds, with nothing new to commit.
func TestACommitThatIsReadLate(t *testing.T) {
	inVirtualTime(t, Config{Partitions: 4, Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.workers(1)
		s.stays(20 * time.Second)
		first := s.Network.Requests("worker-0", kmsg.SyncGroup.Int16())
		others := s.Network.Requests("worker-0", kmsg.OffsetCommit.Int16())
		first.Stall()
		others.Stall()
		s.asks(Traffic{Seed: 32, Requests: 400, Over: 20 * time.Second})()
		s.stays(20 * time.Second)
		others.Heal()
		s.stays(3 * time.Second)
		first.Heal()
		s.stays(10 * time.Second)
		s.committedAll()
		s.answered(time.Minute)
		s.check(nil)
	})
}
