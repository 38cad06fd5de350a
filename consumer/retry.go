package consumer

import (
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
)

// Tier is a retry topic and the delay of the records in it.
type Tier struct {
	Topic string
	Delay time.Duration
}

// tiers are the retry topics, the shortest delay first. A record waits in the
// topic of its delay, which therefore is nearly in the order of due times: it
// is read ahead up to the window, and each record starts when it is due.
type tiers []Tier

// forRetry returns the tier of the next retry after attempt earlier ones,
// whose delay is not below least; false when there is none left.
func (ts tiers) forRetry(attempt int, least time.Duration) (Tier, bool) {
	if attempt >= len(ts) {
		return Tier{}, false
	}
	for _, t := range ts[attempt:] {
		if t.Delay >= least {
			return t, true
		}
	}
	return ts[len(ts)-1], true
}

// forWait returns the tier for a wait: the longest delay that is not longer,
// else the shortest. A long wait takes several hops.
func (ts tiers) forWait(wait time.Duration) Tier {
	tier := ts[0]
	for _, t := range ts[1:] {
		if t.Delay <= wait {
			tier = t
		}
	}
	return tier
}

// delayOf is the longest that a record of a topic can have to wait; 0 for what
// is no retry topic. What is due later was written by a clock that was wrong.
func (ts tiers) delayOf(topic string) time.Duration {
	if i := ts.index(topic); i >= 0 {
		return ts[i].Delay + unmeasured
	}
	return 0
}

// unmeasured is added to a wait that somebody asked for: what a record takes to
// its topic and back is in nobody's hand, and an order whose age is measured
// (see ageOf) would come back just too young.
const unmeasured = 2 * time.Second

// longestHold is the longest that a request waits for its merchant before it is
// written again: without a prober that bounds how late it is served when the
// merchant works again.
const longestHold = 30 * time.Minute

// forHold returns the tier for a request whose merchant is held and which has
// waited for that in climbed tiers already: it climbs, so that a merchant that is
// held for long costs few writes. last is set when there is none to climb to.
func (ts tiers) forHold(climbed int) (tier Tier, last bool) {
	top := 0
	for i, t := range ts {
		if t.Delay <= longestHold {
			top = i
		}
	}
	return ts[min(climbed, top)], climbed > top
}

// index is the position of a topic.
func (ts tiers) index(topic string) int {
	return slices.IndexFunc(ts, func(t Tier) bool { return t.Topic == topic })
}

// waitFor says until when a request may not be served yet, and why; a time
// that is not in the future says that it may.
func (w *Worker) waitFor(t *task) (until time.Time, code string) {
	until, code = t.req.NotBefore, "NOT_BEFORE"
	if created := t.req.OrderCreatedAt; !created.IsZero() && w.minOrderAge > 0 {
		old := created.Add(w.minOrderAge)
		// A clock that runs ahead must not hold an order for ever: it was
		// there when workers first had the request.
		now := w.now()
		if first := now.Add(-t.inHand()); created.After(first) {
			old = first.Add(w.minOrderAge)
			if old.After(now) {
				// What nobody measures, the way to a topic and back, must not
				// be what is left each time: that would never end.
				old = later(old.Add(unmeasured), now.Add(w.retries[0].Delay))
			}
		}
		if old.After(until) {
			until, code = old, "ORDER_TOO_YOUNG"
		}
	}
	return until, code
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// retry makes the record that brings t back later. It goes to the partition
// with the number of its source, which belongs to the same member as long as
// the retry topics have as many partitions as the requests topic.
func (w *Worker) retry(t *task, a Answer, tier Tier, due time.Time, attempt int) record {
	if expires := t.req.ExpiresAt; !t.expired && !expires.IsZero() && due.After(expires) {
		due = expires // to say so then, not later
	}
	r := records.Retry{
		Original: t.msg, DueAt: due, RetryAttempt: attempt, Attempts: t.attempts + a.Attempts,
		Code: a.Code, Reason: a.Message, FirstRequestedAt: t.req.RequestedAt,
		Replay: t.req.Replay, Source: t.source, SourceTimestamp: t.time, Held: t.inHand(),
	}
	if a.Disposition == Held {
		r.WaitsFor = t.waits.waitsFor()
	}
	w.log.WithFields(t.fields()).WithField("due", due).WithField("code", a.Code).Debug("put off")
	return record{
		topic: tier.Topic, to: t.source.Partition, msg: records.EncodeRetry(r),
		instead: func() {
			w.settle(t, Answer{Disposition: Failed, Code: events.CodeRecordTooLarge, Message: "too large to wait in " + tier.Topic + " (" + a.Code + "): raise its max.message.bytes", Attempts: a.Attempts})
		},
	}
}

// unpack makes a task of a retry record the task of its original request, and
// returns the record.
func (t *task) unpack() (records.Retry, error) {
	r, err := records.DecodeRetry(t.msg)
	if err != nil {
		return r, err
	}
	t.msg, t.source = r.Original, r.Source
	if !r.SourceTimestamp.IsZero() { // else it was none that could be written
		t.time = r.SourceTimestamp
	}
	t.attempt, t.attempts, t.held = r.RetryAttempt, r.Attempts, r.Held
	return r, nil
}
