package timeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
)

// Snapshot is the topics at one moment, and what the workers had finished by then.
type Snapshot struct {
	// At is when it was taken.
	At time.Time

	scope  Scope
	topics []string
	first  map[string]kafka.Offsets // where the logs begin
	from   map[string]kafka.Offsets // where reading begins
	to     map[string]kafka.Offsets // where it ends
	high   map[string]kafka.Offsets // the high watermarks, from before to
	// progress is what the group has finished; nil: nobody can say.
	progress Progress
	// compacted: outcomes may have been taken by compaction.
	compacted bool
	notes     []string
}

// Take takes a snapshot while the workers run. It reads no record, and tries until
// the cluster answers or ctx ends. Only a requests topic that is missing is an
// error, a *[kafka.MissingTopicsError]: what else cannot be read is a note.
//
// The commits are read before the ends of the logs: what they show as finished was
// published before, so that its answer is below those ends. The other way round an
// order that is answered meanwhile would look lost.
func Take(ctx context.Context, scope Scope) (*Snapshot, error) {
	s := &Snapshot{At: time.Now(), scope: scope, topics: scope.Topics.All()}
	if err := s.exist(ctx); err != nil {
		return nil, err
	}
	counts, err := s.counts(ctx)
	if err != nil {
		return nil, err
	}
	if s.first, err = s.offsets(ctx, counts, kafka.LogStart); err != nil {
		return nil, err
	}
	if err := s.readProgress(ctx, counts); err != nil {
		return nil, err
	}
	if s.high, err = s.offsets(ctx, counts, kafka.LogEnd); err != nil {
		return nil, err
	}
	if s.to, err = s.offsets(ctx, counts, scope.Reader.Client.End()); err != nil {
		return nil, err
	}
	// Who may not see it is told nothing: it only bounds what is proven.
	policy, _ := scope.Reader.Client.TopicSetting(ctx, scope.Topics.Outcomes, "cleanup.policy")
	s.compacted = strings.Contains(policy, "compact")
	return s, s.bound(ctx, counts)
}

// exist leaves out the topics that are missing.
func (s *Snapshot) exist(ctx context.Context) error {
	err := s.scope.Reader.Exist(ctx, s.topics...)
	missing, is := errors.AsType[*kafka.MissingTopicsError](err)
	if !is || slices.Contains(missing.Topics, s.scope.Topics.Requests) {
		return err
	}
	s.topics = slices.DeleteFunc(s.topics, func(topic string) bool { return slices.Contains(missing.Topics, topic) })
	s.note("%v; what it held of the order is not here", err)
	return nil
}

func (s *Snapshot) counts(ctx context.Context) (map[string][]int, error) {
	counts := make(map[string][]int, len(s.topics))
	for _, topic := range s.topics {
		n, err := s.scope.Reader.Partitions(ctx, topic)
		if err != nil {
			return nil, err
		}
		for p := range n {
			counts[topic] = append(counts[topic], p)
		}
	}
	return counts, nil
}

// offsets asks the leaders of all partitions for one offset; when is as for
// [kafka.Client.Offsets].
func (s *Snapshot) offsets(ctx context.Context, partitions map[string][]int, when int64) (map[string]kafka.Offsets, error) {
	client, all := s.scope.Reader.Client, map[string]kafka.Offsets{}
	err := client.Persist(ctx, s.scope.Topics.Requests, -1, func(ctx context.Context) error {
		found, err := client.Offsets(ctx, partitions, when)
		for topic, offsets := range found {
			all[topic] = offsets
		}
		return err
	})
	return all, err
}

// bound finds out where reading begins and ends in time.
func (s *Snapshot) bound(ctx context.Context, partitions map[string][]int) error {
	s.from = s.first
	requests := s.scope.Topics.Requests
	// Kafka has no time before 1970, and takes -1 and -2 for the end and the beginning.
	at := func(t time.Time) (map[string]kafka.Offsets, error) {
		return s.offsets(ctx, partitions, max(0, t.UnixMilli()))
	}
	if !s.scope.Since.IsZero() {
		from, err := at(s.scope.Since.Add(-clockSlack))
		if err != nil {
			return err
		}
		sinceExactly, err := at(s.scope.Since)
		if err != nil {
			return err
		}
		from[requests] = sinceExactly[requests]
		for topic, offsets := range from {
			for p, offset := range offsets {
				if offset < 0 { // nothing is as young
					offsets[p] = s.to[topic][p]
				}
			}
		}
		s.from = from
	}
	if !s.scope.Until.IsZero() {
		// Timestamps are not in order: what is a little later may stand before.
		until, err := at(s.scope.Until.Add(clockSlack))
		if err != nil {
			return err
		}
		for p, offset := range until[requests] {
			if offset >= 0 {
				s.to[requests][p] = min(s.to[requests][p], offset)
			}
		}
	}
	return nil
}

func (s *Snapshot) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}
