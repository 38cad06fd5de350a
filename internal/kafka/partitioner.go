package kafka

import (
	"encoding/binary"
	"math/rand/v2"
)

// PartitionOf is where Java's clients put a record of the given key in a topic
// of so many partitions, at least one. An empty key is hashed like any other;
// a record without a key, nil, may go anywhere.
func PartitionOf(key []byte, partitions int) int {
	if key == nil {
		return rand.IntN(partitions)
	}
	return int(Murmur2(key)&0x7fffffff) % partitions // Utils.toPositive
}

// Murmur2 is org.apache.kafka.common.utils.Utils.murmur2, all of its bits:
// kafka-go's balancer gives a partition alone, which hides the sign that tells
// clients apart.
func Murmur2(key []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key)
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	for i, b := range key {
		h ^= uint32(b) << (8 * i)
	}
	if len(key) > 0 {
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
