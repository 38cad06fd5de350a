package consumer

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus"
)

// Scope is the part of a merchant that a gateway refuses. An empty field
// means every value.
type Scope struct{ MchID, AppID, SubMchID string }

// scopesOf are the scopes that cover a request, the widest first: it would be
// refused for the same reason. An appid or sub_mch_id stands in a scope only
// where the order brought it, so that a request without one, which uses the
// merchant's own, is another matter. Some may be the same.
func scopesOf(r events.Request) [4]Scope {
	return [...]Scope{{MchID: r.MchID}, {MchID: r.MchID, AppID: r.AppID}, {MchID: r.MchID, SubMchID: r.SubMchID}, {r.MchID, r.AppID, r.SubMchID}}
}

// merchantHolds remembers which merchants the gateway refuses, so that their requests
// wait without a call and nobody else is slowed.
//
// The way of a request whose merchant is held:
//
//	turn -> held? -> prober: stays in its place for a while, a call every 2*probeEvery
//	           \---> retry topic, a longer delay with each hop -> take -> turn
//	                                                           \-> at once when the hold is lifted
//
// One request of each hold is the prober: it costs no write, and whatever the
// gateway says to it other than a refusal lifts the hold. That wakes all who
// wait for it in memory; those that are read from a retry topic later do not
// wait at all. Without a prober (its partition went to another member, say) the
// next whose turn comes becomes it.
//
// A worker that has just started knows of no hold. The first retry record that
// it reads of a request that waits for its merchant makes one, and is its prober.
//
// It is safe for concurrent use.
type merchantHolds struct {
	log logrus.FieldLogger

	// mu guards what is below, and request.probes of those that have the role. It
	// may be taken under partition.mu; no other lock is taken under it.
	mu sync.Mutex
	on map[Scope]*hold
	// lifted are the scopes whose hold was lifted and that were not refused
	// since, each with the order that alone was refused, if there is one: another
	// order of the scope was answered meanwhile. None of them is in on.
	lifted map[Scope]events.Order
	// partitions are those with requests that may wait for their merchant
	// in memory.
	partitions map[*partition]struct{}
}

type hold struct {
	since  time.Time
	probe  time.Time // when the next call may try
	silent bool      // not refused, as far as is known, but not answered
	told   bool      // false while only a retry record says that there is a hold
	why    string    // for people
	prober *request
	// order was refused first; others: so was another one. Until then it may be
	// the order's own fault.
	order  events.Order
	others bool
}

// vacant says that nobody probes: there is no prober, or it went with its
// partition.
func (on *hold) vacant() bool { return on.prober == nil || on.prober.partition.owned.Err() != nil }

// mostHolds bounds what is remembered, as order services name the scopes. What
// comes on top is not held: each of its requests finds out for itself.
const mostHolds = 1000

func newMerchantHolds(log logrus.FieldLogger) *merchantHolds {
	return &merchantHolds{log: log, on: make(map[Scope]*hold), lifted: make(map[Scope]events.Order), partitions: make(map[*partition]struct{})}
}

// held says whether r must wait, and for which scope and why. When the time for
// a probe has come and nobody else makes it r is the prober, and does not wait.
// One who must wait probes nothing else either: two requests that each probe what
// holds the other would wait for each other for ever.
func (h *merchantHolds) held(r *request, now time.Time) (scope Scope, why string, held bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var probed []*hold
	for _, scope := range scopesOf(r.req) {
		switch on := h.on[scope]; {
		case on == nil:
		case on.prober == r, on.vacant() && !now.Before(on.probe):
			probed = append(probed, on)
		default:
			h.vacate(r)
			return scope, on.why, true // and the probes that are due stay due
		}
	}
	for _, on := range probed {
		on.prober, r.probes, on.probe = r, true, now.Add(2*probeEvery)
	}
	return Scope{}, "", false
}

// admits says whether r, which comes from a retry topic and waits for its
// merchant, need not do so any longer: the hold was lifted, or nobody here
// knows of it yet, so that r is the one to find out.
func (h *merchantHolds) admits(r *request, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, works := h.lifted[r.waits]; works {
		return true
	}
	on := h.on[r.waits]
	switch {
	case on == nil && h.room(now):
		// Silence is the weaker reason: a probe that is answered ends it.
		h.on[r.waits] = &hold{since: now, probe: now, silent: true, why: "a retry record says that the gateway refuses this merchant", prober: r}
	case on != nil && on.vacant() && !now.Before(on.probe):
		on.prober = r
	default:
		return false
	}
	r.probes = true
	return true
}

