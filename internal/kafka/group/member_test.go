package group

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// told is an assignee that writes down what it is told.
type told chan string

func (c told) Assign(gen Generation) {
	c <- fmt.Sprint(list(gen.Assigned, ""), " of ", list(gen.Counts, "="))
}
func (c told) Revoke(_, _ context.Context, ps map[string][]int) {
	c <- fmt.Sprint("revoke ", list(ps, ""))
}
func (c told) Lose(why error)       { c <- "lose: " + why.Error() }
func (c told) Stop(context.Context) { c <- "stop" }

// expect waits for what starts like each of the lines, in their order.
func (c told) expect(t *testing.T, lines ...string) {
	t.Helper()
	for _, want := range lines {
		select {
		case got := <-c:
			if !strings.HasPrefix(got, want) {
				t.Fatalf("told %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("not told %q", want)
		}
	}
}

// expectAfter is expect for a line that another one may precede: the empty
// assignment of a generation that is over before its SyncGroup is answered is not
// told.
func (c told) expectAfter(t *testing.T, perhaps, want string) {
	t.Helper()
	select {
	case got := <-c:
		if strings.HasPrefix(got, perhaps) {
			c.expect(t, want)
		} else if !strings.HasPrefix(got, want) {
			t.Fatalf("told %q, want %q or %q", got, perhaps, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("not told %q", want)
	}
}

// run starts a member of group g. end stops it and returns what Run did.
func run(t *testing.T, b *broker.Broker, instanceID string) (own told, end func() error) {
	t.Helper()
	return runWith(t, b, func(cfg *Config) { cfg.InstanceID = instanceID })
}

func runWith(t *testing.T, b *broker.Broker, tune func(*Config)) (own told, end func() error) {
	t.Helper()
	client := kafka.Open(kafka.Config{Brokers: b.Addrs()}, "requests", "outcomes")
	log, _ := logtest.NewNullLogger()
	cfg := Config{
		Client: client, Group: "g", Topics: []string{"requests"}, Needs: []string{"outcomes"},
		Session: 6 * time.Second, Rebalance: 6 * time.Second, Renewed: func() {}, Doubted: func() {}, Under: func(*Generation) {}, Log: log,
	}
	tune(&cfg)
	m := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	own = make(told, 100)
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, own) }()
	t.Cleanup(func() { cancel(); client.Close() })
	return own, func() error { cancel(); return <-done }
}

func start(t *testing.T) *broker.Broker {
	t.Helper()
	b, err := broker.Start(broker.Config{Topics: []broker.Topic{{Name: "requests", Partitions: 2}, {Name: "outcomes", Partitions: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestAMemberIsToldWhatBecomesOfItsPartitions(t *testing.T) {
	b := start(t)
	first, endFirst := run(t, b, "")
	first.expect(t, "[requests[0 1]] of [requests=2]")
	second, endSecond := run(t, b, "")
	first.expect(t, "[requests[0]]", "revoke [requests[1]]", "[requests[0]]")
	second.expectAfter(t, "[] of", "[requests[1]]") // not before the first has given it up
	if err := endFirst(); err != nil {
		t.Error(err)
	}
	first.expect(t, "stop")
	second.expect(t, "[requests[0 1]] of [requests=2]") // at once: the first has left
	if err := endSecond(); err != nil {
		t.Error(err)
	}
}

// What the coordinator answers to a heartbeat decides whether the partitions
// are given up.
func TestAnswersToHeartbeats(t *testing.T) {
	for _, c := range []struct {
		sentence string
		answer   *kerr.Error
		then     []string
	}{
		{"the group rebalances: joined again, and nothing given up", kerr.RebalanceInProgress, []string{"[requests[0 1]] of [requests=2]"}},
		{"the generation is over: dropped, and joined again", kerr.IllegalGeneration, []string{"lose: [22]", "[requests[0 1]] of [requests=2]"}},
		{"the member is not known: dropped, and joined as a new one", kerr.UnknownMemberID, []string{"lose: [25]", "[requests[0 1]] of [requests=2]"}},
		{"the group may not be read: dropped", kerr.GroupAuthorizationFailed, []string{"lose: [30]"}},
		{"another one has the instance id: dropped, and the end", kerr.FencedInstanceID, []string{"lose: another member of the group"}},
		{"the coordinator moves: nothing", kerr.NotCoordinator, nil},
		{"the coordinator loads: nothing", kerr.CoordinatorLoadInProgress, nil},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			t.Parallel()
			b := start(t)
			own, end := run(t, b, "one")
			own.expect(t, "[requests[0 1]] of [requests=2]")
			count := 1
			if c.then == nil {
				count = 3 // the answer to the first two has been taken when the third one is sent
			}
			fault := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: c.answer, Count: count})
			if err := fault.Wait(t.Context(), count); err != nil {
				t.Fatal(err)
			}
			own.expect(t, c.then...)
			if err := end(); (err != nil) != (c.answer == kerr.FencedInstanceID) || err != nil && !strings.HasPrefix(err.Error(), `kafka.instance_id "one": another member of the group`) {
				t.Errorf("Run returned %v", err)
			}
			if c.answer != kerr.FencedInstanceID && c.answer != kerr.GroupAuthorizationFailed {
				own.expect(t, "stop")
			}
		})
	}
}

func TestWhatNoTryCanHealEndsTheRunAndNamesTheSetting(t *testing.T) {
	for want, answer := range map[string]*kerr.Error{
		`kafka.instance_id "one": another member of the group`: kerr.FencedInstanceID,
		"kafka.session_timeout 6s is outside":                  kerr.InvalidSessionTimeout,
		`kafka.group "g": [24]`:                                kerr.InvalidGroupID,
		`kafka.group "g": [30]`:                                kerr.GroupAuthorizationFailed,
	} {
		b := start(t)
		b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: answer, Count: 1})
		own, end := run(t, b, "one")
		own.expect(t, "lose: "+want)
		if err := end(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Run returned %v, want %s", err, want)
		}
	}
}

// joins are the subscriptions that members of a cluster send in JoinGroup.
func joins(b *broker.Broker) <-chan subscription {
	said := make(chan subscription, 100)
	b.Cluster().ControlKey(int16(kmsg.JoinGroup), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().KeepControl()
		if j := r.(*kmsg.JoinGroupRequest); j.MemberID != "" || j.InstanceID != nil {
			s, err := decodeSubscription(j.Protocols[0].Metadata)
			if err == nil {
				said <- s
			}
		}
		return nil, nil, false
	})
	return said
}

