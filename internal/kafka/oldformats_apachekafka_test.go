//go:build apachekafka && brokers

package kafka_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// On Apache Kafka: what a cluster that was upgraded in place still keeps in formats 0
// and 1 is read, in each codec, with the broker's time too, and behind the change to
// format 2 what comes then.
func TestApacheKafkasOldFormatsAreRead(t *testing.T) {
	if some := os.Getenv("CLOSEORDER_BROKERS"); some != "" && !slices.Contains(strings.Fields(some), "2.8.2") {
		t.Skip("CLOSEORDER_BROKERS is without 2.8.2")
	}
	cluster := apachekafka.ForTest(t, apachekafka.Config{Version: "2.8.2"})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for _, format := range []string{"0.9.0", "0.10.2"} {
		for _, codec := range []string{"uncompressed", "gzip", "snappy", "lz4"} {
			for _, stamp := range []string{"CreateTime", "LogAppendTime"} {
				t.Run(strings.Join([]string{format, codec, stamp}, " "), func(t *testing.T) {
					topic := strings.Join([]string{format, codec, stamp}, "-")
					w, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...), kgo.DisableIdempotentWrite(), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(20*time.Millisecond))
					if err != nil {
						t.Fatal(err)
					}
					defer w.Close()
					admin := kadm.NewClient(w)
					if _, err := admin.CreateTopic(ctx, 1, 1, map[string]*string{"message.format.version": &format, "compression.type": &codec, "message.timestamp.type": &stamp}, topic); err != nil {
						t.Fatal(err)
					}
					var want []string
					write := func(n int) {
						var all []*kgo.Record
						for range n {
							value := fmt.Sprint(topic, " ", len(want))
							want = append(want, value)
							all = append(all, kgo.StringRecord(value))
						}
						if err := w.ProduceSync(ctx, all...).FirstErr(); err != nil {
							t.Fatal(err)
						}
					}
					write(20)
					write(1)
					newer := kafka.FormatWithHeaders
					if done, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: kafka.FormatSetting, Value: &newer}}, topic); err != nil || done[0].Err != nil {
						t.Fatal(err, done)
					}
					write(5)
					client := kafka.Open(kafka.Config{Brokers: cluster.Addrs()})
					defer client.Close()
					s := client.Source(topic, 0, 0)
					defer s.Close()
					if got := next(t, s, len(want)); strings.Join(got, "\n") != strings.Join(want, "\n") {
						t.Errorf("read %q, want %q", got, want)
					}
				})
			}
		}
	}
}