// works says whether the hold of a scope was lifted, and its requests have not
// been refused since.
func (h *merchantHolds) works(scope Scope) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, works := h.lifted[scope]
	return works
}

// learn notes what a verdict about r shows of its merchant, and returns the
// scopes whose holds that lifts.
func (h *merchantHolds) learn(r *request, v Verdict, news merchantNews, now time.Time) (lifted []Scope) {
	switch news {
	case isServed:
		return h.served(r.req, now)
	case isHeard:
		return h.heard(r.req.MchID, now)
	case isRefused:
		h.refused(r, v, now)
	case isSilent:
		h.unanswered(r, now)
	case isUnclear:
		h.leave(r) // others must not wait for it
	}
	return nil
}

// refused notes that the gateway refuses the verdict's scope.
func (h *merchantHolds) refused(r *request, v Verdict, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// A refusal of another scope is no answer to what r was to find out.
	for scope, on := range h.on {
		if scope != v.Scope && on.prober == r {
			on.prober = nil
		}
	}
	on := h.hold(r, v.Scope, now)
	if on == nil {
		return
	}
	switch order := r.req.Order(); on.order {
	case events.Order{}:
		on.order = order
	case order:
	default:
		on.others = true
	}
	known := on.told && !on.silent
	on.silent, on.told, on.why = false, true, "the gateway refuses this merchant at present: "+v.Code+": "+v.Message
	if known {
		return
	}
	log := h.log.WithFields(v.Scope.fields()).WithFields(logrus.Fields{"code": v.Code, "message": v.Message})
	if g := v.Gateway; g != nil && g.ReturnMsg != "" {
		log = log.WithField("return_msg", g.ReturnMsg)
	}
	if g := v.Gateway; g != nil && g.ErrCodeDes != "" {
		log = log.WithField("err_code_des", g.ErrCodeDes)
	}
	log.Error("the gateway refuses this merchant: its requests wait, mend its configuration; nothing is failed for it")
}

// unanswered notes that the gateway answers others, and nothing for r's
// merchant: its hosts are its own and away, say.
func (h *merchantHolds) unanswered(r *request, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	scope := Scope{MchID: r.req.MchID}
	on := h.hold(r, scope, now)
	if on == nil || on.told {
		return
	}
	on.told, on.why = true, "the gateway does not answer for this merchant at present, but for others"
	h.log.WithFields(scope.fields()).
		Error("the gateway does not answer for this merchant, but for others: its requests wait; nothing is failed for it")
}

// hold holds a scope until its next probe, whose prober is r if there is none.
// It returns nil when there is no room. h.mu is held.
func (h *merchantHolds) hold(r *request, scope Scope, now time.Time) *hold {
	delete(h.lifted, scope)
	on := h.on[scope]
	if on == nil {
		if !h.room(now) {
			return nil
		}
		on = &hold{since: now, silent: true}
		h.on[scope] = on
	}
	// An expired one is asked about whoever is held, and probes nothing.
	if !r.expired && on.vacant() {
		on.prober, r.probes = r, true
	}
	on.probe = now.Add(2 * probeEvery)
	return on
}

// room says whether one more hold can be remembered, and forgets those that
// nobody has asked about for so long that nobody can wait for them. h.mu is held.
func (h *merchantHolds) room(now time.Time) bool {
	for scope, old := range h.on {
		if old.vacant() && now.Sub(old.probe) > 2*longestHold {
			delete(h.on, scope)
		}
	}
	return len(h.on) < mostHolds
}

// heard notes that the gateway answers for the merchant, which is all that a
// merchant was held for that it did not answer for. It returns what it lifts.
func (h *merchantHolds) heard(mchID string, now time.Time) []Scope {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lifted []Scope
	for scope, on := range h.on {
		if scope.MchID == mchID && on.silent {
			lifted = append(lifted, scope)
			h.lift(scope, events.Order{}, now)
		}
	}
	return lifted
}

