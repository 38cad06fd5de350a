package world

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// troubled is the merchant that has its trouble in these tests.
const troubled = "1900000110"

// ofThreeMerchants asks for as many orders a second of each of three merchants.
// Those of the one in trouble have a prefix, see gatewaysim.Behaviours.
func ofThreeMerchants(perSecond int, over time.Duration, prefix string) []Publication {
	var all []Publication
	for i := range int(over.Seconds()) * perSecond {
		at := time.Duration(i) * time.Second / time.Duration(perSecond)
		for n, mchID := range []string{"1900000109", troubled, "1900000111"} {
			no, sub := fmt.Sprintf("T-%d-%d", n, i), ""
			if mchID == troubled {
				no = prefix + no
			}
			if n == 2 {
				sub = `"sub_mch_id":"1900000200",`
			}
			all = append(all, Publication{After: at, Message: Message{Key: []byte(no), Value: fmt.Appendf(nil, `{"mch_id":%q,%s"out_trade_no":%q}`, mchID, sub, no)}})
		}
	}
	return all
}

// waited is how long the requests of the merchants took that are not in trouble,
// the shortest first. All of them must be answered.
func (s *stage) waited() (all []time.Duration) {
	s.t.Helper()
	s.look()
	asked := make(map[string]time.Time)
	for _, r := range s.observer.Records(s.Config.Topics.Requests) {
		if o := orderOf(r.Message); o.MchID != troubled {
			asked[o.OutTradeNo] = r.At
		}
	}
	for _, r := range s.observer.Records(s.Config.Topics.Outcomes) {
		a, err := readOutcome(r)
		if err != nil {
			s.t.Error(err)
		} else if at, is := asked[a.OutTradeNo]; is {
			all = append(all, a.CompletedAt.Sub(at))
			delete(asked, a.OutTradeNo)
		}
	}
	if len(asked) > 0 {
		s.t.Errorf("%d requests of merchants without trouble have no outcome", len(asked))
	}
	if len(all) == 0 {
		s.t.Fatal("none has an outcome")
	}
	slices.Sort(all)
	return all
}

// One merchant is limited, answered with SYSTEMERROR or slow, and those of the
// others take hardly longer than without it.
func TestOneMerchantsTroubleIsNobodyElses(t *testing.T) {
	brisk := gatewaysim.Config{Latency: gatewaysim.Latency{Min: 15 * time.Millisecond, Max: 25 * time.Millisecond}, Slow: 7 * time.Second}
	for sentence, c := range map[string]struct {
		prefix    string // of its orders
		perSecond int
		over      time.Duration
	}{
		"it is limited in each of its calls":        {"CODE-FREQUENCY_LIMITED-", 20, 40 * time.Second},
		"it is answered with SYSTEMERROR each time": {"SYSERR-", 20, 40 * time.Second},
		"it takes 7 s a call":                       {"SLOW-", 80, 20 * time.Second},
	} {
		t.Run(sentence, func(t *testing.T) {
			var p99 [2]time.Duration
			for i, prefix := range []string{"", c.prefix} {
				// Parallel is what inVirtualTime makes of a test of its own.
				t.Run(fmt.Sprintf("prefix %q", prefix), func(t *testing.T) {
					inOneBubble(t, Config{Gateway: brisk}, func(t *testing.T, s *stage) {
						s.workers(1)
						s.stays(10 * time.Second)
						if err := s.shop.Ask(t.Context(), ofThreeMerchants(c.perSecond, c.over, prefix)); err != nil {
							t.Fatal(err)
						}
						s.stays(20 * time.Second)
						all := s.waited()
						p99[i] = all[len(all)*99/100]
						t.Logf("p50 %v, p99 %v", all[len(all)/2], p99[i])
					})
				})
			}
			if p99[1] > p99[0]*3/2 {
				t.Errorf("of the others p99 is %v, and %v without trouble", p99[1], p99[0])
			}
		})
	}
}

