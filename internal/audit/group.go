package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/kafka/group"
)

// NoteGroup notes what the group's members have to do with what is not
// answered: that there are none, or that nobody but the coordinator knows who
// has what. Where the group may not be described nothing is noted. It is of the
// moment of the call, and no part of the proof.
func (s *Snapshot) NoteGroup(ctx context.Context, r *Report) {
	g, err := s.scope.Reader.Client.DescribeGroup(ctx, s.scope.Group)
	if err != nil {
		return
	}
	if note := groupNote(s.scope.Group, g, r.InFlight+r.Waiting); note != "" {
		r.Notes = append(r.Notes, note)
	}
}

// NobodyServes says why nothing will be served as the group is now: it has no
// member, or none that is a closeorder. Empty where somebody serves, or may: while
// a group rebalances, and in one that is run by the protocol of KIP-848, members do
// not say who they are. It needs leave to DESCRIBE the group.
func (s *Snapshot) NobodyServes(ctx context.Context) (why string, err error) {
	var g group.Described
	err = s.scope.Reader.Client.Persist(ctx, s.scope.Topics.Requests, -1, func(ctx context.Context) (err error) {
		g, err = group.Describe(ctx, s.scope.Reader.Client, s.scope.Group)
		return err
	})
	return nobody(s.scope.Group, g), err
}

// nobody says why nobody in a group serves.
func nobody(name string, g group.Described) string {
	switch {
	case len(g.Members) == 0:
		return fmt.Sprintf("group %s has no member: no worker lives, or it has another group", name)
	case g.Told && !slices.ContainsFunc(g.Members, func(m group.Fellow) bool { return m.Ours }):
		m := g.Members[0]
		return fmt.Sprintf("group %s has no closeorder among its %d members (%s at %s is one): no worker lives, or it has another group", name, len(g.Members), m.ClientID, strings.TrimPrefix(m.Host, "/"))
	}
	return ""
}

// groupNote says what is to be noted of a group, with so many requests open.
func groupNote(name string, g kafka.Group, open int64) string {
	switch {
	case g.Protocol == kafka.Consumer:
		return fmt.Sprintf("group %s is run by the protocol of KIP-848 (group.protocol=consumer), which a client that is not closeorder has brought: a worker may be without the retries of its requests, and requests of one order side by side; give that client a group of its own (%s)", name, brought(g.Members))
	case open > 0 && len(g.Members) == 0:
		return fmt.Sprintf("group %s has no member: nobody serves what is in flight or waiting; see whether workers run, and with this group", name)
	}
	return ""
}

// brought says which members speak the protocol of KIP-848, or, where that is
// not known, who is in the group at all.
func brought(members []kafka.GroupMember) string {
	var theirs, all []string
	for _, m := range members {
		is := fmt.Sprintf("%s at %s", m.ClientID, strings.TrimPrefix(m.Host, "/"))
		if all = append(all, is); m.Protocol == kafka.Consumer {
			theirs = append(theirs, is)
		}
	}
	names, text := theirs, "it is "
	if len(theirs) == 0 {
		names, text = all, "members now: "
	}
	if len(names) == 0 {
		return "it has left"
	}
	slices.Sort(names)
	return text + strings.Join(slices.Compact(names), ", ")
}
