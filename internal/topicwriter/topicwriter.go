// Package topicwriter writes records to a topic and returns when all in-sync
// replicas have them: what the commands that publish are built on. It knows
// Kafka and nothing of what the records mean.
//
//	Messages --murmur2 of the key--> partitions --batches, acks=all--> where each one landed
package topicwriter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
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

// TooLargeError says that the broker takes no record of the size of one of
// the messages. The others of its partition behind it were not written.
type TooLargeError struct {
	Topic string
	// Index is the message's place in what was to be written, from 0.
	Index int
	Bytes int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("topic %s takes no record of %d bytes; raise max.message.bytes of the topic, or make the record smaller", e.Topic, e.Bytes)
}

// Write writes messages and returns where each one landed, in the order of
// messages. Messages with the same key go to the same partition, in their
// order; the partition is the one that Java's and librdkafka's murmur2
// partitioners choose. A nil key goes anywhere.
//
// It tries until ctx ends. A retry after a lost answer can write records
// twice: kafka-go has no idempotent producer. After an error some of the
// messages may have been written.
func (w *Writer) Write(ctx context.Context, topic string, messages []events.Message) ([]events.Source, error) {
	if len(messages) == 0 {
		return nil, nil
	}
	partitions, err := w.partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	byPartition := map[int][]int{}
	for i, m := range messages {
		p := kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: m.Key}, partitions...)
		byPartition[p] = append(byPartition[p], i)
	}
	landed := make([]events.Source, len(messages))
	group, ctx := errgroup.WithContext(ctx)
	for p, indexes := range byPartition {
		group.Go(func() error { return w.partition(ctx, topic, p, messages, indexes, landed) })
	}
	return landed, group.Wait()
}

// partition writes the messages of one partition, batch after batch.
func (w *Writer) partition(ctx context.Context, topic string, partition int, messages []events.Message, indexes []int, landed []events.Source) error {
	limit := batchRecords
	for len(indexes) > 0 {
		n, bytes := 0, 0
		for n < len(indexes) && n < limit && (n == 0 || bytes+size(messages[indexes[n]]) <= batchBytes) {
			bytes += size(messages[indexes[n]])
			n++
		}
		batch := indexes[:n]
		base, err := w.produce(ctx, topic, partition, messages, batch)
		if errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge) {
			if n > 1 {
				limit = n / 2
				continue
			}
			return &TooLargeError{Topic: topic, Index: batch[0], Bytes: bytes}
		}
		if err != nil {
			return err
		}
		for i, index := range batch {
			landed[index] = events.Source{Topic: topic, Partition: partition, Offset: base + int64(i)}
		}
		if w.OnWritten != nil {
			w.OnWritten(n)
		}
		indexes, limit = indexes[n:], batchRecords
	}
	return nil
}

// produce writes one batch, however often it takes.
func (w *Writer) produce(ctx context.Context, topic string, partition int, messages []events.Message, batch []int) (int64, error) {
	var base int64
	err := w.persist(ctx, topic, partition, func(ctx context.Context) error {
		// Made anew for each try: a reader of records is used up by the first.
		records := make([]kafka.Record, len(batch))
		for i, index := range batch {
			records[i] = record(messages[index])
		}
		res, err := w.Client.Produce(ctx, &kafka.ProduceRequest{
			Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll,
			Records: kafka.NewRecordReader(records...),
		})
		if err != nil {
			return err
		}
		base = res.BaseOffset
		return res.Error
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

func (w *Writer) partitions(ctx context.Context, topic string) ([]int, error) {
	var ids []int
	err := w.persist(ctx, topic, -1, func(ctx context.Context) error {
		res, err := w.Client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		for _, t := range res.Topics {
			if errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
				return &MissingTopicError{Topic: topic}
			}
			if t.Error != nil {
				return t.Error
			}
			ids = ids[:0]
			for _, p := range t.Partitions {
				ids = append(ids, p.ID)
			}
		}
		if len(ids) == 0 {
			return errors.New("the cluster's answer names no partition")
		}
		slices.Sort(ids) // murmur2 counts them in this order
		return nil
	})
	return ids, err
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
	if errors.As(err, &missing) {
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
