package deadletters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// PausedError ends a replay that too much of has failed.
type PausedError struct {
	// Failed outcomes of what it has sent, by code.
	Failed int
	Codes  map[string]int
	// ID of the replay: the same one goes on with the rest.
	ID string
}

func (e *PausedError) Error() string {
	names := slices.SortedFunc(maps.Keys(e.Codes), func(x, y string) int {
		return cmp.Or(cmp.Compare(e.Codes[y], e.Codes[x]), cmp.Compare(x, y))
	})
	for i, name := range names {
		n := e.Codes[name]
		if strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) {
			name = strconv.QuoteToASCII(name)
		}
		names[i] = fmt.Sprintf("%s %d", name, n)
	}
	outcomes := "outcomes"
	if e.Failed == 1 {
		outcomes = "outcome"
	}
	return fmt.Sprintf("paused: %d %s failed (%s)", e.Failed, outcomes, strings.Join(names, ", "))
}

// ErrNoOutcomes ends a replay that cannot see any more what becomes of it.
var ErrNoOutcomes = errors.New("the outcomes cannot be watched any more, so nothing more is sent")

// watch follows the outcomes of what a replay sends, and pauses it when too many
// of them failed. Safe for concurrent use.
type watch struct {
	after int
	id    string
	pause context.CancelCauseFunc

	mu sync.Mutex
	// ours are the records that were sent and have no outcome so far; early are the
	// first outcomes of records that were not known as ours when they came in.
	ours   map[events.Source]bool
	early  map[events.Source]early
	codes  map[string]int
	failed int
}

// early is an outcome that came in before it was known whose it is.
type early struct {
	code   string
	failed bool
}

// mostEarly bounds what is remembered of other replays.
const mostEarly = 10_000

// begin follows the outcomes from here on, until stop or ctx ends. Those that failed
// before, by code, may be enough already; open are records that were sent before and
// have no outcome so far.
func (w *watch) begin(ctx context.Context, s Sending, before map[string]int, open []events.Source) (stop func(), err error) {
	w.ours, w.early, w.codes = map[events.Source]bool{}, map[events.Source]early{}, map[string]int{}
	for _, at := range open {
		w.ours[at] = true
	}
	for code, n := range before {
		w.codes[code] = n
		w.failed += n
	}
	if w.failed >= w.after {
		return nil, &PausedError{Failed: w.failed, Codes: w.codes, ID: w.id}
	}
	asking, cancel := context.WithTimeoutCause(ctx, s.Patience, errors.New("no answer from Kafka to where the outcomes end"))
	defer cancel()
	from, err := s.Reader.End(asking, s.Topics.Outcomes)
	if err != nil {
		return nil, err
	}
	ctx, cancel = context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := s.Reader.Read(ctx, s.Topics.Outcomes, from, nil, func(r kafka.Record) error {
			if o, err := events.DecodeOutcome(r.Message); err == nil && o.Replay > 0 {
				w.answered(o)
			}
			return nil
		})
		if ctx.Err() == nil {
			w.pause(fmt.Errorf("%w: %w", ErrNoOutcomes, err))
		}
	}()
	return func() { cancel(); <-done }, nil
}

// sent: a record of ours landed there.
func (w *watch) sent(at events.Source) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.after == 0 {
		return
	}
	if first, came := w.early[at]; came {
		delete(w.early, at)
		if first.failed {
			w.count(first.code)
		}
		return
	}
	w.ours[at] = true
}

func (w *watch) answered(o events.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ours := w.ours[o.Source]
	delete(w.ours, o.Source) // its first outcome counts
	_, came := w.early[o.Source]
	switch {
	case ours && !o.Final():
		w.count(o.Code)
	case !ours && !came && len(w.early) < mostEarly:
		w.early[o.Source] = early{o.Code, !o.Final()}
	}
}

// count is called with mu held.
func (w *watch) count(code string) {
	if w.failed++; w.failed > w.after {
		return // it has been told
	}
	w.codes[code]++
	if w.failed == w.after {
		w.pause(&PausedError{Failed: w.failed, Codes: w.codes, ID: w.id})
	}
}
