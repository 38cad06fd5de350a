package broker

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BeginSessions has the session of a group's member begin where Kafka has it
// begin, and kfake does not:
//
//   - when a rebalance is complete, also for one whose connection is gone before
//     its JoinGroup is answered. kfake begins none for it: it keeps its partitions
//     for ever (GroupCoordinator.completeAndScheduleNextHeartbeatExpiration);
//   - anew when it sends SyncGroup to a group that is stable
//     (GroupCoordinator.doSyncGroup).
//
// It sends a heartbeat in the member's stead, by client. Call end before the client
// or the cluster is closed: it waits for the heartbeats under way.
func BeginSessions(cluster *kfake.Cluster, client *kgo.Client) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var beats sync.WaitGroup
	beat := func(group, memberID string, instanceID *string, generation int32) {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.InstanceID, req.Generation = group, memberID, instanceID, generation
		_, _ = req.RequestWith(ctx, client) // it may have gone again
	}
	watch := cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.SyncGroup}, Count: -1, Observe: true,
		When: func(r kmsg.Request) bool {
			sync := r.(*kmsg.SyncGroupRequest)
			beats.Go(func() {
				time.Sleep(time.Millisecond) // behind what has sent it
				if len(sync.GroupAssignment) == 0 {
					beat(sync.Group, sync.MemberID, sync.InstanceID, sync.Generation)
					return
				}
				// The leader's: the rebalance is complete.
				if info := cluster.GroupInfo(sync.Group); info != nil && info.Epoch == sync.Generation {
					for _, m := range info.Members {
						beat(sync.Group, m.MemberID, m.InstanceID, sync.Generation)
					}
				}
			})
			return false
		},
	})
	return func() {
		watch.Remove()
		cancel()
		beats.Wait()
	}
}
