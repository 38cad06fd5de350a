package topicreader

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"golang.org/x/sync/errgroup"
)

const (
	// maxWait is how long a broker may wait for records to come.
	maxWait = 500 * time.Millisecond
	// newPartitions is how often a reader that follows looks for new ones.
	newPartitions = 30 * time.Second
)

// Read calls each for every record of the partitions of from, from those
// offsets on and below those of to. The calls come one at a time, in the order
// of the offsets within a partition and in no order between partitions.
//
// With a nil to, Read follows the topic for ever, partitions that are added
// later included, and returns only with an error. Otherwise it returns nil
// when all is read; a partition that to does not name is not read.
//
// Read ends with the error of each, with the cause when ctx ends, or with what
// cannot be mended by trying again. It leaves no goroutine behind.
func (r *Reader) Read(ctx context.Context, topic string, from, to Offsets, each func(Record) error) error {
	group, ctx := errgroup.WithContext(ctx)
	batches := make(chan []Record)
	group.Go(func() error { return deliver(ctx, batches, each) })
	group.Go(func() error {
		defer close(batches)
		if to == nil {
			return r.follow(ctx, topic, from, batches)
		}
		return r.readUntil(ctx, topic, from, to, batches)
	})
	return group.Wait()
}

func deliver(ctx context.Context, batches <-chan []Record, each func(Record) error) error {
	for batch := range batches {
		for _, rec := range batch {
			if err := each(rec); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

func (r *Reader) readUntil(ctx context.Context, topic string, from, to Offsets, out chan<- []Record) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.parallel())
	for _, id := range slices.Sorted(maps.Keys(from)) {
		end, ok := to[id]
		if !ok || from[id] >= end {
			continue
		}
		group.Go(func() error {
			p := partition{reader: r, topic: topic, id: id, next: from[id], end: end, out: out}
			return p.read(ctx)
		})
	}
	return group.Wait()
}

func (r *Reader) follow(ctx context.Context, topic string, from Offsets, out chan<- []Record) error {
	patient := *r
	patient.Patience = 0
	r = &patient
	group, ctx := errgroup.WithContext(ctx)
	start := func(id int, offset int64) {
		group.Go(func() error {
			p := partition{reader: r, topic: topic, id: id, next: offset, end: -1, out: out}
			return p.read(ctx)
		})
	}
	known := map[int]bool{}
	for id, offset := range from {
		known[id] = true
		start(id, offset)
	}
	group.Go(func() error {
		for {
			if err := sleep(ctx, newPartitions); err != nil {
				return err
			}
			ids, err := r.Partitions(ctx, topic)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if !known[id] {
					known[id] = true
					start(id, 0)
				}
			}
		}
	})
	return group.Wait()
}

// partition is the reading of one partition.
type partition struct {
	reader *Reader
	topic  string
	id     int
	next   int64 // the offset to read next
	end    int64 // where to stop, -1 for never
	out    chan<- []Record
}

