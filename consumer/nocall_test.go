package consumer_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// register knows some merchants, and refuses the requests of all others without
// a call, as closer does.
type register struct {
	*closing
	mu    sync.Mutex
	known map[string]bool
}

func newRegister(c *closing, mchIDs ...string) *register {
	r := &register{closing: c, known: make(map[string]bool)}
	for _, id := range mchIDs {
		r.learn(id)
	}
	return r
}

func (r *register) learn(mchID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[mchID] = true
}

func (r *register) Refuse(req events.Request) (consumer.Verdict, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[req.MchID] {
		return consumer.Verdict{}, false
	}
	return consumer.Verdict{Class: consumer.Failed, Code: events.CodeUnknownMerchant, Message: "no merchant"}, true
}

// away is a gateway that answers nobody.
func away(takes time.Duration) *closing {
	return &closing{takes: takes, alive: func() bool { return false }, answer: func(events.Request) consumer.Verdict {
		return consumer.Verdict{Class: consumer.NoAnswer, Code: "TIMEOUT", Calls: 2}
	}}
}

// Whatever keeps calls from being made: what needs none is answered.
func TestRequestsThatNeedNoCallWaitForNoGateway(t *testing.T) {
	for sentence, c := range map[string]struct {
		closer *closing
		slots  int
	}{
		"while the gateway is away":  {away(time.Second), 10},
		"while all slots are taken":  {&closing{takes: time.Hour}, 2},
		"while its answers are slow": {away(time.Hour), 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t)
				stop := k.worker(newRegister(c.closer, "1900000109"), func(cfg *consumer.Config) { cfg.MaxInFlight, cfg.Grace = c.slots, 0 })
				k.request(numbered("T", 50)...)
				time.Sleep(20 * time.Second)
				began := time.Now()
				const n = 20
				for i := range n {
					k.requestJSON(`{"mch_id":"1999999999","out_trade_no":"U%d"}`, i)
					k.requestJSON(`{"mch_id":"1900000109","out_trade_no":"not valid %d"}`, i)
					k.produce(&kgo.Record{Topic: "requests", Value: []byte("not json")})
					k.produce(&kgo.Record{Topic: "retry.10s", Value: []byte("no retry record")})
				}
				codes := make(map[string]int)
				for _, o := range k.outcomes(4 * n) {
					codes[o.Code]++
				}
				if codes[events.CodeUnknownMerchant] != n || codes[events.CodeInvalidRequest] != 3*n {
					t.Errorf("outcomes: %v", codes)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("answered after %v", took)
				}
				stop()
			})
		})
	}
}

// The order of a lane is kept: what needs no call and names an order stands
// behind the requests for it that came before.
func TestARequestThatNeedsNoCallKeepsItsPlaceAmongThoseOfItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.worker(newRegister(&closing{takes: 30 * time.Second}, "1900000109"), nil)()
		time.Sleep(5 * time.Second)
		ok, bad := to(0, "T1"), to(0, "T1")
		bad.Value = []byte(`{"mch_id":"1900000109","out_trade_no":"T1","expires_at":"soon"}`)
		c.publish(ok, bad, to(0, "T1"))
		var got []string
		for _, o := range c.outcomes(3) {
			got = append(got, fmt.Sprint(o.Source.Offset, " ", o.Result))
		}
		if s := strings.Join(got, ", "); s != "0 closed, 1 failed, 2 closed" {
			t.Errorf("outcomes: %s", s)
		}
	})
}

// A merchant becomes known while its request waits for one before it: it is
// asked again when its turn comes.
func TestAMerchantThatHasBecomeKnownByTheTurnOfItsRequestIsCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := newRegister(&closing{takes: 30 * time.Second})
		defer c.worker(closer, nil)()
		time.Sleep(5 * time.Second)
		closer.learn("1900000109")
		c.publish(to(0, "T1")) // takes 30s
		time.Sleep(5 * time.Second)
		closer.mu.Lock()
		delete(closer.known, "1900000109") // the merchants are reloaded, half written
		closer.mu.Unlock()
		c.publish(to(0, "T1"))
		time.Sleep(5 * time.Second)
		closer.learn("1900000109")
		for _, o := range c.outcomes(2) {
			if o.Result != events.Closed {
				t.Errorf("offset %d: %s %s", o.Source.Offset, o.Result, o.Code)
			}
		}
	})
}

