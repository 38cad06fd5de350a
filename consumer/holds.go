package consumer

import (
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus"
)

// Scope is the part of a merchant that a gateway refuses. An empty field
// means every value.
type Scope struct{ MchID, AppID, SubMchID string }

// covers says whether a request would be refused for the same reason. An appid
// or sub_mch_id stands in a scope only where the order brought it, so that a
// request without one, which uses the merchant's own, is another matter.
func (s Scope) covers(r events.Request) bool {
	return s.MchID == r.MchID && (s.AppID == "" || s.AppID == r.AppID) && (s.SubMchID == "" || s.SubMchID == r.SubMchID)
}

// holds remembers which merchants the gateway refuses, so that their requests
// wait without a call, but for one probe at intervals, and nobody else is
// slowed. What it forgets at a restart the next call finds out again. It is
// safe for concurrent use.
type holds struct {
	log logrus.FieldLogger

	mu sync.Mutex
	on map[Scope]*hold
}

type hold struct {
	since  time.Time
	probe  time.Time // when the next call may try
	silent bool      // not refused, but not answered
}

// mostHolds bounds what is remembered, as order services name the scopes. What
// comes on top is not held: each of its requests finds out for itself.
const mostHolds = 1000

func newHolds(log logrus.FieldLogger) *holds {
	return &holds{log: log, on: make(map[Scope]*hold)}
}

// held says whether a request must wait. When the time for a probe has come
// the request is it, and does not.
func (h *holds) held(r events.Request, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	var due []*hold
	for scope, on := range h.on {
		if !scope.covers(r) {
			continue
		}
		if now.Before(on.probe) {
			return true // and the probes that are due stay due
		}
		due = append(due, on)
	}
	for _, on := range due {
		on.probe = now.Add(2 * probeEvery)
	}
	return false
}

// refused notes that the gateway refuses scope.
func (h *holds) refused(scope Scope, a Answer, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold(scope, false, now, func(log logrus.FieldLogger) {
		log.WithFields(logrus.Fields{"code": a.Code, "message": a.Message}).
			Error("the gateway refuses this merchant: its requests wait, mend its configuration; nothing is failed for it")
	})
}

// unanswered notes that the gateway answers others, and nothing for this
// merchant: its hosts are its own and away, say.
func (h *holds) unanswered(mchID string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold(Scope{MchID: mchID}, true, now, func(log logrus.FieldLogger) {
		log.Error("the gateway does not answer for this merchant, but for others: its requests wait; nothing is failed for it")
	})
}

// hold holds a scope until its next probe. h.mu is held.
func (h *holds) hold(scope Scope, silent bool, now time.Time, tell func(logrus.FieldLogger)) {
	on := h.on[scope]
	if on == nil {
		for s, old := range h.on {
			if now.Sub(old.probe) > 2*longestHold { // nobody waits for it any more
				delete(h.on, s)
			}
		}
		if len(h.on) >= mostHolds {
			return
		}
		on = &hold{since: now, silent: silent}
		h.on[scope] = on
		tell(h.log.WithFields(scope.fields()))
	}
	on.silent = on.silent && silent
	on.probe = now.Add(2 * probeEvery)
}

// heard notes that the gateway answers for the merchant, which is all that a
// merchant was held for that it did not answer for.
func (h *holds) heard(mchID string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if scope := (Scope{MchID: mchID}); h.on[scope] != nil && h.on[scope].silent {
		h.lift(scope, now)
	}
}

// lift ends a hold. h.mu is held.
func (h *holds) lift(scope Scope, now time.Time) {
	since := h.on[scope].since
	delete(h.on, scope)
	h.log.WithFields(scope.fields()).WithField("held", now.Sub(since).Round(time.Second)).
		Info("the gateway accepts this merchant again: its requests resume as they fall due")
}

// served notes that a request was answered: whoever held it works again.
func (h *holds) served(r events.Request, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for scope := range h.on {
		if scope.covers(r) {
			h.lift(scope, now)
		}
	}
}

func (s Scope) fields() logrus.Fields {
	f := logrus.Fields{"mch_id": s.MchID}
	if s.AppID != "" {
		f["appid"] = s.AppID
	}
	if s.SubMchID != "" {
		f["sub_mch_id"] = s.SubMchID
	}
	return f
}
