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
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	// Patience is how long Kafka may bring nothing before a reading whose end
	// is known, or a question, ends with a *StalledError; 0 is for ever. Time
	// that the caller takes for a record does not count. Following has no such
	// limit: who follows waits.
	Patience time.Duration
	// OnRetry, if set, is told of each failure that is worth another try.
	// Calls may be concurrent.
	OnRetry func(topic string, partition int, err error)
	// OnGap, if set, is told of offsets that were asked for and are gone.
	// Calls may be concurrent. Reading goes on behind the gap.
	OnGap func(Gap)
}

// MissingTopicError says that the cluster was asked and has no such topics.
type MissingTopicError struct{ Topics []string }

func (e *MissingTopicError) Error() string {
	if len(e.Topics) == 1 {
		return fmt.Sprintf("topic %s does not exist; create it with: closeorder topics create", e.Topics[0])
	}
	return fmt.Sprintf("topics %s do not exist; create them with: closeorder topics create", strings.Join(e.Topics, ", "))
}

// StalledError says that Kafka brought nothing for as long as Reader.Patience.
type StalledError struct {
	Topic string
	// Partition is -1 where the topic was asked about.
	Partition int
	// Offset is what was to be read next, End where reading was to stop; both
	// are 0 where an offset was asked for.
	Offset, End int64
	For         time.Duration
	// Err is the last failure, nil where brokers answered without a record.
	Err error
}

func (e *StalledError) Error() string {
	text := "topic " + e.Topic
	if e.Partition >= 0 {
		text += fmt.Sprintf(", partition %d", e.Partition)
	}
	if e.End > 0 {
		text += fmt.Sprintf(", offset %d of %d", e.Offset, e.End)
	}
	text += fmt.Sprintf(": nothing came for %v", e.For.Round(time.Millisecond))
	if e.Err != nil {
		text += fmt.Sprintf(" (last failure: %v)", e.Err)
	}
	return text + "; see whether its brokers run and have a leader for it, then call again"
}

func (e *StalledError) Unwrap() error { return e.Err }

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
	err := r.persist(ctx, topic, -1, func(ctx context.Context, began time.Time) error {
		topics, err := r.existing(ctx, began, topic)
		if err != nil {
			return err
		}
		ids = ids[:0]
		for _, p := range topics[0].Partitions {
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

// Exist returns nil when the cluster has all the topics, and one
// *MissingTopicError that names all those it has not.
func (r *Reader) Exist(ctx context.Context, topics ...string) error {
	return r.persist(ctx, strings.Join(topics, ", "), -1, func(ctx context.Context, began time.Time) error {
		_, err := r.existing(ctx, began, topics...)
		return err
	})
}

// existing asks about topics. Not every broker knows at once of one that was
// just made: those that are missing are asked for again for a while.
func (r *Reader) existing(ctx context.Context, began time.Time, topics ...string) ([]kafka.Topic, error) {
	for {
		res, err := r.Client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
		if err != nil {
			return nil, err
		}
		found := make([]kafka.Topic, len(topics))
		var missing []string
		for i, name := range topics {
			at := slices.IndexFunc(res.Topics, func(t kafka.Topic) bool { return t.Name == name })
			switch {
			case at < 0 || errors.Is(res.Topics[at].Error, kafka.UnknownTopicOrPartition):
				missing = append(missing, name)
			case res.Topics[at].Error != nil:
				return nil, res.Topics[at].Error
			default:
				found[i] = res.Topics[at]
			}
		}
		if len(missing) == 0 {
			return found, nil
		}
		if time.Since(began) > missingFor || sleep(ctx, firstPause) != nil {
			return nil, &MissingTopicError{Topics: missing}
		}
	}
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
	// Kafka has no time before 1970, and takes -1 and -2 for the end and the
	// beginning.
	at, err := r.offsets(ctx, topic, max(0, t.UnixMilli()))
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
