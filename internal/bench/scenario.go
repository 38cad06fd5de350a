package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/bench/gateway"
)

// What calls go over.
const (
	httpOver = "http"
	tlsOver  = "tls"
)

// scenario is a gateway, a load and what is looked at.
type scenario struct {
	// name is what -scenarios chooses by, and what the baseline goes by.
	name string
	// what it is, in one phrase, for the table.
	what    string
	gateway gateway.Config
	flows   []flow
	// inFlight is the most calls at one time, 0 for closeorder's default.
	inFlight int
	// partitions of each topic, 0 for [partitions].
	partitions int32
	// ideal: throughput is bounded by inFlight and the gateway's latency alone.
	ideal bool
	// waiting: all requests stand in the topic before the worker starts, and it
	// is measured from its start on.
	waiting bool
	// window ends the run, answered or not; 0 for none.
	window time.Duration
	// over is what it is measured over.
	over []string
	// once: the first round says enough.
	once bool
	// oneByOne is how many requests a worker gets that serves them one by one;
	// 0 leaves it out.
	oneByOne int
	// quiet is the scenario without the trouble that this one has.
	quiet string
	// guarantees: closeorder alone, with either guarantee, and what a reader with
	// isolation.level=read_committed sees of it.
	guarantees bool
	// interval is closeorder's transaction_interval, 0 for its default. Where it is
	// set there is nothing to compare with: exactly_once alone is measured.
	interval time.Duration
}

// flow is the requests of one merchant. Those at once are published before those
// that come at a rate.
type flow struct {
	merchant int // index of merchants
	n        int
	rate     float64 // per second; 0 is all at once
	// healthy: its waiting times are those that are looked at.
	healthy bool
	// from and to are the partitions that it goes to, those of its keys where
	// both are 0.
	from, to int32
}

// latency is that of most scenarios.
const latency = 20 * time.Millisecond

// inFlight is closeorder's default.
const inFlight = 256

func atOnce(n int) []flow { return []flow{{n: n, healthy: true}} }

func scenarios() []scenario {
	both, plain := []string{httpOver, tlsOver}, []string{httpOver}
	all := []scenario{
		{name: "burst-0ms", what: "20,000 at once, a gateway that answers at once", flows: atOnce(20_000), over: both, oneByOne: 1500},
		{name: "burst-50ms", what: "20,000 at once, the gateway takes 50 ms", gateway: gateway.Config{Latency: 50 * time.Millisecond},
			flows: atOnce(20_000), over: both, ideal: true},
		{name: "mix", what: "20,000 at once, 20 ms; 2 % SYSTEMERROR, 5 % paid, 5 % closed before",
			gateway: gateway.Config{Latency: latency, SystemError: .02, Paid: .05, Closed: .05}, flows: atOnce(20_000), over: both},
		{name: "paced", what: "500/s for 8 s, 20 ms", gateway: gateway.Config{Latency: latency},
			flows: []flow{{n: 4000, rate: 500, healthy: true}}, over: both},
	}
	for _, n := range []int{20_000, 60_000, 1_000_000} {
		s := scenario{name: fmt.Sprintf("memory-%d", n), what: thousands(n) + " waiting", gateway: gateway.Config{Latency: latency},
			flows: atOnce(n), over: plain, waiting: true, once: true}
		if n == 1_000_000 {
			s.window = 20 * time.Second
			all = append(all, s)
			s.name, s.what, s.partitions = s.name+"-50", s.what+" on 50 partitions", 50
			s.flows = atOnce(n)
			s.flows[0].to = s.partitions
		}
		all = append(all, s)
	}
	return slices.Concat(all, threeMerchants(), guarantees(), intervals())
}

// guarantees are the scenarios of at_least_once and exactly_once side by side.
func guarantees() []scenario {
	all := []scenario{
		{name: "exactly-once-burst-0ms", what: "20,000 at once, a gateway that answers at once", flows: atOnce(20_000)},
		{name: "exactly-once-burst-50ms", what: "20,000 at once, the gateway takes 50 ms", gateway: gateway.Config{Latency: 50 * time.Millisecond}, flows: atOnce(20_000)},
		{name: "exactly-once-paced", what: "500/s for 8 s, 20 ms", gateway: gateway.Config{Latency: latency}, flows: []flow{{n: 4000, rate: 500, healthy: true}}},
		{name: "exactly-once-light", what: "5/s for 16 s, 20 ms", gateway: gateway.Config{Latency: latency}, flows: []flow{{n: 80, rate: 5, healthy: true}}},
	}
	for i := range all {
		all[i].over, all[i].guarantees, all[i].once = []string{httpOver}, true, all[i].name == "exactly-once-light"
	}
	return all
}

// intervals are what transaction_interval was chosen by: those of a burst and of a
// paced load, for each.
func intervals() []scenario {
	var all []scenario
	for _, ms := range []int{10, 20, 50, 100, 200, 500} {
		for _, s := range guarantees() {
			if s.name != "exactly-once-burst-0ms" && s.name != "exactly-once-paced" {
				continue
			}
			s.name = fmt.Sprintf("%s-%s-%d", intervalsName, strings.TrimPrefix(s.name, "exactly-once-"), ms)
			s.interval = time.Duration(ms) * time.Millisecond
			all = append(all, s)
		}
	}
	return all
}

