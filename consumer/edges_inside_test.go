package consumer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
)

// requestOf is a request in a partition of its own.
func requestOf(r events.Request) *request {
	return &request{partition: newPartition(context.Background(), topicPartition{"requests", 0}), req: r, taken: time.Now()}
}

func TestAMerchantHeldForTwoReasonsIsStillProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newMerchantHolds(silent())
		r := events.Request{MchID: "m", SubMchID: "s", OutTradeNo: "T1"}
		for _, scope := range []Scope{{MchID: "m"}, {MchID: "m", SubMchID: "s"}} {
			refused := requestOf(r)
			h.refused(refused, Verdict{Code: "NOAUTH", Scope: scope}, time.Now())
			h.leave(refused) // it had to make room
			time.Sleep(3 * time.Second)
		}
		probes := 0
		for range 3600 { // a request of the merchant every second
			time.Sleep(time.Second)
			next := requestOf(r)
			if _, _, held := h.held(next, time.Now()); !held {
				probes++
				h.leave(next)
			}
		}
		if probes == 0 {
			t.Error("not one probe in an hour: the merchant is held for ever, also when it is mended")
		}
	})
}

func TestAProbeThatWasCutOffSaysNothingAboutTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newGatewayBreaker(10, func() {}, nil, silent())
		defer b.stop()
		p, _ := b.admit(0)
		time.Sleep(20 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // the partition goes to another member
		defer cancel()
		keeps := p.without(ctx, one, time.Time{}, func(ctx context.Context) bool { <-ctx.Done(); return false })
		if keeps != foundNothing {
			t.Error("the request that was cut off lost its place")
		}
		if _, ok := b.admit(0); !ok {
			t.Error("a rebalance was taken for an outage: the breaker is open")
		}
		p, ok := b.admit(0)
		if !ok {
			time.Sleep(probeEvery + time.Second)
			p, _ = b.admit(0)
		}
		asked := false
		p.without(t.Context(), one, time.Time{}, func(context.Context) bool { asked = true; return true })
		if !asked {
			t.Error("no further probe is made")
		}
	})
}

func TestWhatIsLeftOfRevokedPartitionsDoesNotPileUpBehindAnOpenBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoad(2)
		defer r.breaker.stop()
		kept := newPartition(t.Context(), topicPartition{"t", 0})
		defer r.finishAll(kept)
		p, _ := r.breaker.admit(0)
		p.without(t.Context(), one, time.Time{}, dead)
		r.drive(kept, "WAITS", "1")
		for round := range 10 { // an outage with ten rebalances
			moves := newPartition(t.Context(), topicPartition{"t", 1})
			for i := range 100 {
				r.add(&request{partition: moves, req: events.Request{MchID: "m", OutTradeNo: fmt.Sprint(round, "/", i)}})
			}
			r.revoke([]*partition{moves}, errors.New("reassigned"))
		}
		r.lanes.mu.Lock()
		left := len(r.byOrder)
		r.lanes.mu.Unlock()
		if left > 100 {
			t.Errorf("%d lanes of partitions that were lost are still in memory", left)
		}
	})
}

func TestAnOffsetKnownToBeFinishedStaysSoWhenTheWatermarkReachesItBeforeTheFetch(t *testing.T) {
	l := newLedger(0, []span{{1, 3}}) // 0 was slow, 1 to 3 are finished
	l.open(0)
	l.finish(0) // before the next fetch has brought 1
	heir := newLedger(l.watermark, l.above())
	for o := l.watermark; o <= 3; o++ {
		if heir.open(o) {
			t.Errorf("offset %d is done again after a second crash", o)
		}
	}
}

func TestHoldsAreBoundedAndForgotten(t *testing.T) {
	h, now := newMerchantHolds(silent()), time.Now()
	refuse := func(i int, now time.Time) {
		r := events.Request{MchID: "m", SubMchID: fmt.Sprint(i)}
		probe := requestOf(r)
		h.refused(probe, Verdict{Code: "NOAUTH", Scope: Scope{MchID: "m", SubMchID: r.SubMchID}}, now)
		h.leave(probe)
	}
	for i := range 3 * mostHolds {
		refuse(i, now)
	}
	if len(h.on) != mostHolds {
		t.Errorf("%d holds, at most %d", len(h.on), mostHolds)
	}
	refuse(-1, now.Add(2*time.Hour))
	if len(h.on) != 1 {
		t.Errorf("%d holds two hours later, want the new one alone", len(h.on))
	}
	for i := range 3 * mostHolds {
		refuse(i, now.Add(2*time.Hour))
		h.served(events.Request{MchID: "m", SubMchID: fmt.Sprint(i)}, now.Add(2*time.Hour))
	}
	if len(h.lifted) > mostHolds {
		t.Errorf("%d lifted holds are remembered, at most %d", len(h.lifted), mostHolds)
	}
}

func TestHoldsOfSilence(t *testing.T) {
	h, now := newMerchantHolds(silent()), time.Now()
	r := events.Request{MchID: "m", OutTradeNo: "T1"}
	held := func() bool { _, _, held := h.held(requestOf(r), now); return held }
	h.unanswered(requestOf(r), now)
	if !held() {
		t.Error("a merchant for which nobody answers is not held")
	}
	h.heard("m", now)
	if held() {
		t.Error("it is held although its probe is answered")
	}
	h.refused(requestOf(r), Verdict{Code: "NOAUTH", Scope: Scope{MchID: "m"}}, now)
	h.heard("m", now)
	if !held() {
		t.Error("an answered probe lifts the hold of a merchant that is refused")
	}
}
