//go:build apachekafka

package kafka_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// On Apache Kafka: random logs of several producers are read as franz-go reads
// them, and an open transaction holds back what is behind it until it ends.
func TestApacheKafkasTransactionsAreReadCommitted(t *testing.T) {
	const logs = 100
	cluster := apachekafka.ForTest(t, apachekafka.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(ctx, logs+1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	client := kafka.Open(kafka.Config{Brokers: cluster.Addrs()})
	t.Cleanup(client.Close)

	log := newScribe(ctx, t, cluster.Addrs(), "t", logs)
	log.write("n1", "a1", "n2", "b1", "b-")
	s := client.Source("t", logs, 0)
	defer s.Close()
	if got := next(t, s, 1); !slices.Equal(got, []string{"n1"}) {
		t.Fatalf("before the open transaction: %v", got)
	}
	s.SeekTo(1)
	if records, at, err := s.Next(ctx); records != nil || at != 1 || err != nil {
		t.Fatalf("while it is open: %v, go on at %d, %v", records, at, err)
	}
	if stable, err := client.Offset(ctx, "t", logs, client.End()); stable != 1 || err != nil {
		t.Errorf("it can be read up to %d, %v; want 1", stable, err)
	}
	log.write("a2", "a+")
	if got := next(t, s, 3); strings.Join(got, " ") != "a1 n2 a2" {
		t.Errorf("when it is committed: %v", got)
	}

	partition := -1
	rapid.Check(t, func(rt *rapid.T) {
		if partition++; partition < logs {
			sameAsFranzGo(ctx, rt, t, cluster.Addrs(), client, partition)
		}
	})
}
