package world

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
)

// History is the life of one order as the evidence shows it, a line per
// record, call and change in the order book, by time.
func (e Evidence) History(o events.Order) string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	add := func(at time.Time, format string, args ...any) {
		lines = append(lines, line{at, fmt.Sprintf(format, args...)})
	}
	sources := make(map[events.Source]bool)
	for _, r := range e.Requests {
		if orderOf(r.Message) == o {
			sources[r.Source()] = true
			add(r.At, "request %s[%d]@%d", r.Topic, r.Partition, r.Offset)
		}
	}
	for _, r := range e.Aborted {
		if orderOf(r.Message) == o {
			sources[r.Source()] = true
			add(r.At, "request of a transaction that was aborted %s[%d]@%d", r.Topic, r.Partition, r.Offset)
		}
	}
	for _, r := range slices.Concat(e.Retries, e.DeadLetters) {
		if source := SourceOf(r.Message); sources[source] {
			add(r.At, "%s[%d]@%d of @%d: %s %s", r.Topic, r.Partition, r.Offset, source.Offset,
				lastHeader(r.Message, "closeorder-error-code"), lastHeader(r.Message, "closeorder-due-at"))
		}
	}
	for _, r := range e.Outcomes {
		if a, err := readOutcome(r); err == nil && sources[a.Source] {
			add(r.At, "outcome %s %s of @%d: %s, safe %v, confirmed by %q, id %s: %s", a.Result, a.Code, a.Source.Offset, r.Topic, a.SafeToReissue, a.ConfirmedBy, a.ID, a.Message)
		}
	}
	for _, c := range e.Calls {
		if c.Order == o {
			add(c.Start, "%s by %s at %s until %s: %s", c.Op, c.Caller, c.Host, c.End.Format(timeOfDay), c.Answer)
		}
	}
	for _, entry := range e.Book {
		if bookKey(entry) == o {
			for _, ev := range entry.Events {
				add(ev.At, "book: %v, now %v", ev.What, ev.State)
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s %s\n", l.at.UTC().Format(timeOfDay), l.text)
	}
	return b.String()
}

const timeOfDay = "15:04:05.000"
