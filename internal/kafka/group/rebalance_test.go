package group

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

// held is a tenure of member m in generation 7 that has a valid lease.
func inGeneration7(t *testing.T) *tenure {
	m := New(Config{Group: "g", Session: 40 * time.Second, Rebalance: time.Minute, Renewed: func() {}})
	m.id, m.generation, m.leader = "m", 7, "ours"
	m.renew(time.Now(), true)
	tn := &tenure{Member: m, rejoin: make(chan struct{}, 1)}
	tn.alive, tn.lose = context.WithCancelCause(t.Context())
	return tn
}

// What a member goes on with while it joins is its own in the next generation,
// or it drops it before SyncGroup is sent.
func TestWhatIsHeldOverAJoin(t *testing.T) {
	held := map[string][]int{"requests": {0}}
	for _, c := range []struct {
		sentence   string
		protocol   string
		leader     string
		generation int32
		held       map[string][]int
		want       error
	}{
		{"everybody cooperates, whoever leads", cooperative, "theirs", 8, held, nil},
		{"all are ours", rows, "theirs", 8, held, nil},
		{"somebody does not, and this member leads", "range", "m", 8, held, nil},
		{"somebody does not, and the leader is known as one of ours", "range", "ours", 8, held, nil},
		{"somebody does not, and nobody knows the leader", "range", "theirs", 8, held, errForeign},
		{"nothing is held, so nothing can be another's", "range", "theirs", 8, nil, nil},
		{"the answer to the last JoinGroup was lost, and it is given again", cooperative, "theirs", 7, held, nil},
		{"a generation is missed, in which anybody could have led", cooperative, "ours", 9, held, errGap},
		{"a generation is missed with nothing in hand", cooperative, "ours", 9, nil, nil},
		{"the coordinator deals by itself, and its epochs jump (KIP-848)", "range", "", 12, held, nil},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			tn := inGeneration7(t)
			j := &joingroup.Response{ProtocolName: c.protocol, LeaderID: c.leader, MemberID: "m", GenerationID: c.generation}
			if err := tn.joined(j, time.Now(), nil, c.held); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// The leader of ours is trusted for as long as it leads.
func TestANewLeaderIsNotKnownToBeOneOfOurs(t *testing.T) {
	tn := inGeneration7(t)
	j := &joingroup.Response{ProtocolName: cooperative, LeaderID: "theirs", MemberID: "m", GenerationID: 8}
	if err := tn.joined(j, time.Now(), nil, map[string][]int{"requests": {0}}); err != nil {
		t.Fatal(err)
	}
	j.ProtocolName, j.LeaderID, j.GenerationID = "range", "ours", 9
	if err := tn.joined(j, time.Now(), nil, map[string][]int{"requests": {0}}); !errors.Is(err, errForeign) {
		t.Errorf("got %v: it may have died and come back as another program", err)
	}
}

// Between the end of a generation and the answer to JoinGroup nobody knows who
// leads the next one: nothing starts, and nothing is dropped.
func TestARefusalWhileTheGroupIsJoined(t *testing.T) {
	as := kafka.Membership{Group: "g", MemberID: "m", Generation: 7}
	for _, c := range []struct {
		sentence    string
		joining     bool
		why         error
		as          kafka.Membership
		valid, lost bool
	}{
		{"the generation is over while the group is joined: in doubt", true, kafkago.IllegalGeneration, as, false, false},
		{"the generation is over, and nobody joins: lost", false, kafkago.IllegalGeneration, as, true, true},
		{"an older generation is over: old news", false, kafkago.IllegalGeneration, kafka.Membership{MemberID: "m", Generation: 6}, true, false},
		{"the member is not known, joining or not: lost", true, kafkago.UnknownMemberId, as, true, true},
		{"a member that this was before is not known: old news", true, kafkago.UnknownMemberId, kafka.Membership{MemberID: "old", Generation: 7}, true, false},
		{"another one has the instance id: lost", true, kafkago.FencedInstanceID, as, true, true},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			tn := inGeneration7(t)
			tn.joining = c.joining
			tn.refused(c.as, c.why)
			if got := tn.LeaseValid(time.Now()); got != c.valid {
				t.Errorf("the lease is valid: %v", got)
			}
			if got := tn.alive.Err() != nil; got != c.lost {
				t.Errorf("lost: %v", got)
			}
			if c.valid || c.lost {
				return
			}
			if tn.leaseOver(time.Now()) {
				t.Error("dropped before the answer to JoinGroup is here")
			}
			tn.renewed(time.Now(), false) // an answer to a heartbeat from before
			if tn.LeaseValid(time.Now()) {
				t.Error("an old answer ends the doubt")
			}
			j := &joingroup.Response{ProtocolName: cooperative, LeaderID: "m", MemberID: "m", GenerationID: 8}
			if err := tn.joined(j, time.Now(), nil, map[string][]int{"requests": {0}}); err != nil || !tn.LeaseValid(time.Now()) {
				t.Errorf("after the answer the lease is not valid: %v", err)
			}
		})
	}
}

