package kafka

import (
	"bytes"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go/compress"
)

// TestLZ4OfFormat0IsMended: what the library writes has the right checksum, so ours is
// held to that; Java's wrong one is replaced, and nothing else is.
func TestLZ4OfFormat0IsMended(t *testing.T) {
	var frame bytes.Buffer
	w := compress.Lz4.Codec().NewWriter(&frame)
	if _, err := w.Write(bytes.Repeat([]byte("close it "), 100)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	right := frame.Bytes()
	at := 6
	if right[4]&(1<<3) != 0 {
		at += 8
	}
	if got := byte(xxh32(right[4:at]) >> 8); got != right[at] {
		t.Fatalf("the checksum of the library's header is %#x, ours %#x", right[at], got)
	}
	// As Apache Kafka 2.8.2 writes it into format 0: flags 0x60, blocks of 64 KiB.
	if seen := []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x40}; byte(xxh32(seen)>>8) != 0x1a || byte(xxh32(seen[4:])>>8) != 0x82 {
		t.Errorf("%#x and %#x, want 0x1a and 0x82", byte(xxh32(seen)>>8), byte(xxh32(seen[4:])>>8))
	}
	javas := slices.Clone(right)
	javas[at] = byte(xxh32(right[:at]) >> 8)
	damaged := slices.Clone(right)
	damaged[at] ^= 0x55
	for sentence, tt := range map[string]struct{ packed, want []byte }{
		"Java's is put right":             {javas, right},
		"a right one stays":               {right, right},
		"any other stays what it is":      {damaged, damaged},
		"a frame that ends in its header": {right[:at], right[:at]},
		"what is no frame":                {[]byte("no frame"), []byte("no frame")},
		"nothing":                         {nil, nil},
	} {
		before := slices.Clone(tt.packed)
		if got := mendLZ4(tt.packed); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: %x", sentence, got[:min(len(got), 16)])
		}
		if !bytes.Equal(tt.packed, before) {
			t.Errorf("%s: what came was changed", sentence)
		}
	}
}
