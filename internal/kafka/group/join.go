package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// join joins the group in the background, saying what is held, and syncs, until
// there is an assignment. The channel has one answer, or none when the tenure
// ends before. Heartbeats begin with the first assignment.
func (t *tenure) join(held map[string][]int) <-chan answer {
	t.mu.Lock()
	t.joining = true
	select {
	case <-t.rejoin: // this is it
	default:
	}
	t.mu.Unlock()
	out := make(chan answer, 1)
	t.wg.Go(func() {
		gen, err := t.joinAtLast(held)
		if t.alive.Err() != nil {
			return
		}
		if err == nil {
			t.beats.Do(func() { t.wg.Go(t.heartbeat) })
		}
		out <- answer{gen, err}
	})
	return out
}

// joinAtLast joins until it has an assignment, no retry can help or the tenure
// ends.
func (t *tenure) joinAtLast(held map[string][]int) (Generation, error) {
	retry := kafka.NewPause(100*time.Millisecond, 5*time.Second)
	for again := 0; ; {
		gen, err := t.joinOnce(held)
		switch {
		case err == nil, t.alive.Err() != nil:
			t.unsettled = time.Time{}
			return gen, err
		case errors.Is(err, errRejoin) && again < atOnce:
			again++
			continue
		case errors.Is(err, errForeign), errors.Is(err, errGap):
			t.lose(err)
			return Generation{}, err
		case errors.Is(err, kafkago.UnknownMemberId):
			t.mu.Lock()
			t.id = ""
			t.mu.Unlock()
			if len(held) > 0 {
				t.lose(err)
				return Generation{}, err
			}
			if again++; again <= atOnce {
				continue
			}
		case errors.Is(err, kafkago.InconsistentGroupProtocol):
			err = t.strangers(err)
		}
		if fatal := t.fatal(err); fatal != nil {
			return Generation{}, fatal
		}
		t.cannotJoin(err)
		if err := retry.Wait(t.alive); err != nil {
			return Generation{}, err
		}
	}
}

// errRejoin asks for another round, at once up to atOnce times: a first one has no
// member id yet, and a rebalance may be overtaken by the next. A coordinator that
// says so again and again has trouble of its own, and is not to be kept busy.
var errRejoin = errors.New("the group rebalances again, or the coordinator wants to hear of this member once more")

const atOnce = 4

// errUnheard ends a JoinGroup whose answer should be here.
var errUnheard = errors.New("the group has gone on, and the answer is not here: it may be lost")