// A JoinGroup that is answered was taken after it was sent, and after the last
// heartbeat of the old generation: the next rebalance begins after that.
func TestAnAnsweredJoinPutsOffTheEndOfTheLease(t *testing.T) {
	tn := inGeneration7(t)
	began := time.Now()
	tn.heard, tn.stable = began, began
	tn.joining = true
	tn.renew(began.Add(30*time.Second), false)
	tn.renew(began.Add(50*time.Second), false)
	if !tn.LeaseValid(began.Add(time.Minute-1)) || tn.LeaseValid(began.Add(time.Minute)) {
		t.Error("a JoinGroup without an answer changes the lease: it may not have arrived")
	}
	j := &joingroup.Response{ProtocolName: cooperative, LeaderID: "m", MemberID: "m", GenerationID: 8}
	if err := tn.joined(j, began.Add(10*time.Second), nil, map[string][]int{"requests": {0}}); err != nil {
		t.Fatal(err)
	}
	if !tn.LeaseValid(began.Add(90*time.Second-cutting-1)) || tn.LeaseValid(began.Add(90*time.Second-cutting)) {
		t.Error("want the lease to end a session after the last heartbeat")
	}
}

// Under a protocol that is not cooperative members of other libraries give up
// everything, whatever their subscription says, and do not join again for what
// they are not given.
func TestTheLeaderBelievesWhoSaysWhatItOwns(t *testing.T) {
	for sentence, c := range map[string]struct {
		protocol string
		ours     bool
		want     []int
	}{
		"one of ours":                                {"range", true, nil},
		"one of another library":                     {"range", false, []int{1}},
		"one of another library that does cooperate": {cooperative, false, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			owner := subscription{topics: []string{"requests"}, owned: map[string][]int{"requests": {0, 1}}, generation: 7}.encode()
			if !c.ours {
				owner = slices.Replace(owner, slices.Index(owner, 'c'), slices.Index(owner, 'c')+1, 'x') // no mark
			}
			m := New(Config{})
			m.cfg.Log, _ = logtest.NewNullLogger()
			out := m.lead(&joingroup.Response{ProtocolName: c.protocol, Members: []joingroup.ResponseMember{
				{MemberID: "new", Metadata: subscription{topics: []string{"requests"}, generation: -1}.encode()},
				{MemberID: "a", Metadata: owner},
			}}, map[string]int{"requests": 2})
			i := slices.IndexFunc(out, func(a syncgroup.RequestAssignment) bool { return a.MemberID == "new" })
			got, err := decodeAssignment(out[i].Assignment)
			if err != nil || !reflect.DeepEqual(got.assigned["requests"], c.want) {
				t.Errorf("the new member is given %v (%v), want %v", got.assigned["requests"], err, c.want)
			}
			if want := c.want == nil; got.unsettled != want {
				t.Errorf("unsettled: %v, want %v: what one is to give up nobody has", got.unsettled, want)
			}
		})
	}
}

func TestALeaseThatEndedWithoutAnErrorIsToldWithoutOne(t *testing.T) {
	for last, want := range map[error]string{nil: "1m0s)", kafkago.RequestTimedOut: "; last: "} {
		if got := silenceError(Config{Session: time.Second, Rebalance: time.Minute}, last).Error(); strings.Contains(got, "%!") || !strings.Contains(got, want) {
			t.Errorf("%s", got)
		}
	}
}
