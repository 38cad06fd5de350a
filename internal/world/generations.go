package world

import (
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Generation is one assignment of a group's partitions, as its leader handed
// it to the coordinator.
type Generation struct {
	At     time.Time
	Number int32
	Leader string // its member id
	// Owners has the member id of the owner of each partition. kfake makes
	// member ids of the client id or the group.instance.id.
	Owners map[Place]string
}

// generations listens to the assignments of a group.
type generations struct {
	mu  sync.Mutex
	all []Generation
}

// watchGenerations begins to listen.
func watchGenerations(c *kfake.Cluster, group string) *generations {
	g := &generations{}
	c.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.SyncGroup}, Group: group, Count: -1, Observe: true,
		When: func(r kmsg.Request) bool {
			if sync, ok := r.(*kmsg.SyncGroupRequest); ok && len(sync.GroupAssignment) > 0 {
				g.add(sync)
			}
			return false
		},
	})
	return g
}

func (g *generations) add(r *kmsg.SyncGroupRequest) {
	gen := Generation{At: time.Now(), Number: r.Generation, Leader: r.MemberID, Owners: make(map[Place]string)}
	for _, m := range r.GroupAssignment {
		var assigned kmsg.ConsumerMemberAssignment
		if assigned.ReadFrom(m.MemberAssignment) != nil {
			continue
		}
		for _, t := range assigned.Topics {
			for _, p := range t.Partitions {
				gen.Owners[Place{t.Topic, int(p)}] = m.MemberID
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	// A leader that was evicted may still send the assignment of a generation
	// that is over, and a static one that was restarted sends another of its
	// own: the first one holds.
	if n := len(g.all); n == 0 || gen.Number > g.all[n-1].Number {
		g.all = append(g.all, gen)
	}
}

func (g *generations) list() []Generation {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.all)
}
