package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/kafka"
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

// readCommits asks the group's coordinator, until it answers or ctx ends.
func (s *Snapshot) readCommits(ctx context.Context, topics []string) (map[string]map[int]commit, error) {
	partitions := make(map[string][]int, len(topics))
	for _, topic := range topics {
		partitions[topic] = slices.Sorted(maps.Keys(s.first[topic]))
	}
	client := s.scope.Reader.Client
	var committed map[string]map[int]kafka.Committed
	err := client.Persist(ctx, s.scope.Topics.Requests, -1, func(ctx context.Context) (err error) {
		if committed, err = client.Committed(ctx, s.scope.Group, partitions); err != nil {
			err = fmt.Errorf("committed offsets of group %s: %w", s.scope.Group, err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	commits := make(map[string]map[int]commit, len(topics))
	for topic, partitions := range committed {
		commits[topic] = make(map[int]commit, len(partitions))
		for partition, is := range partitions {
			c := commit{offset: is.Offset}
			c.finished, c.err = consumer.Finished(topic, partition, is.Offset, is.Metadata)
			commits[topic][partition] = c
		}
	}
	return commits, nil
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
	now, err := s.readCommits(ctx, append([]string{s.scope.Topics.Requests}, s.scope.Topics.Retries()...))
	return some(now), err
}
