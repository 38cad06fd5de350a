package consumer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus/hooks/test"
	"golang.org/x/time/rate"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAStopDuringARebalanceTakesNoLongerThanTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		stop1 := c.worker(&closing{takes: time.Hour}, func(cfg *consumer.Config) {
			cfg.RebalanceTimeout, cfg.Grace = 4*time.Minute, 5*time.Second
		})
		c.request("T1")
		time.Sleep(5 * time.Second)
		stop2 := c.worker(&closing{}, func(cfg *consumer.Config) { cfg.RebalanceTimeout = 4 * time.Minute })
		time.Sleep(10 * time.Second) // the first one drains
		began := time.Now()
		stop1()
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("stopping took %v, grace is 5s", took)
		}
		c.outcomes(1)
		stop2()
	})
}

func TestAnOrderThatComesFromTheFutureIsAnsweredAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		// What closer does with ORDERNOTEXIST on an order it thinks is young.
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			if age := time.Since(r.OrderCreatedAt); age < time.Minute {
				return consumer.Verdict{Class: consumer.Temporary, Code: "ORDERNOTEXIST", RetryAfter: time.Minute - age, Calls: 2}
			}
			return closedAnswer
		}}
		defer c.worker(&closing{answer: d.note}, func(cfg *consumer.Config) { cfg.MinOrderAge = 10 * time.Second })()
		// The shop writes Beijing time and calls it UTC.
		c.requestJSON(`{"mch_id":"1900000109","out_trade_no":"T1","order_created_at":%q}`, time.Now().Add(8*time.Hour).UTC().Format(time.RFC3339))
		c.outcomesWithin(1, time.Hour)
	})
}

func TestAMerchantThatCannotBeCalledIsNoProofThatTheGatewayAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		began := time.Now()
		down := func() bool { return time.Since(began) > time.Minute && time.Since(began) < 25*time.Minute }
		slow := &closing{takes: 12 * time.Second, alive: func() bool { return !down() }, answer: func(r events.Request) consumer.Verdict {
			if down() {
				return consumer.Verdict{Class: consumer.NoAnswer, Code: "TIMEOUT", Calls: 2}
			}
			return closedAnswer
		}}
		noKey := byMerchant{"1900000999": func(context.Context, events.Request) consumer.Verdict {
			return consumer.Verdict{Class: consumer.MerchantRefused, Code: "MERCHANT_INCOMPLETE", Scope: consumer.Scope{MchID: "1900000999"}}
		}}
		defer c.worker(merchants{slow, noKey}, func(cfg *consumer.Config) { cfg.MaxInFlight = 10 })()
		for i, order := range numbered("T", 60) { // longer than all retries together
			c.request(order)
			for j := range 4 {
				c.requestJSON(`{"mch_id":"1900000999","out_trade_no":"N%d"}`, 4*i+j)
				time.Sleep(5 * time.Second)
			}
		}
		for _, o := range c.outcomesWithin(60, 6*time.Hour) {
			if o.Result != events.Closed {
				t.Fatalf("%s: %s %s", o.OutTradeNo, o.Result, o.Code)
			}
		}
		if n := c.end("dead"); n != 0 {
			t.Errorf("%d dead letters of an outage", n)
		}
	})
}

type byMerchant map[string]func(context.Context, events.Request) consumer.Verdict

type merchants struct {
	*closing
	other byMerchant
}

func (m merchants) Close(ctx context.Context, r events.Request, tried bool, place consumer.Place) consumer.Verdict {
	if f := m.other[r.MchID]; f != nil {
		return f(ctx, r)
	}
	return m.closing.Close(ctx, r, tried, place)
}

func TestAnOrderThatNeverGetsAnAnswerEndsThoughOneProbeWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		began := time.Now()
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			return consumer.Verdict{Class: consumer.NoAnswer, Code: "HTTP_STATUS", Calls: 2}
		}}
		alive := func() bool { return time.Since(began) > time.Minute }
		defer c.worker(&closing{takes: 20 * time.Second, answer: d.note, alive: alive}, nil)()
		c.request("HTML")
		if o := c.outcomesWithin(1, 2*time.Hour)[0]; o.Code != events.CodeRetriesExhausted {
			t.Errorf("outcome %s", o.Code)
		}
	})
}

