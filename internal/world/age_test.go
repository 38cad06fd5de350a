package world

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// clockOf is how the clocks of one request are wrong.
type clockOf struct {
	shop   time.Duration // of order_created_at and ce_time
	relay  time.Duration // of ce_time beside that: another host has stamped it
	ceTime bool
	record string // what the record's timestamp is
}

func (c clockOf) String() string {
	return fmt.Sprintf("shop's clock off by %v, ce_time %v (off by another %v), the record's timestamp %s", c.shop, c.ceTime, c.relay, c.record)
}

// right says that nothing is wrong, and nothing is missing.
func (c clockOf) right() bool {
	return c.shop == 0 && c.relay == 0 && c.ceTime && c.record == "is true"
}

// drawClock draws the clocks of a request. Where it brings no ce_time and a
// worker's clock may be ahead, the record's timestamp is not: see below.
func drawClock(r *rand.Rand, workersAhead bool) clockOf {
	if r.IntN(5) == 0 {
		return clockOf{ceTime: true, record: "is true"}
	}
	c := clockOf{ceTime: r.IntN(3) > 0, record: []string{"is true", "is true", "is old", "is missing", "is ahead", "is anything"}[r.IntN(6)]}
	if !c.ceTime && workersAhead && (c.record == "is ahead" || c.record == "is anything") {
		c.record = "is true"
	}
	if r.IntN(3) > 0 {
		c.shop = time.Duration(r.Int64N(int64(4*time.Hour))) - 2*time.Hour
	}
	if !c.ceTime && c.shop < 0 && c.record != "is old" {
		c.record = "is the shop's"
	}
	return c
}

// timestamp is that of a record which is published at a time. "is true" is also
// what a broker stamps (LogAppendTime), whatever the shop's clock says, and "is
// the shop's" what its producer does (CreateTime).
func (c clockOf) timestamp(r *rand.Rand, at time.Time) time.Time {
	switch c.record {
	case "is old":
		return at.Add(-time.Duration(r.Int64N(int64(30 * 24 * time.Hour))))
	case "is ahead":
		return at.Add(time.Duration(r.Int64N(int64(24 * time.Hour))))
	case "is anything":
		return time.UnixMilli(r.Int64N(4_000_000_000_000))
	case "is missing":
		return time.UnixMilli(-1)
	case "is the shop's":
		return at.Add(c.shop)
	}
	return at
}

