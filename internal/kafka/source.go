package kafka

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// fetchWait is how long a broker may wait for records to come.
	fetchWait = 500 * time.Millisecond
	// fetchBytes is about what one fetch brings of one partition, packed.
	fetchBytes = 1 << 20
)

// Source reads one partition from an offset on. Many sources of a client are
// fetched by one request to each broker, ahead of their readers: about two
// fetches of each partition wait in memory at most.
//
// One goroutine may use a Source at a time; Close may be called by any.
type Source struct {
	client    *Client
	topic     string
	partition int
	offset    int64
	open      context.Context
	end       context.CancelFunc
	once      sync.Once
}

// errSourceClosed is what Next returns after Close.
var errSourceClosed = errors.New("the source is closed")

// Source begins to read a partition at an offset. Close it.
func (c *Client) Source(topic string, partition int, offset int64) *Source {
	s := &Source{client: c, topic: topic, partition: partition, offset: offset}
	s.open, s.end = context.WithCancel(context.Background())
	return s
}

// Next waits for records and returns them in the order of their offsets, at
// most about 1 MiB or one record that is larger. next is the offset that it
// goes on at: behind the records and behind what is no record (transaction
// markers, batches that compaction has emptied), so that it may have moved
// without a record. It reads uncommitted: records of aborted transactions are
// among them.
//
// It returns neither records nor an error once after each error, SeekTo and the
// beginning, when a fetch has worked and brought nothing: the partition is
// there. Otherwise it waits until something comes.
//
// An error is of this partition alone, or of its broker; records that come
// before it were returned before it. After an error, and a pause that is the
// caller's, Next tries again at next:
//
//   - OffsetOutOfRange: the log does not hold the offset; see SeekTo.
//   - *UnreadableError: next is its First, and Next would read it once more. To
//     go on behind it, SeekTo Last+1.
//   - [NoPartition]: there may be no such partition.
//   - the cause of ctx, when that has ended.
//   - any other: brokers that are away, leaders that move. See [Lasting].
func (s *Source) Next(ctx context.Context) (records []Record, next int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(s.open, func() { cancel(errSourceClosed) })
	defer stop()
	records, s.offset, err = s.client.Fetch(ctx, s.topic, s.partition, s.offset, fetchBytes, fetchWait)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return records, s.offset, err
}

// SeekTo goes on at an offset: what was fetched is dropped.
func (s *Source) SeekTo(offset int64) { s.offset = offset }

// Close ends the reading: a call of Next under way returns an error. It may be
// called more than once.
func (s *Source) Close() { s.once.Do(s.end) }
