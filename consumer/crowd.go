package consumer

import (
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// crowdAfter is how long the requests of a merchant wait for a slot until more
	// of them are too many: as long as a call may wait for its merchant's rate.
	crowdAfter = 2 * time.Second
	// longestCrowded is for how long one of them is put off at the most: its
	// merchant may be quicker by then.
	longestCrowded = 5 * time.Minute
	// relieveEvery is how often some are put off that wait already, relieveMost how
	// many, and relieveLook how many are looked at.
	relieveEvery = 50 * time.Millisecond
	relieveMost  = 64
	relieveLook  = 4096
	// aboutFor is how long another merchant counts as one whose requests may stand
	// behind those that wait.
	aboutFor = time.Hour
)

// asked is a merchant and when a request of it came in.
type asked struct {
	mchID string
	at    time.Time
}

// crowd marks a request that had better wait in a retry topic. What waits for a
// slot takes up memory, and when that is full nothing more is read: the requests
// of a merchant that is slow for hours, or sends many more than its rate allows,
// would hold up those of all others that stand behind them in the topic.
//
// So one that comes in is put off where all of this is so: memory runs short; the
// first of its merchant has waited for long; another merchant, which has asked
// within an hour, waits for nothing; and neither slow brokers nor an outage of the
// gateway or the ramp after one is why.
// A merchant that is alone is never put off, nor is one where all are as busy:
// then intake waits, as ever, and nothing is written twice. It goes out by the
// queue of those that need no call, so that nothing of a partition that is given
// up goes out any more. l.mu is held.
func (l *lanes) crowd(r *request) {
	if r.noCall {
		return
	}
	mchID := r.req.MchID
	if l.latest[0].mchID != mchID {
		l.latest[1] = l.latest[0]
	}
	l.latest[0] = asked{mchID, r.taken}
	if waited := l.crowds(mchID); waited > 0 && r.inTheWay() {
		r.noCall, r.crowded = true, waited
	}
}

// crowds is for how long the first of a merchant has waited, where others may have
// to wait behind what more there is of it; else 0.
func (l *lanes) crowds(mchID string) time.Duration {
	first := l.seats.Front(mchID)
	if first == nil {
		return 0
	}
	now := time.Now()
	waited := now.Sub(first.Value.since)
	if waited > crowdAfter && l.content(now) && 2*l.unpublished < l.maxUnpublished && l.breaker.room() == l.slots {
		return waited
	}
	return 0
}

// inTheWay says whether r takes up memory of which its partition runs short. One
// that waits for its merchant to be served again has a way of its own.
func (r *request) inTheWay() bool {
	return r.waits == (Scope{}) && r.partition.standing == running && !r.partition.roomy()
}

// relieve puts some off that wait already, the last ones first: a burst may have
// filled the memory before its first had waited for long, and then nothing comes
// in that could be put off. It is asked when a turn of the merchant has ended.
func (l *lanes) relieve(mchID string) {
	last := l.seats.Back(mchID)
	if last == nil || time.Since(l.relieved) < relieveEvery {
		return
	}
	waited := l.crowds(mchID)
	if waited == 0 {
		return
	}
	l.relieved = time.Now()
	for looked, most := 0, relieveMost; last != nil && looked < relieveLook && most > 0; looked++ {
		ln, ahead := last.Value, last.Ahead()
		if r := ln.requests.first(); ln.requests.len() == 1 && r.inTheWay() {
			l.seats.Remove(last)
			r.noCall, r.crowded = true, waited
			l.noCall.push(ln)
			most--
		}
		last = ahead
	}
}

// content says whether a merchant waits for nothing that may ask any moment.
func (l *lanes) content(now time.Time) bool {
	other := l.latest[1]
	return l.seats.Content() > 0 || other.mchID != "" && now.Sub(other.at) < aboutFor && l.seats.Front(other.mchID) == nil
}

// crowded says whether r is put off, and for how long: as it would have had to
// wait, and twice as long each time, so that a backlog of days is not written over
// and over. One that has expired is asked about now.
func (w *Worker) crowded(r *request) (c circumstances, crowded bool) {
	waited := r.crowded
	r.crowded = 0
	if waited == 0 || r.expiredAt(w.cfg.Now()) {
		return c, false
	}
	v := Verdict{Code: "MERCHANT_BUSY", Message: "requests of its merchant wait for a call slot for " + waited.Round(time.Second).String() + ", and others must not wait behind them"}
	now := time.Now()
	v.RetryAfter = min(max(waited, r.inHand(now)), longestCrowded)
	if w.crowds.due(r.req.MchID, now) {
		w.cfg.Log.WithFields(logrus.Fields{"mch_id": r.req.MchID, "waited": waited.Round(time.Second), "out_trade_no": r.req.OutTradeNo}).
			Warn("requests of a merchant wait for a call slot, and memory runs short: they are put off to the retry topics, so that others need not wait behind them")
	}
	return circumstances{turn: crowdedOut, verdict: v}, true
}