func (c *cluster) limit(topic, bytes string) {
	c.t.Helper()
	if _, err := c.admin().AlterTopicConfigs(c.t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &bytes}}, topic); err != nil {
		c.t.Fatal(err)
	}
}

// noise is what no compression makes smaller.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func TestHeadersTooLargeForTheDeadLetterTopicDoNotStopThePartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.limit("dead", "20000")
		defer c.worker(&closing{}, nil)()
		bad := to(0, "")
		bad.Value = []byte("not json")
		bad.Headers = []kgo.RecordHeader{{Key: "huge", Value: noise(50000)}}
		c.manual().ProduceSync(t.Context(), bad, to(0, "T1"))
		c.outcomes(2)
		time.Sleep(time.Minute)
		if at := c.committed()[0]; at.At != 2 {
			t.Errorf("committed %+v, want 2: the partition is stuck", at)
		}
	})
}

func TestARequestTooLargeForTheRetryTopicGetsAnOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.limit("retry.10s", "20000")
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
		}}
		defer c.worker(&closing{answer: d.note}, nil)()
		big := to(0, "BIG")
		big.Headers = []kgo.RecordHeader{{Key: "huge", Value: noise(50000)}}
		c.manual().ProduceSync(t.Context(), big)
		c.outcomes(1)
	})
}

func TestARequestForWhichNoCallWasMadeLosesNoTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		began := time.Now()
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			if strings.HasPrefix(r.OutTradeNo, "B") && time.Since(began) < 20*time.Minute {
				// The host is slow and its call slots are taken by others.
				return consumer.Verdict{Class: consumer.NoAnswer, Code: "BUSY", Calls: 0}
			}
			return closedAnswer
		}}
		defer c.worker(&closing{takes: 30 * time.Second, answer: d.note}, nil)()
		c.request("B1")
		for i := range 300 { // longer than all retries together
			c.request(fmt.Sprintf("T%04d", i))
			time.Sleep(4 * time.Second)
		}
		for _, o := range c.outcomesWithin(301, 6*time.Hour) {
			if o.Result != events.Closed {
				t.Errorf("%s: %s %s after %d calls", o.OutTradeNo, o.Result, o.Code, o.Attempts)
			}
		}
	})
}

func TestAnOutcomeTopicMadeAgainWithFewerPartitionsIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.worker(&closing{}, nil)()
		c.request(numbered("T", 30)...)
		c.outcomes(30)
		if _, err := c.admin().DeleteTopics(t.Context(), "outcomes"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if _, err := c.admin().CreateTopic(t.Context(), 1, 1, nil, "outcomes"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		c.request(numbered("U", 30)...)
		c.outcomes(30)
	})
}

func TestARecordWithoutATimestampIsNotClosedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		d := &diary{answer: func(events.Request, int) consumer.Verdict { return closedAnswer }}
		defer c.worker(&closing{answer: d.note}, func(cfg *consumer.Config) { cfg.MinOrderAge = 5 * time.Minute })()
		now := time.Now()
		c.produce(&kgo.Record{
			Topic: "requests", Timestamp: time.UnixMilli(-1),
			Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":"T1","order_created_at":%q}`, now.UTC().Format(time.RFC3339)),
		})
		o := c.outcomes(1)[0]
		if early := d.times("T1")[0].Sub(now); early < 4*time.Minute {
			t.Errorf("called after %v, the order must be 5m old", early)
		}
		if o.RequestedAt.Before(now.Add(-time.Hour)) && !o.RequestedAt.IsZero() {
			t.Errorf("requested at %v", o.RequestedAt)
		}
	})
}

