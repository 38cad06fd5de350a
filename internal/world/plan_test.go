package world

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// Plan is one simulated run, drawn from a seed: how large the deployment is,
// what is asked of it and what goes wrong when. The same seed is always the
// same plan.
type Plan struct {
	Seed uint64

	Brokers, Partitions, GatewayHosts int
	Workers, MaxInFlight              int
	// StaticIDs: workers have a group.instance.id.
	StaticIDs bool
	// ExactlyOnce: their processing_guarantee is exactly_once.
	ExactlyOnce      bool
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	RetryDelays      []time.Duration
	// Confirm is gateway.confirm.
	Confirm string
	// Young: their min_order_age is 0, so that they ask about orders whose create
	// call can still be on its way.
	Young bool
	// Latency of the network, one way.
	Latency time.Duration
	Gateway gatewaysim.Config
	Traffic Traffic
	// Sales in the place of traffic: a shop whose buyers pay.
	Sales  Sales
	Faults []Fault
}

// Fault is one thing that goes wrong.
type Fault struct {
	At, For time.Duration
	Kind    string
	// Target is a worker, a broker or a host of the gateway by its number, as
	// the kind has it; N is a count, Choice a choice between variants.
	Target, N, Choice int
}

func (f Fault) String() string {
	return fmt.Sprintf("%8v for %-7v %s #%d (n %d, variant %d)", f.At.Round(time.Second), f.For.Round(time.Second), f.Kind, f.Target, f.N, f.Choice)
}

// String is the whole plan, for whoever has to find out what a seed does.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d brokers, %d partitions, %d workers with %d calls each (static %v, session %v, rebalance %v), %d gateway hosts, confirm %s, young orders %v, latency %v\n",
		p.Seed, p.Brokers, p.Partitions, p.Workers, p.MaxInFlight, p.StaticIDs, p.SessionTimeout, p.RebalanceTimeout, p.GatewayHosts, p.Confirm, p.Young, p.Latency)
	fmt.Fprintf(&b, "%d requests over %v; gateway %+v, failures %+v, buyers %+v, late creates %v\n",
		p.Traffic.Requests, p.Traffic.Over, p.Gateway.Latency, p.Gateway.Failures, p.Gateway.Buyers, p.Gateway.LateCreates)
	fmt.Fprintf(&b, "exactly once: %v; %.2f of the requests in transactions, %.2f of those aborted\n", p.ExactlyOnce, p.Traffic.Transactions, p.Traffic.Aborts)
	for _, f := range p.Faults {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// simBehaviours are what orders of a simulation do: most are ordinary. Orders
// that never get an answer are missing: with nobody else left to be answered
// they cannot be told from an outage.
var simBehaviours = []string{
	"", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "",
	"PAID", "REFUND", "CLOSED", "REVOKED", "UNKNOWN", "FLAKY", "SLOW", "DEAD", "LIMIT", "PAYING", "PAYERROR",
	"GAP", "LOST", "APPLIED", "RATE", "STALE", "GHOST", "VACUOUS", "LATECREATE", "LATEVACUOUS", "LATEPAID",
	"DROP", "STALL", "RESET", "DRIP", "STATUS", "SYSERR",
}

// NewPlan draws a plan.
func NewPlan(seed uint64) Plan {
	r := rand.New(rand.NewPCG(seed, 0x706c616e6e696e67))
	p := Plan{
		Seed:             seed,
		Brokers:          1 + r.IntN(3),
		Partitions:       1 + r.IntN(4),
		GatewayHosts:     1 + r.IntN(2),
		Workers:          1 + r.IntN(4),
		MaxInFlight:      []int{4, 16, 64, 256}[r.IntN(4)],
		StaticIDs:        r.IntN(3) == 0,
		Confirm:          "doubt",
		SessionTimeout:   time.Duration(6+r.IntN(40)) * time.Second,
		RebalanceTimeout: time.Duration(20+r.IntN(41)) * time.Second,
		RetryDelays:      []time.Duration{10 * time.Second, 2 * time.Minute},
		Gateway: gatewaysim.Config{
			Seed:    seed,
			Latency: gatewaysim.Latency{Min: 20 * time.Millisecond, Max: time.Duration(50+r.IntN(950)) * time.Millisecond, Jitter: time.Duration(r.IntN(300)) * time.Millisecond},
			History: -1,
			// With two retries only, an order that fails twice by itself has
			// no try left for an outage to take.
			FlakyCalls: 1,
		},
		Traffic: Traffic{
			Seed: seed, Requests: 400 + r.IntN(1200), Over: time.Duration(5+r.IntN(25)) * time.Minute,
			Poison: .03 * r.Float64(), Repeats: .2 * r.Float64(), Hot: .05 * r.Float64(), Copies: .02 * r.Float64(), Timed: .1 * r.Float64(), Aged: .3 * r.Float64(),
			Behaviours: simBehaviours,
		},
	}
	if r.IntN(2) == 0 {
		p.Traffic.Bunched = r.Float64()
	}
	if r.IntN(4) == 0 {
		p.Confirm = "always"
	}
	if r.IntN(2) == 0 {
		p.Latency = time.Duration(r.IntN(30)) * time.Millisecond
	}
	if r.IntN(2) == 0 {
		p.Gateway.Failures = gatewaysim.Failures{SystemError: .03 * r.Float64(), Drop: .03 * r.Float64(), Lose: .03 * r.Float64(), BadGateway: .03 * r.Float64()}
	}
	if r.IntN(2) == 0 {
		p.Gateway.Buyers = gatewaysim.Buyers{Share: .3 * r.Float64(), Within: time.Minute}
	}
	if r.IntN(3) == 0 {
		p.Gateway.LateCreates, p.Traffic.Aged = .1*r.Float64(), 0
	}
	if r.IntN(2) == 0 {
		p.Traffic.Transactions, p.Traffic.Aborts = .5*r.Float64(), r.Float64()
	}
	total := 0
	for _, k := range faultKinds {
		total += k.weight
	}
	for range 3 + r.IntN(13) {
		n := r.IntN(total)
		for _, k := range faultKinds {
			if n -= k.weight; n >= 0 {
				continue
			}
			f := Fault{
				Kind: k.name, At: time.Duration(r.Int64N(int64(p.Traffic.Over))),
				For:    k.least + time.Duration(r.Int64N(int64(k.most-k.least)+1)),
				Target: r.IntN(60), N: 1 + r.IntN(8), Choice: r.IntN(60),
			}
			p.Faults = append(p.Faults, f)
			break
		}
	}
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return int(a.At - b.At) })
	return p
}

