package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/closeorder/closeorder/events"
	kafkago "github.com/segmentio/kafka-go"
)

// Writer writes records to topics and returns when all in-sync replicas have
// them: what the commands that publish are built on.
//
//	Messages --murmur2 of the key, or as asked--> partitions --batches, acks=all--> where each one landed
//
// It is safe for concurrent use; two concurrent writes keep no order between
// them.
type Writer struct {
	Client *Client
	// OnWritten, if set, is told how many more records were acknowledged.
	// Calls may be concurrent.
	OnWritten func(n int)
}

// RefusedError says that the broker does not take one message, whoever sends it
// and however often, until somebody changes the topic or the message.
type RefusedError struct {
	Topic     string
	Partition int
	// Bytes is about what the message takes.
	Bytes int
	// Err is the broker's, with its code: a *BatchError, or wraps one.
	Err error
}

// Error names the topic, the broker's code and what it says, and what to do.
func (e *RefusedError) Error() string {
	if e.TooLarge() {
		return fmt.Sprintf("topic %s takes no record of %d bytes; raise max.message.bytes of the topic, or make the record smaller", e.Topic, e.Bytes)
	}
	remedy := "look at the settings of the topic (one that is compacted takes no record without a key) and at what the brokers validate"
	switch {
	case errors.Is(e.Err, kafkago.InvalidTimestamp):
		remedy = "look at message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic (message.timestamp.difference.max.ms before Kafka 3.6), and at the clocks of this machine and of the brokers"
	case errors.Is(e.Err, kafkago.UnsupportedForMessageFormat):
		remedy = "its message.format.version knows no headers: raise it to 0.11 or later"
	}
	return fmt.Sprintf("topic %s refuses the record in partition %d: %v; %s", e.Topic, e.Partition, e.Err, remedy)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// TooLarge reports whether the message is refused for its size.
func (e *RefusedError) TooLarge() bool { return TooLarge(e.Err) }

// Invalid reports whether it is refused for what it says, see [Invalid].
func (e *RefusedError) Invalid() bool { return Invalid(e.Err) }

// Code is the broker's code, 0 where there is none.
func (e *RefusedError) Code() int {
	code, _ := errors.AsType[kafkago.Error](e.Err)
	return int(code)
}

// Result is what became of one message.
type Result struct {
	// At is where it landed, if Err is nil; its offset is -1 where the broker does
	// not say it any more, see [Produced].
	At events.Source
	// Err is a *RefusedError where the broker does not take this very message:
	// it was left out and the others were written. With any other error it was
	// not acknowledged, and may have been written.
	Err error
}

// ByKey lets the key decide where a message goes.
const ByKey = -1

// Write writes messages and returns what became of each one, in the order of
// messages; the error is the first of theirs.
//
// to, if given, has the number of a partition for each message. For ByKey, where
// the topic has no such partition, and without to, the key decides: the
// partition is the one that Java's and librdkafka's murmur2 partitioners choose.
// A nil key goes anywhere. Messages for one partition, such as those with the
// same key, keep their order.
//
// It tries until ctx ends. What cannot be written to one partition holds up
// none of the others, and a message that is refused holds up nothing. A retry
// after a lost answer writes nothing twice, see [Client.ProduceMany].
func (w *Writer) Write(ctx context.Context, topic string, messages []events.Message, to ...int) ([]Result, error) {
	results := make([]Result, len(messages))
	todo := make([]writing, len(messages))
	for i, m := range messages {
		todo[i] = writing{m, ByKey, &results[i]}
		if to != nil {
			todo[i].to = to[i]
		}
	}
	w.write(ctx, topic, todo)
	for _, r := range results {
		if r.Err != nil {
			return results, r.Err
		}
	}
	return results, nil
}

// writing is one message on its way.
type writing struct {
	message events.Message
	to      int
	result  *Result
}

// errGone says that the topic has no such partition any more: it was made
// again with fewer.
var errGone = errors.New("the partition is gone")

func (w *Writer) write(ctx context.Context, topic string, todo []writing) {
	if len(todo) == 0 {
		return
	}
	var partitions int
	if err := w.persist(ctx, topic, -1, func(ctx context.Context) error {
		counts, err := w.Client.Partitions(ctx, topic)
		partitions = counts[topic]
		return err
	}); err != nil {
		fail(todo, err)
		return
	}
	byPartition := map[int][]writing{}
	for _, one := range todo {
		p := one.to
		if p < 0 || p >= partitions {
			p = PartitionOf(one.message.Key, partitions)
		}
		byPartition[p] = append(byPartition[p], one)
	}
	var group sync.WaitGroup
	for p, part := range byPartition {
		group.Go(func() { w.partition(ctx, topic, p, part) })
	}
	group.Wait()
	// What was for a partition that went away meanwhile goes where its key
	// belongs now.
	var gone []writing
	for _, one := range todo {
		if errors.Is(one.result.Err, errGone) {
			*one.result = Result{}
			gone = append(gone, writing{one.message, ByKey, one.result})
		}
	}
	w.write(ctx, topic, gone)
}

func fail(todo []writing, err error) {
	for _, one := range todo {
		one.result.Err = err
	}
}

// partition writes the messages of one partition, batch after batch. One that
// is too large is tried compressed before it is given up: what counts is the
// size on the wire, and the producer of an original may have compressed it.
func (w *Writer) partition(ctx context.Context, topic string, partition int, todo []writing) {
	for len(todo) > 0 {
		n, bytes := 0, 0
		for n < len(todo) && n < BatchRecords && (n == 0 || bytes+Size(todo[n].message) <= BatchBytes) {
			bytes += Size(todo[n].message)
			n++
		}
		left, err := Halve(todo[:n], func(batch []writing) error {
			base, err := w.produce(ctx, topic, partition, batch, Uncompressed)
			if len(batch) == 1 && TooLarge(err) {
				base, err = w.produce(ctx, topic, partition, batch, Gzip)
			}
			if err != nil {
				return err
			}
			for i, one := range batch {
				one.result.At = events.Source{Topic: topic, Partition: partition, Offset: base + int64(i)}
				if base < 0 {
					one.result.At.Offset = -1
				}
			}
			if w.OnWritten != nil {
				w.OnWritten(len(batch))
			}
			return nil
		}, Refused, func(one writing, err error) {
			one.result.Err = &RefusedError{Topic: topic, Partition: partition, Bytes: Size(one.message), Err: err}
		})
		todo = todo[n:]
		if err != nil {
			fail(left, err)
			fail(todo, err)
			return
		}
	}
}

// produce writes one batch, however often it takes.
func (w *Writer) produce(ctx context.Context, topic string, partition int, batch []writing, compression Compression) (base int64, err error) {
	messages := make([]events.Message, len(batch))
	for i, one := range batch {
		messages[i] = one.message
	}
	err = w.persist(ctx, topic, partition, func(ctx context.Context) error {
		if base, err = w.Client.Produce(ctx, topic, partition, messages, compression); NoPartition(err) {
			// That may as well be a broker that has not heard of it yet.
			if counts, askErr := w.Client.Partitions(ctx, topic); askErr == nil && partition >= counts[topic] {
				return errGone
			}
		}
		return err
	})
	return base, err
}

func (w *Writer) persist(ctx context.Context, topic string, partition int, ask func(context.Context) error) error {
	err := w.Client.Persist(ctx, topic, partition, ask)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	return err
}
