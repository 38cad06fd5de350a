package kafka

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"golang.org/x/sync/errgroup"
)

// What [Client.Offset] is asked for beside times.
const (
	// LogStart is the first offset still in the log.
	LogStart int64 = kafkago.FirstOffset
	// LogEnd is the high watermark: the offset that the next record gets.
	LogEnd int64 = kafkago.LastOffset
	// LogStable is the last stable offset: that of the first record of the first
	// transaction that is open, LogEnd where none is. Who reads committed gets as
	// far as that (Kafka's protocol, ListOffsets, isolation_level; from version 2,
	// Kafka 0.11, on). See [Client.End].
	LogStable int64 = math.MinInt64
)

// readCommitted is the isolation level of requests that see no more than the
// last stable offset; 0 is read uncommitted (Kafka's protocol, Fetch).
const readCommitted = 1

// End is what to ask [Client.Offsets] for to learn how far logs can be read now:
// LogStable, or LogEnd with Config.ReadUncommitted.
func (c *Client) End() int64 {
	if c.fetcher.uncommitted {
		return LogEnd
	}
	return LogStable
}

// offsetsRequest is kafka-go's without its Split, which makes a request of each
// partition; kafka-go writes it by the fields of its own type, which are the
// same. It goes to the broker that it names.
type offsetsRequest struct {
	ReplicaID      int32
	IsolationLevel int8
	Topics         []listoffsets.RequestTopic

	broker int32 // not on the wire
}

func (*offsetsRequest) ApiKey() protocol.ApiKey { return protocol.ListOffsets }

// Broker implements protocol.BrokerMessage.
func (r *offsetsRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return brokerIn(cluster, r.broker)
}

// Offset is [Client.Offsets] of one partition.
func (c *Client) Offset(ctx context.Context, topic string, partition int, at int64) (int64, error) {
	all, err := c.Offsets(ctx, map[string][]int{topic: {partition}}, at)
	return all[topic][partition], err
}

// Offsets asks the leaders of partitions, by topic and number, for LogStart,
// LogEnd, LogStable or, with at in milliseconds since 1970, the offset of the first record
// that is not older, in an open or aborted transaction or not: -1 where there is
// none. It is one request to each leader,
// whatever the number of partitions. An error of one partition is the error of
// all, with its topic and number; see [NoPartition].
func (c *Client) Offsets(ctx context.Context, partitions map[string][]int, at int64) (map[string]map[int]int64, error) {
	var topics []string
	for topic := range partitions {
		topics = append(topics, topic)
	}
	l, err := c.leaders(ctx, topics)
	if err != nil {
		return nil, err
	}
	isolation := int8(0)
	if at == LogStable {
		at, isolation = LogEnd, readCommitted
	}
	requests := make(map[int32]*offsetsRequest)
	for topic, ids := range partitions {
		for _, id := range ids {
			leader, err := l.of(place{topic, id})
			if err != nil {
				return nil, err
			}
			r := requests[leader]
			if r == nil {
				r = &offsetsRequest{ReplicaID: -1, IsolationLevel: isolation, broker: leader}
				requests[leader] = r
			}
			i := slices.IndexFunc(r.Topics, func(t listoffsets.RequestTopic) bool { return t.Topic == topic })
			if i < 0 {
				i = len(r.Topics)
				r.Topics = append(r.Topics, listoffsets.RequestTopic{Topic: topic})
			}
			r.Topics[i].Partitions = append(r.Topics[i].Partitions, listoffsets.RequestPartition{
				Partition: int32(id), CurrentLeaderEpoch: -1, Timestamp: at,
			})
		}
	}
	var mu sync.Mutex
	all := make(map[string]map[int]int64, len(partitions))
	for topic, ids := range partitions {
		all[topic] = make(map[int]int64, len(ids))
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, r := range requests {
		group.Go(func() error {
			res, err := c.RoundTrip(ctx, requestTimeout, r)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, t := range res.(*listoffsets.Response).Topics {
				for _, p := range t.Partitions {
					if err := Explain(asError(p.ErrorCode), "ListOffsets", "topic "+t.Topic); err != nil {
						return fmt.Errorf("partition %d of topic %s: %w", p.Partition, t.Topic, err)
					}
					if all[t.Topic] != nil {
						all[t.Topic][int(p.Partition)] = p.Offset
					}
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for topic, ids := range partitions {
		for _, id := range ids {
			if _, answered := all[topic][id]; !answered {
				return nil, fmt.Errorf("the broker's answer to ListOffsets lacks partition %d of topic %s", id, topic)
			}
		}
	}
	return all, nil
}
