package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/closeorder/closeorder/events"
)

// Record is one record and its place. It shares no memory with other records
// and may be kept.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	// Time is the record's timestamp, of which Kafka keeps milliseconds: its
	// producer's clock, or that of the broker where the topic says LogAppendTime
	// (message.timestamp.type). It is not after 1970 where the producer sent
	// none.
	Time time.Time
	events.Message
}

// Source is the place of the record.
func (r Record) Source() events.Source {
	return events.Source{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
}

// Fetch brings the next records of a partition from offset on, and waits for up
// to maxWait when there are none; see [Source.Next], which it calls once. Who
// goes on reading keeps a [Source].
func (c *Client) Fetch(ctx context.Context, topic string, partition int, offset int64, maxBytes int, maxWait time.Duration) (records []Record, next int64, err error) {
	s := c.source(topic, partition, offset, maxBytes)
	defer s.Close()
	over := errors.New("nothing came")
	wait, cancel := context.WithTimeoutCause(ctx, maxWait, over)
	defer cancel()
	for next = offset; err == nil && len(records) == 0 && next == offset; {
		records, next, err = s.Next(wait)
	}
	if errors.Is(err, over) {
		err = nil
	}
	return records, next, err
}
