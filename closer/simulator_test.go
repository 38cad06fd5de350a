package closer

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/signing"
)

// withSimulator runs f in virtual time with a Closer in front of the gateway
// simulator.
func withSimulator(t *testing.T, sim gatewaysim.Config, cfg Config, f func(t *testing.T, c *Closer, s *gatewaysim.Simulator)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := gatewaysim.New(sim)
		if err != nil {
			t.Fatal(err)
		}
		l := &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- s.Serve(ctx, l) }()

		merchants := MerchantMap{}
		for _, m := range gatewaysim.DefaultMerchants() {
			merchants[m.MchID] = Merchant{
				MchID: m.MchID, AppID: m.AppID, Keys: []signing.Key{m.Key},
				SignType: m.SignType, Institution: m.Institution,
			}
		}
		cfg.Merchants = merchants
		cfg.Hosts = []string{"http://main.test", "http://backup.test"}
		cfg.DialContext = func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			select {
			case l.conns <- server:
				return client, nil
			case <-l.closed:
				return nil, net.ErrClosed
			}
		}
		random, mu := rand.New(rand.NewPCG(sim.Seed, 1)), sync.Mutex{}
		cfg.Jitter = func() float64 { mu.Lock(); defer mu.Unlock(); return random.Float64() }
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		f(t, c, s)
		c.CloseIdleConnections()
		cancel()
		<-served
	})
}

// untilAnswered asks again as a worker does, for at most ten minutes.
func untilAnswered(c *Closer, o Order) (v Verdict) {
	for start := time.Now(); time.Since(start) < 10*time.Minute; {
		v = c.Close(context.Background(), o)
		switch v.Class {
		case Closed, Paid, Failed:
			return v
		}
		time.Sleep(max(v.RetryAfter, 30*time.Second))
	}
	return v
}

// agree checks a verdict of the moment t0 against the order book, after
// buyers had an hour to pay whatever can be paid.
func agree(e gatewaysim.Entry, v Verdict, t0 time.Time) error {
	state := e.StateAt(t0)
	switch {
	case v.Class == Closed && (state.Payable() || state.WasPaid()):
		return fmt.Errorf("closed, and the book says %v", state)
	case v.Class == Paid && !state.WasPaid():
		return fmt.Errorf("paid, and the book says %v", state)
	case v.SafeToReissue && e.PaidAfter(t0):
		return fmt.Errorf("safe to reissue, and paid later")
	case v.SafeToReissue && (e.Payable || e.CreateInFlight):
		return fmt.Errorf("safe to reissue, and payable in the end")
	}
	return nil
}

// Every way in which an order of the simulator can behave, at every age and
// with every mode of confirmation, ends in agreement with the order book.
func TestVerdictsAgreeWithTheOrderBook(t *testing.T) {
	for _, b := range gatewaysim.Behaviours() {
		for _, confirm := range []Confirm{ConfirmNever, ConfirmDoubt, ConfirmAlways} {
			for age, createdAgo := range map[string]time.Duration{"unknown": 0, "young": 10 * time.Second, "settled": time.Hour} {
				late := strings.HasPrefix(b.Prefix, "LATE")
				if late && age == "settled" {
					continue // the age says that no create call is on its way
				}
				t.Run(fmt.Sprintf("%s/%s/%s", cmp.Or(b.Prefix, "ordinary"), confirm, age), func(t *testing.T) {
					withSimulator(t, gatewaysim.Config{}, Config{Confirm: confirm}, func(t *testing.T, c *Closer, s *gatewaysim.Simulator) {
						o := Order{MchID: "1900000110", OutTradeNo: b.Prefix + "-1"}
						if b.Prefix == "CODE-" {
							o.OutTradeNo = "CODE-BANKERROR-1"
						}
						if createdAgo > 0 {
							o.CreatedAt = time.Now().Add(-createdAgo)
						}
						v := untilAnswered(c, o)
						key := gatewaysim.Order{MchID: o.MchID, OutTradeNo: o.OutTradeNo}
						t0 := time.Now()
						s.PayAt(key, t0.Add(time.Minute))
						s.PayAt(key, t0.Add(time.Hour))
						time.Sleep(2 * time.Hour)
						e, _ := s.Lookup(key)
						err := agree(e, v, t0)
						// A success that does nothing is found out only by asking;
						// docs/verdicts.md says so.
						asked := confirm == ConfirmAlways || confirm == ConfirmDoubt && age != "settled"
						if b.Prefix == "GHOST" && !asked {
							err = nil
						}
						if err != nil {
							t.Errorf("%s: %v\n%+v\n%+v", b.What, err, v, e)
						}
						final := v.Class == Closed || v.Class == Paid
						// ORDERREVERSED is in no table: without a query it stays unknown.
						if b.Prefix == "REVOKED" && confirm == ConfirmNever {
							final = true
						}
						if final != (strings.HasPrefix(b.Outcome, "closed") || strings.HasPrefix(b.Outcome, "paid")) {
							t.Errorf("came to %v %s (%s), the simulator promises: %s", v.Class, v.Code, v.Message, b.Outcome)
						}
					})
				})
			}
		}
	}
}