// What an unknown merchant's request asks for itself is kept.
func TestARequestOfAnUnknownMerchantWaitsForItsTimeAndExpires(t *testing.T) {
	for sentence, c := range map[string]struct {
		field string
		at    time.Duration
		code  string
		after time.Duration
	}{
		"not_before": {"not_before", 3 * time.Minute, events.CodeUnknownMerchant, 3 * time.Minute},
		"expires_at": {"expires_at", -time.Second, events.CodeExpired, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t)
				defer k.worker(newRegister(away(time.Second)), nil)()
				time.Sleep(5 * time.Second)
				now := time.Now()
				k.requestJSON(`{"mch_id":"1999999999","out_trade_no":"U1",%q:%q}`, c.field, now.Add(c.at).UTC().Format(time.RFC3339Nano))
				o := k.outcomes(1)[0]
				if took := o.CompletedAt.Sub(now); o.Code != c.code || took < c.after || took > c.after+5*time.Second {
					t.Errorf("%s after %v", o.Code, took)
				}
			})
		})
	}
}

// Nobody takes the outcomes: also those that need no call pile up no further
// than the bound.
func TestRequestsThatNeedNoCallAreBoundedByWhatIsNotAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		asked := 0
		var mu sync.Mutex
		closer := counting{newRegister(&closing{}), func() { mu.Lock(); asked++; mu.Unlock() }}
		refused := c.refuse("outcomes", kerr.NotEnoughReplicas, -1)
		defer c.worker(closer, func(cfg *consumer.Config) { cfg.MaxInFlight = 4 })()
		records := make([]*kgo.Record, 3000)
		for i := range records {
			records[i] = &kgo.Record{Topic: "requests", Value: fmt.Appendf(nil, `{"mch_id":"1999999999","out_trade_no":"U%d"}`, i)}
		}
		c.produce(records...)
		time.Sleep(10 * time.Minute)
		mu.Lock()
		if n := asked - len(records); n > 1100 { // each is asked when it comes and at its turn
			t.Errorf("%d had their turn, whose outcomes nobody has taken", n)
		}
		mu.Unlock()
		refused.Remove()
		c.outcomes(len(records))
	})
}

type counting struct {
	*register
	asked func()
}

func (c counting) Refuse(r events.Request) (consumer.Verdict, bool) {
	c.asked()
	return c.register.Refuse(r)
}

// The gateway says, in words that nobody signs, that a request cannot work as it
// stands: a few calls, and the words in the outcome.
func TestARequestThatCannotWorkEndsAfterAFewCalls(t *testing.T) {
	const words = "the input source cannot be mapped to the field out_trade_no"
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			a := consumer.Verdict{Class: consumer.Temporary, Code: "UNSIGNED_FAIL", Message: words, Calls: 1, Unworkable: true}
			if r.OutTradeNo == "MENDED" && nth == 3 {
				return closedAnswer
			}
			return a
		}}
		defer c.worker(&closing{answer: d.note}, nil)()
		began := time.Now()
		c.request("BAD", "MENDED")
		for _, o := range c.outcomes(2) {
			if o.OutTradeNo == "MENDED" {
				if o.Result != events.Closed {
					t.Errorf("%s: %s %s", o.OutTradeNo, o.Result, o.Code)
				}
				continue
			}
			if o.Result != events.Failed || o.Code != events.CodeRetriesExhausted || !strings.Contains(o.Message, words) || o.Attempts != 3 {
				t.Errorf("outcome %s %s after %d calls: %s", o.Result, o.Code, o.Attempts, o.Message)
			}
		}
		if took := time.Since(began); took > 90*time.Second {
			t.Errorf("took %v, want the first two delays", took)
		}
		if n := len(d.times("BAD")); n != 3 {
			t.Errorf("%d tries, want one and two retries", n)
		}
	})
}
