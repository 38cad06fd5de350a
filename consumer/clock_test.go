package consumer_test

import (
	"context"
	"fmt"
	"strings"
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

// ageing notes how old the orders are that a worker asks about.
type ageing struct {
	*closing
	mu   sync.Mutex
	ages []time.Duration // -1 for unknown
}

func (a *ageing) note(r events.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	age := time.Duration(-1)
	if !r.OrderCreatedAt.IsZero() {
		age = time.Since(r.OrderCreatedAt)
	}
	a.ages = append(a.ages, age)
}

func (a *ageing) Close(ctx context.Context, r events.Request, tried bool, place consumer.Place) consumer.Verdict {
	a.note(r)
	return a.closing.Close(ctx, r, tried, place)
}

func (a *ageing) Query(ctx context.Context, r events.Request, tried bool, place consumer.Place) consumer.Verdict {
	a.note(r)
	return a.closing.Query(ctx, r, tried, place)
}

// orderAt is a request of an order that was created at a time and asked to be
// closed at another, both by the shop's clock; a zero time is left out.
func orderAt(no string, created, requested time.Time) *kgo.Record {
	doc := fmt.Sprintf(`{"mch_id":"1900000109","out_trade_no":%q}`, no)
	if !created.IsZero() {
		doc = fmt.Sprintf(`{"mch_id":"1900000109","out_trade_no":%q,"order_created_at":%q}`, no, created.UTC().Format(time.RFC3339Nano))
	}
	r := &kgo.Record{Topic: "requests", Key: []byte(no), Value: []byte(doc)}
	if !requested.IsZero() {
		r.Headers = []kgo.RecordHeader{{Key: "ce_time", Value: []byte(requested.UTC().Format(time.RFC3339Nano))}}
	}
	return r
}

// The closer rests certainties on the age of an order: no clock of a shop, a
// broker, a mirror or a worker may make it older than it is.
func TestTheCloserIsToldNoAgeThatAWrongClockMadeUp(t *testing.T) {
	const m, h = time.Minute, time.Hour
	type clocks struct{ shop, worker time.Duration }
	for sentence, c := range map[string]struct {
		clocks
		age       time.Duration // at the request; -1 for a request that does not say
		record    time.Duration // the record's timestamp, against the true time; -1 for none at all
		noCETime  bool
		expired   bool
		least, at time.Duration // of what the closer is told; -1 for unknown
	}{
		"all clocks are right":                                  {age: 10 * m, least: 10 * m, at: 10 * m},
		"a young order in an old record, of a mirror":           {record: -24 * h},
		"a young order in a record of tomorrow":                 {record: 24 * h},
		"a young order in a record without a timestamp":         {record: -1},
		"an old order in an older record is as old as it is":    {age: 10 * m, record: -24 * h, least: 10 * m, at: 10 * m},
		"an old order in a record of tomorrow as well":          {age: 10 * m, record: 24 * h, least: 10 * m, at: 10 * m},
		"the shop's clock is two hours slow":                    {clocks: clocks{shop: -2 * h}},
		"slow, without ce_time: it stamps the record as well":   {clocks: clocks{shop: -2 * h}, record: -2 * h, noCETime: true},
		"the shop's clock is two hours fast":                    {clocks: clocks{shop: 2 * h}},
		"the worker's clock is two hours fast":                  {clocks: clocks{worker: 2 * h}},
		"fast, without ce_time":                                 {clocks: clocks{worker: 2 * h}, noCETime: true},
		"the worker's clock is two hours slow":                  {clocks: clocks{worker: -2 * h}, age: 10 * m},
		"no ce_time: the record says when it was asked":         {age: 10 * m, noCETime: true, least: 10 * m, at: 10 * m},
		"no ce_time, in an older record: what was measured":     {age: 10 * m, record: -24 * h, noCETime: true},
		"no ce_time, a young order in a record of tomorrow":     {record: 24 * h, noCETime: true},
		"no ce_time and no timestamp: the request is as of now": {age: 10 * m, record: -1, noCETime: true, least: 10 * m, at: 10 * m},
		"a request that does not say":                           {age: -1, record: -24 * h, least: -1, at: -1},
		"an expired request is asked about by the same age":     {clocks: clocks{shop: -2 * h}, expired: true},
		"an expired one of an old order":                        {age: 10 * m, expired: true, least: 10 * m, at: 10 * m},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t)
				closer := &ageing{closing: &closing{}}
				defer k.worker(closer, func(cfg *consumer.Config) {
					cfg.Now = func() time.Time { return time.Now().Add(c.worker) }
				})()
				time.Sleep(5 * time.Second)
				now := time.Now()
				created, requested := now.Add(c.shop-c.age), now.Add(c.shop)
				if c.age < 0 {
					created = time.Time{}
				}
				if c.noCETime {
					requested = time.Time{}
				}
				r := orderAt("T1", created, requested)
				switch c.record {
				case -1:
					r.Timestamp = time.UnixMilli(-1)
				default:
					r.Timestamp = now.Add(c.record)
				}
				if c.expired {
					r.Value = fmt.Appendf(nil, `%s,"expires_at":%q}`, strings.TrimSuffix(string(r.Value), "}"), now.Add(c.worker-time.Second).UTC().Format(time.RFC3339))
				}
				k.produce(r)
				k.outcomes(1)
				if got := closer.ages[0]; len(closer.ages) != 1 || got < c.least || got > c.at+2*time.Second {
					t.Errorf("the closer was told %v, want %v to %v", closer.ages, c.least, c.at)
				}
			})
		})
	}
}

