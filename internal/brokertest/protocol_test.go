//go:build apachekafka

package brokertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
)

// load publishes perSecond requests until the returned function is called,
// which says how many there were.
func (s *stand) load(perSecond int) (end func() int) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var wg sync.WaitGroup
	n := 0
	var failed error
	wg.Go(func() {
		for ; kafka.Sleep(ctx, time.Second/time.Duration(perSecond)) == nil; n++ {
			if err := s.client.ProduceSync(context.WithoutCancel(ctx), request(fmt.Sprint("L", n), "")).FirstErr(); err != nil {
				failed = errors.Join(failed, err)
				return
			}
		}
	})
	return func() int {
		s.t.Helper()
		cancel()
		wg.Wait()
		s.must(failed)
		return n
	}
}

// awaitProgress waits until the group has committed a later offset than it has
// now for every partition of the requests, under load.
func (s *stand) awaitProgress(when string) {
	s.t.Helper()
	began := time.Now()
	var from map[int32]int64
	s.eventually("progress "+when, func(ctx context.Context) (bool, error) {
		now, err := s.committed(ctx, s.cfg.Topics.Requests)
		if err != nil || len(now) < 6 {
			return false, err
		}
		if from == nil {
			from = now
		}
		for p, at := range now {
			if at <= from[p] {
				return false, nil
			}
		}
		return true, nil
	})
	s.t.Logf("%s: every partition has moved on after %v", when, time.Since(began).Round(10*time.Millisecond))
}

// eachReadOnce checks that each of n requests was answered by a worker or read
// by the Java member, and that none was answered twice. What both had is told.
func (s *stand) eachReadOnce(n int, java *readByJava) {
	s.t.Helper()
	s.awaitCommitted()
	ctx, cancel := s.context()
	defer cancel()
	answered, err := s.outcomes(ctx)
	s.must(err)
	all, err := s.read(ctx, s.cfg.Topics.Requests)
	s.must(err)
	if len(all) != n {
		s.t.Errorf("%d requests stand in the topic, %d were sent", len(all), n)
	}
	both := 0
	for _, r := range all {
		source := events.Source{Topic: r.Topic, Partition: int(r.Partition), Offset: r.Offset}
		ours := len(answered[source])
		switch {
		case ours > 1:
			s.t.Errorf("%+v was answered %d times", source, ours)
		case ours == 0 && !java.has(source):
			s.t.Errorf("nobody has read %+v", source)
		case ours == 1 && java.has(source):
			both++
		}
	}
	if len(answered) == 0 || java.count() == 0 {
		s.t.Errorf("somebody has read nothing: closeorder answered %d, Java read %d", len(answered), java.count())
	}
	s.t.Logf("%d requests: closeorder answered %d, Java read %d, both %d", n, len(answered), java.count(), both)
}

// TestAMemberOfTheNewProtocolIsThereFirst: the group is run by the coordinator
// (KIP-848), and a worker joins it as a classic member.
func TestAMemberOfTheNewProtocolIsThereFirst(t *testing.T) {
	s := newStand(t, 6, nil)
	var java readByJava
	leave := s.joinJava("consumer", &java)
	s.awaitGroup(1)
	end := s.load(60)
	s.awaitProgress("with Java alone")
	w := s.worker(nil)
	s.awaitGroup(2)
	s.awaitProgress("with both")
	leave()
	s.awaitGroup(1)
	s.awaitProgress("with closeorder alone")
	s.eachReadOnce(end(), &java)
	s.must(w.end())
}

// TestAMemberOfTheNewProtocolComesLater: the group is classic, turns into one
// of the new protocol, and back.
func TestAMemberOfTheNewProtocolComesLater(t *testing.T) {
	for _, instance := range []string{"", "static"} {
		t.Run("instance id "+instance, func(t *testing.T) {
			s := newStand(t, 6, nil)
			static := func(c *config.Config) { c.Kafka.InstanceID = instance }
			var java readByJava
			w := s.worker(static)
			s.awaitGroup(1)
			end := s.load(60)
			s.awaitProgress("with closeorder alone")
			leave := s.joinJava("consumer", &java)
			s.awaitGroup(2)
			s.awaitProgress("with both")
			s.must(w.end())
			if instance == "" {
				s.awaitGroup(1)
			}
			s.awaitProgress("with Java alone")
			w = s.worker(static)
			s.awaitGroup(2)
			s.awaitProgress("with both again")
			leave()
			s.awaitGroup(1)
			s.awaitProgress("with closeorder alone at last")
			s.eachReadOnce(end(), &java)
			s.must(w.end())
		})
	}
}

// TestTwoWorkersBesideAMemberOfTheNewProtocol: the coordinator deals the
// partitions, some of the requests to each.
func TestTwoWorkersBesideAMemberOfTheNewProtocol(t *testing.T) {
	s := newStandWith(t, 6, nil, time.Second)
	var java readByJava
	leave := s.joinJava("consumer", &java)
	s.awaitGroup(1)
	w := []*running{s.worker(nil), s.worker(nil)}
	s.awaitGroup(3)
	end := s.load(60)
	s.awaitProgress("with all three")
	ctx, cancel := s.context()
	defer cancel()
	answered, err := s.outcomes(ctx)
	s.must(err)
	if len(answered) == 0 {
		t.Error("no worker has answered anything beside the Java member")
	}
	s.must(w[1].end())
	s.awaitGroup(2)
	s.awaitProgress("with one worker")
	leave()
	s.awaitGroup(1)
	s.awaitProgress("with closeorder alone")
	s.eachReadOnce(end(), &java)
}