func TestAKeylessOutcomeDoesNotStopACompactedTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		// What Apache Kafka does with a record without a key in a compacted
		// topic: it refuses the whole batch with INVALID_RECORD.
		kafka := c.broker.Cluster()
		kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
			kafka.KeepControl()
			produce := req.(*kmsg.ProduceRequest)
			for _, topic := range produce.Topics {
				for _, p := range topic.Partitions {
					if topic.Topic == "outcomes" && keyless(t, p.Records) {
						res := produce.ResponseKind().(*kmsg.ProduceResponse)
						rt, rp := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
						rt.Topic, rp.Partition, rp.ErrorCode = topic.Topic, p.Partition, kerr.InvalidRecord.Code
						rt.Partitions = append(rt.Partitions, rp)
						res.Topics = append(res.Topics, rt)
						return res, nil, true
					}
				}
			}
			return nil, nil, false
		})
		defer c.worker(&closing{}, nil)()
		c.produce(&kgo.Record{Topic: "requests", Value: []byte("not json")})
		time.Sleep(time.Second)
		c.request(numbered("T", 30)...)
		c.outcomes(31)
	})
}

// keyless says whether a batch, not compressed, has a record without a key.
func keyless(t *testing.T, b []byte) bool {
	return slices.ContainsFunc(recordsOf(t, b), func(r kmsg.Record) bool { return r.Key == nil })
}

// A key can be what makes a record too large: it goes as well, at last.
func TestAKeyTooLargeForTheTopicsDoesNotStopThePartition(t *testing.T) {
	for sentence, publish := range map[string]func(t *testing.T, c *cluster){
		"a key beyond the limit of the outcomes": func(t *testing.T, c *cluster) {
			c.limit("outcomes", "20000")
			r := to(0, "T1")
			r.Key = noise(50000)
			c.publish(r)
		},
		"a key that only compression made small enough": func(t *testing.T, c *cluster) {
			c.limit("dead", "2000") // so much that compression does not help
			c.limit("outcomes", "2000")
			r := &kgo.Record{Topic: "requests", Key: []byte(strings.Repeat("k", 4<<20)), Value: []byte("not json")}
			p := c.manual(kgo.ProducerBatchCompression(kgo.GzipCompression()), kgo.ProducerBatchMaxBytes(16<<20), kgo.BrokerMaxWriteBytes(32<<20))
			if err := p.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				stop := c.worker(&closing{}, nil)
				publish(t, c)
				c.outcomesWithin(1, time.Hour)
				time.Sleep(time.Minute)
				if at := c.committed()[0].At; at != 1 {
					t.Errorf("committed %d", at)
				}
				began := time.Now()
				stop()
				if took := time.Since(began); took > time.Second {
					t.Errorf("stopping with nothing in flight took %v", took)
				}
			})
		})
	}
}

// One order service names a sub_mch_id that its merchant may not use.
func TestARefusedSubMerchantHoldsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{takes: 100 * time.Millisecond, answer: func(r events.Request) consumer.Verdict {
			if r.SubMchID != "" {
				return consumer.Verdict{Class: consumer.MerchantRefused, Code: "NOAUTH", Calls: 1, Scope: consumer.Scope{MchID: r.MchID, SubMchID: r.SubMchID}}
			}
			return closedAnswer
		}}
		defer c.worker(closer, nil)()
		time.Sleep(5 * time.Second)
		const n = 100
		for i := range n {
			c.request(fmt.Sprintf("T%04d", i))
			c.requestJSON(`{"mch_id":"1900000109","sub_mch_id":"bogus","out_trade_no":"B%04d"}`, i)
			time.Sleep(time.Second)
		}
		for _, o := range c.outcomesWithin(n, time.Hour) {
			if took := o.CompletedAt.Sub(o.RequestedAt); took > 2*time.Second {
				t.Errorf("%s took %v", o.OutTradeNo, took)
			}
		}
	})
}

