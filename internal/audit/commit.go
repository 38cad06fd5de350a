package audit

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
	return ok && c.offset > s.end[topic][partition]
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
		// While a worker ends a transaction it has none for some partitions: that
		// is as usual as it is short, and nothing to tell of. Under load one or another
		// always lacks it: each is asked for until it has one.
		var unstable error
		committed = make(map[string]map[int]kafka.Committed, len(partitions))
		for left := partitions; ; {
			var some map[string]map[int]kafka.Committed
			some, err = client.Committed(ctx, s.scope.Group, left)
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
			return fmt.Errorf("committed offsets of group %s: the transaction of a worker is open, which may have died in it: the brokers end it after kafka.transaction_timeout, and then audit again: %w", s.scope.Group, unstable)
		}
		if err != nil {
			return fmt.Errorf("committed offsets of group %s: %w", s.scope.Group, err)
		}
		return nil
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

// unstablePause is how long to wait before asking for commits that a transaction
// is about to change.
const unstablePause = 20 * time.Millisecond

// committed reports whether the group has committed anything for the topics:
// what the snapshot holds or, if that is nothing, what is there by now. Workers
// that have just begun publish their first answers before they commit.
func (s *Snapshot) committed(ctx context.Context) (bool, error) {
	some := func(all map[string]map[int]commit) bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(all)), func(partitions map[int]commit) bool { return len(partitions) > 0 })
	}
	if some(s.commits) {
		return true, nil
	}
	now, err := s.readCommits(ctx, append([]string{s.scope.Topics.Requests}, s.scope.Topics.Retries()...))
	return some(now), err
}

// firstCommit is how long workers may have published without a commit: they
// commit at once, unless a broker is slow.
const firstCommit = 3 * time.Second

// CheckGroup finds out that the group is not that of the workers: requests were
// answered or put off, and it has committed nothing. Everything then counts as
// in flight, so that no hole can be seen: that proves nothing, must not look
// like a proof, and r is not balanced. Whoever knows the group need not ask.
// The error is of Kafka or the cause of ctx.
func (s *Snapshot) CheckGroup(ctx context.Context, r *Report) error {
	if r.Closed+r.Paid+r.Failed+r.Waiting+r.DeadLetters+r.OutcomesWithoutRequest.Sum() == 0 {
		return nil // no worker has done anything
	}
	for began := time.Now(); ; {
		committed, err := s.committed(ctx)
		switch {
		case err != nil || committed:
			return err
		case time.Since(began) >= firstCommit:
			r.Balanced = false
			r.Notes = append(r.Notes, fmt.Sprintf("requests were answered or put off, and not by group %s: this proves nothing; name the workers' group with --kafka-group", r.Group))
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(250 * time.Millisecond):
		}
	}
}
