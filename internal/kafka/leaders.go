package kafka

import (
	"context"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// place is a partition of a topic.
type place struct {
	topic     string
	partition int
}

// leaders says which broker leads each partition of some topics. It is as old as
// [Client.Partitions] says.
type leaders struct {
	byPlace map[place]int32
	failed  map[place]error
	topics  map[string]error
}

// leaders asks for those of topics.
func (c *Client) leaders(ctx context.Context, topics []string) (leaders, error) {
	l := leaders{byPlace: make(map[place]int32), failed: make(map[place]error), topics: make(map[string]error, len(topics))}
	res, err := c.RoundTrip(ctx, requestTimeout, &metadata.Request{TopicNames: topics})
	if err != nil {
		return l, err
	}
	for _, t := range res.(*metadata.Response).Topics {
		if t.ErrorCode != 0 {
			l.topics[t.Name] = fmt.Errorf("metadata of topic %s: %w", t.Name, asError(t.ErrorCode))
		}
		for _, p := range t.Partitions {
			at := place{t.Name, int(p.PartitionIndex)}
			switch {
			case p.LeaderID >= 0:
				// What else is wrong with it (a replica that is away) is no
				// matter of ours.
				l.byPlace[at] = p.LeaderID
			case p.ErrorCode != 0:
				l.failed[at] = asError(p.ErrorCode)
			default:
				l.failed[at] = kafkago.LeaderNotAvailable
			}
		}
	}
	return l, nil
}

// of is the leader of one partition. A partition that there is not is an error
// that [NoPartition] knows.
func (l *leaders) of(at place) (int32, error) {
	if id, ok := l.byPlace[at]; ok {
		return id, nil
	}
	for _, err := range []error{l.failed[at], l.topics[at.topic]} {
		if err != nil {
			return -1, err
		}
	}
	return -1, fmt.Errorf("partition %d of topic %s: %w", at.partition, at.topic, UnknownTopic)
}

// NoLeader is the leader of a partition that has none, or of which none is known.
const NoLeader = -1

// Leaders returns which broker leads each partition of topics, as far as that is
// known. It costs no request where the metadata are new enough, see
// [Client.Partitions].
func (c *Client) Leaders(ctx context.Context, topics ...string) (map[string][]int, error) {
	l, err := c.leaders(ctx, topics)
	if err != nil {
		return nil, err
	}
	all := make(map[string][]int, len(topics))
	for at, id := range l.byPlace {
		for len(all[at.topic]) <= at.partition {
			all[at.topic] = append(all[at.topic], NoLeader)
		}
		all[at.topic][at.partition] = int(id)
	}
	return all, nil
}

// LeaderOf finds the leader of a partition in an answer of [Client.Leaders].
func LeaderOf(leaders map[string][]int, topic string, partition int) int {
	if of := leaders[topic]; partition < len(of) {
		return of[partition]
	}
	return NoLeader
}

// leader is the broker that leads a partition by the metadata, NoLeader where
// none does, or there are none.
func (v *view) leader(topic string, partition int) int {
	if v == nil {
		return NoLeader
	}
	if p, known := v.layout.Topics[topic].Partitions[int32(partition)]; known && p.Leader >= 0 {
		return int(p.Leader)
	}
	return NoLeader
}

// brokerIn is a broker of the cluster by its number, for requests that say to
// which one they go.
func brokerIn(cluster protocol.Cluster, id int32) (protocol.Broker, error) {
	b, known := cluster.Brokers[id]
	if !known {
		return protocol.Broker{ID: id}, fmt.Errorf("broker %d is not in the cluster", id)
	}
	return b, nil
}
