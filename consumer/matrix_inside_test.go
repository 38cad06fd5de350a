package consumer

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// However slow the gateway and the brokers are, of one partition no more than
// a window of offsets and maxOpenBytes, passed by one record, are in memory.
func TestIntakeOfAPartitionStopsAtItsBounds(t *testing.T) {
	for sentence, c := range map[string]struct {
		size int64
		most int
	}{
		"many small records":                     {1, window},
		"large ones":                             {1 << 20, maxOpenBytes >> 20},
		"one of a size that no bound allows for": {2 * maxOpenBytes, 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPartition(t.Context(), place{"t", 0})
				p.begin(0, nil)
				var opened []*task
				done := make(chan struct{})
				go func() {
					defer close(done)
					for i := range int64(3 * window) {
						next := &task{partition: p, offset: i, size: c.size}
						if _, err := p.open(next); err != nil {
							return
						}
						opened = append(opened, next)
					}
				}()
				synctest.Wait()
				if len(opened) != c.most {
					t.Errorf("%d records are open, want %d", len(opened), c.most)
				}
				p.finish(opened[0])
				synctest.Wait()
				if len(opened) != c.most+1 {
					t.Errorf("%d records were opened when one had left, want %d", len(opened), c.most+1)
				}
				p.lose(errStopped)
				<-done
			})
		})
	}
}

// What Apache Kafka sends for an offset whose records are gone: the batch that
// held it, with nothing left at or above the offset. Asking for the same offset
// again would go on for ever.
func TestBatchesThatCompactionHasEmptiedArePassed(t *testing.T) {
	records := func(offsets ...int64) protocol.RecordReader {
		var all []protocol.Record
		for _, o := range offsets {
			all = append(all, protocol.Record{Offset: o, Time: time.Unix(1, 0), Value: protocol.NewBytes([]byte("v"))})
		}
		return protocol.NewRecordReader(all...)
	}
	batch := func(base int64, offsets ...int64) protocol.RecordReader {
		return &protocol.RecordBatch{BaseOffset: base, Records: records(offsets...)}
	}
	marker := func(at int64) protocol.RecordReader {
		return &protocol.ControlBatch{BaseOffset: at, Records: records(at)}
	}
	for _, c := range []struct {
		sentence string
		from     kafka.RecordReader
		next     int64
		tasks    []int64
	}{
		{"nothing came: the same again", protocol.NewRecordReader(), 10, nil},
		{"an empty answer: the same again", &protocol.RecordStream{}, 10, nil},
		{"a batch that holds the offset and is empty", &protocol.RecordStream{Records: []protocol.RecordReader{batch(4)}}, 11, nil},
		{"a batch of which only older records are left", &protocol.RecordStream{Records: []protocol.RecordReader{batch(4, 5, 7)}}, 11, nil},
		{"an empty batch and one behind it", &protocol.RecordStream{Records: []protocol.RecordReader{batch(4), batch(20, 22)}}, 23, []int64{22}},
		{"a gap within a batch", &protocol.RecordStream{Records: []protocol.RecordReader{batch(4, 9, 12, 15)}}, 16, []int64{12, 15}},
		{"a transaction marker alone", &protocol.RecordStream{Records: []protocol.RecordReader{marker(10)}}, 11, nil},
		{"a record and its marker", &protocol.RecordStream{Records: []protocol.RecordReader{batch(10, 10), marker(11)}}, 12, []int64{10}},
	} {
		f := &fetcher{partition: newPartition(t.Context(), place{"t", 0}), log: silent()}
		tasks, next, err := f.read(c.from, 10)
		var offsets []int64
		for _, task := range tasks {
			offsets = append(offsets, task.offset)
		}
		if err != nil || next != c.next || !slices.Equal(offsets, c.tasks) {
			t.Errorf("%s: records %v, go on at %d (%v); want %v and %d", c.sentence, offsets, next, err, c.tasks, c.next)
		}
	}
}
