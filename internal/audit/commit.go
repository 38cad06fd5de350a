package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/closeorder/closeorder/internal/backlog"
)

// finished reports whether the group has finished a record. Where it has
// committed nothing, it has finished nothing.
func (s *Snapshot) finished(topic string, partition int, offset int64) bool {
	c, ok := s.commits[topic][partition]
	return ok && c.Finished(offset)
}

// cutOff reports whether the commit lies beyond the end of the log. It then
// speaks of another log and says nothing about this one.
func (s *Snapshot) cutOff(topic string, partition int) bool {
	c, ok := s.commits[topic][partition]
	return ok && c.Offset > s.end[topic][partition]
}

// readCommits asks the group's coordinator, until it answers or ctx ends.
func (s *Snapshot) readCommits(ctx context.Context) (backlog.Commits, error) {
	partitions := map[string][]int{}
	for _, topic := range append([]string{s.scope.Topics.Requests}, s.scope.Topics.Retries()...) {
		partitions[topic] = slices.Sorted(maps.Keys(s.first[topic]))
	}
	return backlog.ReadCommits(ctx, backlog.Scope{Reader: s.scope.Reader, Group: s.scope.Group, Topics: s.scope.Topics}, partitions)
}

// committed reports whether the group has committed anything for the topics:
// what the snapshot holds or, if that is nothing, what is there by now. Workers
// that have just begun publish their first answers before they commit.
func (s *Snapshot) committed(ctx context.Context) (bool, error) {
	if s.commits.Any() {
		return true, nil
	}
	now, err := s.readCommits(ctx)
	return now.Any(), err
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
