package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"weak"

	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var packings = []compress.Compression{compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd}

// compressed is a batch of one record of size bytes.
func compressed(codec compress.Compression, base int64, size int) []byte {
	payload := packedRecordsOf(kmsg.Record{Value: bytes.Repeat([]byte("x"), size)})
	if codec != compress.None {
		payload = pack(codec, payload)
	}
	return batchOf(base, payload, 1, 0, func(b *kmsg.RecordBatch) { b.Attributes = int16(codec) })
}

// Whatever the size, of much that is alike and of noise, what was packed comes
// back, and the room is found.
func TestWhatWasPackedIsUnpacked(t *testing.T) {
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	budget := newBudget(0, 0)
	for _, codec := range packings {
		for _, size := range []int{2, 100, 4 << 10, 65_535, 65_536, 131_071, 131_072, 131_073, 192 << 10, 300_000, 1 << 20} {
			for what, data := range map[string][]byte{"noise": noise[:size], "the same": bytes.Repeat([]byte("ab"), size/2)} {
				u, reason, err := budget.unpack(t.Context(), int8(codec), &zstdDecoder{}, pack(codec, data), true)
				if err != nil || reason != "" || !bytes.Equal(u.data, data) {
					t.Fatalf("%s, %d bytes of %s: %q, %v", codec, size, what, reason, err)
				}
				budget.drop(u)
			}
		}
	}
}

func TestABatchThatUnpacksToMoreThanTheLimitIsUnreadable(t *testing.T) {
	const limit = 64 << 10
	for _, codec := range append(packings, compress.None) {
		for size, readable := range map[int]bool{limit - 20: true, limit: false, 4 << 20: false} {
			raw := append(compressed(codec, 10, size), valuesAt(11, "after")...)
			s := sourceOf(raw, 10, 100, newBudget(limit, 0))
			records, next, err := readAll(s)
			var unreadable *UnreadableError
			switch {
			case readable:
				if err != nil || len(records) != 2 {
					t.Errorf("%s, %d bytes: %d records, %v", codec, size, len(records), err)
				}
			case !errors.As(err, &unreadable) || unreadable.First != 10 || unreadable.Last != 10 || next != 10 ||
				unreadable.Reason != "it unpacks to more than 65536 bytes (kafka.unpacked_batch)":
				t.Errorf("%s, %d bytes: %v, go on at %d", codec, size, err, next)
			}
		}
	}
	if reason := newBudget(0, 0).tooMuch(); reason != "it unpacks to more than 64 MiB (kafka.unpacked_batch)" {
		t.Error(reason)
	}
}

// A batch that claims more than it has takes no memory for it.
func TestNothingIsTakenForWhatIsClaimed(t *testing.T) {
	claims := []byte{0x80, 0x80, 0x80, 0x10, 0, 'x'} // snappy: 32 MiB in two bytes
	frame := append(append(append([]byte{}, xerial...), 0, 0, 0, 1, 0, 0, 0, 1), 0x7f, 0xff, 0xff, 0xff, 'x')
	budget := newBudget(0, 0)
	for what, packed := range map[string][]byte{"a block": claims, "the length of a block": frame} {
		allocated := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if u, reason, _ := budget.unpack(t.Context(), 2, nil, packed, true); u != nil || !strings.Contains(reason, "claims") {
					b.Fatal(reason)
				}
			}
		}).AllocedBytesPerOp()
		if allocated > 1<<20 {
			t.Errorf("%s: %d bytes", what, allocated)
		}
	}
}

// All batches together stay within the total, and a reader that stays away
// holds nobody up: its batch is unpacked again when it comes back.
func TestWhoStaysAwayGivesHisRoomToOthers(t *testing.T) {
	budget := newBudget(4<<20, 5<<20)
	var records []kmsg.Record
	for i := range 3000 {
		records = append(records, kmsg.Record{OffsetDelta: int32(i), Value: bytes.Repeat([]byte("x"), 1000)})
	}
	raw := batchOf(0, pack(compress.Zstd, packedRecordsOf(records...)), 3000, 2999, func(b *kmsg.RecordBatch) { b.Attributes = 4 })
	var sources []*Source
	for range 4 {
		sources = append(sources, sourceOf(raw, 0, 3000, budget))
	}
	read := make([]int64, len(sources))
	for round := range 3 { // a call of Next brings about a third
		for i, s := range sources {
			got, next, err := s.Next(t.Context())
			if err != nil || len(got) == 0 || got[0].Offset != read[i] || next != got[len(got)-1].Offset+1 {
				t.Fatalf("round %d, reader %d: %d records, go on at %d, %v", round, i, len(got), next, err)
			}
			read[i] = next
		}
	}
	for i, next := range read {
		if next != 3000 {
			t.Errorf("reader %d has read up to %d", i, next)
		}
	}
	if !budget.room.TryAcquire(5 << 20) {
		t.Error("not all room was given back")
	}
}

// Who finds no room waits until somebody has unpacked, and no longer than his
// context.
func TestWhoFindsNoRoomWaits(t *testing.T) {
	budget := newBudget(1<<20, 1<<20)
	u, err := budget.take(t.Context(), 1<<20, true) // somebody unpacks
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errStalled)
	if _, _, err := sourceOf(compressed(compress.Gzip, 0, 5000), 0, 1, budget).Next(ended); !errors.Is(err, errStalled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		got, _, err := sourceOf(compressed(compress.Gzip, 0, 5000), 0, 1, budget).Next(t.Context())
		if err == nil && len(got) != 1 {
			err = fmt.Errorf("%d records", len(got))
		}
		done <- err
	}()
	for waiting := 0; waiting == 0; {
		budget.mu.Lock()
		waiting = budget.waiting
		budget.mu.Unlock()
	}
	budget.park(u) // as somebody waits, nothing is kept
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAClosedSourceKeepsNothing(t *testing.T) {
	budget := newBudget(4<<20, 4<<20)
	var records []kmsg.Record
	for i := range 2000 {
		records = append(records, kmsg.Record{OffsetDelta: int32(i), Value: bytes.Repeat([]byte("x"), 1000)})
	}
	s := sourceOf(batchOf(0, pack(compress.Lz4, packedRecordsOf(records...)), 2000, 1999, func(b *kmsg.RecordBatch) { b.Attributes = 3 }), 0, 2000, budget)
	if _, _, err := s.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if budget.room.TryAcquire(4 << 20) {
		t.Fatal("nothing was kept for the next call")
	}
	s.Close()
	s.Close()
	if !budget.room.TryAcquire(4 << 20) {
		t.Error("something is kept")
	}
}

// What was read to the end is not held by what is left of it.
func TestASourceLetsGoOfWhatItHasRead(t *testing.T) {
	source := func() (*Source, weak.Pointer[byte]) {
		raw := batchOf(0, packedRecordsOf(kmsg.Record{Value: bytes.Repeat([]byte("x"), 100_000)}), 1, 0, func(*kmsg.RecordBatch) {})
		return sourceOf(raw, 0, 1, nil), weak.Make(&raw[0])
	}
	s, held := source()
	got, _, err := s.Next(t.Context())
	if err != nil || len(got) != 1 {
		t.Fatalf("%d records, %v", len(got), err)
	}
	runtime.GC()
	if held.Value() != nil {
		t.Error("it holds the batch")
	}
	runtime.KeepAlive(s)
}
