package closer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// queryPauses are the pauses between queries about one close: a query can
// still say NOTPAY for a moment after it.
var queryPauses = [...]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second}

const (
	// maxReclose bounds how often an order is closed again because the query
	// shows it open after the close succeeded.
	maxReclose = 3
	// queryFrom is the round from which on a query goes before each close,
	// whatever the last answer was: an answer that persists is worth asking about.
	queryFrom = 3
)

// run is one Close, Query or Probe under way: which calls it makes (call.go),
// and what follows from their answers here. It belongs to one goroutine.
type run struct {
	c       *Closer
	ctx     context.Context
	order   Order
	place   Place     // nil: nobody uses it otherwise
	created time.Time // Order.CreatedAt, on the clock of this process
	m       Merchant
	id      identity
	hosts   []*host
	account *account
	pace    pace

	calls     int
	lastCall  time.Time // when it began
	rounds    int
	moves     int // times a host let this run down
	lost      bool
	paid      bool      // a close was answered with paid
	closedAt  time.Time // when the last answered close was made
	queriedAt time.Time // when the query was made that lastTrade is from
	starved   bool      // the last call that was wanted found no free slot or place in time
	last      decision
	lastTrade trade
	tradeCode string
	streak    int // answers like the last one in a row
	reclosed  int
	scope     Scope
	evidence  Evidence
	pending   *Attempt // seen by the observer once it is known what follows
	room      *room    // while pending is set
}

// runs are those that are over, to be used again.
var runs = sync.Pool{New: func() any { return new(run) }}

// end is the end of a run: nothing of it may be used any more.
func (r *run) end() {
	clear(r.hosts)
	*r = run{hosts: r.hosts[:0]}
	runs.Put(r)
}

// errSpent says that the budget is over. Its text is never shown.
var errSpent = errors.New("the budget is spent")

// do makes rounds about an order until one concludes, the budget is over, or
// ctx ends. A round reports false when another one must follow after a pause.
func (c *Closer) do(ctx context.Context, o Order, round func(*run) (Verdict, bool)) Verdict {
	r, v := c.begin(ctx, o)
	if r == nil {
		return v
	}
	defer r.end()
	later, err := r.account.begin(r.rest)
	if later > 0 {
		return Verdict{
			Class: Temporary, Code: CodeOwnRate, RetryAfter: later,
			Message: "the merchant's rate is used up for the next " + later.Round(time.Second).String(),
		}
	}
	if err == nil {
		r.pace.deadline = time.Now().Add(r.c.cfg.Budget)
		v, err = r.repeat(round)
	}
	r.observe(0)
	switch {
	case err == nil:
	case r.ctx.Err() != nil:
		v = Verdict{Class: Interrupted, Code: CodeInterrupted, Message: fmt.Sprintf("interrupted: %v", context.Cause(r.ctx))}
	default:
		v = r.exhausted()
	}
	v.Calls, v.LastCall, v.Gateway = r.calls, r.lastCall, r.evidence
	v.Starved = r.starved && (v.Class == Temporary || v.Class == NoAnswer)
	return v
}

// repeat makes rounds until one concludes. It does what backoff.Retry does, but
// that the pauses are rests, and that a first round that concludes costs nothing.
func (r *run) repeat(round func(*run) (Verdict, bool)) (Verdict, error) {
	for {
		if v, done := round(r); done {
			return v, nil
		}
		if err := r.ctx.Err(); err != nil {
			return Verdict{}, err
		}
		pause := r.pace.NextBackOff()
		if pause == backoff.Stop {
			return Verdict{}, errSpent
		}
		r.observe(pause)
		if err := r.rest(pause); err != nil {
			return Verdict{}, err
		}
	}
}

// rest waits for d, or until ctx ends, and returns why it ended.
func (r *run) rest(d time.Duration) error {
	if r.place == nil || d <= 0 {
		return sleep(r.ctx, d)
	}
	return r.place.Rest(r.ctx, d, r.calls > 0)
}

