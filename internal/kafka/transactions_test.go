package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// committed reads, as a foreign client that reads committed, all values of the
// first partition of a topic up to the last stable offset, as of now.
func committed(t *testing.T, addrs []string, topic string, opts ...kgo.Opt) (values []string) {
	t.Helper()
	for _, r := range committedRecords(t, addrs, topic, opts...) {
		values = append(values, string(r.Value))
	}
	return values
}

func committedRecords(t *testing.T, addrs []string, topic string, opts ...kgo.Opt) (records []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	opts = append(opts, kgo.SeedBrokers(addrs...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	c, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ends, err := kadm.NewClient(c).ListCommittedOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	for next := int64(0); next < end.Offset; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s up to %d of %d: %v", topic, next, end.Offset, err)
		}
		for r := range fetches.RecordsAll() {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				records = append(records, r)
			}
		}
	}
	return records
}

// one is a batch for the first partition of a topic.
func one(topic string, values ...string) []kafka.Batch {
	b := kafka.Batch{Topic: topic}
	for _, v := range values {
		b.Messages = append(b.Messages, events.Message{Key: []byte("k"), Value: []byte(v)})
	}
	return []kafka.Batch{b}
}

// must fails the test unless all was written.
func must(t *testing.T, done []kafka.Produced) {
	t.Helper()
	for i, d := range done {
		if d.Err != nil {
			t.Fatalf("batch %d: %v", i, d.Err)
		}
	}
}

func begin(t *testing.T, tx *kafka.Transactions) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := tx.Begin(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestATransactionIsSeenAtOnceOrNever(t *testing.T) {
	b, client := startBroker(t, broker.Topic{Name: "t", Partitions: 1}, broker.Topic{Name: "u", Partitions: 1})
	see := func(want ...string) {
		t.Helper()
		for _, topic := range []string{"t", "u"} {
			if got := committed(t, b.Addrs(), topic); !slices.Equal(got, want) {
				t.Errorf("%s has %q for who reads committed, want %q", topic, got, want)
			}
		}
	}
	outside := kafka.Membership{Group: "g", Generation: -1}
	at := func() int64 {
		t.Helper()
		got, err := client.Committed(t.Context(), "g", map[string][]int{"t": {0}})
		if err != nil {
			t.Fatal(err)
		}
		return got["t"][0].Offset
	}
	// kfake knows a group from its first commit on.
	if _, err := client.Commit(t.Context(), outside, []kafka.Commit{{Topic: "t"}}); err != nil {
		t.Fatal(err)
	}
	tx := client.Transactions("g-1", 10*time.Second)
	for round := range 3 {
		begin(t, tx)
		values := func(n int) (all []string) {
			for i := range n {
				all = append(all, fmt.Sprintf("%d.0", i), fmt.Sprintf("%d.1", i))
			}
			return all
		}
		for i := range 2 {
			v := fmt.Sprintf("%d.%d", round, i)
			must(t, tx.ProduceMany(t.Context(), append(one("t", v), one("u", v)...), []kafka.Place{{Topic: "u"}}))
		}
		each, err := tx.Offsets(t.Context(), outside, []kafka.Commit{{Topic: "t", Committed: kafka.Committed{Offset: int64(round + 1), Metadata: "m"}}})
		if err != nil || len(each) != 1 || each[0] != nil {
			t.Fatalf("%v, %v", each, err)
		}
		see(values(round)...)
		if _, err := client.Committed(t.Context(), "g", map[string][]int{"t": {0}}); !errors.Is(err, kafka.UnstableOffset) || kafka.Lasting(err) {
			t.Errorf("the offsets of a transaction that is open are read: %v", err)
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		see(values(round + 1)...)
		if got := at(); got != int64(round+1) {
			t.Errorf("the group is at %d after transaction %d", got, round)
		}
		// What is aborted between two transactions is no part of any.
		must(t, tx.ProduceMany(t.Context(), append(one("t", "aborted"), one("u", "aborted")...), nil))
		if _, err := tx.Offsets(t.Context(), outside, []kafka.Commit{{Topic: "t", Committed: kafka.Committed{Offset: 99}}}); err != nil {
			t.Fatal(err)
		}
		if err := tx.Abort(t.Context()); err != nil {
			t.Fatal(err)
		}
		see(values(round + 1)...)
		if got := at(); got != int64(round+1) {
			t.Errorf("the group is at %d after an abort", got)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Errorf("a transaction with nothing in it: %v", err)
	}
}
