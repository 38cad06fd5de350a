package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	defaultParallel = 8
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
	group.SetLimit(cmp.Or(r.Parallel, defaultParallel))
	for _, p := range r.between(topic, from, to) {
		group.Go(func() error { return p.read(ctx, out) })
	}
	return group.Wait()
}

// between is the reading of each partition that may hold something.
func (r *Reader) between(topic string, from, to Offsets) (all []*reading) {
	for _, id := range slices.Sorted(maps.Keys(from)) {
		if end, ok := to[id]; ok && from[id] < end {
			all = append(all, &reading{reader: r, topic: topic, id: id, next: from[id], end: end})
		}
	}
	return all
}

func (r *Reader) follow(ctx context.Context, topic string, from Offsets, out chan<- []Record) error {
	patient := *r
	patient.Patience = 0
	r = &patient
	group, ctx := errgroup.WithContext(ctx)
	start := func(id int, offset int64) {
		group.Go(func() error {
			p := reading{reader: r, topic: topic, id: id, next: offset, end: -1}
			return p.read(ctx, out)
		})
	}
	known := map[int]bool{}
	for id, offset := range from {
		known[id] = true
		start(id, offset)
	}
	group.Go(func() error {
		for {
			if err := Sleep(ctx, newPartitions); err != nil {
				return err
			}
			n, err := r.Partitions(ctx, topic)
			if err != nil {
				return err
			}
			for id := range n {
				if !known[id] {
					known[id] = true
					start(id, 0)
				}
			}
		}
	})
	return group.Wait()
}

// reading is that of one partition.
type reading struct {
	reader *Reader
	topic  string
	id     int
	next   int64 // the offset to read next
	end    int64 // where to stop, -1 for never
}

// read hands all that there is to out, in order.
func (p *reading) read(ctx context.Context, out chan<- []Record) error {
	source := p.reader.Client.source(p.topic, p.id, p.next, cmp.Or(p.reader.FetchBytes, defaultFetchBytes))
	defer source.Close()
	pause := NewPause(firstPause, longestPause)
	moved, at := time.Now(), p.next
	var failure error // the last one, nil once a fetch has worked
	for p.end < 0 || p.next < p.end {
		batch, err := p.fetch(ctx, source, moved)
		if p.next != at {
			moved, at = time.Now(), p.next
		}
		if !errors.Is(err, errStalled) {
			failure = err
		}
		if took := time.Since(moved); p.reader.Patience > 0 && took >= p.reader.Patience && ctx.Err() == nil && !lasting(err) {
			return &stalledError{fmt.Sprintf("topic %s, partition %d, offset %d of %d", p.topic, p.id, p.next, p.end), took, failure}
		}
		if err == nil {
			pause.Reset()
		} else if err = p.recover(ctx, err); err != nil {
			return failed(ctx, p.topic, err)
		} else if p.next != at {
			source.SeekTo(p.next)
		} else if err := pause.Wait(ctx); err != nil {
			return err
		}
		if len(batch) == 0 {
			continue
		}
		select {
		case out <- batch:
			moved = time.Now() // the caller took its time
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// errStalled is the cause of a fetch that has brought nothing for as long as
// Reader.Patience.
var errStalled = errors.New("nothing came")

// recover answers a failed fetch: nil to try again, from p.next, or the error
// that ends the reading.
func (p *reading) recover(ctx context.Context, err error) error {
	var unreadable *UnreadableError
	switch {
	case ctx.Err() != nil:
		return ended(ctx, err)
	case errors.As(err, &unreadable):
		return p.pass(unreadable)
	case lasting(err):
		return err
	case errors.Is(err, OffsetOutOfRange):
		return p.reposition(ctx)
	case NoPartition(err):
		p.reader.Client.retrying(ctx, p.topic, p.id, err)
		n, err := p.reader.Partitions(ctx, p.topic)
		if err == nil && p.id >= n {
			err = p.cutLog(0)
		}
		return err
	}
	p.reader.Client.retrying(ctx, p.topic, p.id, err)
	return nil
}

// pass goes on behind what cannot be read, if somebody is told.
func (p *reading) pass(unreadable *UnreadableError) error {
	if p.reader.OnUnreadable == nil || unreadable.Last < 0 {
		return unreadable
	}
	part := *unreadable
	if p.end >= 0 {
		part.Last = min(part.Last, p.end-1)
	}
	p.reader.OnUnreadable(&part)
	p.next = unreadable.Last + 1
	return nil
}

// reposition goes on behind what retention took, and never backwards.
func (p *reading) reposition(ctx context.Context) error {
	first, err := p.reader.offset(ctx, p.topic, p.id, LogStart)
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
	end, err := p.reader.offset(ctx, p.topic, p.id, LogEnd)
	if err != nil {
		return err
	}
	if p.next > end {
		return p.cutLog(end)
	}
	return nil // a moment's disagreement of two brokers
}

// cutLog is the error of a partition that ends before the offset where reading
// was to start: it was deleted and made anew, or its records were lost.
func (p *reading) cutLog(end int64) error {
	return fmt.Errorf("topic %s, partition %d: the log ends at offset %d, reading was to go on at %d: the topic was made anew, or records were lost",
		p.topic, p.id, end, p.next)
}

// fetch brings the next records and moves p.next behind them. With patience
// that began at since it ends with errStalled.
func (p *reading) fetch(ctx context.Context, source *Source, since time.Time) ([]Record, error) {
	if p.reader.Patience > 0 {
		patient, cancel := context.WithDeadlineCause(ctx, since.Add(p.reader.Patience), errStalled)
		defer cancel()
		ctx = patient
	}
	batch, next, err := source.Next(ctx)
	p.next = next
	for p.end >= 0 && len(batch) > 0 && batch[len(batch)-1].Offset >= p.end {
		batch = batch[:len(batch)-1]
	}
	return batch, err
}
