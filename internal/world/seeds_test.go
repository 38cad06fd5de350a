package world

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestSeeds runs simulations, each drawn from a seed: 1 to
// CLOSEORDER_SIM_SEEDS (10 by default), from CLOSEORDER_SIM_FIRST on, or the
// one of CLOSEORDER_SIM_SEED alone.
func TestSeeds(t *testing.T) { simulate(t, 10, NewPlan) }

// TestHarshSeeds is the same with [NewHarshPlan], and 4 seeds by default.
func TestHarshSeeds(t *testing.T) { simulate(t, 4, NewHarshPlan) }

// TestSeedsExactlyOnce is TestSeeds with workers that do their work exactly once:
// the same plans, the first 3 by default.
func TestSeedsExactlyOnce(t *testing.T) { simulate(t, 3, exactlyOnceOf(NewPlan)) }

// TestHarshSeedsExactlyOnce is the same with TestHarshSeeds, and 2 by default.
func TestHarshSeedsExactlyOnce(t *testing.T) { simulate(t, 2, exactlyOnceOf(NewHarshPlan)) }

func exactlyOnceOf(newPlan func(seed uint64) Plan) func(seed uint64) Plan {
	return func(seed uint64) Plan {
		p := newPlan(seed)
		p.ExactlyOnce = true
		return p
	}
}

func simulate(t *testing.T, seeds uint64, newPlan func(seed uint64) Plan) {
	first, n := number(t, "CLOSEORDER_SIM_FIRST", 1), number(t, "CLOSEORDER_SIM_SEEDS", seeds)
	if one := number(t, "CLOSEORDER_SIM_SEED", 0); one > 0 {
		first, n = one, 1
	}
	var (
		mu       sync.Mutex
		virtual  time.Duration
		total    Report
		faults   = make(map[string]int)
		answered int // by brokers, with an error
	)
	t.Cleanup(func() {
		t.Logf("%d seeds: %.1f virtual hours, %d requests checked, %d duplicates with the same id, %d requests answered with an error by a broker",
			n, virtual.Hours(), total.Requests, total.Duplicates, answered)
		for _, kind := range slices.Sorted(maps.Keys(faults)) {
			t.Logf("%5d %s", faults[kind], kind)
		}
	})
	for seed := first; seed < first+n; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			log := testLog()
			if log == nil {
				t.Parallel()
			}
			plan := newPlan(seed)
			var result Result
			synctest.Test(t, func(t *testing.T) { result = plan.Run(t.Context(), log) })
			result.tell(t)
			t.Logf("%v of virtual time, %d faults: %v", result.Virtual.Round(time.Second), len(plan.Faults), result.Report)
			if t.Failed() {
				t.Logf("%v\nto repeat it: CLOSEORDER_SIM_SEED=%d go test ./internal/world -run '%s$' -v", plan, seed, strings.Split(t.Name(), "/")[0])
			}
			mu.Lock()
			defer mu.Unlock()
			virtual += result.Virtual
			total.Requests += result.Report.Requests
			total.Duplicates += result.Report.Duplicates
			answered += result.BrokerErrors
			for kind, n := range result.Faults {
				faults[kind] += n
			}
		})
	}
}

// tell tells what is wrong, the first findings of many, and the history of the
// first order.
func (r Result) tell(t *testing.T) {
	t.Helper()
	for _, err := range r.Trouble {
		t.Error(err)
	}
	for i, f := range r.Report.Findings {
		if i == 10 {
			t.Errorf("and %d more findings", len(r.Report.Findings)-i)
			break
		}
		t.Error(f)
		if i == 0 && f.Order.OutTradeNo != "" {
			t.Logf("the order's history:\n%s", r.Evidence.History(f.Order))
		}
	}
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := strings.TrimSpace(os.Getenv(name))
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is %q, want a number", name, text)
	}
	return n
}

func TestAPlanIsTheSameForTheSameSeed(t *testing.T) {
	for seed := range uint64(50) {
		if a, b := NewPlan(seed), NewPlan(seed); a.String() != b.String() {
			t.Errorf("seed %d:\n%v\n%v", seed, a, b)
		}
	}
}
