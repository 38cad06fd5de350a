package consumer

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync/atomic"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
	"github.com/sirupsen/logrus"
)

// member is this process's membership in the consumer group, on Kafka's
// classic group protocol: join, sync, heartbeat, leave.
//
// It differs from kafka-go's ConsumerGroup where that loses work: heartbeats
// go on while partitions are drained, a lost connection is not a lost
// membership, a stop leaves at once, and membership may be static.
type member struct {
	client     *kafka.Client
	group      string
	instanceID string // group.instance.id; empty for a dynamic member
	topics     []string
	needs      []string // topics that must be there before anything is served
	session    time.Duration
	rebalance  time.Duration
	renewed    func() // called after each renewal of the lease
	log        logrus.FieldLogger

	id      string // member id, given by the coordinator
	lastGen int32  // generation last synced without a break since, else -1
	// stable is when the last request was sent whose answer said that the
	// group does not rebalance.
	stable time.Time
	// leaseUntil is when the coordinator may declare this member dead, see
	// renew. A time.Time has both clocks: see alive.
	leaseUntil atomic.Pointer[time.Time]
}

// generation is one assignment of partitions to this member.
type generation struct {
	id         int32
	memberID   string
	instanceID string
	assigned   map[string][]int
	counts     map[string]int // partitions per topic when it was made
	// continues says that no other generation can have owned a partition
	// that this member had before and has again.
	continues bool
	// lost ends the generation: the membership is known to be gone.
	lost context.CancelCauseFunc
}

// end ends the generation, if it can be.
func (g *generation) end(why error) {
	if g.lost != nil {
		g.lost(why)
	}
}

// assignee is who works on the partitions. Its methods are called one at a
// time, by member.run.
type assignee interface {
	// assign hands over the partitions of a new generation.
	assign(gen generation)
	// revoke drains all partitions before the group is joined again: no new
	// call, calls in flight finish, what is finished is published and
	// committed. It returns early when ctx ends: the membership was lost.
	// When stop ends the worker is to stop, and drains no longer than then.
	revoke(ctx, stop context.Context)
	// lose drops all partitions at once: they may have another owner.
	lose(why error)
	// stop drains all partitions for good. It returns early when ctx ends.
	stop(ctx context.Context)
}

// requestTimeout bounds one request that has nothing to wait for.
const requestTimeout = 10 * time.Second

// errFenced ends a worker whose group.instance.id is used by another one.
var errFenced = errors.New("another member of the group uses the same group.instance.id")

// errStopped is the cause of contexts that end because the worker stops.
var errStopped = errors.New("the worker stops")

