package consumer

import (
	"context"
	"time"

	"github.com/closeorder/closeorder/events"
)

// The way of a request from its record to its outcome. It is fetched, then:

// take decodes it and sends it into the lane of its order, now or when it is due.
func (w *Worker) take(r *request) {
	due := r.read(w.cfg.Topics.Retries)
	if !r.partition.claim(r) {
		// A produce that was tried again has written the record twice,
		// and the other copy is still to be served here.
		w.finish(r)
		return
	}
	w.spans.begin(r)
	w.placed.look(r)
	switch pause := min(due.Sub(w.cfg.Now()), tiers(w.cfg.Topics.Retries).delayOf(r.partition.topic)); {
	case r.rejected != "":
		w.enter(r)
	case r.waits != Scope{}:
		w.await(r, pause)
	case pause > 0:
		r.is(waitsForTime, &note{until: time.Now().Add(pause)})
		r.partition.after(pause, r, w.enter)
	default:
		w.enter(r)
	}
}

// enter lets it wait for its turn. What can never work has one too, so that a
// drain ends although such records keep coming.
func (w *Worker) enter(r *request) {
	r.is(queued, nil)
	_, r.noCall = w.refuse(r)
	w.lanes.add(r)
}

// turn is when it is the first of its lane and has a permit: it is closed, and
// what comes of that is decided and done. With restInPlace it keeps its place.
// The slot is free again when that is done, not when it is acknowledged.
func (w *Worker) turn(ctx context.Context, r *request, p permit) {
	r.is(calling, nil)
	c, stays := w.stays(r)
	if stays {
		p.giveBack(ctx, r.req, unused, time.Time{})
	} else {
		c = w.call(ctx, r, p)
	}
	d := decide(w.circumstances(r, c))
	w.carryOut(r, d)
	w.progress.Add(1)
	w.lanes.finished(r, d.next == restInPlace)
}

// withoutCall is the turn of one that needs no call. It returns false where it
// needs one: its merchant has become known, say. It waits for no gateway, and
// the merchants are those of this moment.
func (w *Worker) withoutCall(r *request) bool {
	if c, is := w.crowded(r); is {
		w.carryOut(r, decide(w.circumstances(r, c)))
		return true
	}
	v, refused := w.refuse(r)
	if !refused {
		return false
	}
	c := circumstances{turn: hopeless, verdict: v}
	if r.rejected == "" {
		if early, is := w.early(r); is {
			c = early
		}
	}
	w.carryOut(r, decide(w.circumstances(r, c)))
	return true
}

// carryOut does what was decided. What is settled is published with acks=all,
// then finished, then committed: see settle.
func (w *Worker) carryOut(r *request, d decision) {
	if d.scope != (Scope{}) {
		r.waits = d.scope
	}
	switch d.next {
	case restInPlace:
		r.rest = d.pause
		r.is(queued, &note{until: time.Now().Add(d.pause), why: whyOf(&d)})
		return
	case waitForMerchant:
		w.await(r, d.pause)
	default:
		w.settle(r, d)
	}
	w.holds.leave(r)
}

// What the turns are made of:

// refuse gives the verdict on a request for which no call can be made.
func (w *Worker) refuse(r *request) (v Verdict, refused bool) {
	if r.rejected != "" {
		return Verdict{Class: Failed, Code: events.CodeInvalidRequest, Message: r.rejected}, true
	}
	return w.cfg.Closer.Refuse(r.req)
}

// early says whether a request may not be served yet, as its turn begins. One
// that has expired may.
func (w *Worker) early(r *request) (c circumstances, early bool) {
	w.warnOfClock(r)
	now := w.cfg.Now()
	r.expired = r.expiredAt(now)
	until, code := w.waitFor(r)
	if r.expired || !until.After(now) {
		return c, false
	}
	return circumstances{turn: notDue, until: until, verdict: Verdict{Code: code, Message: "waits until " + until.UTC().Format(time.RFC3339)}}, true
}

// stays says whether a request whose turn has come is not called, and why.
func (w *Worker) stays(r *request) (c circumstances, stays bool) {
	if c, early := w.early(r); early || r.expired {
		return c, early
	}
	if w.handOver(r) {
		return circumstances{turn: handedOver}, true
	}
	scope, why, is := w.holds.held(r, time.Now())
	return circumstances{turn: held, verdict: Verdict{Code: "MERCHANT_HELD", Message: why, Scope: scope}}, is
}

// call has a request closed, and tells the breaker and the holds what its verdict
// is evidence of.
func (w *Worker) call(ctx context.Context, r *request, p permit) circumstances {
	do := w.cfg.Closer.Close
	if r.expired {
		// Not closed any more, but asked about: this may be the repeat of a
		// request that was closed in time, by a worker that died before it
		// could commit (G2).
		do = w.cfg.Closer.Query
	}
	req := w.aged(r)
	began := w.now()
	v := do(r.under(ctx), req, r.calls > 0, r.lane)
	r.calls += v.Calls
	if w.cfg.Observer != nil && v.Calls > 0 {
		w.cfg.Observer.Called(Turn{MchID: req.MchID, Calls: v.Calls, Class: v.Class, Code: v.Code, Began: began, Took: time.Since(began)})
	}
	if v.evidence() == unanswered {
		w.lanes.goesOn(r.lane)
	}
	found := p.giveBack(r.under(ctx), req, v.evidence(), v.LastCall)
	blamed := v.Class == MerchantRefused && w.holds.blames(r, v.Scope)
	came, news := read(v, found, r.expired, blamed)
	w.resume(w.holds.learn(r, v, news, time.Now()))
	if found == itIsTheMerchant {
		v.Scope = Scope{MchID: r.req.MchID}
	}
	return circumstances{turn: came, verdict: v}
}

// now is the process's time where somebody observes turns: nobody else asks.
func (w *Worker) now() (t time.Time) {
	if w.cfg.Observer != nil {
		t = time.Now()
	}
	return t
}

// whyOf says for people why a request rests.
func whyOf(d *decision) string {
	if d.verdict.Message == "" {
		return d.verdict.Code
	}
	return d.verdict.Code + ": " + d.verdict.Message
}

// circumstances completes c with what is known of r.
func (w *Worker) circumstances(r *request, c circumstances) circumstances {
	c.verdict.Message = w.told(r, c.verdict.Message)
	c.now, c.expires, c.expired = w.cfg.Now(), r.req.ExpiresAt, r.expired
	c.retries, c.tiers = r.retries, w.cfg.Topics.Retries
	switch c.turn {
	case uncalled:
		c.roomy = r.partition.roomy()
	case held, away:
		now := time.Now()
		c.roomy, c.prober, c.alone = r.partition.roomy(), w.holds.probes(r), w.lanes.alone(r)
		c.had, c.left, c.climbed = now.Sub(r.taken), r.due.Sub(now), r.climbed
	}
	return c
}
