package world

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/twmb/franz-go/pkg/kgo"
)

// owners is who has each partition of the requests now, by the name of the worker.
func (s *stage) owners() map[Place]string {
	return ownersAt(s.generations.list(), s.Config.Topics.Requests, time.Now())
}

// ownersAt is who had each partition of a topic at a time. One that a generation
// gives to nobody is its last owner's.
func ownersAt(all []Generation, topic string, at time.Time) map[Place]string {
	owners := make(map[Place]string)
	for _, g := range all {
		if g.At.After(at) {
			break
		}
		for place, member := range g.Owners {
			if place.Topic == topic {
				owners[place] = nameOf(member)
			}
		}
	}
	return owners
}

// nameOf is the worker of a member id: kfake makes those of the client id, which
// is name/run, or the instance id, which is the name, and a dash and random text.
func nameOf(member string) string {
	for i := range 20 {
		if name := fmt.Sprintf("worker-%d", i); strings.HasPrefix(member, name+"/") || strings.HasPrefix(member, name+"-") {
			return name
		}
	}
	return member
}

// span is a time in which something happens to the group.
type span struct{ from, to time.Time }

// goesOn checks that partitions which have one owner all through a span are
// served as in quiet times: by latency, which a second without service would
// show, and by what is answered in each second.
func (s *stage) goesOn(quiet, busy span) {
	s.t.Helper()
	s.look()
	topic := s.Config.Topics.Requests
	all := s.generations.list()
	stays := ownersAt(all, topic, busy.from)
	for _, g := range all {
		for place, member := range g.Owners {
			if g.At.After(busy.from) && g.At.Before(busy.to) && stays[place] != nameOf(member) {
				delete(stays, place)
			}
		}
	}
	asked := make(map[events.Source]time.Time)
	for _, r := range s.observer.Records(topic) {
		if stays[Place{r.Topic, r.Partition}] != "" {
			asked[r.Source()] = r.At
		}
	}
	var before, during []time.Duration
	perSecond := make([]int, int(busy.to.Sub(busy.from)/time.Second))
	wanted := make([]int, len(perSecond))
	inBusy := func(at time.Time) (second int, is bool) {
		second = int(at.Sub(busy.from) / time.Second)
		return second, !at.Before(busy.from) && second < len(perSecond)
	}
	for _, at := range asked {
		if i, is := inBusy(at.Add(time.Second / 2)); is { // about when it is answered
			wanted[i]++
		}
	}
	for _, r := range s.observer.Records(s.Config.Topics.Outcomes) {
		o, err := readOutcome(r)
		at, ours := asked[o.Source]
		if err != nil || !ours {
			continue
		}
		switch took := o.CompletedAt.Sub(at); {
		case !at.Before(quiet.from) && at.Before(quiet.to):
			before = append(before, took)
		case !at.Before(busy.from) && at.Before(busy.to):
			during = append(during, took)
		}
		if i, is := inBusy(o.CompletedAt); is {
			perSecond[i]++
		}
	}
	if len(before) < 100 || len(during) < 100 {
		s.t.Fatalf("%d and %d answers of partitions that stay say nothing: %v", len(before), len(during), stays)
	}
	if p, q := percentile(during, 99), percentile(before, 99); p > 2*q {
		s.t.Errorf("p99 of what stays is %v, in quiet times %v", p, q)
	}
	slices.Sort(during)
	// What was asked half a second before the end of a second is answered by
	// then, but for what also in quiet times takes longer.
	asks, answers := 0, 0
	for i := range perSecond {
		asks, answers = asks+wanted[i], answers+perSecond[i]
		if mean := len(during) / len(perSecond); asks-answers > mean {
			s.t.Errorf("after second %d %d of what stays were answered, %d were to be: more than one second is missing", i, answers, asks)
		}
	}
	s.t.Logf("%d partitions stay; p50 %v (quiet %v), p99 %v (%v), most %v; answered per second %v", len(stays),
		percentile(during, 50), percentile(before, 50), percentile(during, 99), percentile(before, 99), during[len(during)-1], perSecond)
}

func percentile(all []time.Duration, p int) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[min(len(all)*p/100, len(all)-1)]
}

// lately is the worst latency of all requests of a span, and 0 where one has no
// answer.
func (s *stage) slowest(in span) (slowest time.Duration) {
	s.look()
	asked := make(map[events.Source]time.Time)
	for _, r := range s.observer.Records(s.Config.Topics.Requests) {
		if !r.At.Before(in.from) && r.At.Before(in.to) {
			asked[r.Source()] = r.At
		}
	}
	for _, r := range s.observer.Records(s.Config.Topics.Outcomes) {
		if o, err := readOutcome(r); err == nil && !asked[o.Source].IsZero() {
			slowest = max(slowest, o.CompletedAt.Sub(asked[o.Source]))
		}
	}
	return slowest
}

