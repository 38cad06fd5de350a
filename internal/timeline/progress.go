package timeline

import (
	"context"

	"github.com/closeorder/closeorder/internal/backlog"
)

// Progress says of a record whether the group has finished it.
type Progress interface {
	Finished(topic string, partition int, offset int64) bool
}

// commits are the Progress by what is committed.
type commits struct {
	backlog.Commits
	snapshot *Snapshot
}

// Finished goes by commits that speak of this very log: one that lies beyond its end
// speaks of another one.
func (c commits) Finished(topic string, partition int, offset int64) bool {
	is, ok := c.Commits[topic][partition]
	return ok && is.Offset <= c.snapshot.high[topic][partition] && is.Finished(offset)
}

// readProgress asks the group's coordinator, until it answers or ctx ends. What it
// cannot say is a note.
func (s *Snapshot) readProgress(ctx context.Context, partitions map[string][]int) error {
	of := make(map[string][]int)
	for _, topic := range append([]string{s.scope.Topics.Requests}, s.scope.Topics.Retries()...) {
		if partitions[topic] != nil {
			of[topic] = partitions[topic]
		}
	}
	read, err := backlog.ReadCommits(ctx, backlog.Scope{Reader: s.scope.Reader, Group: s.scope.Group, Topics: s.scope.Topics}, of)
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		s.note("nobody can say what waits and what is in flight: %v", err)
		return nil
	case !read.Any():
		s.note("the group %s has committed nothing: no worker has run yet, or the workers' group is another one: name it with --kafka-group", s.scope.Group)
	}
	s.progress = commits{read, s}
	return nil
}
