//go:build apachekafka

package kafka_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Apache Kafka checks what it is sent: checksum, lengths, counts. What it has
// taken another client reads as it was.
func TestApacheKafkaTakesWhatWeWrite(t *testing.T) {
	cluster := apachekafka.ForTest(t, apachekafka.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	reader, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...), kgo.ConsumeTopics("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := kadm.NewClient(reader).CreateTopic(ctx, 3, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	client := kafka.Open(kafka.Config{Brokers: cluster.Addrs()})
	defer client.Close()
	messages := func(n int) (all []events.Message) {
		for i := range n {
			m := events.Message{Key: fmt.Append(nil, i), Value: []byte(strings.Repeat("x", i*7)), Headers: []events.Header{{Key: "n", Value: fmt.Append(nil, n)}, {Key: "nil"}, {Key: "empty", Value: []byte{}}}}
			if i%5 == 0 {
				m.Key, m.Headers = nil, m.Headers[:1]
			}
			all = append(all, m)
		}
		return all
	}
	want := 3
	for p := range want { // brokers hear of a topic that was just made one after the other
		if err := client.Persist(ctx, "t", p, func(ctx context.Context) error {
			_, err := client.Produce(ctx, "t", p, messages(1), kafka.Uncompressed)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{1, 63, 64, 65, 300} {
		for _, compression := range []kafka.Compression{kafka.Uncompressed, kafka.Gzip} {
			var batches []kafka.Batch
			for p := range 3 {
				batches = append(batches, kafka.Batch{Topic: "t", Partition: p, Messages: messages(n), Compression: compression})
				want += n
			}
			for i, done := range client.ProduceMany(ctx, batches) {
				if done.Err != nil {
					t.Fatalf("%d records, compression %d, partition %d: %v", n, compression, i, done.Err)
				}
			}
		}
	}
	for read := 0; read < want; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d read: %v", read, want, err)
		}
		for r := range fetches.RecordsAll() {
			read++
			if len(r.Headers) == 0 || r.Headers[0].Key != "n" || len(r.Value)%7 != 0 {
				t.Fatalf("offset %d of partition %d: %q, %d bytes, %q", r.Offset, r.Partition, r.Key, len(r.Value), r.Headers)
			}
			i := len(r.Value) / 7
			if keyed := i%5 != 0; keyed != (string(r.Key) == fmt.Sprint(i)) || keyed != (len(r.Headers) == 3) || keyed && (r.Headers[1].Value != nil || r.Headers[2].Value == nil) {
				t.Errorf("offset %d of partition %d: %q, %d bytes, %q", r.Offset, r.Partition, r.Key, len(r.Value), r.Headers)
			}
		}
	}
}
