// Package topicwriter writes records to a topic and returns when all in-sync
// replicas have them: what the commands that publish are built on. It knows
// Kafka and nothing of what the records mean.
//
//	Messages --murmur2 of the key, or as asked--> partitions --batches, acks=all--> where each one landed
package topicwriter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
)

const (
	// A batch is one produce request of one partition.
	batchRecords = 1000
	batchBytes   = 512 << 10

	askTimeout   = 15 * time.Second
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// Writer writes to topics. It is safe for concurrent use; two concurrent
// writes keep no order between them.
type Writer struct {
	Client *kafka.Client
	// OnRetry, if set, is told of each failure that is worth another try.
	// Calls may be concurrent.
	OnRetry func(topic string, partition int, err error)
	// OnWritten, if set, is told how many more records were acknowledged.
	// Calls may be concurrent.
	OnWritten func(n int)
}

// MissingTopicError says that the cluster was asked and has no such topic.
type MissingTopicError struct{ Topic string }

func (e *MissingTopicError) Error() string {
	return fmt.Sprintf("topic %s does not exist; create it with: closeorder topics create", e.Topic)
}

// RefusedError says that the broker never takes one message, whoever sends it
// and however often.
type RefusedError struct {
	Topic string
	// Bytes is about what the message takes.
	Bytes int
	// Err is the broker's.
	Err error
}

func (e *RefusedError) Error() string {
	if e.TooLarge() {
		return fmt.Sprintf("topic %s takes no record of %d bytes; raise max.message.bytes of the topic, or make the record smaller", e.Topic, e.Bytes)
	}
	return fmt.Sprintf("topic %s refuses the record: %v; look at the settings of the topic (one that is compacted takes no record without a key)", e.Topic, e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// TooLarge reports whether the message is refused for its size.
func (e *RefusedError) TooLarge() bool { return tooLarge(e.Err) }

func tooLarge(err error) bool {
	return errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge)
}

// Result is what became of one message.
type Result struct {
	// At is where it landed, if Err is nil.
	At events.Source
	// Err is a *RefusedError where the broker does not take this very message:
	// it was left out and the others were written. With any other error it was
	// not acknowledged, and may have been written.
	Err error
}

// Write writes messages and returns what became of each one, in the order of
// messages; the error is the first of theirs. Messages with the same key go to
// the same partition, in their order; the partition is the one that Java's and
// librdkafka's murmur2 partitioners choose. A nil key goes anywhere.
//
// See [Writer.WriteTo] for the rest.
func (w *Writer) Write(ctx context.Context, topic string, messages []events.Message) ([]Result, error) {
	return w.WriteTo(ctx, topic, messages, nil)
}

// ByKey lets the key decide where a message goes.
const ByKey = -1

// WriteTo is Write with a partition for each message, of which those for one
// partition keep their order. For ByKey, and where the topic has no such
// partition, the key decides; it does for all when to is nil.
//
// It tries until ctx ends. What cannot be written to one partition holds up
// none of the others, and a message that is refused holds up nothing. A retry
// after a lost answer can write records twice: kafka-go has no idempotent
// producer.
func (w *Writer) WriteTo(ctx context.Context, topic string, messages []events.Message, to []int) ([]Result, error) {
	results := make([]Result, len(messages))
	if len(messages) == 0 {
		return results, nil
	}
	partitions, err := w.partitions(ctx, topic)
	if err != nil {
		for i := range results {
			results[i].Err = err
		}
		return results, err
	}
	byPartition := map[int][]int{}
	for i, m := range messages {
		p := ByKey
		if to != nil && slices.Contains(partitions, to[i]) {
			p = to[i]
		} else {
			p = kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: m.Key}, partitions...)
		}
		byPartition[p] = append(byPartition[p], i)
	}
	var group sync.WaitGroup
	for p, indexes := range byPartition {
		group.Go(func() { w.partition(ctx, topic, p, messages, indexes, results) })
	}
	group.Wait()
	if err := w.again(ctx, topic, messages, results); err != nil {
		return results, err
	}
	for _, r := range results {
		if r.Err != nil {
			return results, r.Err
		}
	}
	return results, nil
}

// errGone says that the topic has no such partition any more: it was made
// again with fewer.
var errGone = errors.New("the partition is gone")

// again writes the messages whose partition went away meanwhile, where their
// keys belong now.
func (w *Writer) again(ctx context.Context, topic string, messages []events.Message, results []Result) error {
	var left []int
	var rest []events.Message
	for i, r := range results {
		if errors.Is(r.Err, errGone) {
			left, rest = append(left, i), append(rest, messages[i])
		}
	}
	written, err := w.Write(ctx, topic, rest)
	for i, r := range written {
		results[left[i]] = r
	}
	return err
}