func (p *partition) read(ctx context.Context) error {
	pause := firstPause
	moved, at := time.Now(), p.next
	for p.end < 0 || p.next < p.end {
		batch, err := p.fetch(ctx)
		if p.next != at {
			moved, at = time.Now(), p.next
		}
		if took := time.Since(moved); p.reader.Patience > 0 && took > p.reader.Patience && ctx.Err() == nil && !lasting(err) {
			return &StalledError{Topic: p.topic, Partition: p.id, Offset: p.next, End: p.end, For: took, Err: err}
		}
		if err == nil {
			pause = firstPause
		} else if err = p.recover(ctx, err); err != nil {
			return p.reader.failed(ctx, p.topic, err)
		} else if err := sleep(ctx, pause); err != nil {
			return err
		} else {
			pause = min(2*pause, longestPause)
		}
		if len(batch) == 0 {
			continue
		}
		select {
		case p.out <- batch:
			moved = time.Now() // the caller took its time
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// recover answers a failed fetch: nil to try again, from p.next, or the error
// that ends the reading.
func (p *partition) recover(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil, lasting(err):
		return err
	case errors.Is(err, kafka.OffsetOutOfRange):
		return p.reposition(ctx)
	case unknownTopic(err):
		p.reader.retrying(p.topic, p.id, err)
		ids, err := p.reader.Partitions(ctx, p.topic)
		if err == nil && !slices.Contains(ids, p.id) {
			err = &CutLogError{Topic: p.topic, Partition: p.id, Offset: p.next}
		}
		return err
	}
	p.reader.retrying(p.topic, p.id, err)
	return nil
}

// reposition goes on behind what retention took, and never backwards.
func (p *partition) reposition(ctx context.Context) error {
	first, err := p.reader.offset(ctx, p.topic, p.id, kafka.FirstOffset)
	if err != nil {
		return err
	}
	if p.next < first {
		if p.reader.OnGap != nil {
			to := first
			if p.end >= 0 {
				to = min(first, p.end)
			}
			p.reader.OnGap(Gap{Topic: p.topic, Partition: p.id, From: p.next, To: to})
		}
		p.next = first
		return nil
	}
	end, err := p.reader.offset(ctx, p.topic, p.id, kafka.LastOffset)
	if err != nil {
		return err
	}
	if p.next > end {
		return &CutLogError{Topic: p.topic, Partition: p.id, Offset: p.next, End: end}
	}
	return nil // a moment's disagreement of two brokers
}

// fetch brings the next records and moves p.next behind them. Records that
// were read before an error are returned beside it.
func (p *partition) fetch(ctx context.Context) ([]Record, error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait+askTimeout)
	defer cancel()
	res, err := p.reader.Client.Fetch(ctx, &kafka.FetchRequest{
		Topic: p.topic, Partition: p.id, Offset: p.next,
		MinBytes: 1, MaxBytes: int64(p.reader.fetchBytes()), MaxWait: maxWait,
	})
	if err != nil {
		return nil, err
	}
	if res.Error != nil {
		return nil, res.Error
	}
	start := p.next
	batch, err := p.records(res.Records)
	if err == nil && p.next == start && res.HighWatermark > start {
		p.next = pastMarkers(res.Records, start)
	}
	return batch, err
}

func (r *Reader) fetchBytes() int {
	if r.FetchBytes > 0 {
		return r.FetchBytes
	}
	return 1 << 20
}

// records copies what the broker sent. All of it is read and closed, also
// what lies outside the range, because its pages are shared and counted.
func (p *partition) records(from kafka.RecordReader) ([]Record, error) {
	var batch []Record
	for {
		rec, err := from.ReadRecord()
		if errors.Is(err, io.EOF) {
			return batch, nil
		}
		if err != nil {
			return batch, err
		}
		key, err := take(rec.Key)
		value, valueErr := take(rec.Value)
		if err = errors.Join(err, valueErr); err != nil {
			return batch, err
		}
		// A batch may begin before the offset that was asked for.
		if rec.Offset < p.next {
			continue
		}
		p.next = rec.Offset + 1
		if p.end >= 0 && rec.Offset >= p.end {
			continue
		}
		m := events.Message{Key: key, Value: value}
		for _, h := range rec.Headers {
			m.Headers = append(m.Headers, events.Header{Key: h.Key, Value: slices.Clone(h.Value)})
		}
		batch = append(batch, Record{Topic: p.topic, Partition: p.id, Offset: rec.Offset, Time: rec.Time, Message: m})
	}
}

func take(b protocol.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	defer b.Close()
	return protocol.ReadAll(b)
}

// pastMarkers returns the offset to go on at when batches came that hold
// nothing to deliver from offset on: transaction markers, which
// RecordStream hides, or batches whose records were compacted away. To ask for
// the same offset again would bring the same batches for ever. How far a
// compacted batch reaches kafka-go does not tell, hence one offset at a time.
func pastMarkers(from kafka.RecordReader, offset int64) int64 {
	stream, ok := from.(*protocol.RecordStream)
	if !ok || len(stream.Records) == 0 {
		return offset // nothing came at all
	}
	for _, b := range stream.Records {
		if at, ok := b.(interface{ Offset() int64 }); ok {
			offset = max(offset, at.Offset())
		}
	}
	return offset + 1
}