// An order that nothing but the worker's own measure makes old is so when the
// closer has asked for the rest of its settle age: one more round, not two; and
// what was measured before a restart still counts after it.
func TestWhatWorkersHaveMeasuredIsKeptInTheRetryRecord(t *testing.T) {
	const settle = time.Minute
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &ageing{}
		closer.closing = &closing{answer: func(r events.Request) consumer.Verdict {
			if age := time.Since(r.OrderCreatedAt); age < settle { // as closer does with ORDERNOTEXIST
				return consumer.Verdict{Class: consumer.Temporary, Code: "ORDERNOTEXIST", RetryAfter: settle - age, Calls: 2}
			}
			return closedAnswer
		}}
		stop := c.worker(closer, nil)
		time.Sleep(5 * time.Second)
		c.refuse("retry.1m", kerr.NotEnoughReplicas, 5) // what writing takes nobody measures
		slow := time.Now().Add(-2 * time.Hour)
		c.produce(orderAt("T1", slow, slow))
		c.outcomes(1)
		if len(closer.ages) != 2 || closer.ages[1] < settle || closer.ages[1] > settle+5*time.Second {
			t.Errorf("asked at the ages of %v, want once at 0 and once a minute later", closer.ages)
		}

		closer.ages = nil
		closer.answer = func(r events.Request) consumer.Verdict {
			if len(closer.ages) < 3 {
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return closedAnswer
		}
		slow = time.Now().Add(-2 * time.Hour)
		c.produce(orderAt("T2", slow, slow))
		time.Sleep(30 * time.Second) // two tries, and it waits in retry.1m
		stop()
		time.Sleep(time.Hour) // nobody measures
		defer c.worker(closer, nil)()
		c.outcomes(2)
		if got := closer.ages[len(closer.ages)-1]; got < 10*time.Second || got > time.Minute {
			t.Errorf("after a restart the order is %v old, 10s were measured and the hour in between was not", closer.ages)
		}
	})
}

// A record of an older worker says nothing of what was measured.
func TestARetryRecordWithoutItsTimeInHandIsReadAsBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &ageing{closing: &closing{}}
		defer c.worker(closer, nil)()
		now := time.Now()
		original := messageOf(orderAt("T1", now.Add(-2*time.Hour), now.Add(-2*time.Hour+5*time.Second)))
		for i, held := range []string{"", "-5", "9999999999999999", "7200000"} {
			m := records.EncodeRetry(records.Retry{Original: original, DueAt: now, Source: events.Source{Topic: "requests", Offset: int64(i)}, SourceTimestamp: now})
			if held != "" {
				m.Headers = append(m.Headers, events.Header{Key: "closeorder-held", Value: []byte(held)})
			}
			r := &kgo.Record{Topic: "retry.10s", Key: m.Key, Value: m.Value}
			for _, h := range m.Headers {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
			}
			c.produce(r)
			c.outcomes(i + 1)
			want := 5 * time.Second
			if held == "7200000" {
				want = 2 * time.Hour
			}
			if got := closer.ages[i]; got < want || got > want+2*time.Second {
				t.Errorf("closeorder-held %q: an age of %v, want %v", held, got, want)
			}
		}
	})
}

