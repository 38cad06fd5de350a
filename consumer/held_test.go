package consumer_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kgo"
)

const refusedMerchant = "1900000999"

// refusing refuses one merchant while it says so.
func refusing(refused func() bool) func(events.Request) consumer.Verdict {
	return func(r events.Request) consumer.Verdict {
		if r.MchID == refusedMerchant && refused() {
			return consumer.Verdict{
				Class: consumer.MerchantRefused, Code: "SIGNERROR", Message: "the gateway finds our signature wrong", Calls: 1,
				Scope: consumer.Scope{MchID: r.MchID}, Gateway: &events.Gateway{ReturnMsg: "签名错误"},
			}
		}
		return closedAnswer
	}
}

func until(t time.Time) func() bool { return func() bool { return time.Now().Before(t) } }

// askRefused publishes n requests of the merchant that is refused.
func (c *cluster) askRefused(n int, timestamp time.Time) {
	c.t.Helper()
	var records []*kgo.Record
	for i := range n {
		records = append(records, &kgo.Record{
			Topic: "requests", Timestamp: timestamp, Key: fmt.Append(nil, "R", i),
			Value: fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":"R%d"}`, refusedMerchant, i),
		})
	}
	c.produce(records...)
}

// waitingWrites is the number of records in the retry topics.
func (c *cluster) waitingWrites(tiers []consumer.Tier) (n int64) {
	for _, tier := range tiers {
		n += c.end(tier.Topic)
	}
	return n
}

// What a merchant costs that is held for hours, in records written for each
// request that waits for it.
func TestWritesForARequestThatWaitsForItsMerchantAreBounded(t *testing.T) {
	const perHour = 12
	day := []consumer.Tier{{Topic: "retry.10s", Delay: 10 * time.Second}, {Topic: "retry.1m", Delay: time.Minute}, {Topic: "retry.5m", Delay: 5 * time.Minute}, {Topic: "retry.30m", Delay: 30 * time.Minute}, {Topic: "retry.2h", Delay: 2 * time.Hour}}
	for sentence, c := range map[string]struct {
		tiers     []consumer.Tier
		timestamp time.Duration // of the records, against the true time
		refused   func(began time.Time) func() bool
		hours     int
	}{
		"by default":                     {tiers: day, hours: 2},
		"in records of tomorrow":         {tiers: day, timestamp: 24 * time.Hour, hours: 1},
		"where all delays are short":     {tiers: tiers, hours: 1},
		"where there is one short delay": {tiers: tiers[:1], hours: 1},
		"where all delays are long":      {tiers: day[4:], hours: 1},
		"a merchant that comes and goes": {tiers: day, hours: 1, refused: func(began time.Time) func() bool {
			var calls atomic.Int64
			return func() bool { return calls.Add(1)%5 > 0 } // each fifth call is answered
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t)
				for _, topic := range []string{"retry.30m", "retry.2h"} {
					if _, err := k.admin().CreateTopic(t.Context(), 3, 1, nil, topic); err != nil {
						t.Fatal(err)
					}
				}
				began := time.Now()
				refused := func() bool { return true }
				if c.refused != nil {
					refused = c.refused(began)
				}
				closer := &closing{answer: refusing(refused)}
				defer k.worker(closer, func(cfg *consumer.Config) { cfg.Topics.Retries = c.tiers })()
				time.Sleep(5 * time.Second)
				const n = 100
				k.askRefused(n, time.Now().Add(c.timestamp))
				before, calls := int64(0), 0
				for hour := range c.hours {
					time.Sleep(time.Hour)
					written := k.waitingWrites(c.tiers) - before
					before += written
					waiting := int64(n) - k.end("outcomes")
					closer.mu.Lock()
					made := len(closer.calls) - calls
					closer.mu.Unlock()
					calls += made
					t.Logf("hour %d: %.2f writes per request, %d calls, %d wait", hour+1, float64(written)/n, made, waiting)
					if written > perHour*n {
						t.Errorf("hour %d: %.1f writes per request, at most %d", hour+1, float64(written)/n, perHour)
					}
				}
				if n := k.end("dead"); n > 0 {
					t.Errorf("%d dead letters", n)
				}
			})
		})
	}
}

