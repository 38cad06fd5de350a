// Package group is membership in a consumer group, on Kafka's classic group
// protocol: join, sync, heartbeat, leave.
//
//	join -> Assign -> Revoke what moves -> the group rebalances: join again, and go on meanwhile ...
//
// It rebalances incrementally (KIP-429): a member goes on with what it owns
// while it waits for the others, says what that is when it joins, and gives up
// only what the assignment leaves out. In a group with members that do not, it
// gives up all before it joins, as they do.
//
// It differs from kafka-go's ConsumerGroup where that loses work: heartbeats
// go on all the time, a lost connection is not a lost membership, a stop leaves
// at once, and membership may be static. What is done with the partitions it
// does not know: see [Assignee].
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
	"github.com/segmentio/kafka-go/protocol"
	"github.com/sirupsen/logrus"
)

// Config is what a [Member] is made of. All is required but InstanceID, Proof,
// Whereabouts and JoinVersion.
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
	// Doubted is called when the lease is over and the partitions are kept all the
	// same, as the group is joined again: what goes on must pause. It must not
	// block. Renewed tells when it may go on.
	Doubted func()
	// Under is told under which generation commits are made from now on: before
	// Assign is, and also when there is nothing new to assign. It must not block.
	Under func(*Generation)
	// Proof tells dead members from silent ones; nil: their sessions do.
	Proof Proof
	// Whereabouts is what a member says of itself whose Proof has no record for others: a
	// static one, which is expected back, and never dead. See [LocalProof.Whereabouts];
	// empty: nothing.
	Whereabouts []byte
	// Buried, if set, is told of the record of each member that was let go because
	// it is dead, before the group is joined.
	Buried func(ctx context.Context, record []byte)
	// JoinVersion says which version of JoinGroup is spoken with the
	// coordinator, for brokers that know no static members; nil: the client does.
	JoinVersion func(context.Context) (int16, error)
	Log         logrus.FieldLogger
}

// Member is this process's membership in a group. Make one with [New].
type Member struct {
	cfg Config
	// dynamic says that the brokers do not know InstanceID.
	dynamic bool

	mu sync.Mutex
	id string // member id, given by the coordinator
	// generation is that of the last answer to JoinGroup in this tenure, -1
	// before there is one; heartbeats name it.
	generation int32
	// leader is that of the last generation if it is known to be one of ours.
	leader string
	counts map[string]int // partitions by topic as that JoinGroup knew them
	// joining: a JoinGroup is under way. The generation may be over at any
	// moment without a word to this member.
	joining bool
	// doubt: it is over, and the answer that says what follows is not here yet.
	doubt bool
	// syncing: JoinGroup is answered, and SyncGroup is not. The coordinator lets a
	// member go that has not sent it by the end of the rebalance time-out, whatever
	// heartbeats it sends.
	syncing bool
	// abandon ends the JoinGroup under way; it is sent again.
	abandon context.CancelFunc
	// heard is when the last heartbeat or SyncGroup was sent that was answered,
	// stable when the last request was whose answer rules out that a rebalance
	// had begun which this member does not take part in. See renew.
	heard, stable time.Time
	// leaseUntil is when the coordinator may have given the partitions away, see
	// renew. A time.Time has both clocks: see LeaseValid.
	leaseUntil atomic.Pointer[time.Time]
	// assigned, since when that is so, and why the group cannot be joined: see State.
	assigned bool
	since    time.Time
	trouble  string

	told      kafka.Told // what was told of why the group cannot be joined
	unsettled time.Time  // since when the coordinator says that it is none, see cannotJoin
}

// New makes a member; nothing is sent yet.
func New(cfg Config) *Member {
	if cfg.JoinVersion == nil {
		cfg.JoinVersion = func(ctx context.Context) (int16, error) {
			return cfg.Client.MaxVersion(ctx, cfg.Group, protocol.JoinGroup)
		}
	}
	return &Member{cfg: cfg}
}

// Generation is one assignment of partitions to this member.
type Generation struct {
	kafka.Membership                  // what commits are made under
	Assigned         map[string][]int // partitions by topic
	// Leaving are partitions that the member had and does not have any more.
	// Nobody else has them before [Assignee.Revoke] has returned.
	Leaving map[string][]int
	Counts  map[string]int // partitions per subscribed topic when it was made
	// cooperative: all members of it give up only what they are told to.
	cooperative bool
	// unsettled: somebody else may have to give something up in it.
	unsettled bool
	refused   func(why error)
}

// End tells that the coordinator has refused a request made under the
// generation; why is its code, or another reason to give the membership up. Safe
// for concurrent use. That the generation is over has no consequence while the
// group is joined again, as another one follows: then it is no word about the
// partitions. Anything else ends the membership, in whichever generation it is. A
// Generation that no member made has no end.
func (g *Generation) End(why error) {
	if g.refused != nil {
		g.refused(why)
	}
}

// Assignee is who works on the partitions. Its methods are called one at a
// time, by [Member.Run].
type Assignee interface {
	// Assign hands over a generation: what of Assigned is new begins, what it
	// had goes on. What is in Leaving goes on until Revoke is called for it, at
	// once after this.
	Assign(gen Generation)
	// Revoke drains partitions and drops them, while the others go on: no new
	// call, calls in flight finish, what is finished is published and committed.
	// It returns early when ctx ends: the membership was lost. It returns early,
	// too, when stop ends, and leaves to Stop what is not drained by then.
	Revoke(ctx, stop context.Context, partitions map[string][]int)
	// Lose drops all partitions at once: they may have another owner.
	Lose(why error)
	// Stop drains all partitions for good. It returns early when ctx ends.
	Stop(ctx context.Context)
}