// partition writes the messages of one partition, batch after batch. A batch
// is refused as a whole: halving it finds the message that is to blame. That
// one is tried compressed before it is given up: what counts is the size on
// the wire, and the producer of an original may have compressed it.
func (w *Writer) partition(ctx context.Context, topic string, partition int, messages []events.Message, indexes []int, results []Result) {
	limit := batchRecords
	for len(indexes) > 0 {
		n, bytes := 0, 0
		for n < len(indexes) && n < limit && (n == 0 || bytes+size(messages[indexes[n]]) <= batchBytes) {
			bytes += size(messages[indexes[n]])
			n++
		}
		batch := indexes[:n]
		base, err := w.produce(ctx, topic, partition, messages, batch, compress.None)
		if n == 1 && tooLarge(err) {
			base, err = w.produce(ctx, topic, partition, messages, batch, compress.Gzip)
		}
		switch refused := tooLarge(err) || errors.Is(err, kafka.InvalidRecord); {
		case refused && n > 1:
			limit = n / 2
			continue
		case refused:
			results[batch[0]].Err = &RefusedError{Topic: topic, Bytes: bytes, Err: err}
		case err != nil:
			for _, index := range indexes {
				results[index].Err = err
			}
			return
		default:
			for i, index := range batch {
				results[index].At = events.Source{Topic: topic, Partition: partition, Offset: base + int64(i)}
			}
			if w.OnWritten != nil {
				w.OnWritten(n)
			}
		}
		indexes, limit = indexes[n:], min(2*limit, batchRecords)
	}
}

// produce writes one batch, however often it takes.
func (w *Writer) produce(ctx context.Context, topic string, partition int, messages []events.Message, batch []int, compression kafka.Compression) (int64, error) {
	var base int64
	err := w.persist(ctx, topic, partition, func(ctx context.Context) error {
		// Made anew for each try: a reader of records is used up by the first.
		records := make([]kafka.Record, len(batch))
		for i, index := range batch {
			records[i] = record(messages[index])
		}
		res, err := w.Client.Produce(ctx, &kafka.ProduceRequest{
			Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll,
			Records: kafka.NewRecordReader(records...), Compression: compression,
		})
		if err == nil {
			base, err = res.BaseOffset, res.Error
		}
		if errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, protocol.ErrNoPartition) {
			// That may as well be a broker that has not heard of it yet.
			if ids, askErr := w.ask(ctx, topic); askErr == nil && !slices.Contains(ids, partition) {
				return errGone
			}
		}
		return err
	})
	return base, err
}

func record(m events.Message) kafka.Record {
	r := kafka.Record{Time: time.Now()}
	if m.Key != nil {
		r.Key = kafka.NewBytes(m.Key)
	}
	if m.Value != nil {
		r.Value = kafka.NewBytes(m.Value)
	}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
	return r
}

// size is about what a message takes in a batch.
func size(m events.Message) int {
	n := 32 + len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		n += 8 + len(h.Key) + len(h.Value)
	}
	return n
}

func (w *Writer) partitions(ctx context.Context, topic string) (ids []int, err error) {
	err = w.persist(ctx, topic, -1, func(ctx context.Context) (err error) {
		ids, err = w.ask(ctx, topic)
		return err
	})
	return ids, err
}

// ask returns the partitions of a topic, in the order in which murmur2 counts
// them.
func (w *Writer) ask(ctx context.Context, topic string) (ids []int, err error) {
	res, err := w.Client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, err
	}
	for _, t := range res.Topics {
		if errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
			return nil, &MissingTopicError{Topic: topic}
		}
		if t.Error != nil {
			return nil, t.Error
		}
		for _, p := range t.Partitions {
			ids = append(ids, p.ID)
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("the cluster's answer names no partition")
	}
	slices.Sort(ids)
	return ids, nil
}

// persist calls ask until it succeeds, fails for good, or ctx ends. The error
// then wraps the last failure and the context's.
func (w *Writer) persist(ctx context.Context, topic string, partition int, ask func(context.Context) error) error {
	pause := firstPause
	for {
		once, cancel := context.WithTimeout(ctx, askTimeout)
		err := ask(once)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("topic %s: %w (last failure: %w)", topic, context.Cause(ctx), err)
		case lasting(err):
			return err
		}
		if w.OnRetry != nil {
			w.OnRetry(topic, partition, err)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("topic %s: %w (last failure: %w)", topic, context.Cause(ctx), err)
		}
		pause = min(2*pause, longestPause)
	}
}

// lasting reports whether an error will still be there on another try. All
// that is not named here is worth one: connections break, leaders move.
func lasting(err error) bool {
	var missing *MissingTopicError
	if errors.As(err, &missing) || errors.Is(err, errGone) {
		return true
	}
	for _, e := range []kafka.Error{
		kafka.MessageSizeTooLarge, kafka.RecordListTooLarge, kafka.InvalidRecord, kafka.InvalidTimestamp,
		kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed, kafka.SASLAuthenticationFailed,
		kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState,
		kafka.InvalidTopic, kafka.UnsupportedVersion, kafka.UnsupportedForMessageFormat,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