// However deep they wait: when the merchant works the prober finds out, and all
// are woken.
func TestRequestsResumeWhenTheirMerchantWorksAgain(t *testing.T) {
	for _, held := range []time.Duration{time.Minute, 5 * time.Minute, 47 * time.Minute} {
		t.Run(fmt.Sprint("after ", held), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				mended := time.Now().Add(held)
				closer := &closing{takes: 100 * time.Millisecond, answer: refusing(until(mended))}
				defer c.worker(closer, nil)()
				c.askRefused(500, time.Time{})
				c.request("OTHER")
				time.Sleep(time.Until(mended))
				closer.mu.Lock()
				calls := len(closer.calls)
				closer.mu.Unlock()
				if probes := calls; probes > int(held/(10*time.Second))+256+10 {
					t.Errorf("%d calls for a merchant that is refused for %v", probes, held)
				}
				for _, o := range c.outcomesWithin(501, time.Hour) {
					if o.Result != events.Closed {
						t.Errorf("%s: %s %s", o.OutTradeNo, o.Result, o.Code)
					}
				}
				if late := time.Since(mended); late > 15*time.Second {
					t.Errorf("served %v after the merchant was mended, want 15s", late)
				}
				closer.mu.Lock()
				defer closer.mu.Unlock()
				if wasted := len(closer.calls) - calls; wasted > 501 {
					t.Errorf("%d calls for 500 requests", wasted)
				}
			})
		})
	}
}

// After a restart nothing is remembered but what the retry records say: the
// first of them finds out, the others wait until it has.
func TestAfterARestartOneRequestFindsOutAboutItsMerchant(t *testing.T) {
	for sentence, mended := range map[string]bool{"the merchant works": true, "it is still refused": false} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				var works atomic.Bool
				refuse := refusing(func() bool { return !works.Load() })
				stop := c.worker(&closing{answer: refuse}, nil)
				time.Sleep(5 * time.Second)
				c.askRefused(200, time.Time{})
				time.Sleep(100 * time.Second) // they wait in retry.5m
				stop()
				written := c.waitingWrites(tiers)
				works.Store(mended)
				began := time.Now()
				var hook *test.Hook
				closer := &closing{answer: refuse}
				defer c.worker(closer, heard(&hook))()
				time.Sleep(30 * time.Second)
				if mended {
					c.outcomes(200)
					if took := time.Since(began); took > 31*time.Second {
						t.Errorf("served %v after the restart", took)
					}
					if n := logged(hook, "accepts this merchant again"); n != 1 {
						t.Errorf("told %d times that the merchant works", n)
					}
					return
				}
				closer.mu.Lock()
				if n := len(closer.calls); n < 1 || n > 10 { // a prober for each partition's order at most, and its rests
					t.Errorf("%d calls in half a minute after the restart, want those of the probers", n)
				}
				closer.mu.Unlock()
				// But for those that had kept their place.
				if n := c.waitingWrites(tiers); n > written+3 {
					t.Errorf("%d records were written, nothing was due", n-written)
				}
				if n := logged(hook, "refuses this merchant"); n != 1 {
					t.Errorf("told %d times that the merchant is refused", n)
				}
			})
		})
	}
}

// The prober goes with its partition; whoever stays finds another one.
func TestAProberThatIsLostIsSucceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		mended := time.Now().Add(20 * time.Minute)
		closer := &closing{answer: refusing(until(mended))}
		h := &host{net: c.net}
		kill := c.worker(closer, func(cfg *consumer.Config) { cfg.Kafka.Dial, cfg.Grace = h.dial, time.Second })
		c.askRefused(300, time.Time{})
		time.Sleep(7 * time.Minute)
		stop2 := c.worker(closer, nil) // takes over some partitions
		time.Sleep(3 * time.Minute)
		stop3 := c.worker(closer, nil)
		time.Sleep(3 * time.Minute)
		h.cut(true)
		kill()
		time.Sleep(time.Until(mended))
		for _, o := range c.outcomesWithin(300, time.Hour) {
			if o.Result != events.Closed {
				t.Errorf("%s: %s %s", o.OutTradeNo, o.Result, o.Code)
			}
		}
		if late := time.Since(mended); late > 30*time.Second {
			t.Errorf("served %v after the merchant was mended", late)
		}
		stop2()
		stop3()
	})
}