// The process before may have died when it had to give a partition up and to
// join again. Apache Kafka answers its successor without a rebalance, and the
// partition would be nobody's for ever.
func TestAStaticMemberThatIsStartedAgainFinishesWhatItsGroupWaitsFor(t *testing.T) {
	for sentence, c := range map[string]struct {
		instanceID string
		told       dealt
		leads      bool
		joins      int
	}{
		"something is unsettled": {"one", dealt{assigned: map[string][]int{"requests": {0}}, unsettled: true}, true, 2},
		"all is settled":         {"one", dealt{assigned: map[string][]int{"requests": {0}}}, true, 1},
		"something is unsettled, for one that has no process before":    {"", dealt{assigned: map[string][]int{"requests": {0}}, unsettled: true}, true, 1},
		"nothing is given to it, and something is unsettled":            {"one", dealt{unsettled: true}, true, 2},
		"another library has dealt, which does not say what is missing": {"one", dealt{assigned: map[string][]int{"requests": {0}}}, false, 2},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			b := start(t)
			said := joins(b)
			b.Cluster().ControlKey(int16(kmsg.SyncGroup), func(r kmsg.Request) (kmsg.Response, error, bool) {
				b.Cluster().KeepControl()
				told := c.told
				told.ours = c.leads
				res := r.ResponseKind().(*kmsg.SyncGroupResponse)
				res.MemberAssignment = told.encode()
				return res, nil, true
			})
			own, end := run(t, b, c.instanceID)
			for range c.joins {
				own.expect(t, fmt.Sprint(list(c.told.assigned, ""))+" of")
			}
			beats := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Observe: true, Count: 3})
			if err := beats.Wait(t.Context(), 3); err != nil { // whoever has another JoinGroup to send has sent it
				t.Fatal(err)
			}
			if err := end(); err != nil {
				t.Error(err)
			}
			own.expect(t, "stop") // and nothing before
			first := <-said
			if first.generation != -1 {
				t.Errorf("a member that begins says that it comes from generation %d", first.generation)
			}
			for range c.joins - 1 {
				if s := <-said; s.generation <= first.generation {
					t.Errorf("it says %+v, and %+v before: a follower begins no rebalance with that", s, first)
				}
			}
		})
	}
}

// What is said in JoinGroup is the same until that is answered, and names the
// generation of the answer from then on, as Java's members do: its assignor does
// not believe in what is owned since an older one.
func TestAMemberSaysInWhichGenerationItHasBeen(t *testing.T) {
	b := start(t)
	said := joins(b)
	own, end := run(t, b, "one")
	own.expect(t, "[requests[0 1]]")
	first := <-said
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SyncGroup}, Err: kerr.RebalanceInProgress, Count: 1})
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.RebalanceInProgress, Count: 1})
	own.expect(t, "[requests[0 1]]")
	second, third := <-said, <-said
	if first.generation != -1 || second.generation < 1 || third.generation != second.generation+1 {
		t.Errorf("generations %d, %d, %d", first.generation, second.generation, third.generation)
	}
	if len(third.owned["requests"]) != 2 {
		t.Errorf("it owns %v", third.owned)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}
