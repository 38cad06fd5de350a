//go:build apachekafka

package timeline_test

import (
	"testing"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkAMillionOrdersOnApacheKafka is BenchmarkAMillionOrders with a real broker, in
// a process of its own.
func BenchmarkAMillionOrdersOnApacheKafka(b *testing.B) {
	const orders, partitions = 1_000_000, 12
	cluster := apachekafka.ForTest(b, apachekafka.Config{})
	topics := config.Default().Topics
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopics(b.Context(), partitions, 1, nil, topics.All()...); err != nil {
		b.Fatal(err)
	}
	benchmarkMillion(b, cluster.Addrs()[0], topics, orders, partitions)
}