// A merchant whose gateway does not answer, while others are answered, is an
// outage of its own.
func TestAMerchantWhoseHostsAreAwayWaitsAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		began := time.Now()
		away := func() bool { return time.Since(began) < 30*time.Minute } // longer than all retries
		others := &closing{takes: 100 * time.Millisecond}
		var hook *test.Hook
		m := aliveUnless{merchants{others, byMerchant{"away": func(ctx context.Context, _ events.Request) consumer.Verdict {
			if !away() {
				return closedAnswer
			}
			last := time.Now()
			time.Sleep(8 * time.Second)
			return consumer.Verdict{Class: consumer.NoAnswer, Code: "TIMEOUT", Calls: 2, LastCall: last}
		}}}, func(r events.Request) bool { return r.MchID == "away" && away() }}
		defer c.worker(m, heard(&hook))()
		const n = 20
		for i := range n {
			c.requestJSON(`{"mch_id":"away","out_trade_no":"A%d"}`, i)
		}
		asked := 0
		for ; time.Since(began) < 40*time.Minute; asked++ {
			c.request(fmt.Sprintf("T%05d", asked))
			time.Sleep(5 * time.Second)
		}
		for _, o := range c.outcomesWithin(n+asked, time.Hour) {
			if o.Result != events.Closed {
				t.Errorf("%s: %s %s", o.OutTradeNo, o.Result, o.Code)
			}
			if took := o.CompletedAt.Sub(o.RequestedAt); o.MchID != "away" && took > 2*time.Second {
				t.Errorf("%s took %v", o.OutTradeNo, took)
			}
		}
		if n := logged(hook, "does not answer for this merchant"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// aliveUnless answers probes.
type aliveUnless struct {
	merchants
	away func(events.Request) bool
}

func (a aliveUnless) Probe(_ context.Context, r events.Request) bool { return !a.away(r) }

// The last try of a request is under way when the gateway goes away: that is
// not the request's fault.
func TestALastTryAtTheBeginningOfAnOutageIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var down atomic.Bool
		var tries atomic.Int32
		closer := &closing{alive: func() bool { return !down.Load() }, answer: func(r events.Request) consumer.Verdict {
			nth := 0
			if r.OutTradeNo == "LAST" {
				nth = int(tries.Add(1))
			}
			switch {
			case nth == 0 || nth > 4:
				return closedAnswer
			case nth < 4:
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			last := time.Now() // the last call of the last try begins, others are answered
			time.Sleep(time.Second)
			c.request("OTHER")
			time.Sleep(time.Second)
			down.Store(true)
			time.Sleep(500 * time.Millisecond)
			return consumer.Verdict{Class: consumer.NoAnswer, Code: "TIMEOUT", Calls: 2, LastCall: last}
		}}
		defer c.worker(closer, nil)()
		c.request("LAST")
		time.Sleep(30 * time.Minute)
		down.Store(false)
		for _, o := range c.outcomesWithin(2, time.Hour) {
			if o.Result != events.Closed {
				t.Errorf("%s: %s %s", o.OutTradeNo, o.Result, o.Code)
			}
		}
	})
}

// A merchant over its rate is not written to a retry topic and read back all
// the time.
func TestAMerchantOverItsRateWaitsInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		// As closer does it: who has to wait for long is sent away, to come
		// back one after the other.
		limiter := rate.NewLimiter(10, 1)
		var mu sync.Mutex
		var last time.Time
		closer := &closing{answer: func(events.Request) consumer.Verdict {
			r := limiter.Reserve()
			if wait := r.Delay(); wait > 2*time.Second {
				r.Cancel()
				mu.Lock()
				defer mu.Unlock()
				last = last.Add(100 * time.Millisecond)
				if soonest := time.Now().Add(wait); last.Before(soonest) {
					last = soonest
				}
				return consumer.Verdict{Class: consumer.Temporary, Code: "OWN_RATE_LIMIT", RetryAfter: time.Until(last)}
			}
			time.Sleep(r.Delay())
			return closedAnswer
		}}
		defer c.worker(closer, nil)()
		orders := numbered("T", 1000)
		c.request(orders...)
		c.outcomesWithin(len(orders), time.Hour)
		if n := c.end("retry.10s"); n > 0 {
			t.Errorf("%d retry records", n)
		}
		if n := len(closer.made()); n > 3*len(orders) {
			t.Errorf("%d attempts for %d requests", n, len(orders))
		}
	})
}

