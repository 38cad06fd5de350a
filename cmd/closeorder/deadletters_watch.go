package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// replayWatch follows the outcomes of what a replay sends, and pauses it when too
// many of them failed. Safe for concurrent use.
type replayWatch struct {
	after int
	id    string
	pause context.CancelCauseFunc

	mu sync.Mutex
	// ours are the records that were sent and have no outcome so far; early are the
	// codes of failed outcomes of records that were not known as ours when they
	// came in.
	ours   map[events.Source]bool
	early  map[events.Source]string
	codes  map[string]int
	failed int
}

// mostEarly bounds what is remembered of other replays.
const mostEarly = 10_000

// pausedError ends a replay that too much of has failed.
type pausedError struct {
	failed int
	codes  map[string]int
	id     string
}

func (e *pausedError) Error() string {
	return fmt.Sprintf("paused: %s failed (%s); look at closeorder outcomes and mend the cause, then the same command with --replay-id %s goes on with the rest",
		count(e.failed, "outcome"), codes(e.codes), e.id)
}

// begin follows the outcomes from here on, until stop or ctx ends.
func (w *replayWatch) begin(ctx context.Context, c *cluster) (stop func(), err error) {
	w.ours, w.early, w.codes = map[events.Source]bool{}, map[events.Source]string{}, map[string]int{}
	from, err := where{end: true}.offsets(ctx, c.reader(), c.topics.Outcomes)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := c.reader().Read(ctx, c.topics.Outcomes, from, nil, func(r kafka.Record) error {
			if o, err := events.DecodeOutcome(r.Message); err == nil && o.Replay > 0 {
				w.answered(o)
			}
			return nil
		})
		if ctx.Err() == nil {
			w.pause(fmt.Errorf("%w: %w", errNoOutcomes, err))
		}
	}()
	return func() { cancel(); <-done }, nil
}

// sent: a record of ours landed there.
func (w *replayWatch) sent(at events.Source) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.after == 0 {
		return
	}
	if code, failed := w.early[at]; failed {
		delete(w.early, at)
		w.count(code)
		return
	}
	w.ours[at] = true
}

func (w *replayWatch) answered(o events.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ours := w.ours[o.Source]
	delete(w.ours, o.Source) // its first outcome counts
	switch {
	case o.Final():
	case ours:
		w.count(o.Code)
	case len(w.early) < mostEarly:
		w.early[o.Source] = o.Code
	}
}

// count is called with mu held.
func (w *replayWatch) count(code string) {
	if w.failed++; w.failed > w.after {
		return // it has been told
	}
	w.codes[code]++
	if w.failed == w.after {
		w.pause(&pausedError{failed: w.failed, codes: w.codes, id: w.id})
	}
}
