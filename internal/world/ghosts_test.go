package world

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ghosts knows how long nothing was heard of the members of the workers'
// group.
type ghosts struct {
	world    *World
	observer *Observer      // set before the workers start
	beats    sync.WaitGroup // under way
	mu       sync.Mutex
	heard    map[string]time.Time // when a member was last heard of, by member id
	// The rebalance that goes on, and since when.
	generation int32
	prepared   time.Time
}

// watchGhosts begins to listen.
func watchGhosts(w *World) *ghosts {
	g := &ghosts{world: w, heard: make(map[string]time.Time)}
	w.Kafka.Cluster().Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat}, Group: w.Config.Kafka.Group, Count: -1, Observe: true,
		When: func(r kmsg.Request) bool {
			switch r := r.(type) {
			case *kmsg.JoinGroupRequest:
				g.hear(r.MemberID)
			case *kmsg.SyncGroupRequest:
				g.hear(r.MemberID)
				g.beats.Go(func() { g.observer.beat(r.MemberID, r.InstanceID, r.Generation) })
			case *kmsg.HeartbeatRequest:
				g.hear(r.MemberID)
			}
			return false
		},
	})
	return g
}

func (g *ghosts) hear(memberID string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heard[memberID] = time.Now()
}

// silence is how long nothing was heard of a member; of one that is new to us,
// nothing from now on.
func (g *ghosts) silence(memberID string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	last, known := g.heard[memberID]
	if !known {
		last = time.Now()
		g.heard[memberID] = last
	}
	return time.Since(last)
}

// evict takes members out of the group that have been silent for longer
// than any time-out of theirs. Kafka does that by itself. kfake does not for a
// member whose connection was gone when its answer to JoinGroup or SyncGroup
// was sent: it starts no session timer for it. Nor does it end a rebalance that
// waits for such a member while the others join again and again: it counts the
// rebalance time-out anew each time, Kafka does not.
func (g *ghosts) evict(ctx context.Context, o *Observer) error {
	w := g.world
	info := w.Kafka.Cluster().GroupInfo(w.Config.Kafka.Group)
	if info == nil {
		return nil
	}
	// A member that joins waits in silence for as long as the rebalance lasts.
	patience := w.Config.Kafka.SessionTimeout + w.Config.Kafka.RebalanceTimeout + 15*time.Second
	stuck := g.stuck(info, patience)
	for _, m := range info.Members {
		if stuck || g.silence(m.MemberID) > patience {
			if err := o.evict(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// stuck reports whether a rebalance lasts for longer than any may. kfake counts who
// has joined, and counts wrong where a member goes or joins anew that waits for the
// answer to SyncGroup: then nobody is ever enough, until all have gone.
func (g *ghosts) stuck(info *kfake.GroupInfo, patience time.Duration) bool {
	if info.State != "PreparingRebalance" || info.Epoch != g.generation {
		g.generation, g.prepared = info.Epoch, time.Now()
	}
	return time.Since(g.prepared) > 2*patience
}

// beat has the session of a member begin anew that has sent SyncGroup. Kafka does
// that by itself, also in a group that is stable (GroupCoordinator.doSyncGroup);
// kfake does not there, and would let a member go that goes by it.
func (o *Observer) beat(memberID string, instanceID *string, generation int32) {
	time.Sleep(time.Millisecond) // behind what has sent it
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = o.group, memberID, instanceID, generation
	_, _ = req.RequestWith(context.Background(), o.client) // it may have gone again
}

// evict takes a member out of the group.
func (o *Observer) evict(ctx context.Context, m kfake.GroupMember) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = o.group
	leaving := kmsg.NewLeaveGroupRequestMember()
	leaving.MemberID, leaving.InstanceID = m.MemberID, m.InstanceID
	req.Members = append(req.Members, leaving)
	_, err := req.RequestWith(ctx, o.client)
	return err
}
