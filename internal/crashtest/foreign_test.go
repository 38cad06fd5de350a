//go:build apachekafka

package crashtest

import (
	"context"
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestForeignMember lets members of other client libraries share the group:
// franz-go, and the Java consumer. They come and go while ours leads, and at
// last one of them leads ours. Every request is read by somebody all the while.
func TestForeignMember(t *testing.T) {
	const perSecond = 60
	s := newStage(t, settings{
		gateway:    gatewaysim.Config{Latency: gatewaysim.Latency{Min: 20 * time.Millisecond, Max: 60 * time.Millisecond}},
		partitions: 6, workers: []string{"worker-0"},
	})
	s.startAll() // the first member leads, as long as it stays
	var franz, java read
	var ours int // generations until franz-go leads
	s.underLoad(perSecond, world.Traffic{Seed: 1}, func() {
		leaveFranz := s.joinFranz(&franz)
		s.awaitGroup(2)
		leaveJava := s.joinJava(&java)
		s.awaitGroup(3)
		s.awaitProgress("with all members")
		pause(t.Context().Done(), 3*time.Second)
		s.awaitProgress("with all members, later")
		s.must(leaveFranz())
		s.awaitGroup(2)
		s.awaitProgress("without franz-go")
		s.must(leaveJava())
		s.awaitGroup(1)
		s.awaitProgress("alone again")
		ours = len(s.leaders())

		leaveFranz = s.joinFranz(&franz)
		s.awaitGroup(2)
		s.must(s.workers[0].stop())
		s.awaitGroup(1)
		s.must(s.workers[0].start())
		s.awaitGroup(2)
		s.awaitProgress("led by franz-go")
		s.must(leaveFranz())
		s.awaitGroup(1)
		s.awaitProgress("alone at last")
	})
	s.eventually("everything to be read", func(ctx context.Context) (bool, error) {
		err := s.look(ctx)
		look := s.looks[len(s.looks)-1]
		for place, end := range look.Ends {
			if place.Topic == requests && look.Commits[place].Offset < end {
				return false, err
			}
		}
		return true, err
	})
	s.stopAll()

	both, unread := 0, 0
	for _, r := range s.observer.Records(requests) {
		readers := 0
		for _, has := range []bool{s.answered[r.Source()], franz.has(r.Source()), java.has(r.Source())} {
			if has {
				readers++
			}
		}
		switch {
		case readers == 0:
			unread++
			t.Errorf("nobody has read %s[%d]@%d", r.Topic, r.Partition, r.Offset)
		case readers > 1:
			both++
		}
	}
	if franz.count() == 0 || java.count() == 0 || len(s.answered) == 0 {
		t.Errorf("somebody has read nothing: closeorder %d, franz-go %d, Java %d", len(s.answered), franz.count(), java.count())
	}
	leaders := s.leaders()
	for i, leader := range leaders {
		if i < ours && !strings.HasPrefix(leader, "worker-0-") {
			t.Errorf("%s has led the group", leader)
		}
	}
	if !slices.ContainsFunc(leaders, func(leader string) bool { return strings.HasPrefix(leader, "franz-") }) {
		t.Errorf("franz-go has never led: %v", leaders)
	}
	t.Logf("%d requests: closeorder answered %d, franz-go read %d, Java read %d, two of them read %d, nobody %d; the first %d of %d generations were led by closeorder",
		len(s.observer.Records(requests)), len(s.answered), franz.count(), java.count(), both, unread, ours, len(leaders))
}

// read is what a foreign member has read.
type read struct {
	mu   sync.Mutex
	seen map[events.Source]bool
}

func (r *read) add(partition int, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = make(map[events.Source]bool)
	}
	r.seen[events.Source{Topic: requests, Partition: partition, Offset: offset}] = true
}

func (r *read) has(s events.Source) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[s]
}

func (r *read) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// joinFranz makes a franz-go client a member. It commits what it has read when
// it leaves.
func (s *stage) joinFranz(got *read) (leave func() error) {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.Addrs()...), kgo.ClientID("franz"),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(requests), kgo.Balancers(kgo.RangeBalancer()),
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(200*time.Millisecond))
	s.must(err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			fetches := client.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(func(r *kgo.Record) {
				got.add(int(r.Partition), r.Offset)
				client.MarkCommitRecords(r)
			})
		}
	})
	end := sync.OnceValue(func() error {
		err := client.CommitMarkedOffsets(context.Background())
		client.Close()
		wg.Wait()
		return err
	})
	s.t.Cleanup(func() { _ = end() })
	return end
}

var consoleLine = regexp.MustCompile(`Partition:(\d+)\s+Offset:(\d+)`)

// joinJava makes the Java console consumer a member. What it has read is known
// when it has left.
func (s *stage) joinJava(got *read) (leave func() error) {
	ctx, stop := context.WithCancel(context.Background())
	out, failed := "", make(chan error, 1)
	go func() {
		var err error
		out, err = s.kafka.Tool(ctx, apachekafka.ConsoleConsumer,
			"--bootstrap-server", s.kafka.Bootstrap(), "--topic", requests, "--group", group,
			"--command-property", "client.id=java", "--command-property", "auto.commit.interval.ms=200",
			"--command-property", "auto.offset.reset=earliest",
			"--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true")
		failed <- err
	}()
	end := sync.OnceValue(func() error {
		stop()
		err := <-failed
		for _, m := range consoleLine.FindAllStringSubmatch(out, -1) {
			partition, err1 := strconv.Atoi(m[1])
			offset, err2 := strconv.ParseInt(m[2], 10, 64)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			got.add(partition, offset)
		}
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
	s.t.Cleanup(func() { _ = end() })
	return end
}

// awaitProgress waits until the group has committed a later offset for every
// partition of the requests than it has now: nothing stalls.
func (s *stage) awaitProgress(when string) {
	s.t.Helper()
	began := time.Now()
	committed := func(ctx context.Context) (map[int32]int64, error) {
		offsets, err := s.admin.FetchOffsets(ctx, group)
		if err != nil {
			return nil, err
		}
		at := make(map[int32]int64)
		for p, o := range offsets[requests] {
			at[p] = o.At
		}
		return at, nil
	}
	var from map[int32]int64
	s.eventually("progress "+when, func(ctx context.Context) (bool, error) {
		now, err := committed(ctx)
		if err != nil {
			return false, err
		}
		if from == nil {
			from = now
		}
		for p := range int32(6) {
			if now[p] <= from[p] {
				return false, nil
			}
		}
		return true, nil
	})
	s.t.Logf("%s: every partition has moved on after %v", when, time.Since(began).Round(10*time.Millisecond))
}

var assignmentLine = regexp.MustCompile(`Assignment received from leader (\S+) for group ` + group + ` for generation (\d+)`)

// leaders are the members that have led the group, by generation, as the
// brokers have logged.
func (s *stage) leaders() []string {
	s.t.Helper()
	byGeneration := make(map[int]string)
	for _, file := range s.kafka.LogFiles() {
		text, err := os.ReadFile(file)
		s.must(err)
		for _, m := range assignmentLine.FindAllStringSubmatch(string(text), -1) {
			generation, err := strconv.Atoi(m[2])
			s.must(err)
			byGeneration[generation] = m[1]
		}
	}
	var out []string
	for _, g := range slices.Sorted(maps.Keys(byGeneration)) {
		out = append(out, byGeneration[g])
	}
	return out
}