// One merchant has a backlog of thousands, and another asks for one order.
func TestABacklogOfOneMerchantHoldsUpNobodyElse(t *testing.T) {
	inVirtualTime(t, Config{Gateway: unhurried, Tune: func(c *config.Config) { c.MaxInFlight = 32 }}, func(t *testing.T, s *stage) {
		backlog := make([]Publication, 4000)
		for i := range backlog {
			no := fmt.Sprint("B-", i)
			backlog[i].Message = Message{Key: []byte(no), Value: fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":%q}`, troubled, no)}
		}
		s.workers(1)
		s.stays(10 * time.Second)
		single := func(i int) {
			t.Helper()
			no := fmt.Sprint("A-", i)
			if err := s.shop.Ask(t.Context(), []Publication{{Message: Message{Key: []byte(no), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q}`, no)}}}); err != nil {
				t.Fatal(err)
			}
			s.stays(time.Second)
		}
		single(0)
		s.stays(10 * time.Minute)
		if err := s.shop.Ask(t.Context(), backlog); err != nil {
			t.Fatal(err)
		}
		s.stays(5 * time.Second)
		for i := range 20 {
			single(i + 1)
		}
		if open := s.unanswered(); open < 1000 {
			t.Fatalf("the backlog is %d: there was none to wait behind", open)
		}
		all := s.waited()
		if longest := all[len(all)-1]; longest > 2*time.Second {
			t.Errorf("a single order beside a backlog took %v, want a close and a query of 400 ms each", longest)
		}
		t.Logf("longest %v", all[len(all)-1])
	})
}

// One merchant is so slow for minutes that what is asked for in its name would
// fill the memory: what stands behind it in its partition is served all the same.
// Where it is alone nothing is put off for it.
func TestASlowMerchantDoesNotFillTheMemory(t *testing.T) {
	slow := gatewaysim.Config{Latency: gatewaysim.Latency{Min: 15 * time.Millisecond, Max: 25 * time.Millisecond}, Slow: 7 * time.Second}
	few := func(c *config.Config) { c.MaxInFlight = 32 }
	pad := strings.Repeat("x", 4000) // a thousand fill a partition
	asks := func(mchID, no string, at time.Duration) Publication {
		return Publication{After: at, Message: Message{Key: []byte(no), Value: fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":%q,"metadata":{"pad":%q}}`, mchID, no, pad)}}
	}
	for sentence, alone := range map[string]bool{"beside another": false, "alone": true} {
		t.Run(sentence, func(t *testing.T) {
			inOneBubble(t, Config{Partitions: 1, Gateway: slow, Tune: few}, func(t *testing.T, s *stage) {
				var all []Publication
				for i := range 120 * 20 {
					at := time.Duration(i) * time.Second / 20
					all = append(all, asks(troubled, fmt.Sprint("SLOW-", i), at))
					if !alone {
						all = append(all, asks("1900000109", fmt.Sprint("T-", i), at))
					}
				}
				s.workers(1)
				s.stays(10 * time.Second)
				if err := s.shop.Ask(t.Context(), all); err != nil {
					t.Fatal(err)
				}
				s.stays(10 * time.Second)
				putOff := 0
				for _, name := range s.Config.Topics.Retries() {
					putOff += len(s.observer.Records(name))
				}
				if alone {
					if putOff > 0 {
						t.Errorf("%d were put off, and nobody waits behind them", putOff)
					}
					return
				}
				waited := s.waited()
				p99 := waited[len(waited)*99/100]
				if putOff == 0 || p99 > time.Second {
					t.Errorf("of the other p99 is %v, and %d were put off", p99, putOff)
				}
				t.Logf("p50 %v, p99 %v, longest %v, %d records put off", waited[len(waited)/2], p99, waited[len(waited)-1], putOff)
			})
		})
	}
}

// A merchant that is alone and has more to do than its rate allows uses its rate to
// the full, and nothing of it is written twice: few wait for their first call, so
// that none waits for so long that it has to be put off.
func TestABacklogAtItsOwnRateIsNotPutOff(t *testing.T) {
	brisk := gatewaysim.Config{Latency: gatewaysim.Latency{Min: 15 * time.Millisecond, Max: 25 * time.Millisecond}}
	slowly := func(c *config.Config) { c.Gateway.Rate = 200 }
	inVirtualTime(t, Config{Partitions: 1, Gateway: brisk, Tune: slowly}, func(t *testing.T, s *stage) {
		backlog := make([]Publication, 2000)
		for i := range backlog {
			no := fmt.Sprint("B-", i)
			backlog[i].Message = Message{Key: []byte(no), Value: fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":%q,"metadata":{"pad":%q}}`, troubled, no, strings.Repeat("x", 4000))}
		}
		if err := s.shop.Ask(t.Context(), backlog); err != nil {
			t.Fatal(err)
		}
		s.workers(1)
		s.answered(10 * time.Minute)
		for _, name := range s.Config.Topics.Retries() {
			if n := len(s.observer.Records(name)); n > 0 {
				t.Errorf("%d records in %s", n, name)
			}
		}
		calls := s.Gateway.Calls()
		if took := calls[len(calls)-1].Start.Sub(calls[0].Start); took > 21*time.Second {
			t.Errorf("%d calls took %v at 200 a second", len(calls), took)
		}
		s.check(nil)
	})
}