// Many orders at once, buyers who pay at any moment, creates that come late,
// and every share of calls that fail.
func TestManyOrdersAgreeWithTheOrderBook(t *testing.T) {
	const orders = 1200
	for seed := range uint64(2) {
		for _, confirm := range []Confirm{ConfirmNever, ConfirmDoubt, ConfirmAlways} {
			t.Run(fmt.Sprintf("%s/seed %d", confirm, seed), func(t *testing.T) {
				sim := gatewaysim.Config{
					Seed:        seed,
					Latency:     gatewaysim.Latency{Min: 20 * time.Millisecond, Max: 80 * time.Millisecond, Jitter: 100 * time.Millisecond},
					Failures:    gatewaysim.Failures{SystemError: 0.05, Drop: 0.05, Lose: 0.05, BadGateway: 0.05},
					Buyers:      gatewaysim.Buyers{Share: 0.4, Within: 20 * time.Second},
					LateCreates: 0.1,
				}
				withSimulator(t, sim, Config{Confirm: confirm, Rate: -1}, func(t *testing.T, c *Closer, s *gatewaysim.Simulator) {
					random := rand.New(rand.NewPCG(seed, 2))
					type result struct {
						o  Order
						v  Verdict
						t0 time.Time
					}
					results := make([]result, orders)
					var wg sync.WaitGroup
					for i := range results {
						o := Order{MchID: "1900000109", OutTradeNo: fmt.Sprintf("%d-%d", seed, i)}
						start := time.Duration(random.Int64N(int64(30 * time.Second)))
						young, paid := random.IntN(2) == 0, random.IntN(5) == 0
						wg.Go(func() {
							time.Sleep(start)
							if paid {
								s.Put(gatewaysim.Order{MchID: o.MchID, OutTradeNo: o.OutTradeNo}, gatewaysim.Paid)
							}
							if young {
								o.CreatedAt = time.Now().Add(-10 * time.Second)
							}
							v := untilAnswered(c, o)
							results[i] = result{o, v, time.Now()}
							s.PayAt(gatewaysim.Order{MchID: o.MchID, OutTradeNo: o.OutTradeNo}, time.Now().Add(time.Minute))
						})
					}
					wg.Wait()
					time.Sleep(time.Hour)
					count := map[Class]int{}
					safe := 0
					for _, r := range results {
						count[r.v.Class]++
						if r.v.SafeToReissue {
							safe++
						}
						e, _ := s.Lookup(gatewaysim.Order{MchID: r.o.MchID, OutTradeNo: r.o.OutTradeNo})
						if err := agree(e, r.v, r.t0); err != nil {
							t.Errorf("%s: %v\n%+v\n%+v", r.o.OutTradeNo, err, r.v, e)
						}
						if e.RepeatedNonces > 0 {
							t.Errorf("%s: %d calls came with the nonce of another one", r.o.OutTradeNo, e.RepeatedNonces)
						}
					}
					if count[Closed]+count[Paid] != orders || count[Closed] == 0 || count[Paid] == 0 {
						t.Errorf("verdicts %v", count)
					}
					if confirm != ConfirmNever && safe < orders/2 {
						t.Errorf("only %d of %d are safe to reissue", safe, orders)
					}
					t.Logf("%v, %d safe, %d calls", count, safe, s.Stats().Calls)
				})
			})
		}
	}
}