// A prober that would fill the window of its partition makes room.
func TestAProberDoesNotHoldUpItsPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		mended := time.Now().Add(10 * time.Minute)
		defer c.worker(&closing{answer: refusing(until(mended))}, nil)()
		time.Sleep(5 * time.Second)
		first := to(0, "R0")
		first.Value = fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":"R0"}`, refusedMerchant)
		c.publish(first)
		time.Sleep(time.Second)
		records := make([]*kgo.Record, 9000) // more than half of the window
		for i := range records {
			records[i] = to(0, fmt.Sprint("T", i))
		}
		c.publish(records...)
		time.Sleep(time.Minute)
		if at := c.committed()[0]; at.At != 9001 {
			t.Errorf("committed %d, want 9001: the prober still stands in its place", at.At)
		}
		time.Sleep(time.Until(mended))
		c.outcomesWithin(9001, 30*time.Second)
	})
}

// It makes room after a while in any case: what is never committed is deleted
// with its log segment one day.
func TestAProberIsCommittedAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		mended := time.Now().Add(70 * time.Minute)
		defer c.worker(&closing{answer: refusing(until(mended))}, nil)()
		time.Sleep(5 * time.Second)
		only := to(0, "R0")
		only.Value = fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":"R0"}`, refusedMerchant)
		c.publish(only)
		time.Sleep(29 * time.Minute)
		if n := c.waitingWrites(tiers); n != 0 {
			t.Errorf("%d records were written within half an hour", n)
		}
		time.Sleep(2 * time.Minute)
		if at := c.committed()[0]; at.At != 1 {
			t.Errorf("committed %d, want 1: the prober still stands in its place", at.At)
		}
		time.Sleep(time.Until(mended))
		if n := c.waitingWrites(tiers); n < 2 || n > 4 {
			t.Errorf("%d records were written in 70 minutes, want two or a few", n)
		}
		c.outcomesWithin(1, 30*time.Second)
	})
}

// The prober waits in a retry topic, and the shop asks for its order once more:
// that request must be told of its end in time, and must not keep the requests
// of others in its partition waiting.
func TestAProberDoesNotHoldUpRequestsForItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.worker(&closing{answer: refusing(func() bool { return true })}, nil)()
		c.askRefused(2, time.Time{})
		time.Sleep(15 * time.Second)
		expires := time.Now().Add(2 * time.Minute)
		again := make([]*kgo.Record, 2) // one of them is for the prober's order
		for i := range again {
			again[i] = to(0, fmt.Sprint("R", i))
			again[i].Value = fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":"R%d","expires_at":%q}`, refusedMerchant, i, expires.UTC().Format(time.RFC3339Nano))
		}
		c.publish(again...)
		time.Sleep(time.Second)
		others := make([]*kgo.Record, 17000) // more than the window
		for i := range others {
			others[i] = to(0, fmt.Sprint("T", i))
		}
		c.publish(others...)
		time.Sleep(time.Until(expires.Add(3 * time.Second)))
		expired := 0
		for _, o := range c.outcomesWithin(len(others)+len(again), 10*time.Second) {
			if o.Code == events.CodeExpired {
				expired++
			}
		}
		if expired != len(again) {
			t.Errorf("%d are told that they have expired, want %d", expired, len(again))
		}
	})
}

// Held or not, what has expired is told at its time.
func TestARequestThatExpiresWhileItsMerchantIsHeldIsToldAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{answer: refusing(func() bool { return true })}
		defer c.worker(closer, nil)()
		time.Sleep(5 * time.Second)
		expires := time.Now().Add(8*time.Minute + 3*time.Second)
		const n = 20 // the prober among them
		for i := range n {
			c.requestJSON(`{"mch_id":%q,"out_trade_no":"R%d","expires_at":%q}`, refusedMerchant, i, expires.UTC().Format(time.RFC3339Nano))
		}
		for _, o := range c.outcomesWithin(n, time.Hour) {
			if o.Code != events.CodeExpired || o.CompletedAt.Before(expires) || o.CompletedAt.After(expires.Add(2*time.Second)) {
				t.Errorf("%s: %s %v after its time", o.OutTradeNo, o.Code, o.CompletedAt.Sub(expires))
			}
		}
	})
}

