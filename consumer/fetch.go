package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus"
)

// fetcher reads one partition from its committed offset on and hands each
// record that is not finished to take, in order.
type fetcher struct {
	source    source
	partition *partition
	// offset asks how far the log reaches: kafka.LogStart or kafka.LogEnd.
	offset func(ctx context.Context, at int64) (int64, error)
	take   func(*request)
	// moved is called when the watermark has moved without a request: offsets
	// that hold no record were counted as finished.
	moved   func(*partition)
	trouble *trouble
	log     logrus.FieldLogger
	// observer sees what is read; nil: nobody does.
	observer Observer
	spans    *tracing

	// skips are the offsets of this partition that an operator gives up.
	skips []kafka.Span
	// told is the batch that stops this partition, once it was told of; nil
	// for none.
	told *kafka.UnreadableError
}

// source is what a fetcher reads; see [kafka.Source].
type source interface {
	Next(ctx context.Context) (records []kafka.Record, next int64, err error)
	SeekTo(offset int64)
	Close()
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

// run reads from the offset of the source on until intake of the partition
// ends, or the partition can only be served again after somebody has looked at
// it.
func (f *fetcher) run(offset int64) {
	ctx := f.partition.intake
	defer f.source.Close()
	retry := kafka.NewPause(50*time.Millisecond, 2*time.Second)
	failing := false
	defer func() {
		if failing {
			f.trouble.ends(f.log)
		}
	}()
	for ctx.Err() == nil {
		began := f.spans.now()
		records, next, err := f.source.Next(ctx)
		f.spans.polled(f.partition.topic, f.partition.id, began, records)
		if f.takeAll(records) != nil {
			return // intake has ended
		}
		if err == nil && next > offset {
			err = f.skip(next)
		}
		offset = next
		unreadable, reached := errors.AsType[*kafka.UnreadableError](err)
		if err == nil || reached {
			if failing {
				failing = false
				f.partition.fetchError.Store(nil)
				f.trouble.ends(f.log)
			}
			retry.Reset()
		}
		switch {
		case err == nil:
			if f.partition.doubt.CompareAndSwap(true, false) {
				f.moved(f.partition) // there may be something to commit
			}
			f.readable()
			continue
		case ctx.Err() != nil:
			return
		case reached:
			behind, wait := f.unreadable(ctx, unreadable)
			if kafka.Sleep(ctx, wait) != nil {
				return
			}
			if behind > offset {
				offset = behind
				f.source.SeekTo(behind)
			}
			continue
		case errors.Is(err, kafka.UnknownTopic):
			f.partition.doubt.Store(true)
		case errors.Is(err, kafka.OffsetOutOfRange):
			f.partition.doubt.Store(true)
			start, fatal, rangeErr := f.outOfRange(ctx, offset)
			if fatal {
				text := "the committed offset lies beyond the end of the log: set the group's offset by hand and restart"
				f.partition.stopped.Store(&text)
				return
			}
			switch {
			case rangeErr != nil:
				err = rangeErr
			case start != offset:
				offset = start
				f.source.SeekTo(start)
				continue
			}
		}
		// Every error is worth another try: "no such topic" may mean that no
		// broker was reached, a leader moves within seconds.
		text := err.Error()
		f.partition.fetchError.Store(&text)
		if f.observer != nil {
			f.observer.Unfetched(f.partition.topic, f.partition.id, err)
		}
		if !failing {
			failing = true
			f.trouble.begins(f.log.WithError(err).WithField("offset", offset))
		}
		if retry.Wait(ctx) != nil {
			return
		}
	}
}

// outOfRange decides about an offset that the log does not hold.
func (f *fetcher) outOfRange(ctx context.Context, offset int64) (start int64, fatal bool, err error) {
	start, err = f.offset(ctx, kafka.LogStart)
	if err != nil {
		return 0, false, err
	}
	end, err := f.offset(ctx, kafka.LogEnd)
	if err != nil {
		return 0, false, err
	}
	log := f.log.WithFields(logrus.Fields{"offset": offset, "log_start": start, "log_end": end})
	switch {
	case offset < start:
		log.Errorf("ALARM: %d offsets were deleted before they were read (retention too short?): going on at the log start; find their requests with `closeorder audit`", start-offset)
		return start, false, f.skip(start)
	case offset > end:
		log.Error("ALARM: the committed offset lies beyond the end of the log (topic deleted and made again, or an unclean leader election): this partition is stopped; set the group's offset by hand and restart")
		return 0, true, nil
	}
	// Inside: a broker says out of range for a moment after a topic was made.
	return offset, false, nil
}

// takeAll hands on what is not finished. It returns an error when intake ended
// first.
func (f *fetcher) takeAll(records []kafka.Record) error {
	for _, r := range records {
		req := f.request(r)
		fresh, err := f.partition.open(req)
		if err != nil {
			return err
		}
		if fresh {
			f.took()
			f.take(req)
		}
	}
	return nil
}

// took says that a record was read.
func (f *fetcher) took() {
	if f.observer != nil {
		f.observer.Took(f.partition.topic)
	}
}

// skip counts the offsets below next that hold no record as finished.
func (f *fetcher) skip(next int64) error {
	moved, err := f.partition.skip(next)
	if moved {
		f.moved(f.partition)
	}
	return err
}

// request is a record on its way.
func (f *fetcher) request(r kafka.Record) *request {
	req := &request{partition: f.partition, offset: r.Offset, time: r.Time, msg: r.Message, source: r.Source(), size: int64(kafka.Size(r.Message))}
	if r.Time.UnixMilli() <= 0 {
		req.time = time.Now() // the producer has sent none
	}
	return req
}
