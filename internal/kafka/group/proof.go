package group

import (
	"context"
	"slices"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describegroups"
)

// Proof tells a dead member from a silent one, where that can be known: see
// [LocalProof]. Methods are called by one goroutine.
type Proof interface {
	// Record is where this process can be found, for whoever asks later. It is
	// the same all the time; nil: nowhere. A static member does not say it: it is
	// expected back, and says Config.Whereabouts.
	Record() []byte
	// Dead reports that the process of a record is gone for sure. False says
	// nothing. It must not block for more than moments.
	Dead(record []byte) bool
}

// removeDead lets members leave the group whose processes are gone for sure, as
// the one that this process takes the place of. Otherwise the group would wait
// for their sessions as soon as this one joins, with their partitions. A member
// that lives, or may live, is left alone. What cannot be asked (the group may
// not be described, or rebalances: then it does not show what members say of
// themselves) is left to the sessions, too.
func (m *Member) removeDead(ctx context.Context) {
	if m.cfg.Proof == nil {
		return
	}
	res, err := m.cfg.Client.RoundTrip(ctx, requestTimeout, &describegroups.Request{Groups: []string{m.cfg.Group}})
	if err != nil {
		m.cfg.Log.WithError(err).Debug("cannot look for dead members of the group: their sessions end by themselves")
		return
	}
	for _, g := range res.(*describegroups.Response).Groups {
		if g.ErrorCode != 0 {
			m.cfg.Log.WithError(kafkago.Error(g.ErrorCode)).Debug("cannot look for dead members of the group (DESCRIBE on the group): their sessions end by themselves")
		}
		for _, member := range g.Members {
			if g.GroupState != stable {
				continue
			}
			s, err := decodeSubscription(member.MemberMetadata)
			if err != nil || !s.ours || len(s.record) == 0 || !m.cfg.Proof.Dead(slices.Clone(s.record)) {
				continue
			}
			log := m.cfg.Log.WithField("member", member.MemberID)
			if err := m.remove(ctx, member.MemberID); err != nil {
				log.WithError(err).Debug("cannot let a dead member leave the group: its session ends by itself")
				continue
			}
			log.Info("a member of the group has died on this machine: it has left now, instead of at the end of its session")
			if m.cfg.Buried != nil {
				m.cfg.Buried(ctx, s.record)
			}
		}
	}
}
