package consumer

import (
	"hash/crc32"
	"slices"

	"github.com/closeorder/closeorder/internal/kafka"
)

// partitioner is a rule by which clients of Kafka choose the partition of a
// record from its key. What real clients choose is in
// testdata/consumer/partitioners.json.
type partitioner struct {
	// name is how the log calls it: the rule, and whose it is.
	name string
	// remedy is what its clients set to go by Java's rule; empty where they do.
	remedy string
	hash   int // of hashes
	reduce func(hash uint32, partitions int) int
}

// place is where the partitioner puts a key that is not empty. Empty keys tell
// nothing: Java's clients hash them, librdkafka's CRC32 sends them anywhere.
func (p *partitioner) place(h *hashes, partitions int) int {
	return p.reduce(h[p.hash], partitions)
}

// partitioners are the rules that are known. Where two agree, as the signs of a
// hash do not matter to a number of partitions that is a power of two, the one
// that stands first is meant.
var partitioners = []*partitioner{
	{"murmur2 (Java's)", "", ofMurmur2, positive},
	{"CRC32 (librdkafka's default)", "partitioner=murmur2_random in clients on librdkafka, kafka.Murmur2Balancer in kafka-go", ofCRC32, unsigned},
	{"FNV-1a (sarama's default)", "sarama.NewMurmur2Partitioner, or kafka.Murmur2Balancer in kafka-go", ofFNV1a, absolute},
	{"FNV-1a (sarama's reference)", "sarama.NewMurmur2Partitioner, or kafka.Murmur2Balancer in kafka-go", ofFNV1a, positive},
	{"FNV-1a (unsigned)", "sarama.NewMurmur2Partitioner", ofFNV1a, unsigned},
	{"murmur2, unsigned (@platformatic/kafka's default)", "compatibilityPartitioner in @platformatic/kafka", ofMurmur2, unsigned},
	{"murmur2 as KafkaJS before 2.0 computes it", "Partitioners.DefaultPartitioner in KafkaJS 2", ofLegacy, positive},
}

// hashes are those of one key.
type hashes [4]uint32

const (
	ofMurmur2 = iota
	ofCRC32
	ofFNV1a
	ofLegacy
)

func hashesOf(key []byte) hashes {
	return hashes{ofMurmur2: kafka.Murmur2(key), ofCRC32: crc32.ChecksumIEEE(key), ofFNV1a: fnv1a(key), ofLegacy: legacyMurmur2(key)}
}

// PartitionsOf is where clients of Kafka put a record of the given key, which is not
// empty, in a topic of so many partitions: each by its rule, Java's first, and
// each partition once. What ignores keys is not among them.
func PartitionsOf(key []byte, partitions int) []int {
	h := hashesOf(key)
	var all []int
	for _, p := range partitioners {
		if at := p.place(&h, partitions); !slices.Contains(all, at) {
			all = append(all, at)
		}
	}
	return all
}

// positive clears the sign, as Java's Utils.toPositive does.
func positive(hash uint32, partitions int) int { return int(hash&0x7fffffff) % partitions }

func unsigned(hash uint32, partitions int) int { return int(uint64(hash) % uint64(partitions)) }

// absolute takes the remainder of a number with a sign, and then its amount.
func absolute(hash uint32, partitions int) int {
	n := int64(int32(hash)) % int64(partitions)
	return int(max(n, -n))
}

// fnv1a is hash/fnv's New32a, without its allocation.
func fnv1a(key []byte) uint32 {
	h := uint32(2166136261)
	for _, b := range key {
		h ^= uint32(b)
		h *= 16777619
	}
	return h
}

// legacyMurmur2 is what KafkaJS takes for murmur2 before 2.0, and later under
// the name LegacyPartitioner: it multiplies floating-point numbers, which lose
// their lowest bits, and hashes the last bytes twice.
func legacyMurmur2(key []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := float64(int32(uint32(seed) ^ uint32(len(key))))
	at := func(i int) uint32 {
		if i < len(key) {
			return uint32(key[i])
		}
		return 0
	}
	for i := 0; i < len(key); i += 4 {
		k := float64(at(i)+at(i+1)<<8+at(i+2)<<16) + float64(int32(at(i+3)<<24))
		k *= m
		k = float64(int32(toUint32(k) ^ toUint32(k)>>r))
		k *= m
		h *= m
		h = float64(int32(toUint32(h) ^ toUint32(k)))
	}
	rest := len(key) &^ 3
	xor := func(x uint32) { h = float64(int32(toUint32(h) ^ x)) }
	if rest < len(key) {
		xor(at(rest) | at(rest+1)<<8 | at(rest+2)<<16)
		h *= m
	}
	xor(toUint32(h) >> 13)
	h *= m
	xor(toUint32(h) >> 15)
	return toUint32(h)
}

// toUint32 is what JavaScript's bit operators see of a number below 2^63.
func toUint32(x float64) uint32 { return uint32(int64(x)) }
