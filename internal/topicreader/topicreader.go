// Package topicreader reads topics from one place to another, without a
// consumer group: what the commands that look at closeorder's topics are built
// on. It knows Kafka and nothing of what the records mean.
//
//	First | At(time) | End --> Offsets --Read(from, to)--> one call per Record
//
// Reading is read_uncommitted: records of aborted transactions are delivered,
// transaction markers are not.
package topicreader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/segmentio/kafka-go"
)

// Record is one record and its place. It shares no memory with other records
// and may be kept.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	// Time is the record's timestamp, of which Kafka keeps milliseconds.
	Time time.Time
	events.Message
}

// Source is the place of the record.
func (r Record) Source() events.Source {
	return events.Source{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
}

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

// Reader reads topics. The zero value of every field but Client is a default.
// A Reader is safe for concurrent use.
type Reader struct {
	Client *kafka.Client
	// FetchBytes is about what one fetch of one partition brings, 0 for 1 MiB.
	// A partition never holds more than two fetches in memory.
	FetchBytes int
	// Parallel is the most partitions that are fetched at one time when the
	// end of the reading is known, 0 for 8. Following fetches all.
	Parallel int
	// OnRetry, if set, is told of each failure that is worth another try.
	// Calls may be concurrent.
	OnRetry func(topic string, partition int, err error)
	// OnGap, if set, is told of offsets that were asked for and are gone.
	// Calls may be concurrent. Reading goes on behind the gap.
	OnGap func(Gap)
}

// MissingTopicError says that the cluster was asked and has no such topic.
type MissingTopicError struct{ Topic string }

func (e *MissingTopicError) Error() string {
	return fmt.Sprintf("topic %s does not exist; create it with: closeorder topics create", e.Topic)
}

// CutLogError says that a partition ends before the offset where reading was
// to start: it was deleted and made anew, or its records were lost.
type CutLogError struct {
	Topic     string
	Partition int
	// Offset is where reading was to go on, End the end of the log.
	Offset, End int64
}

func (e *CutLogError) Error() string {
	return fmt.Sprintf("topic %s, partition %d: the log ends at offset %d, reading was to go on at %d: the topic was made anew, or records were lost",
		e.Topic, e.Partition, e.End, e.Offset)
}

// missingFor is how long a cluster must go on saying that a topic is missing.
const missingFor = 2 * time.Second

// Partitions returns the partitions of a topic, ascending. It tries until the
// cluster answers or ctx ends; the error is then the last failure. A topic
// that does not exist is a *MissingTopicError.
func (r *Reader) Partitions(ctx context.Context, topic string) ([]int, error) {
	var ids []int
	began := time.Now()
	err := r.persist(ctx, topic, -1, func(ctx context.Context) error {
		t, err := r.metadata(ctx, topic)
		// Not every broker knows at once of a topic that was just made.
		for err == nil && errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
			if time.Since(began) > missingFor || sleep(ctx, firstPause) != nil {
				return &MissingTopicError{Topic: topic}
			}
			t, err = r.metadata(ctx, topic)
		}
		if err = cmp.Or(err, t.Error); err != nil {
			return err
		}
		ids = ids[:0]
		for _, p := range t.Partitions {
			ids = append(ids, p.ID)
		}
		if len(ids) == 0 {
			return errors.New("the cluster's answer names no partition")
		}
		slices.Sort(ids)
		return nil
	})
	return ids, err
}

// metadata asks once about a topic.
func (r *Reader) metadata(ctx context.Context, topic string) (kafka.Topic, error) {
	res, err := r.Client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return kafka.Topic{}, err
	}
	for _, t := range res.Topics {
		if t.Name == topic {
			return t, nil
		}
	}
	return kafka.Topic{}, nil
}

// First returns the first offset of each partition that is still in the log.
func (r *Reader) First(ctx context.Context, topic string) (Offsets, error) {
	return r.offsets(ctx, topic, kafka.FirstOffset)
}

// End returns the high watermark of each partition: the offset that the next
// record will get.
func (r *Reader) End(ctx context.Context, topic string) (Offsets, error) {
	return r.offsets(ctx, topic, kafka.LastOffset)
}

// At returns, for each partition, the offset of the first record whose
// timestamp is not before t; its end where there is none.
func (r *Reader) At(ctx context.Context, topic string, t time.Time) (Offsets, error) {
	at, err := r.offsets(ctx, topic, t.UnixMilli())
	if err != nil {
		return nil, err
	}
	if !slices.Contains(slices.Collect(maps.Values(at)), -1) {
		return at, nil
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
