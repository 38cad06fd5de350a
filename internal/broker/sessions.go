package broker

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// quiet is how long a member may say nothing after a rebalance before its session is
// begun for it: longer than the pause between two heartbeats of any client.
const quiet = 5 * time.Second

// sessions begins those that Kafka begins when a rebalance is complete, and kfake does
// not: of members whose connections are gone when their JoinGroup is answered. They
// would keep their partitions for ever. See
// GroupCoordinator.completeAndScheduleNextHeartbeatExpiration.
type sessions struct {
	cluster *kfake.Cluster
	client  *kgo.Client
	ctx     context.Context
	looks   sync.WaitGroup
	mu      sync.Mutex
	heard   map[string]time.Time // when a member last said something, by member id
}

// beginSessions has a heartbeat sent, by client, in the stead of members that say
// nothing; a member that lives needs none and gets none. Call end before the client or
// the cluster is closed.
func beginSessions(cluster *kfake.Cluster, client *kgo.Client) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &sessions{cluster: cluster, client: client, ctx: ctx, heard: make(map[string]time.Time)}
	watch := cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat}, Count: -1, Observe: true,
		When: func(r kmsg.Request) bool {
			switch r := r.(type) {
			case *kmsg.JoinGroupRequest:
				s.hear(r.MemberID)
			case *kmsg.HeartbeatRequest:
				s.hear(r.MemberID)
			case *kmsg.SyncGroupRequest:
				s.hear(r.MemberID)
				if len(r.GroupAssignment) > 0 { // the leader's: the rebalance is complete
					s.looks.Go(func() { s.look(r.Group, r.Generation) })
				}
			}
			return false
		},
	})
	return func() {
		watch.Remove()
		cancel()
		s.looks.Wait()
	}
}

func (s *sessions) hear(memberID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard[memberID] = time.Now()
}

// silent are the members of whom nothing was heard since; of those who have gone long
// ago nothing is kept.
func (s *sessions) silent(members []kfake.GroupMember, since time.Time) (all []kfake.GroupMember) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, at := range s.heard {
		if time.Since(at) > time.Hour {
			delete(s.heard, id)
		}
	}
	for _, m := range members {
		if s.heard[m.MemberID].Before(since) {
			all = append(all, m)
		}
	}
	return all
}

// look begins the sessions of those who say nothing after a rebalance.
func (s *sessions) look(group string, generation int32) {
	since := time.Now()
	select {
	case <-time.After(quiet):
	case <-s.ctx.Done():
		return
	}
	info := s.cluster.GroupInfo(group)
	if info == nil || info.Epoch != generation {
		return // there was another one since
	}
	for _, m := range s.silent(info.Members, since) {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.InstanceID, req.Generation = group, m.MemberID, m.InstanceID, generation
		_, _ = req.RequestWith(s.ctx, s.client) // it may have gone
	}
}
