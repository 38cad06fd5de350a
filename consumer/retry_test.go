package consumer_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// diary notes when each order was asked for.
type diary struct {
	mu     sync.Mutex
	asked  map[string][]time.Time
	answer func(r events.Request, nth int) consumer.Verdict
}

func (d *diary) note(r events.Request) consumer.Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked == nil {
		d.asked = make(map[string][]time.Time)
	}
	d.asked[r.OutTradeNo] = append(d.asked[r.OutTradeNo], time.Now())
	return d.answer(r, len(d.asked[r.OutTradeNo]))
}

func (d *diary) times(order string) []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.asked[order])
}

var closedAnswer = consumer.Verdict{Class: consumer.Closed, Code: "SUCCESS", SafeToReissue: true, ConfirmedBy: "closeorder", Calls: 1}

func (c *cluster) requestJSON(format string, args ...any) {
	c.t.Helper()
	c.produce(&kgo.Record{Topic: "requests", Value: fmt.Appendf(nil, format, args...)})
}

func messageOf(r *kgo.Record) events.Message {
	m := events.Message{Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, events.Header{Key: h.Key, Value: h.Value})
	}
	return m
}

func TestATemporaryAnswerIsTriedAgainAfterEachDelayAndThenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		d := &diary{answer: func(events.Request, int) consumer.Verdict {
			return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Message: "system busy", Calls: 3}
		}}
		defer c.worker(&closing{answer: d.note}, nil)()
		original := &kgo.Record{
			Topic: "requests", Key: []byte("\x00key"), Value: []byte(`{"mch_id":"1900000109",  "out_trade_no":"T1","x":1}`),
			Headers: []kgo.RecordHeader{{Key: "twice", Value: []byte("1")}, {Key: "twice", Value: []byte("2")}, {Key: "empty", Value: []byte{}}, {Key: "null"}},
		}
		c.produce(original)
		began := time.Now()
		o := c.outcomes(1)[0]
		if o.Result != events.Failed || o.Code != events.CodeRetriesExhausted || o.Attempts != 12 {
			t.Errorf("outcome %s %s after %d calls", o.Result, o.Code, o.Attempts)
		}
		at := began
		for i, wait := range []time.Duration{0, 10 * time.Second, time.Minute, 5 * time.Minute} {
			asked := d.times("T1")[i]
			if late := asked.Sub(at.Add(wait)); late < 0 || late > 3*time.Second {
				t.Errorf("try %d at +%v, want %v after the one before", i, asked.Sub(began), wait)
			}
			at = asked
		}
		dead, err := records.DecodeDeadLetter(messageOf(c.read("dead", 1)[0]))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(dead.Original.Key, original.Key) || !bytes.Equal(dead.Original.Value, original.Value) {
			t.Errorf("dead letter %q %q", dead.Original.Key, dead.Original.Value)
		}
		want := messageOf(original).Headers
		if !slices.EqualFunc(dead.Original.Headers, want, func(a, b events.Header) bool {
			return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil)
		}) {
			t.Errorf("headers %v, want %v", dead.Original.Headers, want)
		}
		if dead.Source.Topic != "requests" || dead.Calls != 12 {
			t.Errorf("dead letter of %+v after %d calls", dead.Source, dead.Calls)
		}
	})
}

// A request that comes back from a retry topic says whether calls were made for it.
func TestARetrySaysThatItWasTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		made := map[string]int{"CALLED": 1, "NOT-CALLED": 0}
		closer := &closing{answer: func(r events.Request) consumer.Verdict {
			return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: made[r.OutTradeNo], RetryAfter: time.Second}
		}}
		defer c.worker(closer, nil)()
		c.request("CALLED", "NOT-CALLED")
		time.Sleep(15 * time.Second)
		closer.mu.Lock()
		defer closer.mu.Unlock()
		if got := fmt.Sprint(closer.tried["CALLED"][:2], closer.tried["NOT-CALLED"][:2]); got != "[false true] [false false]" {
			t.Errorf("tried: %s", got)
		}
	})
}