// threeMerchants are the scenarios of one merchant's trouble beside two others.
func threeMerchants() []scenario {
	const slow, busy = 20, 80 // requests per second of one merchant
	three := func(rate, seconds int) []flow {
		var flows []flow
		for m := range merchants {
			flows = append(flows, flow{merchant: m, n: rate * seconds, rate: float64(rate), healthy: m > 0})
		}
		return flows
	}
	backlog := func(own bool) []flow {
		flows := append([]flow{{n: 100_000}}, three(slow, 20)[1:]...)
		if own {
			flows[0].to = partitions - 1
			for i := range flows[1:] {
				flows[1+i].from, flows[1+i].to = partitions-1, partitions
			}
		}
		return flows
	}
	with := func(t gateway.Trouble) gateway.Config {
		return gateway.Config{Latency: latency, Merchants: map[string]gateway.Trouble{merchants[0]: t}}
	}
	all := []scenario{
		{name: "merchants-quiet", what: "20/s of each, all healthy", gateway: with(gateway.Trouble{}), flows: three(slow, 15)},
		{name: "merchants-limited", what: "one gets FREQUENCY_LIMITED, 20/s of each", quiet: "merchants-quiet",
			gateway: with(gateway.Trouble{Code: "FREQUENCY_LIMITED"}), flows: three(slow, 35)},
		{name: "merchants-systemerror", what: "one gets SYSTEMERROR, 20/s of each", quiet: "merchants-quiet",
			gateway: with(gateway.Trouble{Code: "SYSTEMERROR"}), flows: three(slow, 35)},
		{name: "merchants-backlog", what: "one has a backlog of 100,000, 20/s of the others behind it", quiet: "merchants-quiet",
			gateway: with(gateway.Trouble{}), flows: backlog(false)},
		{name: "merchants-backlog-apart", what: "the same, the others on a partition of their own", quiet: "merchants-quiet",
			gateway: with(gateway.Trouble{}), flows: backlog(true)},
		{name: "merchants-quiet-80", what: "80/s of each, all healthy", gateway: with(gateway.Trouble{}), flows: three(busy, 10)},
		{name: "merchants-slow", what: "one takes 7 s a call, 80/s of each", quiet: "merchants-quiet-80",
			gateway: with(gateway.Trouble{Latency: 7 * time.Second}), flows: three(busy, 20)},
	}
	for i := range all {
		all[i].over, all[i].once = []string{httpOver}, true
	}
	return all
}

// chosen are the scenarios whose names begin as one of the list does. The quiet
// ones come along with those that need them.
func chosen(list string) ([]scenario, error) {
	all, take := scenarios(), make(map[string]bool)
	for prefix := range strings.SplitSeq(list, ",") {
		if prefix == floorsName || prefix == sweepName || prefix == noneName {
			continue
		}
		found := false
		for _, s := range all {
			if strings.HasPrefix(s.name, prefix) {
				take[s.name], found = true, true
				if s.quiet != "" {
					take[s.quiet] = true
				}
			}
		}
		if !found || prefix == "" {
			return nil, usageError{fmt.Sprintf("-scenarios: none begins with %q; there are %s", prefix, strings.Join(names(), ", "))}
		}
	}
	return slices.DeleteFunc(all, func(s scenario) bool { return !take[s.name] }), nil
}

// What else -scenarios knows.
const (
	floorsName = "floors"
	sweepName  = "sweep"
	noneName   = "none" // for what -with has alone

	intervalsName = "intervals" // how its scenarios begin
)

func names() []string {
	list := []string{floorsName}
	for _, s := range scenarios() {
		list = append(list, s.name)
	}
	return append(list, sweepName)
}

// paced: requests come at a rate, and their waiting times are the worker's.
func (s scenario) paced() bool { return s.flows[0].rate > 0 }

// trouble is that of the first merchant.
func (s scenario) trouble() gateway.Trouble { return s.gateway.Merchants[merchants[0]] }

// parts is the number of partitions of each topic.
func (s scenario) parts() int32 { return cmp.Or(s.partitions, partitions) }

// limit is the most calls at one time.
func (s scenario) limit() int { return cmp.Or(s.inFlight, inFlight) }

// has reports whether a program is in this round of the scenario.
func (s scenario) has(p program, over string, round int) bool {
	switch {
	case s.once && round > 0, p.exactlyOnce && !s.guarantees:
		return false
	case s.guarantees:
		return p.exactlyOnce || p.binary != "" && s.interval == 0
	case p.oneByOne:
		return s.oneByOne > 0 && over == httpOver
	}
	return true
}

// of are the flows for a program.
func (s scenario) of(p program) []flow {
	flows := slices.Clone(s.flows)
	if p.oneByOne {
		flows[0].n = s.oneByOne
	}
	return flows
}
