package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/segmentio/kafka-go"
)

// commit is what the group has committed for one partition.
type commit struct {
	offset int64
	// finished says of an offset whether a worker has finished it.
	finished func(offset int64) bool
	// err says why the metadata counts for nothing.
	err error
}

// finished reports whether the group has finished a record. Where it has
// committed nothing, it has finished nothing.
func (s *Snapshot) finished(topic string, partition int, offset int64) bool {
	c, ok := s.commits[topic][partition]
	return ok && c.finished(offset)
}

// cutOff reports whether the commit lies beyond the end of the log. It then
// speaks of another log and says nothing about this one.
func (s *Snapshot) cutOff(topic string, partition int) bool {
	c, ok := s.commits[topic][partition]
	return ok && c.offset > s.to[topic][partition]
}

const (
	askTimeout   = 10 * time.Second
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// readCommits asks the group's coordinator, until it answers or ctx ends.
func (s *Snapshot) readCommits(ctx context.Context, topics []string) (map[string]map[int]commit, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		commits, err := s.askCommits(ctx, topics)
		if err == nil {
			return commits, nil
		}
		err = fmt.Errorf("committed offsets of group %s: %w", s.scope.Group, err)
		for _, lasting := range []error{kafka.GroupAuthorizationFailed, kafka.TopicAuthorizationFailed, kafka.SASLAuthenticationFailed, kafka.InvalidGroupId} {
			if errors.Is(err, lasting) {
				return nil, err
			}
		}
		if ctx.Err() == nil && s.scope.Reader.OnRetry != nil {
			s.scope.Reader.OnRetry(s.scope.Topics.Requests, -1, err)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("%w (last failure: %w)", context.Cause(ctx), err)
		}
	}
}

// committed reports whether the group has committed anything for the topics:
// what the snapshot holds or, if that is nothing, what is there by now. Workers
// that have just begun publish their first answers before they commit.
func (s *Snapshot) committed(ctx context.Context) (bool, error) {
	some := func(all map[string]map[int]commit) bool {
		for _, partitions := range all {
			if len(partitions) > 0 {
				return true
			}
		}
		return false
	}
	if some(s.commits) {
		return true, nil
	}
	now, err := s.readCommits(ctx, append([]string{s.scope.Topics.Requests}, s.scope.Topics.Retries...))
	return some(now), err
}

func (s *Snapshot) askCommits(ctx context.Context, topics []string) (map[string]map[int]commit, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	ask := make(map[string][]int, len(topics))
	for _, topic := range topics {
		ask[topic] = slices.Sorted(maps.Keys(s.first[topic]))
	}
	res, err := s.scope.Reader.Client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: s.scope.Group, Topics: ask})
	if err != nil {
		return nil, err
	}
	// A group that has committed nothing is unknown to some brokers.
	if res.Error != nil && !errors.Is(res.Error, kafka.GroupIdNotFound) {
		return nil, res.Error
	}
	commits := make(map[string]map[int]commit, len(topics))
	for topic, partitions := range res.Topics {
		commits[topic] = make(map[int]commit, len(partitions))
		for _, p := range partitions {
			if p.Error != nil {
				return nil, fmt.Errorf("%s, partition %d: %w", topic, p.Partition, p.Error)
			}
			if p.CommittedOffset < 0 {
				continue
			}
			c := commit{offset: p.CommittedOffset}
			c.finished, c.err = consumer.Finished(topic, p.Partition, p.CommittedOffset, p.Metadata)
			commits[topic][p.Partition] = c
		}
	}
	return commits, nil
}
