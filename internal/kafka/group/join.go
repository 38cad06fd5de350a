package group

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
)

// requestTimeout bounds one request, beside what it has to wait for.
const requestTimeout = 10 * time.Second

// join joins and syncs until it has an assignment. It returns an error when
// ctx ends or no retry can help. What own still has it loses when that takes
// too long.
func (m *Member) join(ctx context.Context, own Assignee) (Generation, error) {
	retry := kafka.NewPause(100*time.Millisecond, 5*time.Second)
	dropped := false
	for {
		gen, err := m.joinOnce(ctx)
		switch {
		case err == nil:
			m.unsettled = time.Time{}
			return gen, nil
		case ctx.Err() != nil:
			return Generation{}, errStopped
		case errors.Is(err, errRejoin):
			continue
		}
		if fatal := m.fatal(err); fatal != nil {
			return Generation{}, fatal
		}
		if errors.Is(err, kafkago.UnknownMemberId) {
			m.id = ""
			m.lastGen = -1
			continue
		}
		if !dropped && !m.LeaseValid(time.Now()) {
			dropped, m.lastGen = true, -1
			own.Lose(err)
		}
		m.cannotJoin(err)
		if retry.Wait(ctx) != nil {
			return Generation{}, errStopped
		}
	}
}

// errRejoin asks for another round at once.
var errRejoin = errors.New("join again")

// fatal returns the error to end with when trying again cannot help.
func (m *Member) fatal(err error) error {
	var code kafkago.Error
	if !errors.As(err, &code) {
		return nil
	}
	switch code {
	case kafkago.FencedInstanceID:
		return fmt.Errorf("kafka.instance_id %q: %w; give each worker its own", m.cfg.InstanceID, errFenced)
	case kafkago.InvalidSessionTimeout:
		return fmt.Errorf("kafka.session_timeout %v is outside of what the broker allows (group.min.session.timeout.ms, group.max.session.timeout.ms)", m.cfg.Session)
	case kafkago.InvalidGroupId:
		return fmt.Errorf("kafka.group %q: %w", m.cfg.Group, code)
	case kafkago.GroupAuthorizationFailed:
		acl, _ := errors.AsType[*kafka.ExplainedError](kafka.Explain(code, "JoinGroup", "group "+m.cfg.Group))
		return fmt.Errorf("kafka.group %q: %w; %s", m.cfg.Group, code, acl.Remedy)
	}
	return nil
}