// An order_created_at that is ahead is said to be: to the order service, in the
// record that waits, and to the log.
func TestAnOrderFromTheFutureIsToldAsThat(t *testing.T) {
	for sentence, c := range map[string]struct {
		ahead  time.Duration
		answer func(nth int) consumer.Verdict
		want   string // in the outcome's message
	}{
		"an outcome": {2 * time.Hour, func(int) consumer.Verdict { return closedAnswer },
			"order_created_at is 2h0m0s ahead of this worker's clock: the order counts as just created"},
		"an outcome after the last retry": {2 * time.Hour, func(int) consumer.Verdict {
			return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Message: "busy", Calls: 1}
		}, "after the last retry: SYSTEMERROR: busy; order_created_at is 2h0m0s ahead"},
		"after the last retry, when its time has come at last": {6 * time.Minute, func(int) consumer.Verdict {
			return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Message: "busy", Calls: 1}
		}, "after the last retry: SYSTEMERROR: busy; order_created_at is 6m0s ahead"},
		"a few minutes are not worth a word": {4 * time.Minute, func(int) consumer.Verdict { return closedAnswer }, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t)
				var hook *test.Hook
				d := &diary{answer: func(_ events.Request, nth int) consumer.Verdict { return c.answer(nth) }}
				defer k.worker(&closing{answer: d.note}, heard(&hook))()
				time.Sleep(5 * time.Second)
				now := time.Now()
				k.produce(orderAt("T1", now.Add(c.ahead), now.Add(c.ahead)))
				o := k.outcomes(1)[0]
				told := strings.Contains(strings.ReplaceAll(o.Message, "5m59s", "6m0s"), c.want)
				if !told || strings.Contains(o.Message, "ahead of") != (c.want != "") || strings.Count(o.Message, "ahead of") > 1 {
					t.Errorf("outcome %s: %s", o.Code, o.Message)
				}
				if n := k.end("retry.10s"); n > 0 {
					r, err := records.DecodeRetry(messageOf(k.read("retry.10s", 1)[0]))
					if err != nil || !strings.Contains(r.Reason, "ahead of this worker's clock") {
						t.Errorf("the retry record's reason: %s (%v)", r.Reason, err)
					}
				}
				warned := hook.AllEntries()[:0:0]
				for _, e := range hook.AllEntries() {
					if strings.Contains(e.Message, "order_created_at is ahead") {
						warned = append(warned, e)
					}
				}
				if (len(warned) > 0) != (c.want != "") {
					t.Fatalf("told %d times in the log", len(warned))
				}
				for _, e := range warned {
					if e.Data["out_trade_no"] != "T1" || e.Data["offset"] != int64(0) || e.Data["ahead"] == nil {
						t.Errorf("the log names %v", e.Data)
					}
				}
			})
		})
	}
}

func TestOrdersFromTheFutureDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var hook *test.Hook
		defer c.worker(&closing{}, heard(&hook))()
		time.Sleep(5 * time.Second)
		for i := range 300 { // five minutes
			c.produce(orderAt(fmt.Sprint("T", i), time.Now().Add(8*time.Hour), time.Now()))
			time.Sleep(time.Second)
		}
		c.outcomes(300)
		if n := logged(hook, "order_created_at is ahead"); n < 4 || n > 6 {
			t.Errorf("told %d times in five minutes, want once a minute", n)
		}
	})
}

// A clock that runs ahead puts the close off by the minimum age, counted from
// when workers first had the request, whatever else it went through.
func TestTheMinimumAgeOfAnOrderFromTheFutureEnds(t *testing.T) {
	for sentence, clock := range map[string]func(now time.Time) (record time.Time, worker time.Duration){
		"in a record of tomorrow":              func(now time.Time) (time.Time, time.Duration) { return now.Add(24 * time.Hour), 0 },
		"in a record of last week":             func(now time.Time) (time.Time, time.Duration) { return now.Add(-7 * 24 * time.Hour), 0 },
		"read by a worker whose clock is slow": func(now time.Time) (time.Time, time.Duration) { return now, -time.Hour },
		"read by a worker whose clock is fast": func(now time.Time) (time.Time, time.Duration) { return now, time.Hour },
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				now := time.Now()
				record, off := clock(now)
				d := &diary{answer: func(events.Request, int) consumer.Verdict { return closedAnswer }}
				defer c.worker(&closing{answer: d.note}, func(cfg *consumer.Config) {
					cfg.MinOrderAge = 5 * time.Minute
					cfg.Now = func() time.Time { return time.Now().Add(off) }
				})()
				r := orderAt("T1", now.Add(8*time.Hour), now)
				r.Timestamp = record
				c.produce(r)
				c.outcomesWithin(1, time.Hour)
				if took := d.times("T1")[0].Sub(now); took < 5*time.Minute || took > 6*time.Minute {
					t.Errorf("called after %v, want the minimum age of 5m", took)
				}
				hops := int64(0)
				for _, tier := range tiers {
					hops += c.end(tier.Topic)
				}
				if hops > 2 {
					t.Errorf("%d hops: what a hop takes itself must not be left each time", hops)
				}
			})
		})
	}
}
