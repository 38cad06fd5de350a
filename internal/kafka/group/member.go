// Package group is membership in a consumer group, on Kafka's classic group
// protocol: join, sync, heartbeat, leave.
//
//	join -> Assign -> heartbeats -> the group rebalances: Revoke -> join ...
//
// It differs from kafka-go's ConsumerGroup where that loses work: heartbeats
// go on while partitions are drained, a lost connection is not a lost
// membership, a stop leaves at once, and membership may be static. What is done
// with the partitions it does not know: see [Assignee].
package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/sirupsen/logrus"
)

// Config is what a [Member] is made of. All is required but InstanceID.
type Config struct {
	Client *kafka.Client
	Group  string
	// InstanceID is group.instance.id; empty for a dynamic member.
	InstanceID string
	// Topics are subscribed to.
	Topics []string
	// Needs are topics that must be there before anything is assigned.
	Needs []string
	// Session is how long a member may be silent, Rebalance how long a
	// rebalance waits for it; whole milliseconds of both go on the wire.
	Session, Rebalance time.Duration
	// Renewed is called after each renewal of the lease.
	Renewed func()
	Log     logrus.FieldLogger
}

// Member is this process's membership in a group. Make one with [New].
type Member struct {
	cfg Config

	id      string // member id, given by the coordinator
	lastGen int32  // generation last synced without a break since, else -1
	// stable is when the last request was sent whose answer said that the
	// group does not rebalance.
	stable time.Time
	// leaseUntil is when the coordinator may declare this member dead, see
	// renew. A time.Time has both clocks: see LeaseValid.
	leaseUntil atomic.Pointer[time.Time]

	told      kafka.Told // what was told of why the group cannot be joined
	unsettled time.Time  // since when the coordinator says that it is none, see cannotJoin
}

// New makes a member; nothing is sent yet.
func New(cfg Config) *Member { return &Member{cfg: cfg, lastGen: -1} }

// Generation is one assignment of partitions to this member.
type Generation struct {
	kafka.Membership                  // what commits are made under
	Assigned         map[string][]int // partitions by topic
	Counts           map[string]int   // partitions per subscribed topic when it was made
	// continues says that no other generation can have owned a partition
	// that this member had before and has again.
	continues bool
	end       context.CancelCauseFunc
}

// End ends the generation: the coordinator has refused a request made under it,
// and why is its code. Safe for concurrent use. A Generation that no member
// made has no end.
func (g *Generation) End(why error) {
	if errors.Is(why, kafkago.FencedInstanceID) {
		why = errFenced
	}
	if g.end != nil {
		g.end(why)
	}
}

// Assignee is who works on the partitions. Its methods are called one at a
// time, by [Member.Run].
type Assignee interface {
	// Assign hands over the partitions of a new generation.
	Assign(gen Generation)
	// Revoke drains all partitions before the group is joined again: no new
	// call, calls in flight finish, what is finished is published and
	// committed. It returns early when ctx ends: the membership was lost.
	// When stop ends the worker is to stop, and drains no longer than then.
	Revoke(ctx, stop context.Context)
	// Lose drops all partitions at once: they may have another owner.
	Lose(why error)
	// Stop drains all partitions for good. It returns early when ctx ends.
	Stop(ctx context.Context)
}

// errFenced ends a worker whose group.instance.id is used by another one.
var errFenced = errors.New("another member of the group uses the same group.instance.id")

// errStopped is why partitions are lost when ctx ends before they came.
var errStopped = errors.New("the worker stops")

// Run keeps the membership and tells own what it means, until ctx ends; then
// own is stopped, the group is left and Run returns nil. It returns an error
// only for what no retry can heal. Call it once.
func (m *Member) Run(ctx context.Context, own Assignee) error {
	for {
		gen, err := m.join(ctx, own)
		if err != nil {
			own.Lose(err)
			m.leave()
			if ctx.Err() != nil {
				return nil //nolint:nilerr // asked to stop
			}
			return err
		}
		if !gen.continues {
			own.Lose(errors.New("the group was joined anew"))
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
func (m *Member) serve(ctx context.Context, gen Generation, own Assignee) (stopped bool, err error) {
	// member ends when the membership is lost, not when ctx ends: heartbeats
	// go on while partitions are drained.
	member, end := context.WithCancelCause(context.WithoutCancel(ctx))
	gen.end = end
	rebalance := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() { m.heartbeat(member, gen, sync.OnceFunc(func() { close(rebalance) })) })
	defer func() {
		end(errors.New("generation over"))
		beating.Wait()
	}()

	m.cfg.Log.WithFields(logrus.Fields{"generation": gen.Generation, "assigned": list(gen.Assigned, "")}).Info("partitions assigned")
	own.Assign(gen)
	select {
	case <-ctx.Done():
		own.Stop(member)
		return true, nil
	case <-rebalance:
		m.cfg.Log.WithField("generation", gen.Generation).Info("the group rebalances: draining")
		own.Revoke(member, ctx)
	case <-member.Done():
	}
	if member.Err() != nil {
		why := context.Cause(member)
		m.cfg.Log.WithField("generation", gen.Generation).WithError(why).Warn("membership lost: partitions dropped")
		m.lastGen = -1
		own.Lose(why)
		return false, why
	}
	return false, nil
}

// list renders a map for people, in the order of its topics: requests[0 1].
func list[V any](byTopic map[string]V, between string) []string {
	out := make([]string, 0, len(byTopic))
	for topic, v := range byTopic {
		out = append(out, fmt.Sprint(topic, between, v))
	}
	slices.Sort(out)
	return out
}
