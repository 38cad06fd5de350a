package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go/protocol/fetch"
)

type StalledError = stalledError

// LongPoll fetches the first partitions of topics t0, t1, ..., which have one
// leader, and waits for records for up to wait.
func (c *Client) LongPoll(ctx context.Context, topics, partitions int, wait time.Duration) error {
	leaders, err := c.Leaders(ctx, "t0")
	if err != nil {
		return err
	}
	req := &fetchRequest{
		broker:    int32(LeaderOf(leaders, "t0", 0)),
		ReplicaID: -1, MaxWaitTime: int32(wait.Milliseconds()), MinBytes: 1, MaxBytes: 1 << 20, SessionEpoch: -1,
	}
	for topic := range topics {
		t := fetch.RequestTopic{Topic: fmt.Sprint("t", topic)}
		for p := range partitions {
			t.Partitions = append(t.Partitions, fetch.RequestPartition{Partition: int32(p), CurrentLeaderEpoch: -1, PartitionMaxBytes: 1 << 20})
		}
		req.Topics = append(req.Topics, t)
	}
	_, err = c.RoundTrip(ctx, time.Minute, req)
	return err
}

// SetLine sets where the line of a partition stands, of the producer that the
// client has already.
func (c *Client) SetLine(topic string, partition int, epoch int16, next int32) {
	l := c.lines.line(Place{topic, partition})
	l.producer, l.next = producer{c.lines.current.id, epoch}, next
}
