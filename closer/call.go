package closer

import (
	"fmt"
	"time"
)

// exchange makes one call, and one more for each further key while the
// gateway says that the signature is wrong. A call that was lost on a
// connection that had been idle is made again at once, once, on a new one: a
// gateway closes such connections when it likes. exchange reports false when no
// call was made before the budget or ctx ended, or ctx ended during it.
func (r *run) exchange(call Call) (answer, bool) {
	keys := r.m.Keys
	first := int(r.account.key.Load())
	if first >= len(keys) {
		first = 0
	}
	var a answer
	repeated := false
	for i := range keys {
		n := (first + i) % len(keys)
		var ok bool
		if a, ok = r.call(call, n, false); !ok {
			return answer{}, false
		}
		if !repeated && lostIdle(a, r.pending.Reused) {
			repeated = true
			r.lost = r.lost || call == CallClose
			r.saw(NoAnswer, string(a.failure), fmt.Sprintf("no answer: %v; the connection had been idle: again at once", a.err))
			if again, ok := r.call(call, n, true); ok {
				a = again
			} else if r.ctx.Err() != nil {
				return answer{}, false
			}
		}
		if i < len(keys)-1 && badSignature(a) {
			d := decide(a)
			r.saw(d.class, d.code, d.reason+"; trying the next key")
			continue
		}
		if n != first && a.verified && a.failure != FailIdentity && !badSignature(a) {
			r.account.key.Store(int64(n))
		}
		break
	}
	return a, true
}

// badSignature reports whether the gateway says that our signature is wrong.
func badSignature(a answer) bool {
	return a.failure == "" && a.fields.get("result_code") != "SUCCESS" && decide(a).badSign
}

// lostIdle reports whether a call was lost on a connection that had been idle.
func lostIdle(a answer, reused bool) bool { return reused && a.failure == FailLost }

// call makes one call with the given key; fresh: over a new connection.
func (r *run) call(call Call, key int, fresh bool) (answer, bool) {
	if r.calls > 0 {
		r.observe(0)
		// A rest may have taken longer than it was to take.
		if _, err := r.account.wait(r.rest, time.Until(r.pace.deadline)); err != nil || !time.Now().Before(r.pace.deadline) {
			r.starved = r.ctx.Err() == nil
			return answer{}, false
		}
	}
	h, err := take(r.ctx, r.id.mchID, r.pace.deadline, r.hosts, r.moves, time.Now())
	if err != nil {
		r.starved = r.ctx.Err() == nil
		if r.last.class == 0 {
			r.last = decision{class: NoAnswer, code: string(FailBusy), reason: "no call slot of the host was free"}
			r.evidence.Host = h.url
		}
		return answer{}, false
	}
	start := time.Now()
	r.lastCall = start
	if r.calls++; r.calls == 1 {
		// The wait for a free slot was no try.
		r.pace.deadline = start.Add(r.c.cfg.Budget)
	}

	r.enter()
	request := appendFields(r.room.request[:0], &r.id, r.m.SignType, newNonce())
	doc, sign := appendSigned(r.room.document[:0], request, r.m.Keys[key], r.m.SignType)

	d := r.c.transport.post(r.ctx, h.url, call, doc, &r.room.body, fresh)
	var a answer
	if d.failure != "" {
		a = answer{failure: d.failure, err: d.err}
	} else {
		a = checkReply(r.room.reply[:0], d.body, call, r.id, r.m.Keys, r.m.SignType)
	}
	now := time.Now()
	took := now.Sub(start)

	interrupted := d.failure != "" && r.ctx.Err() != nil
	// That a connection was closed which had been idle says nothing of the host:
	// all of them are when it starts anew.
	h.giveBack(a.failure, interrupted || lostIdle(a, d.reused), took, now)
	r.gather(call, h.host, a)
	r.pending = &r.room.attempt
	*r.pending = Attempt{
		Order: r.order, Call: call, Number: r.calls, Host: h.url, Start: start, Duration: took,
		Reused: d.reused, Status: d.status, Key: key + 1, Verified: a.verified, Failure: a.failure, Err: a.err,
	}
	if r.c.cfg.Observe != nil && !r.c.cfg.ObserveBare {
		r.pending.show(request, a.fields, d.body, r.id, string(sign))
	}
	if interrupted {
		r.pending.Class, r.pending.Code, r.pending.Failure = Interrupted, CodeInterrupted, ""
		r.pending.Reason = "the context ended during the call"
		return answer{}, false
	}
	return a, true
}

// saw completes the pending attempt with what its answer means.
func (r *run) saw(c Class, code, reason string) {
	if r.pending != nil {
		r.pending.Class, r.pending.Code, r.pending.Reason = c, code, reason
	}
}

// observe hands the pending attempt to the observer, and gives its room back.
func (r *run) observe(wait time.Duration) {
	if r.pending == nil {
		return
	}
	if r.c.cfg.Observe != nil {
		a := *r.pending
		a.Wait = wait
		r.c.cfg.Observe(r.ctx, a)
	}
	r.leave()
}