// TestOffsetsOutliveTheProtocol: a group is used by one protocol, left, and
// used by the other; each goes on where the one before has stopped.
func TestOffsetsOutliveTheProtocol(t *testing.T) {
	s := newStand(t, 6, nil)
	var java readByJava
	sent := 0
	for round := range 2 {
		w := s.worker(nil)
		s.send(requests(fmt.Sprint("A", round, "-"), 60)...)
		sent += 60
		s.awaitCommitted()
		s.must(w.end())
		s.awaitGroup(0)
		leave := s.joinJava("consumer", &java)
		s.awaitGroup(1)
		s.send(requests(fmt.Sprint("B", round, "-"), 60)...)
		sent += 60
		s.awaitCommitted()
		leave()
		s.awaitGroup(0)
	}
	s.eachReadOnce(sent, &java)
	if n := java.count(); n != 120 {
		t.Errorf("Java has read %d of the 120 that were sent while it was alone", n)
	}
	for source, times := range java.seen {
		if times > 1 {
			t.Errorf("Java has read %+v %d times", source, times)
		}
	}
}

// TestRetriesApartFromTheirRequestsAreTold: the new protocol's coordinator
// deals partitions without a look at their numbers (assignor uniform), so that
// one worker may have requests[n] and another retries[n]: requests of one order
// side by side. A worker that sees such a thing says so.
func TestRetriesApartFromTheirRequestsAreTold(t *testing.T) {
	s := newStandWith(t, 6, nil, time.Second)
	var java readByJava
	s.joinJava("consumer", &java)
	s.awaitGroup(1)
	workers := make(map[string]*running)
	for _, id := range []string{"worker-0", "worker-1"} {
		workers[id] = s.worker(func(c *config.Config) { c.Kafka.ClientID, c.Kafka.RebalanceTimeout = id, 3*time.Second })
	}
	s.awaitGroup(3)
	ctx, cancel := s.context()
	defer cancel()
	described, err := s.admin.DescribeConsumerGroups(ctx, s.cfg.Kafka.Group)
	s.must(err)
	all := 0
	for _, m := range described[s.cfg.Kafka.Group].Members {
		w := workers[m.ClientID]
		if w == nil {
			continue // Java reads no retries
		}
		requests, retries := m.Assignment[s.cfg.Topics.Requests], m.Assignment[s.cfg.Topics.Retries()[0]]
		apart := 0
		for number := range int32(6) {
			_, first := requests[number]
			_, second := retries[number]
			if first != second {
				apart++
			}
		}
		if all += apart; apart > 0 {
			s.eventually(m.ClientID+" to tell of it", func(context.Context) (bool, error) {
				return strings.Contains(w.log.String(), "ALARM: the group gives this worker retries without the requests of that number"), nil
			})
		}
	}
	if all == 0 {
		t.Error("the coordinator deals rows: three members cannot have them whole, as one of them reads the requests alone")
	}
}

// TestCooperativeMembersOfJava: a Java member that has the cooperative assignor
// alone, as the last step of its upgrade wants it (KIP-429), shares the group,
// whoever was there first. One with Java's default does, too.
func TestCooperativeMembersOfJava(t *testing.T) {
	const cooperative = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
	for name, strategy := range map[string]string{
		"alone":   cooperative,
		"default": "org.apache.kafka.clients.consumer.RangeAssignor," + cooperative,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandWith(t, 6, nil, time.Second)
			var first, second readByJava
			leave := s.joinJava("classic", &first, "partition.assignment.strategy="+strategy)
			s.awaitGroup(1)
			end := s.load(60)
			w := s.worker(nil)
			s.awaitGroup(2)
			s.awaitProgress("with Java first")
			leave()
			s.awaitGroup(1)
			s.awaitProgress("with closeorder alone")
			leave = s.joinJava("classic", &second, "partition.assignment.strategy="+strategy)
			s.awaitGroup(2)
			s.awaitProgress("with Java second")
			leave()
			s.awaitGroup(1)
			for source, n := range second.seen {
				first.seen[source] += n
			}
			s.eachReadOnce(end(), &first)
			s.must(w.end())
		})
	}
}

// TestMembersThatDoNotLetAWorkerIn: they offer an assignor that no worker knows.
// The worker names them, once, and joins when they are gone.
func TestMembersThatDoNotLetAWorkerIn(t *testing.T) {
	s := newStandWith(t, 2, nil, time.Second)
	var java readByJava
	leave := s.joinJava("classic", &java, "partition.assignment.strategy=org.apache.kafka.clients.consumer.StickyAssignor")
	s.awaitGroup(1)
	w := s.worker(nil)
	const told = "members that are not closeorder (java at 127.0.0.1) offer none of the assignors"
	s.eventually("the worker to say who does not let it in", func(context.Context) (bool, error) {
		return strings.Contains(w.log.String(), told), nil
	})
	leave()
	s.eventually("the worker to join", func(context.Context) (bool, error) {
		return strings.Contains(w.log.String(), "partitions assigned"), nil
	})
	if n := strings.Count(w.log.String(), told); n != 1 {
		t.Errorf("it was told %d times", n)
	}
}
