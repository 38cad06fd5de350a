package gatewaysim

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// buy creates an order as one number of a purchase.
func (c *client) buy(outTradeNo, purchase string, changes ...string) string {
	return c.call(UnifiedOrder, c.fields(outTradeNo, append([]string{"body", "tea", "total_fee", "101",
		"spbill_create_ip", "127.0.0.1", "notify_url", "http://shop.example/paid", "trade_type", "NATIVE", "attach", purchase}, changes...)...))
}

// attached is the attach that a query of an order echoes.
func (c *client) attached(t *testing.T, outTradeNo string) string {
	t.Helper()
	got, said := c.post(t.Context(), OrderQuery, document(c.fields(outTradeNo)))
	if said != "" {
		t.Fatal(said)
	}
	return got["attach"]
}

func TestThePurchaseOfAnOrderIsThatOfTheCreateCallThatTookEffect(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, s *Simulator, c *client) {
		purchase := func(number string) string {
			e, _ := s.Lookup(order1(number))
			return e.Purchase
		}
		expect(t, "create", c.buy("T1", "A"), "SUCCESS")
		expect(t, "create again", c.buy("T1", "B", "total_fee", "7"), "SUCCESS")
		expect(t, "in the book", purchase("T1"), "A")
		expect(t, "in a query", c.attached(t, "T1"), "A")
		if e, _ := s.Lookup(order1("T1")); e.TotalFee != 101 || e.Creates != 2 {
			t.Errorf("%+v", e)
		}

		expect(t, "close", c.close("T2"), "SUCCESS")
		expect(t, "create what is closed", c.buy("T2", "A"), "ORDERCLOSED")
		expect(t, "closed before it was created", purchase("T2")+c.attached(t, "T2"), "")

		expect(t, "refused", c.buy("DEAD-1", "A"), "PARAM_ERROR")
		expect(t, "of a refused create", purchase("DEAD-1"), "")

		expect(t, "found", c.query("T3"), "NOTPAY")
		expect(t, "create what was found", c.buy("T3", "A"), "SUCCESS")
		expect(t, "found first", purchase("T3")+c.attached(t, "T3"), "AA")

		expect(t, "no attach", c.buy("T4", ""), "SUCCESS")
		expect(t, "without attach", purchase("T4")+c.attached(t, "T4"), "")
		expect(t, "an attach that is too long", c.buy("T5", strings.Repeat("x", 128)), "PARAM_ERROR")
		expect(t, "the longest attach", c.buy("T5", strings.Repeat("x", 127)), "SUCCESS")
	})
}

func TestWithCreatedAloneNoOrderIsMadeUp(t *testing.T) {
	virtual(t, Config{CreatedAlone: true}, func(t *testing.T, s *Simulator, c *client) {
		expect(t, "close what nobody created", c.close("T1"), "ORDERNOTEXIST")
		expect(t, "a query of it", c.query("T1"), "ORDERNOTEXIST")
		expect(t, "its create comes after the close", c.buy("T1", "A"), "SUCCESS")
		expect(t, "and makes it payable", c.query("T1"), "NOTPAY")
		expect(t, "close", c.close("T1"), "SUCCESS")
		expect(t, "nor is one with a prefix", c.close("PAID-1"), "ORDERNOTEXIST")
	})
}

func TestALateCreateCallTakesEffectWhoeverWaitsForIt(t *testing.T) {
	cfg := Config{LateCreates: 1, LateCreate: 20 * time.Second, Latency: Latency{Min: time.Second, Max: time.Second}}
	virtual(t, cfg, func(t *testing.T, s *Simulator, c *client) { // its client waits for 10 s
		patient := c.as(c.merchant)
		patient.http.Timeout = time.Minute
		hasty := c.as(c.merchant)
		http := *c.http
		http.Timeout = 5 * time.Second
		hasty.http = &http

		began := time.Now()
		expect(t, "the hasty one", hasty.buy("T1", "A", "total_fee", "7"), "time-out")
		e, _ := s.Lookup(order1("T1"))
		if e.State != Unknown || !e.CreateInFlight || e.Purchase != "" {
			t.Errorf("after the time-out: %+v", e)
		}
		expect(t, "close before it arrives", c.close("T1"), "ORDERNOTEXIST")
		time.Sleep(time.Until(began.Add(cfg.LateCreate - 1)))
		if e, _ := s.Lookup(order1("T1")); e.State != Unknown {
			t.Errorf("a moment before: %+v", e)
		}
		time.Sleep(time.Nanosecond)
		e, _ = s.Lookup(order1("T1"))
		if e.State != NotPay || e.CreateInFlight || e.Purchase != "A" || e.TotalFee != 7 || e.StateAt(began.Add(cfg.LateCreate-1)) != Unknown {
			t.Errorf("when it arrived: %+v", e)
		}
		expect(t, "close after it arrived", c.close("T1"), "SUCCESS")

		began = time.Now()
		expect(t, "the patient one", patient.buy("T2", "A"), "SUCCESS")
		if d := time.Since(began); d < cfg.LateCreate || d > cfg.LateCreate+time.Second {
			t.Errorf("answered after %v", d)
		}
		expect(t, "another create of a closed one", patient.buy("T1", "A"), "ORDERCLOSED")

		// Two on their way: the first one counts.
		var calls sync.WaitGroup
		for i, purchase := range []string{"first", "second"} {
			calls.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				expect(t, purchase, patient.buy("T3", purchase), "SUCCESS")
			})
		}
		calls.Wait()
		if e, _ := s.Lookup(order1("T3")); e.Purchase != "first" {
			t.Errorf("%+v", e)
		}
	})
}

func TestTheShareOfCreateCallsThatAreLateIsDrawnPerCall(t *testing.T) {
	virtual(t, Config{Seed: 3, LateCreates: .25}, func(t *testing.T, s *Simulator, c *client) {
		const n = 200
		late, again := 0, 0
		for i := range n {
			number := fmt.Sprint("T", i)
			if c.buy(number, "A") == "time-out" {
				late++
				if c.buy(number, "A") == "time-out" {
					again++
				}
			}
		}
		if late < 30 || late > 70 {
			t.Errorf("%d of %d are late, want about a quarter", late, n)
		}
		if again == 0 || again == late {
			t.Errorf("the second call was late %d times of %d, want some", again, late)
		}
	})
}

// A call that a failure was drawn for is not late beside that.
func TestAFailedCreateCallIsNotLate(t *testing.T) {
	virtual(t, Config{LateCreates: 1, Failures: Failures{SystemError: 1}}, func(t *testing.T, s *Simulator, c *client) {
		expect(t, "create", c.buy("T1", "A"), "SYSTEMERROR")
		time.Sleep(time.Hour)
		if e, _ := s.Lookup(order1("T1")); e.State != Unknown || e.CreateInFlight {
			t.Errorf("%+v", e)
		}
	})
}

func TestALateCreateCallFindsTheOrderAsItIsThen(t *testing.T) {
	virtual(t, Config{LateCreates: 1, LateCreate: 20 * time.Second}, func(t *testing.T, s *Simulator, c *client) {
		c.query("PAYERROR-1")
		s.PayAt(order1("PAYERROR-1"), time.Now().Add(15*time.Second))
		expect(t, "create", c.buy("PAYERROR-1", "A"), "time-out")
		time.Sleep(time.Hour)
		expect(t, "paid before it arrived", history(t, s, "PAYERROR-1"), "found, paid, create refused")
		if e, _ := s.Lookup(order1("PAYERROR-1")); e.Purchase != "" {
			t.Errorf("%+v", e)
		}
	})
}