// served notes that a request was answered: whoever held it works again. It
// returns what it lifts.
func (h *merchantHolds) served(r events.Request, now time.Time) []Scope {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lifted []Scope
	for _, scope := range scopesOf(r) {
		if on := h.on[scope]; on != nil {
			alone := on.order
			if on.others || alone == r.Order() {
				alone = events.Order{}
			}
			lifted = append(lifted, scope)
			h.lift(scope, alone, now)
		}
	}
	return lifted
}

// alone says whether r probes a hold for which no other order was refused, and
// which.
func (h *merchantHolds) alone(r *request) (scope Scope, alone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, scope := range scopesOf(r.req) {
		if on := h.on[scope]; on != nil && on.prober == r && on.order == r.req.Order() && !on.others {
			return scope, true
		}
	}
	return Scope{}, false
}

// blames says whether r's order was refused when another one of the scope was
// answered: then the refusal speaks against the order, and holds nobody.
func (h *merchantHolds) blames(r *request, scope Scope) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	alone, lifted := h.lifted[scope]
	return lifted && alone != events.Order{} && alone == r.req.Order()
}

// lift ends a hold; alone is the order that alone was refused, if there is one.
// h.mu is held.
func (h *merchantHolds) lift(scope Scope, alone events.Order, now time.Time) {
	since := h.on[scope].since
	delete(h.on, scope)
	if len(h.lifted) >= mostHolds {
		for s := range h.lifted { // whichever: its next request finds out again
			delete(h.lifted, s)
			break
		}
	}
	h.lifted[scope] = alone
	h.log.WithFields(scope.fields()).WithField("held", now.Sub(since).Round(time.Second)).
		Info("the gateway accepts this merchant again: its requests resume")
}

// probes says whether r is the prober of a hold.
func (h *merchantHolds) probes(r *request) bool {
	if !r.probes {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, on := range h.on {
		if on.prober == r {
			return true
		}
	}
	return false
}

// leave ends r's time as a prober.
func (h *merchantHolds) leave(r *request) {
	if !r.probes {
		return // as nearly all
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.vacate(r)
}

// vacate is leave, with h.mu held.
func (h *merchantHolds) vacate(r *request) {
	if !r.probes {
		return
	}
	r.probes = false
	for _, on := range h.on {
		if on.prober == r {
			on.prober = nil
		}
	}
}

// vacancies returns the holds that nobody probes although it is time.
func (h *merchantHolds) vacancies(now time.Time) map[Scope]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	scopes := make(map[Scope]bool)
	for scope, on := range h.on {
		if on.vacant() && !now.Before(on.probe) {
			scopes[scope] = true
		}
	}
	return scopes
}

// mayProbe says whether r would be let through as the prober of what it waits
// for: nothing else holds it.
func (h *merchantHolds) mayProbe(r *request) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, scope := range scopesOf(r.req) {
		if on := h.on[scope]; on != nil && scope != r.waits && !on.vacant() {
			return false
		}
	}
	return true
}

// waitsIn notes that a request waits for its merchant in p.
func (h *merchantHolds) waitsIn(p *partition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.partitions[p]; !known {
		maps.DeleteFunc(h.partitions, func(p *partition, _ struct{}) bool { return p.owned.Err() != nil })
		h.partitions[p] = struct{}{}
	}
}

// waiting returns the partitions with requests that may wait in memory.
func (h *merchantHolds) waiting() []*partition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.partitions))
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

// waitsFor names the fields of a request that make up a scope which covers it,
// for its retry record.
func (s Scope) waitsFor() string {
	switch {
	case s.MchID == "":
		return ""
	case s.AppID == "" && s.SubMchID == "":
		return records.WaitsForMerchant
	case s.SubMchID == "":
		return records.WaitsForAppID
	case s.AppID == "":
		return records.WaitsForSubMerchant
	}
	return records.WaitsForBoth
}

// scopeOf is the scope that a retry record names, of its request.
func scopeOf(waitsFor string, r events.Request) (s Scope) {
	for name := range strings.FieldsSeq(waitsFor) {
		switch name {
		case "mch_id":
			s.MchID = r.MchID
		case "appid":
			s.AppID = r.AppID
		case "sub_mch_id":
			s.SubMchID = r.SubMchID
		}
	}
	return s
}