// fatal returns the error to end with when trying again cannot help.
func (m *Member) fatal(err error) error {
	if old, ok := errors.AsType[*kafka.OldBrokerError](err); ok {
		return old
	}
	var code kafkago.Error
	if !errors.As(err, &code) {
		return nil
	}
	switch code {
	case kafkago.FencedInstanceID:
		return m.fenced()
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

// joinOnce joins once, saying what is held. What it says stays the same until
// JoinGroup is answered: an answer that was lost is given again.
func (t *tenure) joinOnce(held map[string][]int) (Generation, error) {
	counts, err := t.cfg.Client.Partitions(t.alive, slices.Concat(t.cfg.Topics, t.cfg.Needs)...)
	if err != nil {
		return Generation{}, err
	}
	for _, topic := range t.cfg.Needs {
		delete(counts, topic)
	}
	if len(held) == 0 {
		if err := t.cfg.Client.Prepare(t.alive, t.cfg.Group); err != nil {
			return Generation{}, err
		}
	}
	t.lookAtVersion()
	as := t.membership()
	s := subscription{topics: t.cfg.Topics, owned: held, generation: as.Generation, record: t.cfg.Whereabouts}
	if t.cfg.Proof != nil && as.InstanceID == "" {
		if record := t.cfg.Proof.Record(); len(record) > 0 {
			s.record = record
		}
	}
	join := &joingroup.Request{
		GroupID:            t.cfg.Group,
		SessionTimeoutMS:   int32(t.cfg.Session.Milliseconds()),
		RebalanceTimeoutMS: int32(t.cfg.Rebalance.Milliseconds()),
		MemberID:           as.MemberID,
		GroupInstanceID:    as.InstanceID,
		ProtocolType:       protocolType,
	}
	for _, name := range assignors {
		join.Protocols = append(join.Protocols, joingroup.RequestProtocol{Name: name, Metadata: s.encode()})
	}
	once, abandon := context.WithCancel(t.alive)
	defer abandon()
	t.mu.Lock()
	t.abandon = abandon
	t.mu.Unlock()
	sent := time.Now()
	// The coordinator parks the request until all members have joined.
	res, err := t.cfg.Client.RoundTrip(once, t.cfg.Rebalance+requestTimeout, join)
	if err != nil && once.Err() != nil && t.alive.Err() == nil {
		return Generation{}, fmt.Errorf("join group %s: %w", t.cfg.Group, errUnheard)
	}
	if err != nil {
		return Generation{}, fmt.Errorf("join group %s: %w", t.cfg.Group, err)
	}
	joined := res.(*joingroup.Response)
	switch code := kafkago.Error(joined.ErrorCode); code {
	case 0:
	case kafkago.MemberIDRequired:
		t.mu.Lock()
		t.id = joined.MemberID
		t.mu.Unlock()
		return Generation{}, errRejoin
	default:
		return Generation{}, fmt.Errorf("join group %s: %w", t.cfg.Group, code)
	}
	if err := t.joined(joined, sent, counts, held); err != nil {
		return Generation{}, err
	}
	told, err := t.sync(joined, counts)
	t.mu.Lock()
	t.syncing = false
	t.mu.Unlock()
	if err != nil {
		return Generation{}, err
	}
	as = t.membership()
	gen := Generation{
		Membership: as, Assigned: told.assigned, Counts: counts, cooperative: cooperates(joined),
		unsettled: told.unsettled || !told.ours && incremental(joined.ProtocolName) && joined.LeaderID != "",
		refused:   func(why error) { t.refused(as, why) },
	}
	t.mu.Lock()
	t.joining = false
	t.mu.Unlock()
	if told.unsettled {
		signal(t.soon)
	}
	t.cfg.Under(&gen)
	return gen, nil
}

// errUnknownTopic: a member of another kind subscribes to more.
var errUnknownTopic = errors.New("a topic that closeorder does not know")

// cooperates says whether everybody in a generation leaves to its owners what
// they own: its protocol is one under which all do, or the coordinator deals
// by itself and waits until each has given up what moves (KIP-848: there is no
// leader then).
func cooperates(j *joingroup.Response) bool {
	return incremental(j.ProtocolName) || j.LeaderID == ""
}

// joined takes the answer to a JoinGroup that was sent at a time: from now on
// the member is one of another generation. It returns an error when what is
// held may be given to others in it, or was in one that this member knows
// nothing of. It must be dropped then at once: the leader has had its answer at
// the same moment, and who is given something begins with it a round trip later.
func (t *tenure) joined(j *joingroup.Response, sent time.Time, counts map[string]int, held map[string][]int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := j.GenerationID-t.generation <= 1 || j.LeaderID == ""
	t.id, t.generation, t.counts, t.doubt = j.MemberID, j.GenerationID, counts, false
	if j.LeaderID != t.leader {
		t.leader = "" // until its assignment says that it is one of ours
	}
	switch {
	case len(held) == 0:
	case !next:
		return errGap
	case !cooperates(j) && j.LeaderID != j.MemberID && j.LeaderID != t.leader:
		return errForeign
	}
	t.syncing = true
	// The rebalance has ended with this member in it, later than its request
	// was sent, and later than the last answer to a heartbeat of the generation
	// before; the next one begins after that.
	t.stable = later(later(t.stable, sent), t.heard)
	t.setLease()
	return nil
}

// sync waits for the assignment; the leader makes it.
func (t *tenure) sync(j *joingroup.Response, counts map[string]int) (dealt, error) {
	req := &syncgroup.Request{
		GroupID: t.cfg.Group, GenerationID: j.GenerationID, MemberID: j.MemberID, GroupInstanceID: t.instanceID(),
		ProtocolType: protocolType, ProtocolName: j.ProtocolName,
	}
	if j.LeaderID == j.MemberID {
		req.Assignments = t.lead(j, counts)
	}
	retry := kafka.NewPause(100*time.Millisecond, 2*time.Second)
	for {
		sent := time.Now()
		res, err := t.cfg.Client.RoundTrip(t.alive, t.cfg.Rebalance+requestTimeout, req)
		if err == nil {
			synced := res.(*syncgroup.Response)
			switch code := kafkago.Error(synced.ErrorCode); code {
			case 0:
				told, err := decodeAssignment(synced.Assignments)
				if err != nil {
					return dealt{}, fmt.Errorf("assignment of group %s: %w", t.cfg.Group, err)
				}
				t.mu.Lock()
				if t.syncing = false; told.ours {
					t.leader = j.LeaderID
				}
				t.mu.Unlock()
				t.renewed(sent, true)
				return told, nil
			case kafkago.RebalanceInProgress, kafkago.IllegalGeneration:
				return dealt{}, errRejoin
			case kafkago.UnknownMemberId, kafkago.FencedInstanceID, kafkago.GroupAuthorizationFailed:
				return dealt{}, fmt.Errorf("sync group %s: %w", t.cfg.Group, code)
			default:
				err = code
			}
		}
		// JoinGroup once more would begin a rebalance for all.
		t.cannotJoin(fmt.Errorf("sync group %s: %w", t.cfg.Group, err))
		if err := retry.Wait(t.alive); err != nil {
			return dealt{}, err
		}
	}
}

// lead is the leader's work: the assignment of every member.
func (m *Member) lead(j *joingroup.Response, counts map[string]int) []syncgroup.RequestAssignment {
	members := make([]subscriber, 0, len(j.Members))
	for _, member := range j.Members {
		log := m.cfg.Log.WithField("member", member.MemberID)
		s, err := decodeSubscription(member.Metadata)
		if err != nil {
			// The others must go on.
			s.topics = nil
			if m.told.Due(member.MemberID, err) {
				log.WithError(err).Error("the subscription of a member of the group cannot be read: it is assigned nothing")
			}
		}
		if !s.ours && !incremental(j.ProtocolName) {
			// It has given up everything, whatever it says, and would not join
			// again for what it is not given.
			s.owned = nil
		}
		for _, t := range s.topics {
			if _, known := counts[t]; !known && m.told.Due(t, errUnknownTopic) {
				log.WithField("topic", t).Warn("a member of the group wants a topic that closeorder does not know: it is not assigned")
			}
		}
		members = append(members, subscriber{id: member.MemberID, instanceID: member.GroupInstanceID, subscription: s})
	}
	now, meant := assign(members, counts)
	settled := maps.EqualFunc(now, meant, func(a, b map[string][]int) bool { return maps.EqualFunc(a, b, slices.Equal) })
	var out []syncgroup.RequestAssignment
	for _, member := range members {
		d := dealt{assigned: now[member.id], ours: member.ours, unsettled: !settled}
		out = append(out, syncgroup.RequestAssignment{MemberID: member.id, Assignment: d.encode()})
	}
	return out
}

// lookAtVersion finds out whether the brokers know static members. Those before
// Kafka 2.3 do not, and the field is left out on the wire without a word.
func (t *tenure) lookAtVersion() {
	if t.cfg.InstanceID == "" || t.dynamic {
		return
	}
	if version, err := t.cfg.JoinVersion(t.alive); err == nil && version < 5 {
		t.mu.Lock()
		t.dynamic = true
		t.mu.Unlock()
		t.cfg.Log.Warn("the brokers are older than Kafka 2.3 and know no kafka.instance_id: it is left out, and each restart is a rebalance")
	}
}

// leave leaves the group at once, so that nobody waits for the session to
// time out. A static member stays: it is expected back, and its partitions
// with it (Kafka, KIP-345).
func (m *Member) leave() {
	as := m.membership()
	if as.MemberID == "" || as.InstanceID != "" {
		return
	}
	// The caller's context has ended; leaving has its own short time.
	if err := m.remove(context.Background(), as.MemberID); err != nil {
		m.cfg.Log.WithError(err).Warn("could not leave the group: its partitions wait for the session time-out")
	}
	m.mu.Lock()
	m.id = ""
	m.mu.Unlock()
}

// remove lets a dynamic member leave the group. One that the group does not know
// has left.
func (m *Member) remove(ctx context.Context, memberID string) error {
	res, err := m.cfg.Client.RoundTrip(ctx, 2*time.Second, &leavegroup.Request{
		GroupID: m.cfg.Group, MemberID: memberID,
		Members: []leavegroup.RequestMember{{MemberID: memberID}},
	})
	if err != nil {
		return err
	}
	if code := kafkago.Error(leaveCode(res)); code != 0 && code != kafkago.UnknownMemberId {
		return fmt.Errorf("leave group %s: %w", m.cfg.Group, code)
	}
	return nil
}