func TestRequestsThatMustWait(t *testing.T) {
	for _, c := range []struct {
		sentence string
		fields   func(now time.Time) string
		wait     time.Duration // until the call; negative for never
		code     string
	}{
		{"not_before a moment ahead", func(now time.Time) string {
			return fmt.Sprintf(`"not_before":%q`, now.Add(3*time.Second).Format(time.RFC3339Nano))
		}, 3 * time.Second, "SUCCESS"},
		{"not_before longer ahead than any delay takes several hops", func(now time.Time) string {
			return fmt.Sprintf(`"not_before":%q`, now.Add(21*time.Minute+7*time.Second).Format(time.RFC3339Nano))
		}, 21*time.Minute + 7*time.Second, "SUCCESS"},
		{"an order of one minute waits until it is five minutes old", func(now time.Time) string {
			return fmt.Sprintf(`"order_created_at":%q`, now.Add(-time.Minute).Format(time.RFC3339Nano))
		}, 4 * time.Minute, "SUCCESS"},
		{"an order of ten minutes does not wait", func(now time.Time) string {
			return fmt.Sprintf(`"order_created_at":%q`, now.Add(-10*time.Minute).Format(time.RFC3339Nano))
		}, 0, "SUCCESS"},
		{"an order from the future counts as made just now", func(now time.Time) string {
			return fmt.Sprintf(`"order_created_at":%q`, now.Add(1000*time.Hour).Format(time.RFC3339Nano))
		}, 5 * time.Minute, "SUCCESS"},
		{"an expired request is not closed", func(now time.Time) string {
			return fmt.Sprintf(`"expires_at":%q`, now.Add(-time.Second).Format(time.RFC3339Nano))
		}, -1, events.CodeExpired},
		{"a request that expires while the order is too young is not closed", func(now time.Time) string {
			return fmt.Sprintf(`"order_created_at":%q,"expires_at":%q`, now.Format(time.RFC3339Nano), now.Add(time.Minute).Format(time.RFC3339Nano))
		}, -1, events.CodeExpired},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t)
				d := &diary{answer: func(events.Request, int) consumer.Verdict { return closedAnswer }}
				defer k.worker(&closing{answer: d.note}, func(cfg *consumer.Config) { cfg.MinOrderAge = 5 * time.Minute })()
				time.Sleep(5 * time.Second)
				now := time.Now()
				k.requestJSON(`{"mch_id":"1900000109","out_trade_no":"T1",%s}`, c.fields(now))
				client := k.outcomesWithin(1, 4*time.Hour)
				if client[0].Code != c.code {
					t.Errorf("outcome %s %s", client[0].Result, client[0].Code)
				}
				asked := d.times("T1")
				switch {
				case c.wait < 0 && len(asked) > 0:
					t.Errorf("called after %v", asked[0].Sub(now))
				case c.wait >= 0 && len(asked) != 1:
					t.Errorf("%d calls", len(asked))
				case c.wait >= 0 && (asked[0].Sub(now) < c.wait || asked[0].Sub(now) > c.wait+10*time.Second):
					t.Errorf("called after %v, want %v", asked[0].Sub(now), c.wait)
				}
				if n := k.end("dead"); n != 0 {
					t.Errorf("%d dead letters", n)
				}
			})
		})
	}
}

func TestAnOutageOfAnHourFailsNothingAndIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		began := time.Now()
		down := func() bool {
			since := time.Since(began)
			return since > 20*time.Second && since < 80*time.Minute
		}
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			if down() {
				return consumer.Verdict{Class: consumer.NoAnswer, Code: "TIMEOUT", Calls: 2}
			}
			return closedAnswer
		}}
		var hook *test.Hook
		closer := &closing{takes: 10 * time.Second, answer: d.note, alive: func() bool { return !down() }}
		stop := c.worker(closer, func(cfg *consumer.Config) { heard(&hook)(cfg); cfg.MaxInFlight = 10 })
		orders := numbered("T", 100)
		c.request(orders...)
		for _, o := range c.outcomesWithin(len(orders), 3*time.Hour) {
			if o.Result != events.Closed {
				t.Errorf("%s: %s %s", o.OutTradeNo, o.Result, o.Code)
			}
		}
		stop()
		if n := logged(hook, "calls are held"); n != 1 {
			t.Errorf("told %d times that calls are held", n)
		}
		if n := logged(hook, "calls resume"); n != 1 {
			t.Errorf("told %d times that calls resume", n)
		}
		if n := c.end("dead"); n != 0 {
			t.Errorf("%d dead letters", n)
		}
		for _, tier := range tiers {
			if n := c.end(tier.Topic); n != 0 {
				t.Errorf("%d retries burnt in %s", n, tier.Topic)
			}
		}
		if probes := len(closer.made()) - len(orders); probes > 350 {
			t.Errorf("%d calls into the outage", probes)
		}
	})
}

func TestAnOrderThatAloneGetsNoAnswerDoesNotHoldTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			if r.OutTradeNo == "LOST" {
				return consumer.Verdict{Class: consumer.NoAnswer, Code: "TIMEOUT", Calls: 2}
			}
			return closedAnswer
		}}
		defer c.worker(&closing{takes: time.Second, answer: d.note}, func(cfg *consumer.Config) { cfg.MaxInFlight = 2 })()
		go func() {
			for i := range 1000 {
				c.request(fmt.Sprintf("T%04d", i))
				time.Sleep(time.Second)
			}
		}()
		time.Sleep(time.Minute)
		c.request("LOST")
		failed := 0
		for _, o := range c.outcomesWithin(1001, time.Hour) {
			if o.Result == events.Failed {
				failed++
				if o.OutTradeNo != "LOST" || o.Code != events.CodeRetriesExhausted {
					t.Errorf("%s failed with %s", o.OutTradeNo, o.Code)
				}
			}
		}
		if failed != 1 {
			t.Errorf("%d failed", failed)
		}
	})
}

