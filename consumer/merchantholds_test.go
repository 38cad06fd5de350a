package consumer

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
)

// Who may call while a merchant is held, as the roles go from one request to
// another.
func TestHolds(t *testing.T) {
	const rest = 2 * probeEvery
	all, sub := Scope{MchID: "m"}, Scope{MchID: "m", SubMchID: "s"}
	refuse := func(h *merchantHolds, t *request, s Scope) {
		h.refused(t, Verdict{Code: "NOAUTH", Scope: s}, time.Now())
	}
	waits := func(s Scope) *request {
		r := requestOf(events.Request{MchID: s.MchID, SubMchID: s.SubMchID})
		r.waits = s
		return r
	}
	for sentence, test := range map[string]func(t *testing.T, h *merchantHolds, held func(*request) bool){
		"the request that was refused is the prober, and all others wait": func(t *testing.T, h *merchantHolds, held func(*request) bool) {
			prober := waits(all)
			refuse(h, prober, all)
			time.Sleep(time.Hour)
			if held(prober) || !held(waits(all)) || !held(waits(sub)) {
				t.Error("not so")
			}
		},
		"when the prober leaves, the next that is attempted takes its place, not before the next probe is due": func(t *testing.T, h *merchantHolds, held func(*request) bool) {
			prober, next, other := waits(all), waits(all), waits(all)
			refuse(h, prober, all)
			h.leave(prober)
			if !held(next) {
				t.Error("a call right after one that was refused")
			}
			time.Sleep(rest)
			if held(next) || !held(other) || !held(prober) {
				t.Error("not so")
			}
		},
		"when the prober's partition is lost as well": func(t *testing.T, h *merchantHolds, held func(*request) bool) {
			prober, next := waits(all), waits(all)
			refuse(h, prober, all)
			time.Sleep(rest)
			if len(h.vacancies(time.Now())) != 0 {
				t.Error("vacant while it is probed")
			}
			prober.partition.revoke(errors.New("reassigned"))
			if v := h.vacancies(time.Now()); len(v) != 1 || !v[all] {
				t.Errorf("vacant: %v", v)
			}
			if held(next) || !held(waits(all)) {
				t.Error("not so")
			}
		},
		"a prober that is refused for something else finds out nothing about the first": func(t *testing.T, h *merchantHolds, held func(*request) bool) {
			prober := waits(sub)
			refuse(h, prober, all)
			refuse(h, prober, sub)
			time.Sleep(rest)
			if held(waits(all)) {
				t.Error("nobody probes the merchant, and nobody may")
			}
		},
		"one who would be held for something else is no successor": func(t *testing.T, h *merchantHolds, held func(*request) bool) {
			refuse(h, waits(sub), sub)
			refuse(h, waits(all), all)
			both := waits(sub)
			both.waits = all
			if h.mayProbe(both) || !h.mayProbe(waits(all)) {
				t.Error("not so")
			}
		},
		"a hold that only a retry record tells of has its first request for a prober": func(t *testing.T, h *merchantHolds, held func(*request) bool) {
			first, second := waits(sub), waits(sub)
			if !h.admits(first, time.Now()) || h.admits(second, time.Now()) {
				t.Error("not the first one alone")
			}
			if held(first) || !held(second) {
				t.Error("not so")
			}
			if held(waits(all)) {
				t.Error("the hold of a sub-merchant holds its merchant")
			}
		},
		"two who each probe what holds the other do not wait for each other": func(t *testing.T, h *merchantHolds, held func(*request) bool) {
			one, other := waits(sub), waits(sub)
			one.waits = all // as its retry record says, and that of the other says sub
			if !h.admits(one, time.Now()) || !h.admits(other, time.Now()) {
				t.Fatal("not the first of each scope")
			}
			if !held(one) || held(other) || !held(one) {
				t.Error("not exactly one of them calls")
			}
			h.served(other.req, time.Now())
			if held(one) {
				t.Error("still held")
			}
		},
		"a hold that has just lost its prober is not forgotten for the next one": func(t *testing.T, h *merchantHolds, held func(*request) bool) {
			expired, other := waits(all), waits(Scope{MchID: "other"})
			h.admits(expired, time.Now())
			h.leave(expired)
			h.admits(other, time.Now())
			if v := h.vacancies(time.Now()); len(v) != 1 || !v[all] {
				t.Errorf("vacant: %v", v)
			}
		},
		"an expired request is asked about, and probes nothing": func(t *testing.T, h *merchantHolds, held func(*request) bool) {
			expired := waits(all)
			expired.expired = true
			h.unanswered(expired, time.Now())
			time.Sleep(rest)
			if held(waits(all)) {
				t.Error("it is the prober")
			}
		},
		"when the hold is lifted nobody waits any longer, also who is read later, until it is refused again": func(t *testing.T, h *merchantHolds, held func(*request) bool) {
			refuse(h, waits(all), all)
			if lifted := h.served(events.Request{MchID: "m"}, time.Now()); len(lifted) != 1 || lifted[0] != all {
				t.Errorf("lifted %v", lifted)
			}
			if !h.works(all) || !h.admits(waits(all), time.Now()) || !h.admits(waits(all), time.Now()) || held(waits(all)) {
				t.Error("not so")
			}
			refuse(h, waits(all), all)
			if h.works(all) || h.admits(waits(all), time.Now()) {
				t.Error("it still counts as lifted")
			}
		},
		"an answer for one sub-merchant says nothing of another": func(t *testing.T, h *merchantHolds, held func(*request) bool) {
			refuse(h, waits(sub), sub)
			h.served(events.Request{MchID: "m", SubMchID: "other"}, time.Now())
			if !held(waits(sub)) {
				t.Error("not held")
			}
		},
		"partitions that are lost are not remembered": func(t *testing.T, h *merchantHolds, held func(*request) bool) {
			for range 100 {
				p := requestOf(events.Request{}).partition
				h.waitsIn(p)
				p.revoke(errors.New("reassigned"))
			}
			if n := len(h.waiting()); n > 1 {
				t.Errorf("%d are", n)
			}
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newMerchantHolds(silent())
				test(t, h, func(r *request) bool { _, _, held := h.held(r, time.Now()); return held })
			})
		})
	}
}

// Whatever names a part of a merchant in a retry record finds it again.
func TestAScopeComesBackFromItsRetryRecord(t *testing.T) {
	r := events.Request{MchID: "m", AppID: "a", SubMchID: "s"}
	for _, s := range []Scope{{MchID: "m"}, {MchID: "m", AppID: "a"}, {MchID: "m", SubMchID: "s"}, {"m", "a", "s"}, {}} {
		if got := scopeOf(s.waitsFor(), r); got != s {
			t.Errorf("%+v came back as %+v", s, got)
		}
	}
}

func TestWhatIsWokenIsNotCalledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPartition(t.Context(), topicPartition{"t", 0})
		came := make(chan int64, 10)
		for i := range int64(6) {
			p.after(time.Minute, &request{offset: 5 - i}, func(t *request) { came <- t.offset })
		}
		even := func(t *request) bool { return t.offset%2 == 0 }
		if one := p.wake(func(t *request) bool { return t.offset == 2 }); len(one) != 1 || one[0].offset != 2 {
			t.Errorf("woken %v, want one", one)
		}
		rest := p.wake(even)
		if len(rest) != 2 || rest[0].offset > rest[1].offset {
			t.Errorf("woken %v, want the other two in their order", rest)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(came) != 3 {
			t.Errorf("%d came by themselves, want 3", len(came))
		}
	})
}
