package consumer

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// wallAhead moves the wall clock of a time, and leaves its monotonic clock as
// it is: what setting the clock does, and, forwards, what a machine that was
// suspended looks like. Nothing public makes such a time; its first word holds
// the wall seconds from bit 30 on (package time, type Time).
func wallAhead(t time.Time, d time.Duration) time.Time {
	(*[1]uint64)(unsafe.Pointer(&t))[0] += uint64(int64(d/time.Second)) << 30
	return t
}

// A process that was suspended, or whose clock was set, finds out before each
// call whether its session can be over.
func TestALeaseEndsByWhicheverClockSaysSo(t *testing.T) {
	sent := time.Now()
	m := &member{session: 10 * time.Second, rebalance: time.Minute, stable: sent, renewed: func() {}}
	if m.alive(sent) {
		t.Error("alive before the first heartbeat")
	}
	m.renew(sent)
	for _, c := range []struct {
		sentence string
		now      time.Time
		alive    bool
	}{
		{"right after the heartbeat", sent, true},
		{"a moment before the session is over", sent.Add(10*time.Second - 1), true},
		{"when it is over", sent.Add(10 * time.Second), false},
		{"the process was suspended for an hour", sent.Add(time.Hour), false},
		{"the machine was suspended for an hour, and the monotonic clock with it", wallAhead(sent, time.Hour), false},
		{"the clock was set an hour ahead", wallAhead(sent.Add(time.Second), time.Hour), false},
		{"the clock was set back by an hour, the session lasts", wallAhead(sent.Add(time.Second), -time.Hour), true},
		{"the clock was set back by an hour, the session is over", wallAhead(sent.Add(11*time.Second), -time.Hour), false},
	} {
		if got := m.alive(c.now); got != c.alive {
			t.Errorf("%s: alive %v", c.sentence, got)
		}
	}
	if ahead := wallAhead(sent, time.Hour); ahead.Sub(sent) != 0 || ahead.Round(0).Sub(sent.Round(0)) != time.Hour {
		t.Errorf("wallAhead moves the clocks by %v and %v", ahead.Sub(sent), ahead.Round(0).Sub(sent.Round(0)))
	}
}

// The coordinator gives the partitions of a member away that has not joined a
// rebalance in time, however fresh its session is.
func TestALeaseIsOverWhenARebalanceMayBe(t *testing.T) {
	sent := time.Now()
	m := &member{session: 40 * time.Second, rebalance: 25 * time.Second, stable: sent, renewed: func() {}}
	m.renew(sent)
	if !m.alive(sent.Add(25*time.Second-1)) || m.alive(sent.Add(25*time.Second)) {
		t.Error("a rebalance that the member has not heard of is over after 25s, the lease is not")
	}
	m.renew(sent.Add(10 * time.Second)) // the heartbeat was answered with REBALANCE_IN_PROGRESS
	if m.alive(sent.Add(25 * time.Second)) {
		t.Error("heartbeats during a rebalance put off the end of the lease, but not of the rebalance")
	}
}

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
				var opened []*request
				done := make(chan struct{})
				go func() {
					defer close(done)
					for i := range int64(3 * window) {
						next := &request{partition: p, offset: i, size: c.size}
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
				p.revoke(errStopped)
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
		requests []int64
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
		requests, next, err := f.read(c.from, 10)
		var offsets []int64
		for _, r := range requests {
			offsets = append(offsets, r.offset)
		}
		if err != nil || next != c.next || !slices.Equal(offsets, c.requests) {
			t.Errorf("%s: records %v, go on at %d (%v); want %v and %d", c.sentence, offsets, next, err, c.requests, c.next)
		}
	}
}
