// Package peers are workers that do the same as closeorder, written by hand, to
// measure it against: requests in, one verified call each, outcomes out, offsets
// committed behind them. They promise less: no dead letters, no retries that
// outlive the process, no order of one order's requests, no query in doubt.
package peers

import (
	"context"

	"github.com/closeorder/closeorder/internal/bench/exchange"
	"github.com/closeorder/closeorder/internal/bench/v2"
)

// Config is what a peer is told.
type Config struct {
	Brokers            []string
	Requests, Outcomes string // topics
	Group              string
	// Gateway is its base URL, and Roots what to trust there, see
	// exchange.Target.
	Gateway string
	Roots   []byte
	// Key is the API key of all merchants.
	Key v2.Key
	// MaxInFlight is the most calls at one time.
	MaxInFlight int
}

func (c Config) poster() (exchange.Poster, error) {
	return exchange.NetHTTP(exchange.Target{URL: c.Gateway + "/pay/closeorder", Roots: c.Roots, Conns: c.MaxInFlight})
}

// Peers by name. Each runs until ctx ends, and returns nil then.
var Peers = map[string]func(context.Context, Config) error{
	"franz-go": FranzGo,
	"kafka-go": KafkaGo,
}

// Handler returns what the peers do with the value of a request, called through
// post: decode, sign, call, verify, encode the outcome.
func Handler(key v2.Key, post exchange.Poster) func(ctx context.Context, value []byte) ([]byte, error) {
	return (&closer{key, post}).handle
}
