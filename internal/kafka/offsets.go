package kafka

import (
	"context"
	"errors"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
)

// What [Client.Offset] is asked for beside times.
const (
	// LogStart is the first offset still in the log.
	LogStart int64 = kafkago.FirstOffset
	// LogEnd is the high watermark: the offset that the next record gets.
	LogEnd int64 = kafkago.LastOffset
)

// Offset asks the leader of a partition for LogStart, LogEnd or, with at in
// milliseconds since 1970, the offset of the first record that is not older: -1
// where there is none.
//
// It goes round Client.ListOffsets of kafka-go, which hides failures. Many
// partitions cost a request each in any case: kafka-go splits them.
func (c *Client) Offset(ctx context.Context, topic string, partition int, at int64) (int64, error) {
	res, err := c.RoundTrip(ctx, requestTimeout, &listoffsets.Request{
		ReplicaID: -1,
		Topics: []listoffsets.RequestTopic{{Topic: topic, Partitions: []listoffsets.RequestPartition{{
			Partition: int32(partition), CurrentLeaderEpoch: -1, Timestamp: at,
		}}}},
	})
	if err != nil {
		return 0, err
	}
	for _, t := range res.(*listoffsets.Response).Topics {
		for _, p := range t.Partitions {
			if t.Topic == topic && int(p.Partition) == partition {
				return p.Offset, Explain(asError(p.ErrorCode), "ListOffsets", "topic "+topic)
			}
		}
	}
	return 0, errors.New("the broker's answer to ListOffsets lacks the partition")
}
