//go:build apachekafka

package kafka_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// On Apache Kafka: a topic with LogAppendTime gives its broker's time in every
// codec, and a batch that is larger than a fetch comes whole, of each partition.
func TestApacheKafkasBatchesAreRead(t *testing.T) {
	cluster := apachekafka.ForTest(t, apachekafka.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	newClient := func(opts ...kgo.Opt) *kgo.Client {
		c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20*time.Millisecond))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	admin := kadm.NewClient(newClient())
	for topic, configs := range map[string]map[string]*string{
		"stamped": {"message.timestamp.type": new("LogAppendTime")},
		"large":   {"max.message.bytes": new("9000000")},
	} {
		if _, err := admin.CreateTopic(ctx, 3, 1, configs, topic); err != nil {
			t.Fatal(err)
		}
	}
	client := kafka.Open(kafka.Config{Brokers: cluster.Addrs()})
	t.Cleanup(client.Close)
	old := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	for p, codecs := range [][]kgo.CompressionCodec{
		{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()},
	} {
		began, offset := time.Now(), int64(0)
		source := client.Source("stamped", p, 0)
		defer source.Close()
		for _, codec := range codecs {
			var records []*kgo.Record
			for i := range 100 {
				records = append(records, &kgo.Record{Topic: "stamped", Partition: int32(p), Timestamp: old.Add(time.Duration(i) * time.Hour), Value: []byte(strings.Repeat("x", i))})
			}
			if err := newClient(kgo.ProducerBatchCompression(codec)).ProduceSync(ctx, records...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			for end := offset + 100; offset < end; {
				got, next, err := source.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range got {
					if r.Time.Before(began.Add(-time.Second)) || r.Time.After(time.Now().Add(time.Second)) || len(r.Value) != int(r.Offset%100) {
						t.Errorf("offset %d: %d bytes at %v", r.Offset, len(r.Value), r.Time)
					}
				}
				offset = next
			}
		}
	}
	large := newClient(kgo.ProducerBatchMaxBytes(8<<20), kgo.MaxBufferedBytes(100<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for p := range 3 {
		for i := range 3 {
			if err := large.ProduceSync(ctx, &kgo.Record{Topic: "large", Partition: int32(p), Value: []byte(fmt.Sprint(i) + strings.Repeat("x", 3<<20))}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for p := range 3 {
		source := client.Source("large", p, 0)
		defer source.Close()
		for i, got := range next(t, source, 3) {
			if len(got) != 3<<20+1 || got[:1] != fmt.Sprint(i) {
				t.Errorf("partition %d, record %d: %d bytes", p, i, len(got))
			}
		}
	}
	at, err := client.Offsets(ctx, map[string][]int{"stamped": {0, 1, 2}, "large": {0, 1, 2}}, kafka.LogEnd)
	if err != nil || at["stamped"][0] != 500 || at["large"][2] != 3 {
		t.Errorf("%v, %v", at, err)
	}
}