// What happens to one member concerns the others only as far as partitions move.
func TestWhatDoesNotMoveGoesOn(t *testing.T) {
	const session = 45 * time.Second
	for sentence, c := range map[string]struct {
		static bool
		happen func(s *stage, all []*Worker)
		// allMove: no partition stays.
		allMove bool
		// within is how long a request may wait whose partition moves.
		within time.Duration
	}{
		"a member dies, and another one starts at once": {happen: func(s *stage, all []*Worker) {
			all[1].Kill()
			s.worker("worker-3", nil)
		}, within: session + 10*time.Second},
		"a member dies, and nobody comes": {happen: func(_ *stage, all []*Worker) {
			all[1].Kill()
		}, within: session + 10*time.Second},
		"the member that leads dies, and another one starts at once": {happen: func(s *stage, all []*Worker) {
			all[0].Kill()
			s.worker("worker-3", nil)
		}, within: session + 10*time.Second},
		"a member dies and is started again on its machine at once": {happen: func(s *stage, all []*Worker) {
			all[1].Kill()
			s.worker(all[1].Name, nil)
		}, within: 10 * time.Second},
		"a member with a static id dies and is started again at once": {static: true, happen: func(s *stage, all []*Worker) {
			all[1].Kill()
			s.worker(all[1].Name, static(all[1].Name))
		}, within: 10 * time.Second},
		"a member joins": {happen: func(s *stage, _ []*Worker) {
			s.worker("worker-3", nil)
		}, within: 10 * time.Second},
		"a member leaves": {happen: func(s *stage, all []*Worker) {
			s.must(all[1].Stop())
		}, within: 10 * time.Second},
		"all are restarted one after the other": {allMove: true, happen: func(s *stage, all []*Worker) {
			for _, wk := range all {
				s.must(wk.Stop())
				s.stays(2 * time.Second)
				s.worker(wk.Name, nil)
				s.stays(12 * time.Second)
			}
		}, within: 10 * time.Second},
		"a member dies, and its successor's connections break while it joins": {happen: func(s *stage, all []*Worker) {
			all[1].Kill()
			wk := s.worker("worker-3", nil)
			for range 5 {
				s.stays(5 * time.Second)
				s.Network.Between(wk.Name, "").Cut()
			}
		}, within: session + 10*time.Second},
		"a member dies, and the connections of one that goes on break meanwhile": {happen: func(s *stage, all []*Worker) {
			all[1].Kill()
			s.worker("worker-3", nil)
			for range 4 {
				s.stays(7 * time.Second)
				for i := range s.Kafka.Nodes() {
					s.Network.Between(all[2].Name, BrokerName(i)).Cut()
				}
			}
		}, within: session + 10*time.Second},
	} {
		t.Run(sentence, func(t *testing.T) {
			inVirtualTime(t, Config{Brokers: 3, Partitions: 12, Gateway: unhurried}, func(t *testing.T, s *stage) {
				var all []*Worker
				for i := range 3 {
					name := fmt.Sprintf("worker-%d", i)
					var tune func(*config.Config)
					if c.static {
						tune = static(name)
					}
					all = append(all, s.worker(name, tune))
				}
				s.stays(20 * time.Second)
				wait := s.asks(Traffic{Seed: 21, Requests: 4500, Over: 150 * time.Second})
				s.stays(10 * time.Second)
				quiet := span{time.Now(), time.Now().Add(30 * time.Second)}
				s.stays(30 * time.Second)
				busy := span{time.Now(), time.Now().Add(80 * time.Second)}
				c.happen(s, all)
				wait()
				s.answered(time.Minute)
				if !c.allMove {
					s.goesOn(quiet, busy)
				}
				if slowest := s.slowest(busy); slowest > c.within {
					t.Errorf("a request waited for %v, want at most %v", slowest, c.within)
				}
				s.check(nil)
			})
		})
	}
}

func static(name string) func(*config.Config) {
	return func(c *config.Config) { c.Kafka.InstanceID = name }
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Error(err)
	}
}