var (
	// errFenced ends a worker whose group.instance.id is used by another one.
	errFenced = errors.New("another member of the group uses the same group.instance.id")
	// errForeign and errGap: see tenure.joined.
	errForeign = errors.New("a member of another library leads the group now, and deals partitions that others still own")
	errGap     = errors.New("the group was joined anew: there were generations without this member")
)

// Run keeps the membership and tells own what it means, until ctx ends; then
// own is stopped, the group is left and Run returns nil. It returns an error
// only for what no retry can heal. Call it once.
func (m *Member) Run(ctx context.Context, own Assignee) error {
	m.removeDead(ctx)
	for {
		over, err := m.belong(ctx, own)
		if over {
			m.leave()
			return err
		}
	}
}

// tenure is one membership, from joining with nothing in hand until it is lost
// or given up.
type tenure struct {
	*Member
	// alive ends when the membership is lost, not when Run is to stop:
	// heartbeats go on while partitions are drained.
	alive context.Context
	lose  context.CancelCauseFunc
	// rejoin is signalled when the group is to be joined again.
	rejoin chan struct{}
	// soon is signalled when the present generation is soon over: heartbeats, which
	// say so, are not to wait then.
	soon  chan struct{}
	beats sync.Once
	wg    sync.WaitGroup
}

// answer is what came of joining.
type answer struct {
	gen Generation
	err error // what no retry can heal
}

// belong lives through one tenure. It returns true when it was the last one.
func (m *Member) belong(ctx context.Context, own Assignee) (over bool, err error) {
	t := &tenure{Member: m, rejoin: make(chan struct{}, 1), soon: make(chan struct{}, 1)}
	t.alive, t.lose = context.WithCancelCause(context.WithoutCancel(ctx))
	m.mu.Lock()
	m.generation = -1
	m.mu.Unlock()
	defer func() {
		m.isAssigned(false)
		t.lose(errors.New("the membership is over"))
		t.wg.Wait()
	}()
	var held map[string][]int
	eager, first := false, true
	joined := t.join(held)
	for {
		rejoin := t.rejoin
		if joined != nil {
			rejoin = nil // its answer comes first
		}
		select {
		case <-t.alive.Done():
		case <-ctx.Done():
		case a := <-joined:
			if t.alive.Err() != nil {
				continue
			}
			if a.err != nil {
				own.Lose(a.err)
				if ctx.Err() != nil {
					return true, nil // asked to stop
				}
				return true, a.err
			}
			// What is missing must be given up, and be seen to be: so it is
			// also of what another member has claimed with better right.
			a.gen.Leaving = without(held, a.gen.Assigned)
			held, eager = a.gen.Assigned, !a.gen.cooperative
			m.tell(a.gen)
			m.isAssigned(true)
			own.Assign(a.gen)
			switch joined = nil; {
			case len(a.gen.Leaving) > 0:
				own.Revoke(t.alive, ctx, a.gen.Leaving)
				signal(t.rejoin)
			case first && a.gen.unsettled && a.gen.InstanceID != "":
				// The process that had this id before may have died when it was
				// to give something up and to join once more, as only it knew.
				signal(t.rejoin)
			}
			first = false
			continue
		case <-rejoin:
			if eager && len(held) > 0 && ctx.Err() == nil {
				m.cfg.Log.Info("the group rebalances: draining, as a member of it needs all partitions to be given up")
				own.Revoke(t.alive, ctx, held)
				held = nil
			}
			if t.alive.Err() == nil && ctx.Err() == nil {
				joined = t.join(held)
			}
			continue
		}
		if t.alive.Err() == nil {
			own.Stop(t.alive)
			return true, nil
		}
		why := context.Cause(t.alive)
		m.cfg.Log.WithError(why).Warn("membership lost: partitions dropped")
		own.Lose(why)
		if errors.Is(why, errFenced) {
			return true, m.fenced()
		}
		return ctx.Err() != nil, nil
	}
}

// fenced is what a member ends with whose id another one has.
func (m *Member) fenced() error {
	return fmt.Errorf("kafka.instance_id %q: %w; give each worker its own", m.cfg.InstanceID, errFenced)
}

func (m *Member) tell(gen Generation) {
	log := m.cfg.Log.WithFields(logrus.Fields{"generation": gen.Generation, "assigned": list(gen.Assigned, "")})
	if len(gen.Leaving) > 0 {
		log = log.WithField("leaving", list(gen.Leaving, ""))
	}
	log.Info("partitions assigned")
}

// again asks for another JoinGroup, unless the reason is older than the last
// one: generation is the one in which it was seen.
func (t *tenure) again(generation int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if generation == t.generation && !t.joining {
		signal(t.rejoin)
	}
}

// refused takes what the coordinator answered to a request that was made as a
// member that it does not take.
func (t *tenure) refused(as kafka.Membership, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.alive.Err() != nil || as.MemberID != t.id {
		return // old news
	}
	switch {
	case errors.Is(why, kafkago.UnknownMemberId):
		t.id = ""
		t.lose(why)
	case errors.Is(why, kafkago.FencedInstanceID):
		t.lose(errFenced)
	case !errors.Is(why, kafkago.IllegalGeneration):
		t.lose(why)
	case as.Generation != t.generation: // old news
	case t.joining:
		// The group has gone on, and the answer to JoinGroup is on its way. As
		// a rule the partitions are still this member's, which the leader knows.
		t.doubt = true
		t.setLease()
	default:
		t.lose(why)
	}
}

// without is what of all is not in some.
func without(all, some map[string][]int) map[string][]int {
	rest := make(map[string][]int)
	for topic, ids := range all {
		for _, id := range ids {
			if !slices.Contains(some[topic], id) {
				rest[topic] = append(rest[topic], id)
			}
		}
	}
	return rest
}

// signal makes sure that the receiver looks once more.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
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
