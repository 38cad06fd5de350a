package kafka

import (
	"context"
	"time"

	"github.com/closeorder/closeorder/events"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
)

// Most that one produce request should carry. Apache Kafka refuses batches of
// more than 1 MiB by default.
const (
	BatchRecords = 1000
	BatchBytes   = 512 << 10 // of Size
)

// Compression of a batch.
type Compression = compress.Compression

const (
	Uncompressed = compress.None
	Gzip         = compress.Gzip
)

// Size is about what a message takes in a batch, in bytes.
func Size(m events.Message) int {
	n := 32 + len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		n += 8 + len(h.Key) + len(h.Value)
	}
	return n
}

// Produce writes messages to a partition in one request, as one batch, and
// returns the offset of the first when all in-sync replicas have them. There is
// no idempotent producer in kafka-go: who tries again after a lost answer can
// write them twice.
func (c *Client) Produce(ctx context.Context, topic string, partition int, messages []events.Message, compression Compression) (base int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	// Made anew for each request: kafka-go reads them empty.
	records := make([]kafkago.Record, len(messages))
	now := time.Now()
	for i, m := range messages {
		headers := make([]kafkago.Header, len(m.Headers))
		for j, h := range m.Headers {
			headers[j] = kafkago.Header{Key: h.Key, Value: h.Value}
		}
		records[i] = kafkago.Record{Time: now, Key: kafkago.NewBytes(m.Key), Value: kafkago.NewBytes(m.Value), Headers: headers}
	}
	res, err := c.client.Produce(ctx, &kafkago.ProduceRequest{
		Topic: topic, Partition: partition, RequiredAcks: kafkago.RequireAll,
		Records: kafkago.NewRecordReader(records...), Compression: compression,
	})
	if err != nil {
		return 0, err
	}
	return res.BaseOffset, Explain(res.Error, "Produce", "topic "+topic)
}

// Halve writes a batch whose records a broker may refuse. It refuses the batch
// as a whole and does not say for which record: what refused says so of is sent
// in halves, down to the one that is to blame, which refuse is told of. The
// order is kept. Halve stops at the first error of send that is no refusal and
// returns it; the first n of batch have been sent or refused by then.
func Halve[T any](batch []T, send func([]T) error, refused func(error) bool, refuse func(T, error)) (n int, err error) {
	err = send(batch)
	switch {
	case err == nil:
		return len(batch), nil
	case !refused(err):
		return 0, err
	case len(batch) == 1:
		refuse(batch[0], err)
		return 1, nil
	}
	half := len(batch) / 2
	if n, err = Halve(batch[:half], send, refused, refuse); err != nil {
		return n, err
	}
	n, err = Halve(batch[half:], send, refused, refuse)
	return half + n, err
}
