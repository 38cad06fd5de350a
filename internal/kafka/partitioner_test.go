package kafka_test

import (
	"slices"
	"testing"

	"github.com/closeorder/closeorder/internal/kafka"
	kafkago "github.com/segmentio/kafka-go"
	"pgregory.net/rapid"
)

// Java's Utils.murmur2 of these keys (librdkafka, src/rdmurmur2.c). Where real
// clients put keys is in testdata/consumer/partitioners.json.
func TestMurmur2IsJavas(t *testing.T) {
	for key, want := range map[string]uint32{
		"": 0x106e08d9, "4": 0x5a4b5ca1, "34": 0x873930da, "234": 0xe7c009ca, "1234": 0x9fc97b14,
		"kafka": 0xd067cf64, "giberish123456789": 0x8f552b0c, "reAmbleWillBeRemoved,ThePrePartThatIs": 0x4a62b377,
	} {
		if got := kafka.Murmur2([]byte(key)); got != want {
			t.Errorf("%q: %#x, want %#x", key, got, want)
		}
	}
}

func TestAKeyGoesWhereKafkaGosMurmur2BalancerPutsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := []byte(rapid.StringN(0, 40, -1).Draw(t, "key")) // never nil
		partitions := make([]int, rapid.IntRange(1, 100).Draw(t, "partitions"))
		for i := range partitions {
			partitions[i] = i
		}
		want := kafkago.Murmur2Balancer{}.Balance(kafkago.Message{Key: key}, partitions...)
		if got := kafka.PartitionOf(key, len(partitions)); got != want {
			t.Fatalf("partition %d, want %d", got, want)
		}
	})
}

func TestARecordWithoutAKeyMayGoAnywhere(t *testing.T) {
	var seen []int
	for range 1000 {
		if p := kafka.PartitionOf(nil, 3); !slices.Contains(seen, p) {
			seen = append(seen, p)
		}
	}
	slices.Sort(seen)
	if !slices.Equal(seen, []int{0, 1, 2}) {
		t.Errorf("partitions %v", seen)
	}
}
