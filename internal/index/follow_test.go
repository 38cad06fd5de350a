package index_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
)

// TestWhatIsDeletedGoes deletes records that are indexed: as many are left as an index
// has that is made then. What is known of them beyond that stays.
func TestWhatIsDeletedGoes(t *testing.T) {
	s := newShelf(t)
	x := s.opened("")
	s.anything(rand.New(rand.NewPCG(13, 14)), 80)
	turn(t, x)
	full, _ := x.Progress(t.Context())
	for topic, n := range partitions {
		for p := range n {
			s.deletes(topic, p, map[bool]int64{true: 12, false: 3}[topic == topics.Requests || topic == topics.Outcomes])
		}
	}
	x.Sweep()
	turn(t, x)
	late := s.opened("")
	turn(t, late)
	same(t, "positions", positions(dumped(t, x)), positions(dumped(t, late)))
	now, _ := x.Progress(t.Context())
	then, _ := late.Progress(t.Context())
	if now.Requests != then.Requests || now.DeadLetters != then.DeadLetters || now.Requests >= full.Requests || now.DeadLetters >= full.DeadLetters {
		t.Errorf("of %d and %d are left %d and %d, want %d and %d", full.Requests, full.DeadLetters, now.Requests, now.DeadLetters, then.Requests, then.DeadLetters)
	}
	counted := func(x *index.Index) (n int64) {
		all, err := x.Minutes(t.Context(), noon.Add(-time.Hour), noon.Add(3*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			n += m.Closed + m.Paid + m.Failed
		}
		return n
	}
	if now, then := counted(x), counted(late); now != then || now == 0 {
		t.Errorf("%d answers are counted, want %d", now, then)
	}
	// All of it.
	for topic, n := range partitions {
		for p := range n {
			s.deletes(topic, p, -1)
		}
	}
	x.Sweep()
	turn(t, x)
	left := slices.DeleteFunc(dumped(t, x), func(row string) bool { return strings.HasPrefix(row, "position") })
	if len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

func positions(all []string) []string {
	return slices.DeleteFunc(all, func(row string) bool { return !strings.HasPrefix(row, "position") })
}

// TestKeep is about a request of two days ago, and one of now.
func TestKeep(t *testing.T) {
	s := newShelf(t)
	s.now = time.Now().Add(-48 * time.Hour)
	m, old := s.asks(1, order("OLD", "19", ""))
	s.answers(m, old, events.Closed)
	s.dies(m, old, "X")
	s.now = time.Now()
	m, young := s.asks(1, order("YOUNG", "19", ""))
	s.answers(m, young, events.Closed)
	dir := t.TempDir()
	for _, step := range []struct {
		keep     time.Duration
		requests int64
	}{{24 * time.Hour, 1}, {0, 2}, {24 * time.Hour, 1}, {time.Hour, 1}, {72 * time.Hour, 2}} {
		x := s.opened(dir, func(c *index.Config) { c.Keep = step.keep })
		turn(t, x)
		p, err := x.Progress(t.Context())
		if err != nil || p.Requests != step.requests || p.DeadLetters != step.requests-1 || len(p.Gaps) > 0 {
			t.Errorf("keeps %v: %+v, %v", step.keep, p, err)
		}
		if step.keep == 24*time.Hour {
			// What it does not have the report says.
			if text, report := s.told("OLD", "", time.Now(), x); len(report.Lives) > 0 || !strings.Contains(text, "the index does not go back as far as the topics") {
				t.Errorf("%s", text)
			}
		}
		s.closes(x)
	}
}

// TestGapsAreToldOnce is about requests that retention takes before they are indexed,
// and a batch that nobody can read.
func TestGapsAreToldOnce(t *testing.T) {
	s := newShelf(t)
	s.client.Close()
	s.client = kafka.Open(kafka.Config{Brokers: s.broker.Addrs(), UnpackedBatch: 50_000}, topics.All()...)
	dir := t.TempDir()
	x := s.opened(dir)
	s.asks(1, order("T0", "19", ""))
	turn(t, x)
	for i := range 5 {
		s.asks(1, order(fmt.Sprintf("T%d", i+1), "19", ""))
	}
	s.deletes(topics.Requests, 1, 4)
	large := events.Message{Key: []byte("T7"), Value: []byte(order("T7", "19", "") + strings.Repeat(" ", 100_000))}
	s.answers(large, s.write(topics.Requests, 2, large), events.Closed)
	s.asks(2, order("T8", "19", ""))
	want := []string{
		"closeorder.requests[1]: offsets 1 to 3 were deleted before they were read",
		"topic closeorder.requests, partition 2: offset 0 cannot be read: it unpacks to more than 50000 bytes",
	}
	for range 2 {
		turn(t, x)
		x.Sweep()
		turn(t, x)
		p, err := x.Progress(t.Context())
		slices.Sort(p.Gaps)
		if err != nil || len(p.Gaps) != 2 || p.Gaps[0] != want[0] || !strings.HasPrefix(p.Gaps[1], want[1]) {
			t.Errorf("%q, %v", p.Gaps, err)
		}
		found, err := x.Search(t.Context(), "T", 10)
		if err != nil || fmt.Sprint(numbers(found)) != "[T8 T7 T5 T4]" || !found[1].Gone || found[1].Outcome != events.Closed {
			t.Errorf("%v, %v", numbers(found), err)
		}
		at := time.Now()
		got, _ := s.told("T7", "", at, x)
		if all, _ := s.told("T7", "", at, nil); got != all || !strings.Contains(got, "cannot be read") {
			t.Errorf("%s", differ(got, all))
		}
		s.closes(x)
		x = s.opened(dir)
	}
}

func numbers(found []index.Request) (all []string) {
	for _, q := range found {
		all = append(all, q.OutTradeNo)
	}
	return all
}

// TestATopicThatWasMadeAnew is one that ends before what is indexed of it.
func TestATopicThatWasMadeAnew(t *testing.T) {
	s := newShelf(t)
	x := s.opened("")
	s.anything(rand.New(rand.NewPCG(15, 16)), 30)
	turn(t, x)
	admin := kadm.NewClient(s.producer)
	for _, topic := range topics.All() {
		if _, err := admin.DeleteTopic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.CreateTopic(t.Context(), int32(partitions[topic]), 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	err := x.Turn(t.Context())
	if err == nil || !strings.Contains(err.Error(), "it was made anew, or records were lost") {
		t.Fatalf("%v", err)
	}
	if p, _ := x.Progress(t.Context()); p.Requests == 0 {
		t.Error("a moment's disagreement has cost the index")
	}
	defer index.Sure()()
	s.produces()
	m, at := s.asks(1, order("T1", "19", ""))
	s.answers(m, at, events.Closed)
	turn(t, x)
	if p, err := x.Progress(t.Context()); err != nil || p.Requests != 1 || !p.CaughtUp {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestAnIndexOfOtherTopicsIsBegunAnew changes the name of a topic.
func TestAnIndexOfOtherTopicsIsBegunAnew(t *testing.T) {
	s := newShelf(t)
	dir := t.TempDir()
	x := s.opened(dir)
	s.asks(1, order("T1", "19", ""))
	turn(t, x)
	s.closes(x)
	x = s.opened(dir, func(c *index.Config) { c.Topics.DeadLetters = "others" })
	if p, err := x.Progress(t.Context()); err != nil || p.Requests != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	turn(t, x) // without that topic
	if p, err := x.Progress(t.Context()); err != nil || p.Requests != 1 || !p.CaughtUp {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestNewPartitionsAreFound asks in a partition that was not there before, and answers
// at once in one that was: the outcome must not be taken for one of another log.
func TestNewPartitionsAreFound(t *testing.T) {
	s := newShelf(t)
	x := s.opened("")
	s.asks(1, order("T0", "19", ""))
	turn(t, x)
	if _, err := kadm.NewClient(s.producer).UpdatePartitions(t.Context(), 5, topics.Requests); err != nil {
		t.Fatal(err)
	}
	s.produces()
	partitions[topics.Requests] = 5
	defer func() { partitions[topics.Requests] = 3 }()
	m, at := s.asks(4, order("T1", "19", ""))
	s.answers(m, at, events.Closed)
	turn(t, x)
	all, err := x.At(t.Context(), []events.Source{at})
	if err != nil || all[at].Outcome != events.Closed || all[at].Gone {
		t.Errorf("%+v, %v", all, err)
	}
	late := s.opened("")
	turn(t, late)
	same(t, "made later", dumped(t, x), dumped(t, late))
}

// TestTroubleWithKafka takes the broker away, and asks what is indexed.
func TestTroubleWithKafka(t *testing.T) {
	s := newShelf(t)
	x := s.opened("")
	s.asks(1, order("T1", "19", ""))
	turn(t, x)
	s.broker.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- x.Run(ctx) }()
	version := uint64(0)
	for {
		p, err := x.Progress(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.Trouble != "" {
			if p.Requests != 1 || p.At.IsZero() {
				t.Errorf("%+v", p)
			}
			break
		}
		if version, err = x.Changed(t.Context(), version); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := x.Search(t.Context(), "T1", 1); err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("the database is fine: %v", err)
	}
}

// TestABrokenDatabaseEndsRun takes the tables away.
func TestABrokenDatabaseEndsRun(t *testing.T) {
	s := newShelf(t)
	dir := t.TempDir()
	x := s.opened(dir)
	turn(t, x)
	s.asks(1, order("T1", "19", ""))
	if _, err := s.databases[x].Write.ExecContext(t.Context(), `DROP TABLE index_requests`); err != nil {
		t.Fatal(err)
	}
	err := x.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
	if text, err := json.Marshal(err); err != nil {
		t.Error(text, err)
	}
}

// A second wish comes while the first one is carried out: it waits for whoever writes
// into the database.
func TestAnIndexThatIsBegunAnewIsBegunAnewAgain(t *testing.T) {
	s := newShelf(t)
	m, at := s.asks(1, order("T1", "19", ""))
	s.answers(m, at, events.Closed)
	x := s.opened("")
	turn(t, x)
	want := dumped(t, x)
	busy, err := s.databases[x].Write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	version, err := x.Changed(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	x.Rebuild()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx); stop() }()
	waits := func(n int64) {
		for s.databases[x].Write.Stats().WaitCount < n && ctx.Err() == nil {
			runtime.Gosched()
		}
	}
	waits(1)
	x.Rebuild()
	waits(2)
	if err := busy.Rollback(); err != nil {
		t.Fatal(err)
	}
	for caughtUp := false; !caughtUp && ctx.Err() == nil; {
		version, _ = x.Changed(ctx, version) // an error is that Run has ended
		p, _ := x.Progress(ctx)
		caughtUp = p.CaughtUp
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	same(t, "begun anew twice", dumped(t, x), want)
}
