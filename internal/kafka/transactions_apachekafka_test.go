//go:build apachekafka

package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// On Apache Kafka, with a foreign reader.
func TestApacheKafkaKeepsLinesAndTransactions(t *testing.T) {
	cluster := apachekafka.ForTest(t, apachekafka.Config{Properties: map[string]string{
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
		"transaction.state.log.replication.factor":                    "1",
		"transaction.state.log.min.isr":                               "1",
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	admin, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := kadm.NewClient(admin).CreateTopics(ctx, 1, 1, nil, "lines", "wrap", "t", "u"); err != nil {
		t.Fatal(err)
	}
	loss := &lossy{dial: (&net.Dialer{}).DialContext}
	client := kafka.Open(kafka.Config{
		Brokers: cluster.Addrs(), Dial: loss.Dial,
		OnNotIdempotent: func(err error) { t.Errorf("not idempotent: %v", err) },
		OnRepeat:        func(topic string, _ int, err error) { t.Errorf("a repeat in %s: %v", topic, err) },
	})
	defer client.Close()
	w := kafka.Writer{Client: client}
	write := func(topic string, values ...string) {
		t.Helper()
		var messages []events.Message
		for _, v := range values {
			messages = append(messages, events.Message{Value: []byte(v)})
		}
		if _, err := w.Write(ctx, topic, messages); err != nil {
			t.Fatal(err)
		}
	}
	has := func(topic string, want ...string) {
		t.Helper()
		if got := committed(t, cluster.Addrs(), topic); !slices.Equal(got, want) {
			t.Errorf("%s has %q for who reads committed, want %q", topic, got, want)
		}
	}

	var want []string
	for i := range 20 {
		if i%3 == 2 {
			loss.Lose(int16(kmsg.Produce), 1)
		}
		write("lines", fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
	}
	has("lines", want...)
	loss.Lose(int16(kmsg.Produce), 1)
	if err := client.ProduceMany(ctx, one("lines", "lost"))[0].Err; err == nil {
		t.Error("no answer was lost")
	}
	write("lines", "another")
	write("lines", "one more")
	has("lines", append(want, "lost", "another", "one more")...)

	// Behind sequence 2^31-1 comes 0, within a batch and between two. The log
	// takes any sequence from a producer that it has forgotten.
	write("wrap", "before")
	loss.Lose(int16(kmsg.Produce), 0)
	if _, err := kadm.NewClient(admin).DeleteRecords(ctx, kadm.Offsets{"wrap": {0: kadm.Offset{Topic: "wrap", At: 1, LeaderEpoch: -1}}}); err != nil {
		t.Fatal(err)
	}
	other := kafka.Open(kafka.Config{Brokers: cluster.Addrs(), OnRepeat: func(_ string, _ int, err error) { t.Error(err) }})
	defer other.Close()
	if err := produce(ctx, other, "u", 0); err != nil {
		t.Fatal(err)
	}
	other.SetLine("wrap", 0, 0, 1<<31-3)
	for _, values := range [][]string{{"a", "b", "c", "d", "e"}, {"f"}} {
		must(t, other.ProduceMany(ctx, one("wrap", values...)))
	}
	other.SetLine("wrap", 0, 0, 3)
	must(t, other.ProduceMany(ctx, one("wrap", "g")))
	has("wrap", "a", "b", "c", "d", "e", "f", "g")
	for _, r := range committedRecords(t, cluster.Addrs(), "wrap") {
		if r.ProducerEpoch != 0 {
			t.Errorf("%s is of epoch %d: the broker has another sequence", r.Value, r.ProducerEpoch)
		}
	}

	// Transactions.
	tx := client.Transactions("g-1", 10*time.Second)
	ready := func() {
		t.Helper()
		if err := tx.Begin(ctx); err != nil {
			t.Fatal(err)
		}
	}
	commit := func() {
		t.Helper()
		if err := tx.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	put := func(topic string, values ...string) {
		t.Helper()
		if err := client.Persist(ctx, topic, 0, func(ctx context.Context) error {
			return tx.ProduceMany(ctx, one(topic, values...), []kafka.Place{{Topic: "u"}})[0].Err
		}); err != nil {
			t.Fatal(err)
		}
	}
	group := func() int64 {
		t.Helper()
		var got map[string]map[int]kafka.Committed
		if err := client.Persist(ctx, "t", 0, func(ctx context.Context) (err error) {
			got, err = client.Committed(ctx, "g", map[string][]int{"t": {0}})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return got["t"][0].Offset
	}
	outside := kafka.Membership{Group: "g", Generation: -1}
	offset := func(n int64) []kafka.Commit {
		return []kafka.Commit{{Topic: "t", Committed: kafka.Committed{Offset: n, Metadata: "m"}}}
	}
	var seen []string
	for i := range 10 {
		ready()
		v := fmt.Sprint(i)
		loss.Lose(int16(kmsg.Produce), i%2)
		put("t", v)
		if each, err := tx.Offsets(ctx, outside, offset(int64(i))); errors.Join(append(each, err)...) != nil {
			t.Fatalf("%v, %v", each, err)
		}
		if _, err := client.Committed(ctx, "g", map[string][]int{"t": {0}}); !errors.Is(err, kafka.UnstableOffset) {
			t.Errorf("the offsets of a transaction that is open are read: %v", err)
		}
		if i%4 == 3 {
			if err := tx.Abort(ctx); err != nil {
				t.Fatal(err)
			}
		} else {
			loss.Lose(int16(kmsg.EndTxn), i%2)
			commit()
			seen = append(seen, v)
			if got := group(); got != int64(i) {
				t.Errorf("the group is at %d, want %d", got, i)
			}
		}
	}
	has("t", seen...)

	each, err := tx.Offsets(ctx, kafka.Membership{Group: "h", Generation: 3, MemberID: "somebody"}, offset(1))
	if err != nil || len(each) != 1 || each[0] == nil || kafka.Fenced(each[0]) {
		t.Errorf("a generation that there is not: %v, %v", each, err)
	}
	t.Logf("a generation that there is not: %v", each)
	put("t", "fenced")
	successor := client.Transactions("g-1", 10*time.Second)
	if err := successor.Begin(ctx); err != nil {
		t.Fatal(err)
	}
	if err := tx.ProduceMany(ctx, one("t", "late"), nil)[0].Err; !kafka.Fenced(err) {
		t.Errorf("a late batch: %v", err)
	}
	if err := tx.Commit(ctx); !kafka.Fenced(err) {
		t.Errorf("a late commit: %v", err)
	}
	has("t", seen...)

	brief := client.Transactions("g-2", time.Second)
	if err := brief.Begin(ctx); err != nil {
		t.Fatal(err)
	}
	must(t, brief.ProduceMany(ctx, one("t", "too late"), nil))
	if err := client.Persist(ctx, "t", 0, func(ctx context.Context) error { // until the coordinator has aborted it
		ends, err := kadm.NewClient(admin).ListEndOffsets(ctx, "t")
		if err != nil {
			return err
		}
		stable, err := kadm.NewClient(admin).ListCommittedOffsets(ctx, "t")
		if err != nil {
			return err
		}
		end, _ := ends.Lookup("t", 0)
		if at, _ := stable.Lookup("t", 0); at.Offset != end.Offset {
			return fmt.Errorf("stable up to %d of %d", at.Offset, end.Offset)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	err = brief.Commit(ctx)
	var unsure *kafka.UnsureError
	if !kafka.Fenced(err) || errors.As(err, &unsure) {
		t.Errorf("a commit that comes too late: %v", err)
	}
	has("t", seen...)

	if err := client.Transactions("g-3", time.Hour).Begin(ctx); !kafka.Lasting(err) || !strings.Contains(err.Error(), "transaction.max.timeout.ms") {
		t.Errorf("an hour: %v", err)
	}
}