// Every clock is wrong in either direction, and the create calls of the orders
// are on their way for up to most of the settle age: no outcome may say that a
// number is safe to reissue whose create call arrives after the call on which
// that rests.
//
// What is left out, as nothing can tell: a shop whose order_created_at alone is
// slow, against its own ce_time or, where it sends none, against the record's
// timestamp; a worker's clock and a record's timestamp that are both ahead of the
// truth, where there is no ce_time; and a shop that asks to close an order before
// it sends the create call.
func TestNoOrderIsSafeToReissueWhileItsCreateCallIsOnItsWay(t *testing.T) {
	orders := 400 // in each of five worlds
	if testing.Short() {
		orders = 100
	}
	for i, workers := range [][3]time.Duration{
		// Of two workers, and of the one that takes the place of the first.
		{3 * time.Hour, -40 * time.Minute, -3 * time.Hour},
		{-2 * time.Hour, 20 * time.Minute, 8 * time.Hour},
		{0, 90 * time.Minute, 0},
		{5 * time.Minute, -5 * time.Minute, 26 * time.Hour},
		// All workers are right, and ce_time is wrong beside order_created_at.
		{},
	} {
		t.Run(fmt.Sprintf("workers off by %v", workers), func(t *testing.T) {
			gateway := gatewaysim.Config{Seed: uint64(i), Latency: gatewaysim.Latency{Min: 50 * time.Millisecond, Max: 2 * time.Second}, History: -1}
			cfg := Config{Partitions: 3, Gateway: gateway, Tune: func(c *config.Config) { c.MinOrderAge = 0 }}
			inVirtualTime(t, cfg, func(t *testing.T, s *stage) {
				r := rand.New(rand.NewPCG(uint64(i), 0x6167652e))
				clocks := make(map[events.Order]clockOf)
				arrived := make(map[events.Order]time.Time)
				var records []Publication
				begin := time.Now().Add(time.Minute)
				const over = 15 * time.Minute
				for n := range orders {
					after := time.Duration(r.Int64N(int64(over)))
					created := begin.Add(after)
					asked := time.Duration(r.Int64N(int64(10 * time.Second)))
					// Half of the closes of what is not there are answered with SUCCESS.
					o := events.Order{MchID: "1900000109", OutTradeNo: fmt.Sprintf("%s-%d", []string{"T", "VACUOUS"}[n%2], n)}
					c := drawClock(r, workers != [3]time.Duration{})
					if workers == [3]time.Duration{} && !c.right() {
						c.shop, c.relay = 0, c.shop
					}
					clocks[o] = c
					if r.IntN(4) > 0 { // else the order was never submitted
						arrived[o] = created.Add(time.Second + time.Duration(r.Int64N(int64(49*time.Second))))
						s.Gateway.CreateAt(gatewaysim.Order{MchID: o.MchID, OutTradeNo: o.OutTradeNo}, arrived[o])
					}
					doc := map[string]any{"mch_id": o.MchID, "out_trade_no": o.OutTradeNo}
					set(doc, "order_created_at", created.Add(c.shop))
					p := Publication{
						After:     time.Until(begin) + after + asked,
						Message:   Message{Key: []byte(o.OutTradeNo), Value: encode(doc)},
						Timestamp: c.timestamp(r, created.Add(asked)),
					}
					if c.ceTime {
						p.Headers = []events.Header{{Key: "ce_time", Value: created.Add(asked+c.shop+c.relay).UTC().AppendFormat(nil, time.RFC3339Nano)}}
					}
					records = append(records, p)
				}
				sortByTime(records)

				for n, off := range workers {
					s.SetClock(fmt.Sprintf("worker-%d", n), off)
				}
				all := s.workers(2)
				done := make(chan error, 1)
				go func() { done <- s.shop.Ask(t.Context(), records) }()
				s.stays(over / 2)
				all[0].Kill()
				s.worker("worker-2", nil)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				s.answered(time.Hour)
				s.check(func(e *Evidence) { safeWhileOnItsWay(t, *e, arrived, clocks) })
			})
		})
	}
}

// safeWhileOnItsWay finds what must not be, and that the rest is as good as it
// can be.
func safeWhileOnItsWay(t *testing.T, e Evidence, arrived map[events.Order]time.Time, clocks map[events.Order]clockOf) {
	c := newChecker(e)
	wrong, right, rightAndSafe, safe := 0, 0, 0, 0
	for _, rec := range e.Outcomes {
		a, err := readOutcome(rec)
		if err != nil {
			t.Error(err)
			continue
		}
		o := a.Order()
		if clocks[o].right() {
			right++
		}
		if !a.SafeToReissue {
			continue
		}
		safe++
		if clocks[o].right() {
			rightAndSafe++
		}
		if last := c.lastCallBefore(o, a.CompletedAt); arrived[o].After(last) {
			if wrong++; wrong <= 5 {
				t.Errorf("%s is safe to reissue by a call at %v, its create call arrived at %v: %v\n%s", o.OutTradeNo, last, arrived[o], clocks[o], e.History(o))
			}
		}
	}
	t.Logf("%d outcomes: %d safe to reissue, %d of them with the create call on its way; %d of %d with right clocks are safe", len(e.Outcomes), safe, wrong, rightAndSafe, right)
	if wrong > 0 {
		t.Errorf("%d orders are said to be safe to reissue while their create call was on its way", wrong)
	}
	if right < len(clocks)/10 || rightAndSafe < right*9/10 {
		t.Errorf("%d of %d orders with right clocks are safe to reissue, want nearly all", rightAndSafe, right)
	}
	if safe < len(clocks)*8/10 {
		t.Errorf("%d of %d orders are safe to reissue, want most", safe, len(clocks))
	}
}
