package backlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/kafka"
)

// Commit is what a group has committed for one partition.
type Commit struct {
	Offset int64
	// Err says why the metadata counts for nothing.
	Err error

	finished func(offset int64) bool
}

// Finished reports whether a worker has finished an offset: below the committed
// one, or above it by the metadata.
func (c Commit) Finished(offset int64) bool { return c.finished(offset) }

// Commits are what a group has committed, by topic and partition. Where it has
// committed nothing there is none.
type Commits map[string]map[int]Commit

// Any reports whether anything was committed.
func (c Commits) Any() bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(c)), func(partitions map[int]Commit) bool { return len(partitions) > 0 })
}

// ReadCommits asks the coordinator of the scope's group for what it has committed
// of partitions, by topic, until it answers or ctx ends.
func ReadCommits(ctx context.Context, scope Scope, partitions map[string][]int) (Commits, error) {
	client, group := scope.Reader.Client, scope.Group
	var committed map[string]map[int]kafka.Committed
	err := client.Persist(ctx, scope.Topics.Requests, -1, func(ctx context.Context) (err error) {
		// While a worker ends a transaction it has none for some partitions: that
		// is as usual as it is short, and nothing to tell of. Under load one or another
		// always lacks it: each is asked for until it has one.
		var unstable error
		committed = make(map[string]map[int]kafka.Committed, len(partitions))
		for left := partitions; ; {
			var some map[string]map[int]kafka.Committed
			some, err = client.Committed(ctx, group, left)
			for topic, of := range some {
				if committed[topic] == nil {
					committed[topic] = make(map[int]kafka.Committed, len(of))
				}
				maps.Copy(committed[topic], of)
			}
			if errors.Is(err, kafka.UnstableOffset) {
				unstable = err
			}
			if !errors.Is(err, kafka.UnstableOffset) || kafka.Sleep(ctx, unstablePause) != nil {
				break
			}
			if some, is := errors.AsType[*kafka.UnstableError](err); is { // else of all
				left = make(map[string][]int)
				for _, at := range some.Places {
					left[at.Topic] = append(left[at.Topic], at.Partition)
				}
			}
		}
		if err != nil && ctx.Err() != nil && unstable != nil {
			return fmt.Errorf("committed offsets of group %s: the transaction of a worker is open, which may have died in it: the brokers end it after kafka.transaction_timeout, and then ask again: %w", group, unstable)
		}
		if err != nil {
			return fmt.Errorf("committed offsets of group %s: %w", group, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	commits := make(Commits, len(partitions))
	for topic, partitions := range committed {
		commits[topic] = make(map[int]Commit, len(partitions))
		for partition, is := range partitions {
			c := Commit{Offset: is.Offset}
			c.finished, c.Err = consumer.Finished(topic, partition, is.Offset, is.Metadata)
			commits[topic][partition] = c
		}
	}
	return commits, nil
}

// unstablePause is how long to wait before asking for commits that a transaction
// is about to change.
const unstablePause = 20 * time.Millisecond