// NewHarshPlan draws a plan in which far more goes wrong with Kafka and the workers,
// one close behind the other, in a larger group with shorter time-outs: also with
// rebalances that last no longer than a call.
func NewHarshPlan(seed uint64) Plan {
	p := NewPlan(seed)
	r := rand.New(rand.NewPCG(seed, 0x6861727368))
	p.Workers, p.Partitions, p.Brokers = 3+r.IntN(3), 3+r.IntN(10), 1+r.IntN(3)
	p.SessionTimeout = time.Duration(6+r.IntN(20)) * time.Second
	p.RebalanceTimeout = time.Duration(5+r.IntN(40)) * time.Second
	p.Traffic.Requests, p.Traffic.Over = 1500, 10*time.Minute
	p.Gateway.LateCreates = 0
	kinds := slices.DeleteFunc(slices.Clone(faultKinds[:]), func(k faultKind) bool {
		return strings.Contains(k.name, "gateway") || strings.Contains(k.name, "merchant") || strings.Contains(k.name, "clock")
	})
	p.Faults = nil
	for range 20 + r.IntN(40) {
		k := kinds[r.IntN(len(kinds))]
		p.Faults = append(p.Faults, Fault{
			Kind: k.name, At: time.Duration(r.Int64N(int64(p.Traffic.Over))),
			For:    k.least + time.Duration(r.Int64N(int64(min(k.most, 40*time.Second)-k.least)+1)),
			Target: r.IntN(60), N: 1 + r.IntN(8), Choice: r.IntN(60),
		})
	}
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return int(a.At - b.At) })
	return p
}
