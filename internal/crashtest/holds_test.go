//go:build apachekafka

package crashtest

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// holds measures how long open transactions keep readers of the outcomes with
// isolation.level=read_committed from going on.
type holds struct {
	admin   *kadm.Client
	longest time.Duration
	until   time.Time // the end of the longest, as far as it was seen
	held    map[int32]hold
}

// hold is a partition with records that such a reader does not get.
type hold struct {
	stable int64 // its last stable offset
	since  time.Time
}

// watchHolds measures until stop is closed; then the longest hold can be read.
func (s *stage) watchHolds(stop <-chan struct{}) *holds {
	h := &holds{admin: s.admin, held: make(map[int32]hold)}
	for pause(stop, 50*time.Millisecond) && s.t.Context().Err() == nil {
		ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
		if h.look(ctx) != nil {
			clear(h.held) // without its broker a topic has no readers at all
		}
		cancel()
	}
	return h
}

func (h *holds) look(ctx context.Context) error {
	ends, err := h.admin.ListEndOffsets(ctx, outcomes)
	if err = errors.Join(err, ends.Error()); err != nil {
		return err
	}
	stable, err := h.admin.ListCommittedOffsets(ctx, outcomes)
	if err = errors.Join(err, stable.Error()); err != nil {
		return err
	}
	now := time.Now()
	stable.Each(func(at kadm.ListedOffset) {
		end, _ := ends.Lookup(outcomes, at.Partition)
		was, held := h.held[at.Partition]
		switch {
		case at.Offset >= end.Offset:
			delete(h.held, at.Partition)
		case !held || was.stable != at.Offset:
			h.held[at.Partition] = hold{stable: at.Offset, since: now}
		case now.Sub(was.since) > h.longest:
			h.longest, h.until = now.Sub(was.since), now
		}
	})
	return nil
}
