package world

import (
	"sync/atomic"
	"time"
)

// clock is the wall clock of a host, wrong by an offset. It is about when
// requests fall due; timers go by the one clock of the bubble, as those of a
// real host go by a monotonic one.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// clock returns the clock of a host; it outlives the workers on it.
func (w *World) clock(host string) *clock {
	c := w.clocks[host]
	if c == nil {
		c = &clock{}
		w.clocks[host] = c
	}
	return c
}

// ClockAhead is a time during which the clock of a host was ahead.
type ClockAhead struct {
	Host     string
	From, To time.Time // To is zero while it lasts
	By       time.Duration
}

// clockSlack is how long after a clock was put right something may still
// happen that was decided by it: it waited for a call slot.
const clockSlack = time.Minute

// latest is the latest time that a worker's clock can have shown when
// something was decided that happened at t.
func (e *Evidence) latest(t time.Time) time.Time { return e.latestSince(t.Add(-clockSlack), t) }

// latestSince is the same where it was decided since then: when a retry is due
// is written by one clock and read by another, and a timer waits for the rest.
func (e *Evidence) latestSince(since, t time.Time) time.Time {
	var by time.Duration
	for _, c := range e.ClocksAhead {
		if !c.From.After(t) && (c.To.IsZero() || c.To.After(since)) {
			by = max(by, c.By)
		}
	}
	return t.Add(by)
}
