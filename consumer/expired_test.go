package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// An expired request is asked about, not closed: what becomes of it by what
// the gateway says.
func TestAnExpiredRequestSaysWhatBecameOfItsOrder(t *testing.T) {
	for _, c := range []struct {
		sentence string
		asked    func(since time.Duration) consumer.Verdict
		alive    func(since time.Duration) bool
		result   events.Result
		code     string
		message  string        // part of it
		after    time.Duration // at least; and at most a minute later
	}{
		{
			sentence: "an order that is still open has expired",
			asked: func(time.Duration) consumer.Verdict {
				return consumer.Verdict{Class: consumer.Failed, Code: "NOTPAY", Message: "orderquery says NOTPAY", Calls: 1}
			},
			result: events.Failed, code: events.CodeExpired, message: "has passed; orderquery says NOTPAY",
		},
		{
			sentence: "one that the buyer has paid is paid",
			asked: func(time.Duration) consumer.Verdict {
				return consumer.Verdict{Class: consumer.Paid, Code: "SUCCESS", ConfirmedBy: "orderquery", Calls: 1}
			},
			result: events.Paid, code: "SUCCESS",
		},
		{
			sentence: "one that somebody has closed is closed",
			asked: func(time.Duration) consumer.Verdict {
				return consumer.Verdict{Class: consumer.Closed, Code: "CLOSED", SafeToReissue: true, ConfirmedBy: "orderquery", Calls: 1}
			},
			result: events.Closed, code: "CLOSED",
		},
		{
			sentence: "one of an unknown merchant has expired",
			asked: func(time.Duration) consumer.Verdict {
				return consumer.Verdict{Class: consumer.Failed, Code: events.CodeUnknownMerchant, Message: "no merchant"}
			},
			result: events.Failed, code: events.CodeExpired, message: "no merchant",
		},
		{
			sentence: "an outage is waited for",
			asked: func(since time.Duration) consumer.Verdict {
				if since < time.Hour {
					return consumer.Verdict{Class: consumer.NoAnswer, Code: "TIMEOUT", Calls: 2}
				}
				return consumer.Verdict{Class: consumer.Paid, Code: "SUCCESS", ConfirmedBy: "orderquery", Calls: 1}
			},
			alive:  func(since time.Duration) bool { return since >= time.Hour },
			result: events.Paid, code: "SUCCESS", after: time.Hour,
		},
		{
			sentence: "an answer is waited for as long as the retries last, and no longer",
			asked: func(time.Duration) consumer.Verdict {
				return consumer.Verdict{Class: consumer.Temporary, Code: "NOAUTH", Calls: 1}
			},
			result: events.Failed, code: events.CodeExpired, message: "no final answer after the last retry", after: 6*time.Minute + 10*time.Second,
		},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t)
				began := time.Now()
				closer := &closing{asked: func(events.Request) consumer.Verdict { return c.asked(time.Since(began)) }}
				if c.alive != nil {
					closer.alive = func() bool { return c.alive(time.Since(began)) }
				}
				defer k.worker(closer, nil)()
				k.requestJSON(`{"mch_id":"1900000109","out_trade_no":"T1","expires_at":%q}`, began.Add(-time.Second).Format(time.RFC3339Nano))
				o := k.outcomesWithin(1, 4*time.Hour)[0]
				if o.Result != c.result || o.Code != c.code || !strings.Contains(o.Message, c.message) {
					t.Errorf("outcome %s %s: %s", o.Result, o.Code, o.Message)
				}
				if took := time.Since(began); took < c.after || took > c.after+time.Minute {
					t.Errorf("after %v, want %v", took, c.after)
				}
				if len(closer.made()) > 0 {
					t.Errorf("closed: %v", closer.made())
				}
				if n := k.end("dead"); n != 0 {
					t.Errorf("%d dead letters", n)
				}
			})
		})
	}
}

// A request is closed in time by a worker that dies before it can commit. When
// the next one gets it, its time is over: it must not say that it has expired.
func TestARepeatAfterTheExpiryDoesNotContradict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		commitsRefused := c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
		h := &host{net: c.net}
		kill := c.worker(&closing{}, func(cfg *consumer.Config) { cfg.Kafka.Dial, cfg.Grace = h.dial, time.Second })
		time.Sleep(5 * time.Second)
		c.requestJSON(`{"mch_id":"1900000109","out_trade_no":"T1","expires_at":%q}`, time.Now().Add(20*time.Second).Format(time.RFC3339Nano))
		time.Sleep(5 * time.Second)
		h.cut(true)
		kill()
		commitsRefused.Remove()
		time.Sleep(time.Minute)
		heir := &closing{asked: func(events.Request) consumer.Verdict {
			return consumer.Verdict{Class: consumer.Closed, Code: "CLOSED", SafeToReissue: true, ConfirmedBy: "orderquery", Calls: 1}
		}}
		defer c.worker(heir, nil)()
		both := c.outcomesWithin(2, time.Hour)
		if both[0].ID != both[1].ID {
			t.Errorf("event ids %s and %s", both[0].ID, both[1].ID)
		}
		for i, o := range both {
			if o.Result != events.Closed {
				t.Errorf("outcome %d: %s", i, fmt.Sprint(o.Result, " ", o.Code))
			}
		}
	})
}
