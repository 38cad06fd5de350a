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

// covers says whether a request would be refused for the same reason. A
// request without an appid or sub_mch_id uses the merchant's own, which may
// be the refused one.
func (s Scope) covers(r events.Request) bool {
	return s.MchID == r.MchID &&
		(s.AppID == "" || r.AppID == "" || s.AppID == r.AppID) &&
		(s.SubMchID == "" || r.SubMchID == "" || s.SubMchID == r.SubMchID)
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
	since time.Time
	probe time.Time // when the next call may try
}

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
	on := h.on[scope]
	if on == nil {
		on = &hold{since: now}
		h.on[scope] = on
		h.log.WithFields(scope.fields()).WithFields(logrus.Fields{"code": a.Code, "message": a.Message}).
			Error("the gateway refuses this merchant: its requests wait, mend its configuration; nothing is failed for it")
	}
	on.probe = now.Add(2 * probeEvery)
}

// served notes that a request was answered: whoever held it works again.
func (h *holds) served(r events.Request, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for scope, on := range h.on {
		if scope.covers(r) {
			delete(h.on, scope)
			h.log.WithFields(scope.fields()).WithField("held", now.Sub(on.since).Round(time.Second)).
				Info("the gateway accepts this merchant again: its requests resume as they fall due")
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