// Members of another library that rebalance incrementally, too: nobody stands
// still for their sake, whoever leads.
func TestAForeignMemberThatCooperates(t *testing.T) {
	inVirtualTime(t, Config{Partitions: 12, Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.workers(2)
		s.stays(20 * time.Second)
		wait := s.asks(Traffic{Seed: 22, Requests: 3000, Over: 100 * time.Second})
		s.stays(10 * time.Second)
		quiet := span{time.Now(), time.Now().Add(20 * time.Second)}
		s.stays(20 * time.Second)
		busy := span{time.Now(), time.Now().Add(50 * time.Second)}
		foreign, err := kgo.NewClient(append(reach(s.World, s.Network.Boot("foreign")),
			kgo.ConsumerGroup(s.Config.Kafka.Group), kgo.ConsumeTopics(s.Config.Topics.Requests),
			kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.DisableAutoCommit(),
		)...)
		if err != nil {
			t.Fatal(err)
		}
		s.stays(25 * time.Second)
		if fetched := foreign.PollFetches(t.Context()); fetched.NumRecords() == 0 {
			t.Errorf("the foreign member got nothing to do: %v", fetched.Errors())
		}
		foreign.Close()
		wait()
		s.answered(2 * time.Minute)
		s.goesOn(quiet, busy)
		s.check(nil)
	})
}

// While a rebalance is prepared commits of the old generation are taken, and
// what survivors answer is committed: a death of one more costs no repeats.
func TestSurvivorsCommitWhileTheGroupWaits(t *testing.T) {
	inVirtualTime(t, Config{Partitions: 12, Gateway: unhurried}, func(t *testing.T, s *stage) {
		all := s.workers(3)
		s.stays(20 * time.Second)
		all[1].Kill()
		s.worker("worker-3", nil)
		s.stays(5 * time.Second)
		generation := s.generation()
		owners := s.owners()
		s.asks(Traffic{Seed: 23, Requests: 300, Over: 10 * time.Second})()
		s.stays(5 * time.Second)
		look := s.look()
		if now := s.generation(); now != generation {
			t.Fatalf("generation %d has become %d: the group does not wait", generation, now)
		}
		for place, owner := range owners {
			if end := look.Ends[place]; owner != "worker-1" && (end == 0 || look.Commits[place].Offset != end) {
				t.Errorf("%v of %s: committed %d of %d", place, owner, look.Commits[place].Offset, end)
			}
		}
		s.answered(2 * time.Minute)
		s.check(nil)
	})
}

// A foreign member that deals partitions as if nobody owned them (an eager one
// that leads) is noticed by the answer to JoinGroup: what is held is dropped
// before the group can know of the assignment.
func TestAForeignLeaderThatDoesNotCooperate(t *testing.T) {
	inVirtualTime(t, Config{Partitions: 4, Gateway: unhurried}, func(t *testing.T, s *stage) {
		all := s.workers(2)
		wait := s.asks(Traffic{Seed: 24, Requests: 1000, Over: 3 * time.Minute})
		s.stays(20 * time.Second)
		foreign, err := kgo.NewClient(append(reach(s.World, s.Network.Boot("foreign")),
			kgo.ConsumerGroup(s.Config.Kafka.Group), kgo.ConsumeTopics(s.Config.Topics.Requests),
			kgo.Balancers(kgo.RangeBalancer()), kgo.DisableAutoCommit(),
		)...)
		if err != nil {
			t.Fatal(err)
		}
		s.stays(15 * time.Second)
		// Who comes after a leader that has gone is drawn: so often that the
		// other library is.
		for range 20 {
			for i, wk := range all {
				s.must(wk.Stop())
				all[i] = s.worker(wk.Name, nil)
				s.stays(3 * time.Second)
			}
			if last := s.generations.list(); !strings.HasPrefix(last[len(last)-1].Leader, "worker-") {
				break
			}
		}
		foreign.Close()
		wait()
		s.answered(2 * time.Minute)
		s.check(nil)
	})
}

// A member that is stopped while the group waits for a dead one commits all that
// it has finished, under the old generation, and leaves.
func TestAStopWhileTheGroupWaits(t *testing.T) {
	inVirtualTime(t, Config{Partitions: 12, Gateway: unhurried}, func(t *testing.T, s *stage) {
		all := s.workers(3)
		s.stays(20 * time.Second)
		all[1].Kill() // with nothing in flight
		s.worker("worker-3", nil)
		s.stays(3 * time.Second)
		wait := s.asks(Traffic{Seed: 25, Requests: 600, Over: 20 * time.Second})
		s.stays(10 * time.Second)
		generation := s.generation()
		began := time.Now()
		s.must(all[2].Stop())
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the stop took %v", took)
		}
		if now := s.generation(); now != generation {
			t.Fatalf("generation %d has become %d: the group does not wait", generation, now)
		}
		wait()
		s.answered(2 * time.Minute)
		if report := s.check(nil); report.Duplicates > 0 {
			t.Errorf("%d duplicates", report.Duplicates)
		}
	})
}
