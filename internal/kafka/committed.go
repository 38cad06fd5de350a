package kafka

import (
	"context"
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
)

// Committed is what a group has committed for one partition.
type Committed struct {
	Offset   int64
	Metadata string
}

// Committed asks the group's coordinator what the group has committed for
// partitions, by topic and number. Those without a commit are left out. An
// error of one partition is the error of all.
func (c *Client) Committed(ctx context.Context, group string, partitions map[string][]int) (map[string]map[int]Committed, error) {
	req := &offsetfetch.Request{GroupID: group}
	for topic, ids := range partitions {
		t := offsetfetch.RequestTopic{Name: topic}
		for _, id := range ids {
			t.PartitionIndexes = append(t.PartitionIndexes, int32(id))
		}
		req.Topics = append(req.Topics, t)
	}
	res, err := c.RoundTrip(ctx, requestTimeout, req)
	if err != nil {
		return nil, err
	}
	fetched := res.(*offsetfetch.Response)
	// A group without any commit is unknown to some brokers.
	if err := asError(fetched.ErrorCode); err != nil && !errors.Is(err, kafkago.GroupIdNotFound) {
		return nil, Explain(err, "OffsetFetch", "group "+group)
	}
	all := make(map[string]map[int]Committed, len(partitions))
	for _, t := range fetched.Topics {
		all[t.Name] = make(map[int]Committed, len(t.Partitions))
		for _, p := range t.Partitions {
			if err := Explain(asError(p.ErrorCode), "OffsetFetch", "topic "+t.Name); err != nil {
				return nil, fmt.Errorf("%s, partition %d: %w", t.Name, p.PartitionIndex, err)
			}
			if p.CommittedOffset >= 0 {
				all[t.Name][int(p.PartitionIndex)] = Committed{p.CommittedOffset, p.Metadata}
			}
		}
	}
	return all, nil
}

// Membership is what commits are made under: the coordinator refuses those of
// a generation that is over.
type Membership struct {
	Group      string
	Generation int32
	MemberID   string
	InstanceID string // group.instance.id, empty for a dynamic member
}

// Commit is what is to be committed for one partition.
type Commit struct {
	Topic     string
	Partition int
	Committed
}

// Commit commits all that is given in one request and returns an error for
// each, nil where it is committed; or one error when nothing is known of any.
func (c *Client) Commit(ctx context.Context, m Membership, commits []Commit) (each []error, err error) {
	req := &offsetcommit.Request{
		GroupID: m.Group, GenerationID: m.Generation, MemberID: m.MemberID, GroupInstanceID: m.InstanceID,
		RetentionTimeMs: -1, // the broker's own
	}
	topics := make(map[string]int) // where a topic stands in the request
	for _, commit := range commits {
		i, seen := topics[commit.Topic]
		if !seen {
			i = len(req.Topics)
			topics[commit.Topic] = i
			req.Topics = append(req.Topics, offsetcommit.RequestTopic{Name: commit.Topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, offsetcommit.RequestPartition{
			PartitionIndex: int32(commit.Partition), CommittedOffset: commit.Offset, CommittedMetadata: commit.Metadata,
			// 0 would be a real epoch: another client would see a truncated log.
			CommittedLeaderEpoch: -1,
		})
	}
	res, err := c.RoundTrip(ctx, requestTimeout, req)
	if err != nil {
		return nil, err
	}
	codes := make(map[place]int16, len(commits))
	for _, t := range res.(*offsetcommit.Response).Topics {
		for _, p := range t.Partitions {
			codes[place{t.Name, int(p.PartitionIndex)}] = p.ErrorCode
		}
	}
	each = make([]error, len(commits))
	for i, commit := range commits {
		code, answered := codes[place{commit.Topic, commit.Partition}]
		if each[i] = Explain(asError(code), "OffsetCommit", "topic "+commit.Topic); !answered {
			each[i] = errors.New("the broker's answer to OffsetCommit lacks the partition")
		}
	}
	return each, nil
}