func (m *Member) joinOnce(ctx context.Context) (Generation, error) {
	counts, err := m.cfg.Client.Partitions(ctx, slices.Concat(m.cfg.Topics, m.cfg.Needs)...)
	if err != nil {
		return Generation{}, err
	}
	for _, topic := range m.cfg.Needs {
		delete(counts, topic)
	}
	join := &joingroup.Request{
		GroupID:            m.cfg.Group,
		SessionTimeoutMS:   int32(m.cfg.Session.Milliseconds()),
		RebalanceTimeoutMS: int32(m.cfg.Rebalance.Milliseconds()),
		MemberID:           m.id,
		GroupInstanceID:    m.cfg.InstanceID,
		ProtocolType:       protocolType,
	}
	for _, name := range assignors {
		join.Protocols = append(join.Protocols, joingroup.RequestProtocol{Name: name, Metadata: encodeSubscription(m.cfg.Topics, fingerprint(counts))})
	}
	// The coordinator parks the request until all members have joined.
	res, err := m.cfg.Client.RoundTrip(ctx, m.cfg.Rebalance+requestTimeout, join)
	if err != nil {
		return Generation{}, fmt.Errorf("join group %s: %w", m.cfg.Group, err)
	}
	joined := res.(*joingroup.Response)
	switch code := kafkago.Error(joined.ErrorCode); code {
	case 0:
	case kafkago.MemberIDRequired:
		m.id = joined.MemberID
		return Generation{}, errRejoin
	default:
		return Generation{}, fmt.Errorf("join group %s: %w", m.cfg.Group, code)
	}
	m.id = joined.MemberID
	before := m.lastGen
	m.lastGen = -1 // until the sync has been answered

	sync := &syncgroup.Request{
		GroupID: m.cfg.Group, GenerationID: joined.GenerationID, MemberID: m.id, GroupInstanceID: m.cfg.InstanceID,
		ProtocolType: protocolType, ProtocolName: joined.ProtocolName,
	}
	if joined.LeaderID == m.id {
		sync.Assignments = m.lead(joined.Members, counts)
	}
	sent := time.Now()
	res, err = m.cfg.Client.RoundTrip(ctx, m.cfg.Rebalance+requestTimeout, sync)
	if err != nil {
		return Generation{}, fmt.Errorf("sync group %s: %w", m.cfg.Group, err)
	}
	synced := res.(*syncgroup.Response)
	switch code := kafkago.Error(synced.ErrorCode); code {
	case 0:
	case kafkago.RebalanceInProgress:
		return Generation{}, errRejoin
	default:
		return Generation{}, fmt.Errorf("sync group %s: %w", m.cfg.Group, code)
	}
	assigned, err := decodeAssignment(synced.Assignments)
	if err != nil {
		return Generation{}, fmt.Errorf("assignment of group %s: %w", m.cfg.Group, err)
	}
	m.stable = sent
	m.renew(sent)
	m.lastGen = joined.GenerationID
	return Generation{
		Membership: kafka.Membership{Group: m.cfg.Group, Generation: joined.GenerationID, MemberID: m.id, InstanceID: m.cfg.InstanceID},
		Assigned:   assigned, Counts: counts,
		continues: before >= 0 && joined.GenerationID-before <= 1,
	}, nil
}

// fingerprint is equal for equal partition counts. It is part of the
// subscription so that a follower that sees a new partition starts a rebalance
// by joining. It must stay what it is: a static member that comes back with
// another one starts a rebalance too.
func fingerprint(counts map[string]int) []byte {
	sum := fnv.New64a()
	fmt.Fprint(sum, list(counts, "="))
	return sum.Sum(nil)
}

// lead is the leader's work: the assignment of every member.
func (m *Member) lead(joined []joingroup.ResponseMember, counts map[string]int) []syncgroup.RequestAssignment {
	members := make([]subscriber, 0, len(joined))
	for _, j := range joined {
		log := m.cfg.Log.WithField("member", j.MemberID)
		topics, err := decodeSubscription(j.Metadata)
		if err != nil {
			// The others must go on.
			log.WithError(err).Error("the subscription of a member of the group cannot be read: it is assigned nothing")
		}
		for _, t := range topics {
			if _, known := counts[t]; !known {
				log.WithField("topic", t).Warn("a member of the group wants a topic that closeorder does not know: it is not assigned")
			}
		}
		members = append(members, subscriber{id: j.MemberID, instanceID: j.GroupInstanceID, topics: topics})
	}
	var out []syncgroup.RequestAssignment
	for id, assigned := range assign(members, counts) {
		out = append(out, syncgroup.RequestAssignment{MemberID: id, Assignment: encodeAssignment(assigned)})
	}
	return out
}

// leave leaves the group at once, so that nobody waits for the session to
// time out. A static member stays: it is expected back, and its partitions
// with it (Kafka, KIP-345).
func (m *Member) leave() {
	if m.id == "" || m.cfg.InstanceID != "" {
		return
	}
	// The caller's context has ended; leaving has its own short time.
	_, err := m.cfg.Client.RoundTrip(context.Background(), 2*time.Second, &leavegroup.Request{
		GroupID: m.cfg.Group, MemberID: m.id,
		Members: []leavegroup.RequestMember{{MemberID: m.id}},
	})
	if err != nil {
		m.cfg.Log.WithError(err).Warn("could not leave the group: its partitions wait for the session time-out")
	}
	m.id = ""
}
