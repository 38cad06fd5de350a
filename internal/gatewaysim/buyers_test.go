package gatewaysim

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// history is everything that happened to an order, in words.
func history(t *testing.T, s *Simulator, number string) string {
	t.Helper()
	e, ok := s.Lookup(order1(number))
	if !ok {
		t.Fatalf("%s is not in the book", number)
	}
	var words []string
	for _, ev := range e.Events {
		words = append(words, ev.What.String())
	}
	return strings.Join(words, ", ")
}

func TestBuyersOfCreatedOrdersPayWhateverTheirPrefix(t *testing.T) {
	cfg := Config{Seed: 5, Buyers: Buyers{Share: .25, Within: time.Minute, CreatedOnly: true}}
	virtual(t, cfg, func(t *testing.T, s *Simulator, c *client) {
		const n = 200
		for i := range n {
			for _, prefix := range []string{"T", "CLOSED", "UNKNOWN"} {
				expect(t, "create", c.buy(fmt.Sprint(prefix, i), fmt.Sprint("buys", i)), "SUCCESS")
				expect(t, "create again", c.buy(fmt.Sprint(prefix, i), fmt.Sprint("buys", i)), "SUCCESS")
			}
			expect(t, "made up", c.query(fmt.Sprint("M", i)), "NOTPAY")
		}
		time.Sleep(time.Hour)
		paid := make(map[string]int)
		for _, e := range s.Book() {
			if e.State == Paid {
				paid[strings.TrimRight(e.OutTradeNo, "0123456789")]++
			}
			if len(e.Events) > 2 {
				t.Errorf("%s: a buyer came twice: %v", e.OutTradeNo, e.Events)
			}
		}
		for _, prefix := range []string{"T", "CLOSED", "UNKNOWN"} {
			if d := paid[prefix] - n/4; d < -25 || d > 25 {
				t.Errorf("%d of %s were paid, want about %d", paid[prefix], prefix, n/4)
			}
		}
		if paid["M"] != 0 {
			t.Errorf("%d made-up orders were paid", paid["M"])
		}
	})
}

// The first call of one that is created later brings him; its creation does
// not bring him again.
func TestABuyerComesOnceForAnOrderThatWasFoundFirst(t *testing.T) {
	virtual(t, Config{Buyers: Buyers{Share: 1, Within: time.Minute}}, func(t *testing.T, s *Simulator, c *client) {
		expect(t, "query", c.query("T1"), "NOTPAY")
		expect(t, "create", c.buy("T1", "A"), "SUCCESS")
		time.Sleep(time.Hour)
		expect(t, "found, then created", history(t, s, "T1"), "found, paid")
	})
}

func TestTheBuyerPaysInTheGapBetweenAQueryAndTheClose(t *testing.T) {
	for name, latency := range map[string]Latency{"at once": {}, "slowly": {Min: time.Second, Max: 5 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			virtual(t, Config{Buyers: Buyers{Gap: 1}, Latency: latency}, func(t *testing.T, s *Simulator, c *client) {
				for i := range 20 {
					created, found := fmt.Sprint("T", i), fmt.Sprint("M", i)
					c.buy(created, created)
					expect(t, "query", c.query(created), "NOTPAY")
					time.Sleep(time.Nanosecond) // no call is quicker
					expect(t, "close", c.close(created), "ORDERPAID")
					expect(t, "the order", history(t, s, created), "created, paid")
					e, _ := s.Lookup(order1(created))
					query, paid := e.Calls[1], e.Events[1].At
					if paid.Before(query.Start) || paid.After(query.End.Add(1)) || e.StateAt(paid.Add(-1)) != NotPay {
						t.Errorf("paid at %v, asked from %v to %v", paid, query.Start, query.End)
					}

					expect(t, "query of one that was made up", c.query(found), "NOTPAY")
					time.Sleep(time.Nanosecond)
					expect(t, "close of one that was made up", c.close(found), "SUCCESS")
				}
			})
		})
	}
	t.Run("in its share of queries", func(t *testing.T) {
		virtual(t, Config{Seed: 2, Buyers: Buyers{Gap: .25}}, func(t *testing.T, s *Simulator, c *client) {
			const n = 200
			for i := range n {
				c.buy(fmt.Sprint("T", i), "A")
				c.query(fmt.Sprint("T", i))
			}
			time.Sleep(time.Nanosecond)
			if paid := s.Stats().Orders[Paid]; paid < n/4-25 || paid > n/4+25 {
				t.Errorf("%d of %d paid, want about %d", paid, n, n/4)
			}
		})
	})
	t.Run("not after a query that says something else", func(t *testing.T) {
		virtual(t, Config{Buyers: Buyers{Gap: 1}}, func(t *testing.T, s *Simulator, c *client) {
			c.buy("T1", "A")
			c.close("T1")
			expect(t, "query", c.query("T1"), "CLOSED")
			c.buy("SYSERR", "A")
			s.CreateAt(order1("SYSERR"), time.Now())
			expect(t, "query that fails", c.query("SYSERR"), "SYSTEMERROR")
			time.Sleep(time.Hour)
			expect(t, "closed", history(t, s, "T1"), "created, close accepted")
			expect(t, "not answered", history(t, s, "SYSERR"), "created")
		})
	})
}