func TestAnOrderThatNeverGetsAnAnswerEndsAlsoOnAQuietNight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			return consumer.Verdict{Class: consumer.NoAnswer, Code: "HTTP_STATUS", Calls: 2}
		}}
		var hook *test.Hook
		defer c.worker(&closing{takes: 20 * time.Second, answer: d.note}, heard(&hook))()
		c.request("HTML")
		if o := c.outcomes(1)[0]; o.Code != events.CodeRetriesExhausted || len(d.times("HTML")) != 4 {
			t.Errorf("outcome %s after %d tries", o.Code, len(d.times("HTML")))
		}
		if n := logged(hook, "calls are held"); n != 0 {
			t.Error("one order was taken for an outage although the gateway answers")
		}
	})
}

func TestAMerchantThatIsRefusedWaitsAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		began := time.Now()
		retried := false
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			if r.MchID == "1900000999" && time.Since(began) < 30*time.Minute {
				return consumer.Verdict{Class: consumer.MerchantRefused, Code: "SIGNERROR", Calls: 1, Scope: consumer.Scope{MchID: r.MchID}}
			}
			if r.OutTradeNo == "R7" && !retried {
				retried = true // needs a retry, which waiting must not have used up
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return closedAnswer
		}}
		var hook *test.Hook
		closer := &closing{takes: time.Second, answer: d.note}
		defer c.worker(closer, func(cfg *consumer.Config) { heard(&hook)(cfg); cfg.MaxInFlight = 5 })()
		const refused, served = 100, 100
		for i := range refused {
			c.requestJSON(`{"mch_id":"1900000999","out_trade_no":"R%d"}`, i)
		}
		c.request(numbered("T", served)...)
		c.outcomes(served)
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("the other merchant was slowed: %v", took)
		}
		for _, o := range c.outcomesWithin(refused+served, 3*time.Hour) {
			if o.Result != events.Closed {
				t.Errorf("%s: %s %s", o.OutTradeNo, o.Result, o.Code)
			}
		}
		if took := time.Since(began); took > 36*time.Minute {
			t.Errorf("answered %v after the merchant was mended", took-30*time.Minute)
		}
		if n := logged(hook, "refuses this merchant"); n != 1 {
			t.Errorf("told %d times that the merchant is refused", n)
		}
		if n := logged(hook, "accepts this merchant again"); n != 1 {
			t.Errorf("told %d times that it works again", n)
		}
		if wasted := len(closer.made()) - refused - served; wasted > 250 {
			t.Errorf("%d calls for a merchant that is refused", wasted)
		}
		if n := c.end("dead"); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

func TestARetryRecordThatWasWrittenTwiceIsServedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.withoutProducerIDs()
		c.refuse("retry.10s", kerr.NotEnoughReplicasAfterAppend, 2) // writes, and answers an error
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			if nth < 2 {
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return closedAnswer
		}}
		defer c.worker(&closing{takes: time.Second, answer: d.note}, nil)()
		c.request("T1")
		c.outcomes(1)
		time.Sleep(10 * time.Minute)
		if n := len(d.times("T1")); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
		if n := c.end("outcomes"); n != 1 {
			t.Errorf("%d outcomes", n)
		}
		if n := c.end("retry.10s"); n != 3 {
			t.Errorf("%d retry records: the test has not written it three times", n)
		}
	})
}

func TestARequestThatWaitsForItsRetrySurvivesACrashAndIsNotEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			if nth < 4 {
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return closedAnswer
		}}
		h := &host{net: c.net}
		stop := c.worker(&closing{answer: d.note}, func(cfg *consumer.Config) { cfg.Kafka.Dial = h.dial })
		c.request("T1")
		time.Sleep(2 * time.Minute) // waits in retry.5m
		h.cut(true)
		stop()
		defer c.worker(&closing{answer: d.note}, nil)()
		if o := c.outcomes(1)[0]; o.Result != events.Closed || o.Attempts != 4 {
			t.Errorf("outcome %s after %d calls", o.Result, o.Attempts)
		}
		asked := d.times("T1")
		if len(asked) != 4 || asked[3].Sub(asked[2]) < 5*time.Minute {
			t.Errorf("asked at %v", asked)
		}
	})
}

func TestATryThatWasCutShortByOurselvesCostsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			if nth <= 10 { // more often than there are retries
				return consumer.Verdict{Class: consumer.Temporary, Code: "SUCCESS", Calls: 1, Starved: true}
			}
			return closedAnswer
		}}
		defer c.worker(&closing{answer: d.note}, nil)()
		c.request("T1")
		if o := c.outcomes(1)[0]; o.Result != events.Closed || o.Attempts != 11 {
			t.Errorf("outcome %s %s after %d calls", o.Result, o.Code, o.Attempts)
		}
	})
}
