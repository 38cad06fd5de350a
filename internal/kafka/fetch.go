package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/closeorder/closeorder/events"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Record is one record and its place. It shares no memory with other records
// and may be kept.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	// Time is the record's timestamp, of which Kafka keeps milliseconds. It is
	// not after 1970 where the producer sent none.
	Time time.Time
	events.Message
}

// Source is the place of the record.
func (r Record) Source() events.Source {
	return events.Source{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
}

// Fetch makes one fetch request for the records of a partition from offset on.
// It brings about maxBytes, or one record that is larger, and waits for up to
// maxWait when there are none. next is the offset to go on at: behind the
// records, and behind what is no record (transaction markers, batches that
// compaction has emptied). It reads uncommitted: records of aborted
// transactions are among them. Records that were read before an error are
// returned beside it.
func (c *Client) Fetch(ctx context.Context, topic string, partition int, offset int64, maxBytes int, maxWait time.Duration) (records []Record, next int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait+requestTimeout)
	defer cancel()
	res, err := c.client.Fetch(ctx, &kafkago.FetchRequest{
		Topic: topic, Partition: partition, Offset: offset,
		MinBytes: 1, MaxBytes: int64(maxBytes), MaxWait: maxWait,
	})
	if err != nil {
		return nil, offset, err
	}
	if res.Error != nil {
		return nil, offset, Explain(res.Error, "Fetch", "topic "+topic)
	}
	return read(res, offset)
}

// read copies the records at and above offset out of a fetch response. All
// records are read, also after an error, so that kafka-go gets its buffers
// back.
func read(res *kafkago.FetchResponse, offset int64) (records []Record, next int64, err error) {
	batches := []protocol.RecordReader{res.Records}
	if stream, ok := res.Records.(*protocol.RecordStream); ok {
		batches = stream.Records // the stream itself hides markers
	}
	next = offset
	last := int64(-1) // where the last batch begins
	for _, batch := range batches {
		if b, ok := batch.(interface{ Offset() int64 }); ok {
			last = max(last, b.Offset())
		}
		_, marker := batch.(*protocol.ControlBatch)
		for {
			r, readErr := batch.ReadRecord()
			if errors.Is(readErr, io.EOF) {
				break
			}
			if readErr != nil {
				err = errors.Join(err, fmt.Errorf("read record batch: %w", readErr))
				break
			}
			message, copyErr := copyOut(r)
			switch {
			case copyErr != nil:
				err = errors.Join(err, fmt.Errorf("read record at offset %d: %w", r.Offset, copyErr))
			case err == nil && r.Offset >= next: // a batch may begin below the offset
				next = r.Offset + 1
				if !marker {
					records = append(records, Record{Topic: res.Topic, Partition: res.Partition, Offset: r.Offset, Time: r.Time, Message: message})
				}
			}
		}
	}
	if err == nil && next == offset && last >= 0 && res.HighWatermark > offset {
		// The broker sent the batch that holds this offset, and compaction has
		// left nothing of it at or above the offset: to ask for the offset again
		// would bring the same batch for ever. How far it reaches kafka-go does
		// not say, hence one offset at a time.
		next = max(offset, last) + 1
	}
	return records, next, err
}

// copyOut takes a record out of kafka-go's buffers. Headers are copies already.
func copyOut(r *kafkago.Record) (m events.Message, err error) {
	var keyErr, valueErr error
	m.Key, keyErr = protocol.ReadAll(r.Key)
	m.Value, valueErr = protocol.ReadAll(r.Value)
	if r.Key != nil {
		r.Key.Close()
	}
	if r.Value != nil {
		r.Value.Close()
	}
	if len(r.Headers) > 0 {
		m.Headers = make([]events.Header, len(r.Headers))
		for i, h := range r.Headers {
			m.Headers[i] = events.Header{Key: h.Key, Value: h.Value}
		}
	}
	return m, errors.Join(keyErr, valueErr)
}