// A worker whose clock was wrong for a moment has put a request off for a year.
func TestNoRetryWaitsLongerThanItsTopicSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.worker(&closing{}, nil)()
		m := records.EncodeRetry(records.Retry{
			Original: events.Message{Key: []byte("T1"), Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T1"}`)},
			DueAt:    time.Now().Add(365 * 24 * time.Hour), Retries: 1, Calls: 1,
			Source: events.Source{Topic: "requests"}, SourceTimestamp: time.Now(),
		})
		r := &kgo.Record{Topic: "retry.10s", Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		c.produce(r)
		c.outcomesWithin(1, 30*time.Second)
	})
}

// A shop that counts its record timestamps in microseconds.
func TestATimestampBeyondRFC3339DoesNotMakeAnOrderOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		d := &diary{answer: func(events.Request, int) consumer.Verdict { return closedAnswer }}
		defer c.worker(&closing{answer: d.note}, func(cfg *consumer.Config) { cfg.MinOrderAge = 5 * time.Minute })()
		now := time.Now()
		c.produce(&kgo.Record{
			Topic: "requests", Timestamp: time.UnixMilli(now.UnixMicro()),
			Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":"T1","order_created_at":%q}`, now.UTC().Add(-30*time.Second).Format(time.RFC3339)),
		})
		c.outcomesWithin(1, time.Hour)
		if age := d.times("T1")[0].Sub(now) + 30*time.Second; age < 5*time.Minute {
			t.Errorf("closed at the age of %v", age)
		}
	})
}

// A grace of nothing is nothing: what is in flight is cut off at once, and left
// to the next owner.
func TestAStopWithoutGraceCutsOffAtOnceAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{takes: 10 * time.Second}
		stop := c.worker(closer, func(cfg *consumer.Config) { cfg.Grace, cfg.MaxInFlight = 0, 20 })
		orders := numbered("T", 30)
		c.request(orders...)
		time.Sleep(12 * time.Second) // 20 are answered, 10 are in flight
		began := time.Now()
		stop()
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("the stop took %v", took)
		}
		if n := c.end("outcomes"); n != 20 {
			t.Errorf("%d outcomes, want the 20 that were answered before", n)
		}
		heir := &closing{}
		began = time.Now()
		defer c.worker(heir, nil)()
		c.outcomes(30)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the next owner had to wait %v: the group was not left", took)
		}
		time.Sleep(time.Minute)
		if len(heir.made()) != 10 {
			t.Errorf("the next owner made %d calls, want 10: what was finished is committed", len(heir.made()))
		}
	})
}

// New has no defaults: what must not be nothing is refused by name.
func TestAConfigurationWithoutWhatAWorkerNeedsIsRefused(t *testing.T) {
	good := func() consumer.Config {
		return consumer.Config{
			Kafka: consumer.Kafka{Brokers: []string{"localhost:1"}}, Group: "g",
			SessionTimeout: time.Second, RebalanceTimeout: time.Second, MaxInFlight: 1,
			Topics: consumer.Topics{Requests: "requests", Outcomes: "outcomes", DeadLetters: "dead", Retries: tiers},
			Closer: &closing{}, Log: logrus.New(),
		}
	}
	if _, err := consumer.New(good()); err != nil {
		t.Errorf("grace 0 and no minimum age: %v", err)
	}
	for want, change := range map[string]func(*consumer.Config){
		"session time-out is 0s, want 1s or more":   func(c *consumer.Config) { c.SessionTimeout = 0 },
		"rebalance time-out is 0s, want 1s or more": func(c *consumer.Config) { c.RebalanceTimeout = 0 },
		"max in flight is 0, want 1 or more":        func(c *consumer.Config) { c.MaxInFlight = 0 },
		"max buffered is -1 bytes, want 0 or more":  func(c *consumer.Config) { c.Kafka.MaxBuffered = -1 },
		"grace is -1s, want 0s or more":             func(c *consumer.Config) { c.Grace = -time.Second },
	} {
		cfg := good()
		change(&cfg)
		if _, err := consumer.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
