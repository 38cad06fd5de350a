package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Offsets holds an offset for each partition of one topic.
type Offsets map[int]int64

// Until returns the number of offsets from o up to to: how many records there
// are at most.
func (o Offsets) Until(to Offsets) int64 {
	var n int64
	for partition, end := range to {
		n += max(end-o[partition], 0)
	}
	return n
}

// Gap is a stretch of offsets that was asked for and is no longer in the log:
// retention, or a deletion of records, took it.
type Gap struct {
	Topic     string
	Partition int
	// From is the first offset that is missing, To the first that is there.
	From, To int64
}

// Reader reads topics from one place to another, without a consumer group: what
// the commands that look at closeorder's topics are built on.
//
//	First | At(time) | End --> Offsets --Read(from, to)--> one call per Record
//
// It reads as its Client does: committed, so that records of aborted transactions
// are not delivered and an end is the last stable offset, or uncommitted with
// Config.ReadUncommitted. Transaction markers are never delivered.
//
// The zero value of every field but Client is a default. A Reader is safe for
// concurrent use.
type Reader struct {
	Client *Client
	// FetchBytes is about what one fetch of one partition brings at most, 0 for
	// 1 MiB. What all of them hold is bounded by Config.MaxBuffered.
	FetchBytes int
	// Parallel is the most partitions that are fetched at one time when the
	// end of the reading is known, 0 for 8. Following fetches all.
	Parallel int
	// Patience is how long Kafka may bring nothing before a reading whose end
	// is known, or a question, ends with an error that says so; 0 is for ever.
	// Time that the caller takes for a record does not count. Following has no
	// such limit: who follows waits.
	Patience time.Duration
	// OnGap, if set, is told of offsets that were asked for and are gone.
	// Calls may be concurrent. Reading goes on behind the gap.
	OnGap func(Gap)
	// OnUnreadable, if set, is told of offsets that were asked for and cannot
	// be read, and reading goes on behind them. Where nobody knows how far they
	// reach (Last is -1), and where it is not set, the reading ends with the
	// error. Calls may be concurrent.
	OnUnreadable func(*UnreadableError)
}

// stalledError says that Kafka brought nothing for as long as Reader.Patience.
type stalledError struct {
	what string // was asked, or read
	took time.Duration
	// Err is the last failure, nil where brokers answered without a record.
	Err error
}

func (e *stalledError) Error() string {
	text := fmt.Sprintf("%s: nothing came for %v", e.what, e.took.Round(time.Millisecond))
	if e.Err != nil {
		text += fmt.Sprintf(" (last failure: %v)", e.Err)
	}
	return text + "; see whether its brokers run and have a leader for it, then call again"
}

func (e *stalledError) Unwrap() error { return e.Err }

// Partitions returns how many partitions a topic has; their numbers are 0 up to
// that. It tries until the cluster answers or ctx ends; the error is then the
// last failure. A topic that does not exist is a *MissingTopicsError.
func (r *Reader) Partitions(ctx context.Context, topic string) (int, error) {
	counts, err := r.counts(ctx, topic)
	return counts[topic], err
}

// Exist returns nil when the cluster has all the topics, and one
// *MissingTopicsError that names all those it has not.
func (r *Reader) Exist(ctx context.Context, topics ...string) error {
	_, err := r.counts(ctx, topics...)
	return err
}

// missingFor is how long a cluster must go on saying that a topic is missing:
// not every broker knows at once of one that was just made.
const missingFor = 2 * time.Second

// counts asks how many partitions topics have.
func (r *Reader) counts(ctx context.Context, topics ...string) (counts map[string]int, err error) {
	began := time.Now()
	err = r.persist(ctx, strings.Join(topics, ", "), -1, func(ctx context.Context) error {
		for {
			counts, err = r.Client.Partitions(ctx, topics...)
			var missing *MissingTopicsError
			if !errors.As(err, &missing) || time.Since(began) > missingFor || Sleep(ctx, firstPause) != nil {
				return err
			}
		}
	})
	return counts, err
}

// First returns the first offset of each partition that is still in the log.
func (r *Reader) First(ctx context.Context, topic string) (Offsets, error) {
	return r.offsets(ctx, topic, LogStart)
}

// End returns how far each partition can be read: see [Client.End]. What an open
// transaction holds back is behind that, also what was committed after it began.
func (r *Reader) End(ctx context.Context, topic string) (Offsets, error) {
	return r.offsets(ctx, topic, r.Client.End())
}

// Written returns how far each partition is written, whatever transactions are open
// there: its high watermark.
func (r *Reader) Written(ctx context.Context, topic string) (Offsets, error) {
	return r.offsets(ctx, topic, LogEnd)
}

// At returns, for each partition, the offset of the first record whose
// timestamp is not before t; its end where there is none.
func (r *Reader) At(ctx context.Context, topic string, t time.Time) (Offsets, error) {
	// Kafka has no time before 1970, and takes -1 and -2 for the end and the
	// beginning.
	at, err := r.offsets(ctx, topic, max(0, t.UnixMilli()))
	if err != nil || !slices.Contains(slices.Collect(maps.Values(at)), -1) {
		return at, err
	}
	end, err := r.End(ctx, topic)
	if err != nil {
		return nil, err
	}
	for p, offset := range at {
		if offset < 0 {
			at[p] = end[p]
		}
	}
	return at, nil
}

// offsets asks the leader of every partition for one offset; when is as for
// [Client.Offsets].
func (r *Reader) offsets(ctx context.Context, topic string, when int64) (Offsets, error) {
	n, err := r.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	ids := make([]int, n)
	for id := range ids {
		ids[id] = id
	}
	var all Offsets
	err = r.persist(ctx, topic, -1, func(ctx context.Context) error {
		found, err := r.Client.Offsets(ctx, map[string][]int{topic: ids}, when)
		all = found[topic]
		return err
	})
	if err != nil {
		return nil, err // some of them may be known, which is of no use
	}
	return all, nil
}

func (r *Reader) offset(ctx context.Context, topic string, partition int, when int64) (offset int64, err error) {
	err = r.persist(ctx, topic, partition, func(ctx context.Context) (err error) {
		offset, err = r.Client.Offset(ctx, topic, partition, when)
		return err
	})
	return offset, err
}

// persist is Persist with the reader's patience.
func (r *Reader) persist(ctx context.Context, topic string, partition int, ask func(context.Context) error) error {
	began := time.Now()
	what := "topic " + topic
	if partition >= 0 {
		what += fmt.Sprintf(", partition %d", partition)
	}
	err := r.Client.Persist(ctx, topic, partition, func(once context.Context) error {
		err := ask(once)
		if took := time.Since(began); err != nil && ctx.Err() == nil && !lasting(err) && r.Patience > 0 && took > r.Patience {
			err = &stalledError{what, took, err}
		}
		return err
	})
	return failed(ctx, topic, err)
}