// run keeps the membership and tells own what it means, until ctx ends; then
// own is stopped, the group is left and run returns nil. It returns an error
// only for what no retry can heal.
func (m *member) run(ctx context.Context, own assignee) error {
	m.lastGen = -1
	for {
		gen, err := m.join(ctx, own)
		if err != nil {
			own.lose(err)
			m.leave()
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if !gen.continues {
			own.lose(errors.New("the group was joined anew"))
		}
		stopped, err := m.serve(ctx, gen, own)
		if stopped || errors.Is(err, errFenced) {
			m.leave()
			return err
		}
	}
}

// serve lives through one generation. It returns true when ctx ended and own
// has been stopped.
func (m *member) serve(ctx context.Context, gen generation, own assignee) (stopped bool, err error) {
	// alive ends when the membership is lost, not when ctx ends: heartbeats
	// go on while partitions are drained.
	alive, lost := context.WithCancelCause(context.WithoutCancel(ctx))
	gen.lost = lost
	rebalance := make(chan struct{}, 1)
	beaten := make(chan struct{})
	go func() {
		defer close(beaten)
		m.heartbeat(alive, lost, rebalance, gen)
	}()
	defer func() {
		lost(errors.New("generation over"))
		<-beaten
	}()

	m.log.WithFields(logrus.Fields{"generation": gen.id, "assigned": describe(gen.assigned)}).Info("partitions assigned")
	own.assign(gen)
	select {
	case <-ctx.Done():
		own.stop(alive)
		return true, nil
	case <-rebalance:
		m.log.WithField("generation", gen.id).Info("the group rebalances: draining")
		own.revoke(alive, ctx)
	case <-alive.Done():
	}
	if alive.Err() != nil {
		why := context.Cause(alive)
		m.log.WithField("generation", gen.id).WithError(why).Warn("membership lost: partitions dropped")
		m.lastGen = -1
		own.lose(why)
		return false, why
	}
	return false, nil
}

// heartbeat keeps the lease until alive ends. It calls lost when the
// membership is gone, and signals rebalance once when the group wants to be
// joined again or the number of partitions has changed.
func (m *member) heartbeat(alive context.Context, lost context.CancelCauseFunc, rebalance chan<- struct{}, gen generation) {
	interval := min(max(min(m.session, m.rebalance)/30, 200*time.Millisecond), 3*time.Second)
	counts, lastWatch := gen.counts, time.Now()
	for {
		wait := interval
		sent := time.Now()
		code, err := m.beat(alive, gen)
		switch {
		case alive.Err() != nil:
			return
		case err != nil:
			// A lost connection is not a lost membership: the lease decides.
			wait = min(interval, 250*time.Millisecond)
		case code == 0:
			m.stable = sent
			m.renew(sent)
		case code == kafkago.RebalanceInProgress:
			m.renew(sent)
			signal(rebalance)
		case code == kafkago.FencedInstanceID:
			lost(errFenced)
			return
		case code == kafkago.UnknownMemberId:
			m.id = ""
			lost(code)
			return
		case code == kafkago.IllegalGeneration, code == kafkago.GroupAuthorizationFailed:
			lost(code)
			return
		default:
			// A coordinator that moves, loads or has trouble of its own has not
			// ended the membership either.
			wait = min(interval, 250*time.Millisecond)
		}
		if !m.alive(time.Now()) {
			lost(fmt.Errorf("no heartbeat was answered for so long that the partitions may be another's (session time-out %v, rebalance time-out %v; last: %w)", m.session, m.rebalance, errors.Join(err, orNil(code))))
			return
		}
		if time.Since(lastWatch) >= partitionWatch {
			lastWatch = time.Now()
			if now, err := m.client.Partitions(alive, m.topics...); err == nil {
				if fingerprint(now) != fingerprint(counts) {
					m.log.Info("the number of partitions has changed: joining the group again")
					signal(rebalance)
				}
				counts = now
			}
		}
		if kafka.Sleep(alive, min(wait, m.leaseLeft())) != nil {
			return
		}
	}
}

// partitionWatch is how often the number of partitions is compared; the
// comparison costs no request.
const partitionWatch = 5 * time.Second

func (m *member) beat(ctx context.Context, gen generation) (kafkago.Error, error) {
	// Several tries fit into a lease, each on a connection of its own, and
	// none outlives it: its end must be noticed at once.
	limit := max(min(m.session, m.rebalance)/8, 500*time.Millisecond)
	res, err := m.client.RoundTrip(ctx, min(requestTimeout, limit, m.leaseLeft()), &heartbeatRequest{
		GroupID: m.group, GenerationID: gen.id, MemberID: gen.memberID, GroupInstanceID: m.instanceID,
	})
	if err != nil {
		return 0, err
	}
	return kafkago.Error(res.(*heartbeatResponse).ErrorCode), nil
}

// renew extends the lease after an answer to a request that was sent at a
// time. A member is declared dead when it was silent for a session, and also
// when it has not joined a rebalance by the end of the rebalance time-out: that
// may have begun as soon as the last answer was given that knew of none.
func (m *member) renew(sent time.Time) {
	until := sent.Add(m.session)
	if end := m.stable.Add(m.rebalance); end.Before(until) {
		until = end
	}
	m.leaseUntil.Store(&until)
	m.renewed()
}

// leaseLeft is how long the lease still lasts, at least a millisecond.
func (m *member) leaseLeft() time.Duration {
	return max(time.Until(*m.leaseUntil.Load()), time.Millisecond)
}

// alive reports whether the coordinator must still believe in this member at
// the given time. It is false after a process was suspended for a session,
// before any heartbeat could tell. Safe for concurrent use.
//
// Both clocks must agree: the monotonic one stands still while a machine is
// suspended, the wall clock can be set back.
func (m *member) alive(now time.Time) bool {
	until := m.leaseUntil.Load()
	return until != nil && now.Before(*until) && now.Round(0).Before(until.Round(0))
}

// join joins and syncs until it has an assignment. It returns an error when
// ctx ends or no retry can help. What own still has it loses when that takes
// too long.
func (m *member) join(ctx context.Context, own assignee) (generation, error) {
	retry := kafka.NewPause(100*time.Millisecond, 5*time.Second)
	lost := false
	for {
		gen, err := m.joinOnce(ctx)
		switch {
		case err == nil:
			return gen, nil
		case ctx.Err() != nil:
			return generation{}, errStopped
		case errors.Is(err, errRejoin):
			continue
		}
		if fatal := m.fatal(err); fatal != nil {
			return generation{}, fatal
		}
		if errors.Is(err, kafkago.UnknownMemberId) {
			m.id = ""
			m.lastGen = -1
			continue
		}
		if !lost && !m.alive(time.Now()) {
			lost, m.lastGen = true, -1
			own.lose(err)
		}
		m.log.WithError(err).Warn("cannot join the group yet: trying again")
		if retry.Wait(ctx) != nil {
			return generation{}, errStopped
		}
	}
}

// errRejoin asks for another round at once.
var errRejoin = errors.New("join again")

// fatal returns the error to end with when trying again cannot help.
func (m *member) fatal(err error) error {
	var code kafkago.Error
	if !errors.As(err, &code) {
		return nil
	}
	switch code {
	case kafkago.FencedInstanceID:
		return fmt.Errorf("kafka.instance_id %q: %w; give each worker its own", m.instanceID, errFenced)
	case kafkago.InvalidSessionTimeout:
		return fmt.Errorf("kafka.session_timeout %v is outside of what the broker allows (group.min.session.timeout.ms, group.max.session.timeout.ms)", m.session)
	case kafkago.InvalidGroupId:
		return fmt.Errorf("kafka.group %q: %w", m.group, code)
	case kafkago.GroupAuthorizationFailed:
		return fmt.Errorf("kafka.group %q: %w; allow READ on the group", m.group, code)
	}
	return nil
}

func (m *member) joinOnce(ctx context.Context) (generation, error) {
	// Those that are only written to as well: an order must not be closed whose
	// outcome has nowhere to go.
	counts, err := m.client.Partitions(ctx, slices.Concat(m.topics, m.needs)...)
	if err != nil {
		return generation{}, err
	}
	for _, topic := range m.needs {
		delete(counts, topic)
	}
	sum := fnv.New64a()
	sum.Write([]byte(fingerprint(counts)))
	join := &joingroup.Request{
		GroupID:            m.group,
		SessionTimeoutMS:   int32(m.session.Milliseconds()),
		RebalanceTimeoutMS: int32(m.rebalance.Milliseconds()),
		MemberID:           m.id,
		GroupInstanceID:    m.instanceID,
		ProtocolType:       protocolType,
	}
	for _, name := range assignors {
		// The partition counts are part of the subscription so that a
		// follower that sees a new partition starts a rebalance by joining.
		join.Protocols = append(join.Protocols, joingroup.RequestProtocol{Name: name, Metadata: encodeSubscription(m.topics, sum.Sum(nil))})
	}
	// The coordinator parks the request until all members have joined.
	res, err := m.client.RoundTrip(ctx, m.rebalance+requestTimeout, join)
	if err != nil {
		return generation{}, fmt.Errorf("join group %s: %w", m.group, err)
	}
	joined := res.(*joingroup.Response)
	switch code := kafkago.Error(joined.ErrorCode); code {
	case 0:
	case kafkago.MemberIDRequired:
		m.id = joined.MemberID
		return generation{}, errRejoin
	default:
		return generation{}, fmt.Errorf("join group %s: %w", m.group, code)
	}
	m.id = joined.MemberID
	before := m.lastGen
	m.lastGen = -1 // until the sync has been answered

	sync := &syncgroup.Request{
		GroupID: m.group, GenerationID: joined.GenerationID, MemberID: m.id, GroupInstanceID: m.instanceID,
		ProtocolType: protocolType, ProtocolName: joined.ProtocolName,
	}
	if joined.LeaderID == m.id && len(joined.Members) > 0 {
		if sync.Assignments, err = m.lead(joined.Members, counts); err != nil {
			return generation{}, err
		}
	}
	sent := time.Now()
	res, err = m.client.RoundTrip(ctx, m.rebalance+requestTimeout, sync)
	if err != nil {
		return generation{}, fmt.Errorf("sync group %s: %w", m.group, err)
	}
	synced := res.(*syncgroup.Response)
	switch code := kafkago.Error(synced.ErrorCode); code {
	case 0:
	case kafkago.RebalanceInProgress:
		return generation{}, errRejoin
	default:
		return generation{}, fmt.Errorf("sync group %s: %w", m.group, code)
	}
	assigned, err := decodeAssignment(synced.Assignments)
	if err != nil {
		return generation{}, fmt.Errorf("assignment of group %s: %w", m.group, err)
	}
	m.stable = sent
	m.renew(sent)
	m.lastGen = joined.GenerationID
	return generation{
		id: joined.GenerationID, memberID: m.id, instanceID: m.instanceID, assigned: assigned, counts: counts,
		continues: before >= 0 && joined.GenerationID-before <= 1,
	}, nil
}

// lead is the leader's work: the assignment of every member.
func (m *member) lead(joined []joingroup.ResponseMember, counts map[string]int) ([]syncgroup.RequestAssignment, error) {
	members := make([]groupMember, 0, len(joined))
	for _, j := range joined {
		topics, err := decodeSubscription(j.Metadata)
		if err != nil {
			// The others must go on.
			m.log.WithField("member", j.MemberID).WithError(err).Error("the subscription of a member of the group cannot be read: it is assigned nothing")
		}
		for _, t := range topics {
			if _, known := counts[t]; !known {
				m.log.WithFields(logrus.Fields{"member": j.MemberID, "topic": t}).Warn("a member of the group wants a topic that closeorder does not know: it is not assigned")
			}
		}
		members = append(members, groupMember{id: j.MemberID, instanceID: j.GroupInstanceID, topics: topics})
	}
	var out []syncgroup.RequestAssignment
	for id, assigned := range assign(members, counts) {
		out = append(out, syncgroup.RequestAssignment{MemberID: id, Assignment: encodeAssignment(assigned)})
	}
	return out, nil
}

// leave leaves the group at once, so that nobody waits for the session to
// time out. A static member stays: it is expected back, and its partitions
// with it (Kafka, KIP-345).
func (m *member) leave() {
	if m.id == "" || m.instanceID != "" {
		return
	}
	// The caller's context has ended; leaving has its own short time.
	_, err := m.client.RoundTrip(context.Background(), 2*time.Second, &leavegroup.Request{
		GroupID: m.group, MemberID: m.id,
		Members: []leavegroup.RequestMember{{MemberID: m.id}},
	})
	if err != nil {
		m.log.WithError(err).Warn("could not leave the group: its partitions wait for the session time-out")
	}
	m.id = ""
}

// fingerprint is a text that is equal for equal partition counts.
func fingerprint(counts map[string]int) string {
	topics := make([]string, 0, len(counts))
	for t, n := range counts {
		topics = append(topics, fmt.Sprint(t, "=", n))
	}
	slices.Sort(topics)
	return fmt.Sprint(topics)
}

// describe renders an assignment for people: topic[partition ...].
func describe(assigned map[string][]int) []string {
	out := make([]string, 0, len(assigned))
	for t, ps := range assigned {
		out = append(out, fmt.Sprint(t, ps))
	}
	slices.Sort(out)
	return out
}

// signal wakes whoever waits on ch, a channel of capacity one.
func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// orNil returns nil for the code 0.
func orNil(code kafkago.Error) error {
	if code == 0 {
		return nil
	}
	return code
}