// The record of one who waits says for what: the fields of the request that the
// gateway refuses.
func TestARetryRecordSaysWhichPartOfTheMerchantItWaitsFor(t *testing.T) {
	for want, scope := range map[string]func(r events.Request) consumer.Scope{
		records.WaitsForMerchant:    func(r events.Request) consumer.Scope { return consumer.Scope{MchID: r.MchID} },
		records.WaitsForAppID:       func(r events.Request) consumer.Scope { return consumer.Scope{MchID: r.MchID, AppID: r.AppID} },
		records.WaitsForSubMerchant: func(r events.Request) consumer.Scope { return consumer.Scope{MchID: r.MchID, SubMchID: r.SubMchID} },
		records.WaitsForBoth:        func(r events.Request) consumer.Scope { return consumer.Scope{r.MchID, r.AppID, r.SubMchID} },
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				closer := &closing{answer: func(r events.Request) consumer.Verdict {
					return consumer.Verdict{Class: consumer.MerchantRefused, Code: "NOAUTH", Message: "no", Calls: 1, Scope: scope(r)}
				}}
				defer c.worker(closer, nil)()
				for i := range 2 { // the first is the prober
					c.requestJSON(`{"mch_id":"1900000999","appid":"wx1","sub_mch_id":"77","out_trade_no":"R%d"}`, i)
					time.Sleep(time.Second)
				}
				r, err := records.DecodeRetry(messageOf(c.read("retry.10s", 1)[0]))
				if err != nil || r.WaitsFor != want || !strings.Contains(r.Reason, "NOAUTH: no") {
					t.Errorf("waits for %q, want %q; reason %q (%v)", r.WaitsFor, want, r.Reason, err)
				}
			})
		})
	}
}

// The log says why, in the gateway's own words, and says it once.
func TestTheLogOfAHoldHasTheGatewaysWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var hook *test.Hook
		defer c.worker(&closing{answer: refusing(func() bool { return true })}, heard(&hook))()
		c.askRefused(10, time.Time{})
		time.Sleep(20 * time.Minute)
		told := 0
		for _, e := range hook.AllEntries() {
			if !strings.Contains(e.Message, "refuses this merchant") {
				continue
			}
			told++
			if e.Data["return_msg"] != "签名错误" || e.Data["code"] != "SIGNERROR" || e.Data["mch_id"] != refusedMerchant || e.Data["message"] == "" {
				t.Errorf("the log says %v", e.Data)
			}
		}
		if told != 1 {
			t.Errorf("told %d times", told)
		}
	})
}

// A gateway that answers some orders and never others, of which nobody can tell
// whether it is ill: a prober that is one of the others must not stand in the way
// of those that would be answered.
func TestAProberThatNeverGetsAnAnswerIsSucceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		began := time.Now()
		closer := &closing{takes: time.Second, answer: func(r events.Request) consumer.Verdict {
			if strings.HasPrefix(r.OutTradeNo, "BAD") {
				return consumer.Verdict{Class: consumer.NoAnswer, Code: "HTTP_STATUS", Calls: 2, LastCall: time.Now().Add(-time.Second)}
			}
			return closedAnswer
		}}
		// At first the probes of one merchant get lost, so that it is held.
		lost := aliveUnless{merchants{closer, nil}, func(r events.Request) bool {
			return r.MchID == "hostile" && time.Since(began) < 20*time.Second
		}}
		var hook *test.Hook
		defer c.worker(lost, heard(&hook))()
		c.requestJSON(`{"mch_id":"hostile","out_trade_no":"BAD"}`)
		for i := range 20 {
			c.request(fmt.Sprint("T", i))
			time.Sleep(time.Second)
		}
		if n := logged(hook, "does not answer for this merchant"); n != 1 {
			t.Fatalf("told %d times that the merchant is not answered", n)
		}
		c.request("BAD1", "BAD2", "BAD3") // from now on nobody knows
		time.Sleep(40 * time.Second)
		asked := time.Now()
		c.requestJSON(`{"mch_id":"hostile","out_trade_no":"GOOD"}`)
		for time.Since(asked) < 3*time.Minute && c.end("outcomes") < 21 {
			time.Sleep(time.Second)
		}
		for _, o := range c.outcomesWithin(int(c.end("outcomes")), time.Minute) {
			if o.OutTradeNo == "GOOD" {
				return
			}
		}
		t.Error("GOOD has no answer after three minutes")
	})
}

