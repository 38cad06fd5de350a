package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	_ "github.com/segmentio/kafka-go/protocol/offsetfetch" // registered first, so that ours stands in its place
)

func init() { protocol.Register(&offsetFetchRequest{}, &offsetFetchResponse{}) } //nolint:gochecknoinits // as in fetchwire.go

// offsetFetchRequest is Kafka's OffsetFetchRequest.json up to version 7, the
// first that waits for transactions (KIP-447); kafka-go's ends with 5. Nothing
// of kafka-go that reads committed offsets may be called any more.
type offsetFetchRequest struct {
	_ struct{} `kafka:"min=v6,max=v7,tag"`

	GroupID       string             `kafka:"min=v0,max=v5|min=v6,max=v7,compact"`
	Topics        []offsetFetchTopic `kafka:"min=v0,max=v1|min=v2,max=v7,nullable"`
	RequireStable bool               `kafka:"min=v7,max=v7"`
}

func (*offsetFetchRequest) ApiKey() protocol.ApiKey { return protocol.OffsetFetch }

// Group implements protocol.GroupMessage: its coordinator is asked.
func (r *offsetFetchRequest) Group() string { return r.GroupID }

type offsetFetchTopic struct {
	_ struct{} `kafka:"min=v6,max=v7,tag"`

	Name             string  `kafka:"min=v0,max=v5|min=v6,max=v7,compact"`
	PartitionIndexes []int32 `kafka:"min=v0,max=v7"`
}

type offsetFetchResponse struct {
	_ struct{} `kafka:"min=v6,max=v7,tag"`

	ThrottleTimeMs int32                `kafka:"min=v3,max=v7"`
	Topics         []offsetFetchedTopic `kafka:"min=v0,max=v7"`
	ErrorCode      int16                `kafka:"min=v2,max=v7"`
}

func (*offsetFetchResponse) ApiKey() protocol.ApiKey { return protocol.OffsetFetch }

type offsetFetchedTopic struct {
	_ struct{} `kafka:"min=v6,max=v7,tag"`

	Name       string                   `kafka:"min=v0,max=v5|min=v6,max=v7,compact"`
	Partitions []offsetFetchedPartition `kafka:"min=v0,max=v7"`
}

type offsetFetchedPartition struct {
	_ struct{} `kafka:"min=v6,max=v7,tag"`

	PartitionIndex  int32  `kafka:"min=v0,max=v7"`
	CommittedOffset int64  `kafka:"min=v0,max=v7"`
	LeaderEpoch     int32  `kafka:"min=v5,max=v7"`
	Metadata        string `kafka:"min=v0,max=v5,nullable|min=v6,max=v7,compact,nullable"`
	ErrorCode       int16  `kafka:"min=v0,max=v7"`
}

// Committed is what a group has committed for one partition.
type Committed struct {
	Offset   int64
	Metadata string
}

// UnstableOffset: a transaction that commits the offset is not over yet: ask
// again.
const UnstableOffset = kafkago.UnstableOffsetCommit

// UnstableError names the partitions that UnstableOffset is said of, in the order
// of the answer. It wraps that.
type UnstableError struct{ Places []Place }

func (e *UnstableError) Error() string {
	at := e.Places[0]
	return fmt.Sprintf("%s, partition %d: %v (%d partitions)", at.Topic, at.Partition, UnstableOffset, len(e.Places))
}
func (e *UnstableError) Unwrap() error { return UnstableOffset }

// Committed asks the group's coordinator what the group has committed for
// partitions, by topic and number. Those without a commit are left out. An
// error of one partition is the error of all, but for an *UnstableError: the
// partitions that it names have an offset in a transaction that is open, and are
// left out; what is returned of the others holds. With the offset before it, what
// a dead member has written would be written again (KIP-447; brokers before Kafka
// 2.5 give that).
func (c *Client) Committed(ctx context.Context, group string, partitions map[string][]int) (map[string]map[int]Committed, error) {
	req := &offsetFetchRequest{GroupID: group, RequireStable: true}
	for topic, ids := range partitions {
		t := offsetFetchTopic{Name: topic}
		for _, id := range ids {
			t.PartitionIndexes = append(t.PartitionIndexes, int32(id))
		}
		req.Topics = append(req.Topics, t)
	}
	res, err := c.RoundTrip(ctx, requestTimeout, req)
	if err != nil {
		return nil, Explain(err, "OffsetFetch", "group "+group)
	}
	fetched := res.(*offsetFetchResponse)
	// A group without any commit is unknown to some brokers.
	if err := asError(fetched.ErrorCode); err != nil && !errors.Is(err, kafkago.GroupIdNotFound) {
		return nil, Explain(err, "OffsetFetch", "group "+group)
	}
	all := make(map[string]map[int]Committed, len(partitions))
	var unstable UnstableError
	for _, t := range fetched.Topics {
		all[t.Name] = make(map[int]Committed, len(t.Partitions))
		for _, p := range t.Partitions {
			if kafkago.Error(p.ErrorCode) == UnstableOffset {
				unstable.Places = append(unstable.Places, Place{t.Name, int(p.PartitionIndex)})
				continue
			}
			if err := Explain(asError(p.ErrorCode), "OffsetFetch", "topic "+t.Name); err != nil {
				return nil, fmt.Errorf("%s, partition %d: %w", t.Name, p.PartitionIndex, err)
			}
			if p.CommittedOffset >= 0 {
				all[t.Name][int(p.PartitionIndex)] = Committed{p.CommittedOffset, p.Metadata}
			}
		}
	}
	if len(unstable.Places) > 0 {
		return all, &unstable
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

// committedFor is how long brokers before Kafka 2.1 keep a position behind its
// commit, whoever reads there: without it they go by offsets.retention.minutes,
// which is a day by default before Kafka 2.0. It is longer than requests are kept
// (closeorder topics create), so that a group that comes back later has lost
// nothing by that. Later brokers are not told.
const committedFor = 30 * 24 * time.Hour

// ownsRetention is the first version of OffsetCommit whose brokers keep the
// positions of a group as long as it has members (Kafka 2.1, KIP-211).
const ownsRetention = 5

// ForgetsPositions reports whether the coordinator of a group forgets what is
// committed so long after its commit, members or not: before Kafka 2.1. What is
// not to be forgotten must be committed again.
func (c *Client) ForgetsPositions(ctx context.Context, group string) (bool, error) {
	version, err := c.MaxVersion(ctx, group, protocol.OffsetCommit)
	return err == nil && version < ownsRetention, err
}

// Commit commits all that is given in one request and returns an error for
// each, nil where it is committed; or one error when nothing is known of any.
func (c *Client) Commit(ctx context.Context, m Membership, commits []Commit) (each []error, err error) {
	req := &offsetcommit.Request{
		GroupID: m.Group, GenerationID: m.Generation, MemberID: m.MemberID, GroupInstanceID: m.InstanceID,
		RetentionTimeMs: committedFor.Milliseconds(), // up to version 4
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
