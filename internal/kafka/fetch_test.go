package kafka

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

func recordsAt(offsets ...int64) protocol.RecordReader {
	var all []protocol.Record
	for _, o := range offsets {
		all = append(all, protocol.Record{Offset: o, Time: time.Unix(1, 0), Value: protocol.NewBytes([]byte("v"))})
	}
	return protocol.NewRecordReader(all...)
}

func batchAt(base int64, offsets ...int64) protocol.RecordReader {
	return &protocol.RecordBatch{BaseOffset: base, Records: recordsAt(offsets...)}
}

func markerAt(offset int64) protocol.RecordReader {
	return &protocol.ControlBatch{BaseOffset: offset, Records: recordsAt(offset)}
}

func stream(batches ...protocol.RecordReader) protocol.RecordReader {
	return &protocol.RecordStream{Records: batches}
}

func offsetsOf(records []Record) []int64 {
	var offsets []int64
	for _, r := range records {
		offsets = append(offsets, r.Offset)
	}
	return offsets
}

// What Apache Kafka sends for an offset whose records are gone: the batch that
// held it, with nothing left at or above the offset. Asking for the same offset
// again would go on for ever.
func TestBatchesThatCompactionHasEmptiedArePassed(t *testing.T) {
	for _, c := range []struct {
		sentence string
		from     protocol.RecordReader
		next     int64
		records  []int64
	}{
		{"nothing came: the same again", protocol.NewRecordReader(), 10, nil},
		{"an empty answer: the same again", stream(), 10, nil},
		{"a batch that holds the offset and is empty", stream(batchAt(4)), 11, nil},
		{"a batch of which only older records are left", stream(batchAt(4, 5, 7)), 11, nil},
		{"an empty batch and one behind it", stream(batchAt(4), batchAt(20, 22)), 23, []int64{22}},
		{"two empty batches", stream(batchAt(4), batchAt(15)), 16, nil},
		{"an empty batch and a marker", stream(batchAt(4), markerAt(15)), 16, nil},
		{"a marker of which nothing is left", stream(&protocol.ControlBatch{BaseOffset: 10, Records: recordsAt()}), 11, nil},
		{"a gap within a batch", stream(batchAt(4, 9, 12, 15)), 16, []int64{12, 15}},
		{"a transaction marker alone", stream(markerAt(10)), 11, nil},
		{"a record and its marker", stream(batchAt(10, 10), markerAt(11)), 12, []int64{10}},
	} {
		records, next, err := read(&kafkago.FetchResponse{Records: c.from, HighWatermark: 100}, 10)
		if err != nil || next != c.next || !slices.Equal(offsetsOf(records), c.records) {
			t.Errorf("%s: records %v, go on at %d (%v); want %v and %d", c.sentence, offsetsOf(records), next, err, c.records, c.next)
		}
	}
}

func TestAnOffsetThatIsNotWrittenYetIsNotPassed(t *testing.T) {
	if _, next, err := read(&kafkago.FetchResponse{Records: stream(batchAt(4, 9)), HighWatermark: 10}, 10); err != nil || next != 10 {
		t.Errorf("go on at %d (%v), want 10: the record that comes there would be missed", next, err)
	}
}

// broken fails once, as a batch with a wrong checksum does.
type broken struct{ batch protocol.RecordReader }

func (b *broken) ReadRecord() (*protocol.Record, error) {
	if r, err := b.batch.ReadRecord(); err == nil {
		return r, nil
	}
	return nil, errors.New("wrong checksum")
}

// closed counts the bytes that were given back to kafka-go.
type closed struct {
	protocol.Bytes
	times *int
}

func (c closed) Close() error { *c.times++; return c.Bytes.Close() }

func TestRecordsBeforeAnErrorAreReadAndNoneBehindIt(t *testing.T) {
	times := 0
	bytes := func(s string) protocol.Bytes { return closed{protocol.NewBytes([]byte(s)), &times} }
	behind := protocol.NewRecordReader(protocol.Record{Offset: 20, Key: bytes("k"), Value: bytes("v")})
	records, next, err := read(&kafkago.FetchResponse{Records: stream(&broken{batchAt(10, 10, 11)}, behind), HighWatermark: 100}, 10)
	if err == nil || !strings.Contains(err.Error(), "wrong checksum") || next != 12 || !slices.Equal(offsetsOf(records), []int64{10, 11}) {
		t.Errorf("records %v, go on at %d, %v", offsetsOf(records), next, err)
	}
	if times != 2 {
		t.Errorf("%d of 2 buffers behind the error were given back", times)
	}
}