// Who waits in a worker that has lost the partition of its prober probes next.
func TestAWorkerThatHasLostItsProberHasAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		mended := time.Now().Add(10 * time.Minute)
		refuse := refusing(until(mended))
		named := func(id string) func(*consumer.Config) { return func(cfg *consumer.Config) { cfg.InstanceID = id } }
		first := &closing{answer: refuse}
		defer c.worker(first, named("a"))()
		time.Sleep(5 * time.Second)
		for i, partition := range []int32{2, 0, 0, 0} { // the prober goes to another member, the others stay
			r := to(partition, fmt.Sprint("R", i))
			r.Value = fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":"R%d"}`, refusedMerchant, i)
			c.publish(r)
			time.Sleep(time.Second)
		}
		time.Sleep(9 * time.Minute) // they wait for the next 5m
		defer c.worker(&closing{answer: refuse}, named("b"))()
		time.Sleep(time.Until(mended))
		c.outcomesWithin(4, 30*time.Second)
		first.mu.Lock()
		defer first.mu.Unlock()
		if n := count(first.calls, "R1") + count(first.calls, "R2") + count(first.calls, "R3"); n < 4 {
			t.Errorf("%d calls of those that stayed: none has probed", n)
		}
	})
}

// Calls that got no answer leave their doubt, also when the request kept its
// place through an outage: the next answer is to be asked about.
func TestCallsBeforeAnOutageLeaveTheirDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var down atomic.Bool
		down.Store(true)
		closer := &closing{alive: func() bool { return !down.Load() }, answer: func(events.Request) consumer.Verdict {
			if down.Load() {
				return consumer.Verdict{Class: consumer.NoAnswer, Code: "TIMEOUT", Calls: 2}
			}
			return closedAnswer
		}}
		defer c.worker(closer, nil)()
		c.request("T1")
		time.Sleep(3 * time.Second)
		down.Store(false)
		o := c.outcomes(1)[0]
		closer.mu.Lock()
		defer closer.mu.Unlock()
		if got := fmt.Sprint(closer.tried["T1"]); got != "[false true]" || o.Attempts != 3 {
			t.Errorf("tried: %s, %d attempts; want [false true] and 3", got, o.Attempts)
		}
	})
}

// A call that was cut off may have closed the order: what is called again, here,
// is called as one that was tried.
func TestACallThatIsCutOffLeavesItsDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		first := true
		closer := &closing{answer: func(events.Request) consumer.Verdict {
			if first {
				first = false
				return consumer.Verdict{Class: consumer.Interrupted, Calls: 1}
			}
			return closedAnswer
		}}
		defer c.worker(closer, nil)()
		c.publish(to(0, "T1"))
		c.outcomes(1)
		closer.mu.Lock()
		defer closer.mu.Unlock()
		if got := fmt.Sprint(closer.tried["T1"]); got != "[false true]" {
			t.Errorf("tried: %s, want [false true]", got)
		}
	})
}

// A refusal whose words are about the merchant, for one order alone: the others
// wait for one probe, which another order makes, and then the order is to blame.
func TestAnOrderThatAloneIsRefusedDoesNotHoldItsMerchant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		refuse := refusing(func() bool { return true })
		closer := &closing{answer: func(r events.Request) consumer.Verdict {
			if r.OutTradeNo == "R0" {
				return refuse(r)
			}
			return closedAnswer
		}}
		defer c.worker(closer, nil)()
		c.askRefused(1, time.Time{})
		time.Sleep(time.Second)
		began := time.Now()
		c.askRefused(50, time.Time{}) // R0 once more among them
		for _, o := range c.outcomesWithin(49, time.Hour) {
			if o.OutTradeNo == "R0" || o.Result != events.Closed {
				t.Errorf("%s: %s %s", o.OutTradeNo, o.Result, o.Code)
			}
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("the others waited for %v", took)
		}
		for _, o := range c.outcomesWithin(51, 10*time.Hour)[49:] {
			if o.OutTradeNo != "R0" || o.Result != events.Failed || o.Code != events.CodeRetriesExhausted || !strings.Contains(o.Message, "signature") {
				t.Errorf("%s: %s %s %s", o.OutTradeNo, o.Result, o.Code, o.Message)
			}
		}
	})
}
