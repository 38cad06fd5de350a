package kafka

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// lz4Frame is how a frame begins, before its flags (LZ4 Frame Format Description).
var lz4Frame = []byte{0x04, 0x22, 0x4d, 0x18}

// mendLZ4 returns a frame as it should be. Java's producers and brokers write it
// into messages of format 0 with a checksum of its header that the first four bytes
// are part of (KAFKA-3160), and check none when they read it. Only that one is put
// right, in a copy; any other is for the library to judge.
func mendLZ4(packed []byte) []byte {
	const flags, contentSize, dictionary = 4, 1 << 3, 1 << 0
	if len(packed) < flags+3 || !slices.Equal(packed[:flags], lz4Frame) {
		return packed
	}
	end := flags + 2
	if packed[flags]&contentSize != 0 {
		end += 8
	}
	if packed[flags]&dictionary != 0 || len(packed) <= end {
		return packed // Kafka has none
	}
	if right := byte(xxh32(packed[flags:end]) >> 8); packed[end] != right && packed[end] == byte(xxh32(packed[:end])>>8) {
		packed = slices.Clone(packed)
		packed[end] = right
	}
	return packed
}

// xxh32 is xxHash of less than 16 bytes, with seed 0 (xxHash fast digest algorithm,
// XXH32).
func xxh32(b []byte) uint32 {
	const prime1, prime2, prime3, prime4, prime5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
	h := prime5 + uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(b)*prime3, 17) * prime4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*prime5, 11) * prime1
	}
	h = (h ^ h>>15) * prime2
	h = (h ^ h>>13) * prime3
	return h ^ h>>16
}
