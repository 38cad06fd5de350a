package group

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/closeorder/closeorder/internal/kafka"
)

// Described is a group as who asks from outside sees it.
type Described struct {
	// Protocol is empty where there is no such group; State and Assignor are those
	// of kafka.Group.
	Protocol        kafka.GroupProtocol
	State, Assignor string
	// Members, in the order of their ids. While a classic group rebalances they say
	// nothing of themselves: Told is false then. It is false, too, in a group that
	// the coordinator runs (KIP-848): there it is not handed on.
	Members []Fellow
	Told    bool
}

// Fellow is a member of a group, as the others see it.
type Fellow struct {
	ID, InstanceID, ClientID string
	// Host is where it connects from, as the broker writes it: /10.0.0.7.
	Host string
	// Ours: it is a closeorder; false where nothing is told.
	Ours bool
	// Machine is the name of the host that it runs on, where it says so.
	Machine string
	// Admin is host:port of its admin listener, empty for none. SameMachine: it
	// runs where this process does, so that a loopback address is of use.
	Admin       string
	SameMachine bool
	// Assigned are its partitions by topic; empty where they are not told.
	Assigned map[string][]int
}

// Describe asks the coordinator for a group and its members. It needs leave to
// DESCRIBE the group; the error says so.
func Describe(ctx context.Context, client *kafka.Client, group string) (Described, error) {
	g, err := client.DescribeGroup(ctx, group)
	if err != nil {
		return Described{}, kafka.Explain(err, "DescribeGroups", "group "+group)
	}
	return described(g, here()), nil
}

// described reads what the members of a group have said, seen from somewhere.
func described(g kafka.Group, from whereabouts) Described {
	is := Described{Protocol: g.Protocol, State: g.State, Assignor: g.Assignor, Told: g.Protocol == kafka.Classic && g.State == stable}
	for _, m := range g.Members {
		f := Fellow{ID: m.ID, InstanceID: m.InstanceID, ClientID: m.ClientID, Host: m.Host, Assigned: maps.Clone(m.Assigned)}
		if is.Told {
			// What cannot be read says nothing.
			if s, err := decodeSubscription(m.Metadata); err == nil && s.ours {
				there := readWhereabouts(s.record)
				f.Ours, f.Machine, f.Admin, f.SameMachine = true, there.Host, there.Admin, from.sameMachine(there)
			}
			if d, err := decodeAssignment(m.Assignment); err == nil {
				f.Assigned = d.assigned
			}
		}
		is.Members = append(is.Members, f)
	}
	slices.SortFunc(is.Members, func(a, b Fellow) int { return cmp.Compare(a.ID, b.ID) })
	return is
}
