package consumer

import (
	"fmt"
	"time"

	"github.com/closeorder/closeorder/events"
)

// ageOf is how old an order surely is that says when it was created: what the
// closer may rest a certainty on. Clocks of others can be wrong in both
// directions, and an order taken for older than it is gets called safe to
// reissue while its create call is on its way. So it is the lesser of two ages:
//
//   - by the worker: from created to now, by the worker's clock;
//   - by the shop: from created to requested, both by the shop's clock, which is
//     right about the time between them however wrong it is; and then held, for
//     how long workers have measured that they had the request in hand.
//
// requested is ce_time, which the shop stamps, else the record's timestamp. That
// may be a broker's, a mirror's or any time at all; but here it can only make an
// order younger than the request says, never older. What it cannot do is to
// tell a slow clock of a shop that sends no ce_time, where a broker whose clock
// is right stamps the record: then the age is the shop's word.
//
// It is never less than held: the order was there when the request was, so one
// from the future counts as just created when workers first had it, and does not
// stay young for as long as its clock is ahead.
//
// The source of the rule is what merchants have seen: create calls that arrive
// after the close. "Close Order" of WeChat Pay V2 says nothing about clocks.
func ageOf(created, requested, now time.Time, held time.Duration) time.Duration {
	return max(held, min(between(created, now), between(created, requested)+held))
}

// between is the time from a to b: at least none, and at most a hundred years,
// so that sums do not overflow.
func between(a, b time.Time) time.Duration {
	return max(0, min(b.Sub(a), 100*365*24*time.Hour))
}

// aged returns what r asks for with an OrderCreatedAt that makes the order as
// old as it surely is, by the process's own clock.
func (w *Worker) aged(r *request) events.Request {
	req := r.req
	if !req.OrderCreatedAt.IsZero() {
		requested := req.RequestedAt
		if requested.IsZero() {
			requested = r.time
		}
		now := time.Now()
		req.OrderCreatedAt = now.Add(-ageOf(req.OrderCreatedAt, requested, w.cfg.Now(), r.inHand(now)))
	}
	return req
}

// waitFor says until when a request may not be served yet, and why; a time
// that is not in the future says that it may.
func (w *Worker) waitFor(r *request) (until time.Time, code string) {
	until, code = r.req.NotBefore, "NOT_BEFORE"
	created := r.req.OrderCreatedAt
	if created.IsZero() || w.cfg.MinOrderAge == 0 {
		return until, code
	}
	old := created.Add(w.cfg.MinOrderAge)
	// A clock that runs ahead must not hold an order for ever: it was there when
	// workers first had the request.
	now := w.cfg.Now()
	if first := now.Add(-r.inHand(time.Now())); created.After(first) {
		old = first.Add(w.cfg.MinOrderAge)
		// What nobody measures, the way to a topic and back, must not be what is
		// left each time: that would never end.
		if soon := now.Add(w.cfg.Topics.Retries[0].Delay); old.After(now) {
			if old = old.Add(unmeasured); old.Before(soon) {
				old = soon
			}
		}
	}
	if old.After(until) {
		until, code = old, "ORDER_TOO_YOUNG"
	}
	return until, code
}

// tolerated is by how much an order_created_at may lie ahead without a word:
// clocks differ.
const tolerated = 5 * time.Minute

// ahead is how far an order_created_at lies ahead of the time at which workers
// got to have the request, 0 where that is tolerated.
func ahead(created, now time.Time, held time.Duration) time.Duration {
	if by := created.Sub(now.Add(-held)); !created.IsZero() && by > tolerated {
		return by
	}
	return 0
}

// aheadOf is ahead of r.
func (w *Worker) aheadOf(r *request) time.Duration {
	return ahead(r.req.OrderCreatedAt, w.cfg.Now(), r.inHand(time.Now()))
}

// told adds to a message for people what they must know about the request's
// order_created_at.
func (w *Worker) told(r *request, message string) string {
	by := w.aheadOf(r)
	if by == 0 {
		return message
	}
	if message != "" {
		message += "; "
	}
	return message + fmt.Sprintf("order_created_at is %v ahead of this worker's clock: the order counts as just created", by.Round(time.Second))
}

// warnOfClock tells the log of an order_created_at that lies ahead.
func (w *Worker) warnOfClock(r *request) {
	by := w.aheadOf(r)
	if by == 0 || !w.clockNews.due(r.req.MchID, time.Now()) {
		return
	}
	w.cfg.Log.WithFields(r.fields()).WithField("ahead", by.Round(time.Second)).
		Warn("order_created_at is ahead of this worker's clock: the order counts as just created; look at the order service's clock and time zone (+08:00 is not Z), then at this host's; told once a minute for each mch_id")
}