func TestTheBuyerPaysEveryNumberOfItsPurchase(t *testing.T) {
	virtual(t, Config{Buyers: Buyers{Twice: 1, Within: time.Minute}}, func(t *testing.T, s *Simulator, c *client) {
		other := c.as(DefaultMerchants()[1])
		c.buy("T1", "A")
		c.buy("T2", "B")
		other.buy("T3", "A")
		c.buy("T4", "")
		c.buy("T5", "")
		time.Sleep(time.Hour)
		for _, number := range []string{"T1", "T2", "T4", "T5"} {
			expect(t, "a purchase with one number", history(t, s, number), "created")
		}

		c.buy("T1b", "A")
		expect(t, "close before he comes", c.close("T1b"), "SUCCESS")
		time.Sleep(time.Minute)
		expect(t, "the first number", history(t, s, "T1"), "created, paid")
		expect(t, "the closed second number", history(t, s, "T1b"), "created, close accepted, payment refused")
		expect(t, "another purchase", history(t, s, "T2"), "created")
		if e, _ := s.Lookup(Order{MchID: other.merchant.MchID, OutTradeNo: "T3"}); e.State != NotPay {
			t.Errorf("the purchase of another merchant: %v", e.Events)
		}

		c.buy("T1c", "A")
		time.Sleep(time.Minute)
		expect(t, "the first number with a third one", history(t, s, "T1"), "created, paid, payment refused")
		expect(t, "the third number", history(t, s, "T1c"), "created, paid")
	})
}

// The create call of the second number is late, and nobody looks at it then.
func TestALateNumberBringsAPaymentToTheOthersInTime(t *testing.T) {
	cfg := Config{LateCreates: .5, Buyers: Buyers{Twice: 1, Within: 2 * time.Second}}
	virtual(t, cfg, func(t *testing.T, s *Simulator, c *client) {
		tried := 0
		for i := range 20 {
			first, second := fmt.Sprint("T", i), fmt.Sprint("T", i, "b")
			if c.buy(first, first) != "SUCCESS" {
				continue
			}
			began := time.Now()
			if c.buy(second, first) != "time-out" {
				continue
			}
			tried++
			expect(t, "before it arrives", history(t, s, first), "created")
			time.Sleep(time.Until(began.Add(25 * time.Second))) // it comes after 20 s
			expect(t, "close after he came", c.close(first), "ORDERPAID")
			e, _ := s.Lookup(order1(first))
			if after := e.Events[1].At.Sub(began); after < 20*time.Second || after > 22*time.Second {
				t.Errorf("paid %v after the create call of the second number", after)
			}
		}
		if tried == 0 {
			t.Error("no second number was late")
		}
	})
}

// Shops that do everything wrong, at once: a number that is closed stays so,
// and the book tells it all in the order of time.
func TestNobodyPaysAClosedNumber(t *testing.T) {
	cfg := Config{
		Seed: 9, Latency: Latency{Max: 3 * time.Second}, LateCreates: .3, LateCreate: 5 * time.Second,
		Failures: Failures{Lose: .1, Drop: .1}, Buyers: Buyers{Share: .5, Within: 20 * time.Second, Gap: .3, Twice: .5},
	}
	virtual(t, cfg, func(t *testing.T, s *Simulator, c *client) {
		var shops sync.WaitGroup
		for i := range 200 {
			shops.Go(func() {
				purchase := fmt.Sprint("buys", i)
				for j := range 4 {
					number := fmt.Sprint("T", i, "-", j)
					c.buy(number, purchase)
					time.Sleep(time.Duration(i%7) * time.Second)
					c.query(number)
					c.close(number)
				}
			})
		}
		shops.Wait()
		time.Sleep(time.Hour)
		closed, refused, twice := 0, 0, make(map[string]int)
		for _, e := range s.Book() {
			at := slices.IndexFunc(e.Events, func(ev Event) bool { return ev.What == CloseAccepted })
			for i, ev := range e.Events {
				if i > 0 && ev.At.Before(e.Events[i-1].At) {
					t.Errorf("%s: out of order: %v", e.OutTradeNo, e.Events)
				}
				if ev.What == PayRefused {
					refused++
				}
				if at >= 0 && i >= at && ev.State != Closed {
					t.Errorf("%s was %v after its close: %v", e.OutTradeNo, ev.State, e.Events)
				}
			}
			if at >= 0 {
				closed++
			}
			if e.State == Paid {
				twice[e.Purchase]++
			}
		}
		double := 0
		for _, n := range twice {
			if n > 1 {
				double++
			}
		}
		if closed == 0 || refused == 0 || double == 0 {
			t.Errorf("%d closed, %d payments refused, %d purchases paid twice: want some of each", closed, refused, double)
		}
	})
}

func TestConcurrencyDoesNotChangeWhatBuyersDo(t *testing.T) {
	run := func(concurrent bool) map[string]string {
		got := make(map[string]string)
		cfg := Config{Seed: 1, LateCreates: .2, Latency: Latency{Max: time.Second}, Buyers: Buyers{Share: .3, Within: 3 * time.Second, Gap: .3, Twice: .5}}
		virtual(t, cfg, func(t *testing.T, s *Simulator, c *client) {
			var wg sync.WaitGroup
			for i := range 40 {
				one := func() {
					for j := range 3 {
						number := fmt.Sprint("T", i, "-", j)
						c.buy(number, fmt.Sprint("buys", i))
						c.query(number)
						c.close(number)
					}
				}
				if concurrent {
					wg.Go(one)
				} else {
					one()
				}
			}
			wg.Wait()
			time.Sleep(time.Hour)
			for _, e := range s.Book() {
				got[e.OutTradeNo] = history(t, s, e.OutTradeNo)
			}
		})
		return got
	}
	alone, together := run(false), run(true)
	if len(alone) != 120 {
		t.Fatalf("%d orders", len(alone))
	}
	for number, want := range alone {
		expect(t, number, together[number], want)
	}
}