// closeRound is one close with the queries that go before and after it. It
// reports false when the order must be closed again after a pause.
func (r *run) closeRound() (Verdict, bool) {
	r.rounds++
	if r.rounds > 1 && r.c.cfg.Confirm != ConfirmNever && (r.last.queryFirst || r.rounds >= queryFrom) {
		if v, done := r.query(1); done {
			return v, true
		}
	}
	if !r.close() {
		return Verdict{}, false
	}
	if r.last.class == MerchantRefused {
		return r.refused(), r.spent() || r.last.limit == 0
	}
	ruling := r.rule()
	switch ruling.step {
	case conclude:
		return r.concluded(ruling), true
	case queryFirst:
		times := 1
		if r.last.class == Closed || r.last.class == Paid {
			times = 1 + len(queryPauses)
		}
		if v, done := r.query(times); done {
			return v, true
		}
		if r.last.class == Closed && r.lastTrade == tradeOpen {
			if r.reclosed++; r.reclosed > maxReclose {
				return r.exhausted(), true
			}
			r.last.queryFirst = true // query, and if it is still open close at once, without a gap
		}
	}
	if r.spent() {
		return r.exhausted(), true
	}
	return Verdict{}, false
}

// spent reports whether the last answer came as often as it is worth another
// attempt.
func (r *run) spent() bool { return r.last.limit > 0 && r.streak >= r.last.limit }

// rule weighs what is known now. The age that counts is the order's when the
// call was made that found it, or did not: a create call can arrive before its
// answer.
func (r *run) rule() ruling {
	at := r.closedAt
	if r.lastTrade == tradeUnknown {
		at = r.queriedAt
	}
	return weigh(standing{close: r.last, query: r.lastTrade, age: r.age(at), confirm: r.c.cfg.Confirm, lost: r.lost, paid: r.paid})
}

// close makes one close and takes in its answer. It reports false when no
// call was made or ctx ended.
func (r *run) close() bool {
	a, ok := r.exchange(CallClose)
	if !ok {
		return false
	}
	r.closedAt = r.lastCall
	r.heard(decide(a))
	r.lost = r.lost || r.last.class == NoAnswer
	r.paid = r.paid || r.last.class == Paid
	return true
}

// heard takes in what an answer means.
func (r *run) heard(d decision) {
	d, r.scope = d.blame(r.id)
	if d.class == r.last.class && d.said == r.last.said {
		r.streak++
	} else {
		r.streak = 1
	}
	r.last = d
	r.lastTrade, r.tradeCode = notQueried, ""
	r.pace.least, r.pace.soon = d.wait, d.soon
	if d.class == NoAnswer {
		r.moves++ // closing again on another host is safe
	}
	r.saw(d.class, d.code, d.reason)
}

// query asks about the order, up to times times and for as long as the
// answers settle nothing.
func (r *run) query(times int) (Verdict, bool) {
	for i := range times {
		if i > 0 {
			wait := queryPauses[i-1]
			if time.Now().Add(wait).After(r.pace.deadline) {
				return Verdict{}, false
			}
			r.observe(wait)
			if r.rest(wait) != nil {
				return Verdict{}, false
			}
		}
		a, ok := r.exchange(CallQuery)
		if !ok {
			return Verdict{}, false
		}
		t, code, reason := decideQuery(a)
		class := Temporary
		switch {
		case a.failure != "":
			class = NoAnswer
			r.moves++
		case t == tradeClosed:
			class = Closed
		case t == tradePaid:
			class = Paid
		}
		r.saw(class, code, reason)
		// An answer is worth more than none after it.
		if t != unanswered || r.lastTrade == notQueried {
			r.lastTrade, r.tradeCode, r.queriedAt = t, code, r.lastCall
		}
		ruling := r.rule()
		switch ruling.step {
		case conclude:
			// The close's own word stands without the query's, but only when
			// all queries have been tried.
			if t == unanswered && i < times-1 {
				continue
			}
			return r.concluded(ruling), true
		case later:
			return r.unsettled(code), true
		}
	}
	return Verdict{}, false
}
