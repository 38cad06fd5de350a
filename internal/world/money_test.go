package world

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// Every fault that the gateway simulator knows at once, among orders that
// buyers pay at any moment and creates that arrive late: no outcome may
// disagree with the order book, and none that is safe to reissue may be about
// an order that was paid later.
//
// CLOSEORDER_SIM_ORDERS=100000 makes it a hundred thousand orders, in some
// minutes.
func TestNoOutcomeDisagreesWithTheOrderBook(t *testing.T) {
	orders := 1500
	if text := os.Getenv("CLOSEORDER_SIM_ORDERS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("CLOSEORDER_SIM_ORDERS=%q: want a number of orders", text)
		}
		orders = n
	}
	var kinds []string
	for _, b := range gatewaysim.Behaviours() {
		if strings.HasPrefix(b.Outcome, "none") || b.Prefix == "CODE-" {
			continue // they hold the whole merchant, or are many in one
		}
		kinds = append(kinds, b.Prefix, "") // every other order is an ordinary one
	}
	gateway := gatewaysim.Config{
		Seed:        5,
		Latency:     gatewaysim.Latency{Min: 20 * time.Millisecond, Max: 400 * time.Millisecond, Jitter: 50 * time.Millisecond},
		Failures:    gatewaysim.Failures{SystemError: .02, Drop: .02, Lose: .02, BadGateway: .02},
		Buyers:      gatewaysim.Buyers{Share: .2, Within: 2 * time.Minute},
		LateCreates: .05,
	}
	inVirtualTime(t, Config{Brokers: 3, Partitions: 4, GatewayHosts: 2, Gateway: gateway}, func(t *testing.T, s *stage) {
		s.workers(3)
		s.asks(Traffic{Seed: 6, Requests: orders, Over: time.Duration(orders) * 20 * time.Millisecond, Poison: .01, Repeats: .05, Behaviours: kinds})()
		// Somebody goes on asking for ordinary orders while the last retries
		// run: without an answer to anybody, hostile orders cannot be told from
		// a gateway that is ill. Half of the orders are hostile, and call again
		// and again, so that the gateway looks ill for most of the time, and
		// gets few calls at a time: that takes hours.
		const most = 48 * time.Hour
		for chunk := uint64(0); s.unanswered() > 0; chunk++ {
			if time.Since(s.began) > most {
				t.Errorf("after %v %d requests are not answered", most, s.unanswered())
				break
			}
			s.asks(Traffic{Seed: 7 + chunk, Requests: 60, Over: 10 * time.Minute})()
			time.Sleep(time.Minute) // for the answers to the last of them
		}
		s.check(nil)
	})
}
