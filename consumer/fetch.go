package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/sirupsen/logrus"
)

const (
	fetchMaxBytes = 1 << 20
	fetchMaxWait  = time.Second
)

// fetcher reads one partition from its committed offset on and hands each
// record that is not finished to take, in order.
type fetcher struct {
	cluster   *cluster
	partition *partition
	take      func(*request)
	// moved is called when the watermark has moved without a task: offsets
	// that hold no record were counted as finished.
	moved   func(*partition)
	trouble *trouble
	log     logrus.FieldLogger
}

// trouble tells of fetches that fail, once for all partitions together: a
// broker that goes away concerns dozens at the same moment.
type trouble struct {
	mu      sync.Mutex
	failing int // partitions
}

func (t *trouble) begins(log logrus.FieldLogger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failing++; t.failing == 1 {
		log.Warn("cannot fetch: trying again; other partitions are told of at level debug")
	} else {
		log.Debug("cannot fetch either")
	}
}

func (t *trouble) ends(log logrus.FieldLogger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failing--; t.failing == 0 {
		log.Info("fetching again")
	}
}

// run fetches until intake of the partition ends, or the partition can only
// be served again after somebody has looked at it.
func (f *fetcher) run(offset int64) {
	ctx := f.partition.intake
	retry := newPause(50*time.Millisecond, 2*time.Second)
	failing := false
	defer func() {
		if failing {
			f.trouble.ends(f.log)
		}
	}()
	for ctx.Err() == nil {
		next, err := f.fetch(ctx, offset)
		offset = next
		switch {
		case err == nil:
			if f.partition.doubt.CompareAndSwap(true, false) {
				f.moved(f.partition) // there may be something to commit
			}
			if failing {
				failing = false
				f.trouble.ends(f.log)
			}
			retry.reset()
			continue
		case ctx.Err() != nil:
			return
		case errors.Is(err, kafka.UnknownTopicOrPartition):
			f.partition.doubt.Store(true)
		case errors.Is(err, kafka.OffsetOutOfRange):
			f.partition.doubt.Store(true)
			start, fatal, rangeErr := f.outOfRange(ctx, offset)
			if fatal {
				return
			}
			switch {
			case rangeErr != nil:
				err = rangeErr
			case start != offset:
				offset = start
				continue
			}
		}
		// Every error is worth another try: "no such topic" may mean that no
		// broker was reached, a leader moves within seconds.
		if !failing {
			failing = true
			f.trouble.begins(f.log.WithError(err).WithField("offset", offset))
		}
		if retry.wait(ctx) != nil {
			return
		}
	}
}

// outOfRange decides about an offset that the log does not hold.
func (f *fetcher) outOfRange(ctx context.Context, offset int64) (start int64, fatal bool, err error) {
	start, err = f.cluster.offsetAt(ctx, f.partition.topic, f.partition.id, logStart)
	if err != nil {
		return 0, false, err
	}
	end, err := f.cluster.offsetAt(ctx, f.partition.topic, f.partition.id, logEnd)
	if err != nil {
		return 0, false, err
	}
	log := f.log.WithFields(logrus.Fields{"offset": offset, "log_start": start, "log_end": end})
	switch {
	case offset < start:
		log.Errorf("ALARM: %d offsets were deleted before they were read (retention too short?): going on at the log start; find their requests with `closeorder audit`", start-offset)
		if moved, err := f.partition.skip(start); err != nil {
			return 0, false, err
		} else if moved {
			f.moved(f.partition)
		}
		return start, false, nil
	case offset > end:
		log.Error("ALARM: the committed offset lies beyond the end of the log (topic deleted and made again, or an unclean leader election): this partition is stopped; set the group's offset by hand and restart")
		return 0, true, nil
	}
	// Inside: a broker says out of range for a moment after a topic was made.
	return offset, false, nil
}

// fetch makes one request and returns the offset to go on at.
func (f *fetcher) fetch(ctx context.Context, offset int64) (next int64, err error) {
	at := f.partition.place
	call, cancel := context.WithTimeout(ctx, fetchMaxWait+5*time.Second)
	defer cancel()
	res, err := f.cluster.client.Fetch(call, &kafka.FetchRequest{
		Topic: at.topic, Partition: at.id, Offset: offset,
		MinBytes: 1, MaxBytes: fetchMaxBytes, MaxWait: fetchMaxWait,
	})
	if err != nil {
		return offset, err
	}
	if res.Error != nil {
		return offset, fmt.Errorf("fetch: %w", res.Error)
	}
	tasks, next, err := f.read(res.Records, offset)
	for _, t := range tasks {
		fresh, openErr := f.partition.open(t)
		if openErr != nil {
			return t.offset, openErr
		}
		if fresh {
			f.take(t)
		}
	}
	if err == nil && next > offset {
		moved, skipErr := f.partition.skip(next)
		if skipErr != nil {
			return next, skipErr
		}
		if moved {
			f.moved(f.partition)
		}
	}
	return next, err
}

// read copies the records at and above offset out of a fetch response, and
// returns where to go on: behind them, and behind what is no record of ours
// (transaction markers, batches that compaction has emptied). All records are
// read, also after an error, so that kafka-go gets its buffers back.
func (f *fetcher) read(records kafka.RecordReader, offset int64) (tasks []*request, next int64, err error) {
	next = offset
	batches := []protocol.RecordReader{records}
	if stream, ok := records.(*protocol.RecordStream); ok {
		batches = stream.Records
	}
	seen := false
	for _, batch := range batches {
		_, control := batch.(*protocol.ControlBatch)
		for {
			r, readErr := batch.ReadRecord()
			if errors.Is(readErr, io.EOF) {
				break
			}
			if readErr != nil {
				err = errors.Join(err, fmt.Errorf("read record batch: %w", readErr))
				break
			}
			t, copyErr := f.copy(r)
			switch {
			case copyErr != nil:
				err = errors.Join(err, fmt.Errorf("read record at offset %d: %w", r.Offset, copyErr))
			case err == nil && r.Offset >= next:
				next = r.Offset + 1
				if !control {
					tasks = append(tasks, t)
				}
			}
		}
		if _, empty := batch.(interface{ Offset() int64 }); empty {
			seen = true
		}
	}
	if err == nil && next == offset && seen {
		// The broker sent the batch that holds this offset, and compaction
		// has left nothing of it at or above the offset. How far it reaches
		// kafka-go does not say.
		next++
	}
	return tasks, next, err
}

// copy takes a record out of kafka-go's buffers.
func (f *fetcher) copy(r *kafka.Record) (*request, error) {
	key, keyErr := protocol.ReadAll(r.Key)
	value, valueErr := protocol.ReadAll(r.Value)
	if r.Key != nil {
		r.Key.Close()
	}
	if r.Value != nil {
		r.Value.Close()
	}
	if err := errors.Join(keyErr, valueErr); err != nil {
		return nil, err
	}
	t := &request{
		partition: f.partition, offset: r.Offset, time: r.Time,
		msg:    events.Message{Key: key, Value: value},
		source: events.Source{Topic: f.partition.topic, Partition: f.partition.id, Offset: r.Offset},
	}
	if r.Time.UnixMilli() <= 0 {
		t.time = time.Now() // the producer has sent none
	}
	if len(r.Headers) > 0 {
		t.msg.Headers = make([]events.Header, len(r.Headers))
		for i, h := range r.Headers {
			t.msg.Headers[i] = events.Header{Key: h.Key, Value: h.Value}
		}
	}
	t.size = int64(sizeOf(t.msg))
	return t, nil
}
