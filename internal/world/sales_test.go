package world

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// mistakes are what each rule that a shop may break must cost: in what it shows.
var mistakes = map[Rules]func(Balance) int{
	ClosedIsSafe:  func(b Balance) int { return b.PaidTwice },
	SilenceIsSafe: func(b Balance) int { return b.PaidTwice },
	FailedIsNoise: func(b Balance) int { return b.LeftOpen },
	IDsAlone:      func(b Balance) int { return b.PaidTwice },
}

// TestNobodyPaysTwice lets shops sell, while everything goes wrong that the seeds
// draw, to buyers who pay whatever the gateway lets them pay: a careful shop owes
// nobody anything in the end, and each of the others shows what its mistake costs,
// or this test would see nothing.
//
// CLOSEORDER_SIM_PURCHASES=100000 makes it so many for each shop, a thousand in
// each world; CLOSEORDER_SIM_SEED=N is one world alone. CLOSEORDER_SHOPS_TABLE
// names a file for the table of docs/order-services.md.
func TestNobodyPaysTwice(t *testing.T) {
	total, each := number(t, "CLOSEORDER_SIM_PURCHASES", 600), uint64(1000)
	if total < 10*each {
		each = 300
	}
	first, n := number(t, "CLOSEORDER_SIM_FIRST", 1), max(1, total/each)
	if one := number(t, "CLOSEORDER_SIM_SEED", 0); one > 0 {
		first, n = one, 1
	}
	var mu sync.Mutex
	done := 0
	sums := make(map[Rules]*Balance)
	for _, rules := range AllRules() {
		sums[rules] = &Balance{}
	}
	t.Run("shops", func(t *testing.T) {
		for seed := first; seed < first+n; seed++ {
			for _, rules := range AllRules() {
				t.Run(fmt.Sprintf("%s/%d", rules, seed), func(t *testing.T) {
					log := testLog()
					if log == nil {
						t.Parallel()
					}
					b := sell(t, NewSalesPlan(seed, int(each), rules))
					mu.Lock()
					defer mu.Unlock()
					sums[rules].Add(b)
					done++
					progress(done, int(n)*len(sums))
				})
			}
		}
	})
	if text := shopsTable(sums); os.Getenv("CLOSEORDER_SHOPS_TABLE") != "" {
		if err := os.WriteFile(os.Getenv("CLOSEORDER_SHOPS_TABLE"), []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	} else {
		t.Log("\n" + text)
	}
	for rules, cost := range mistakes {
		// One world, or a part of the shops by -run, need not show it.
		if n > 1 && sums[rules].Purchases > 0 && cost(*sums[rules]) == 0 {
			t.Errorf("a shop that %s: %v: its mistake has cost nothing", rules, sums[rules])
		}
	}
}

// progress tells people how far it is, and nobody else.
func progress(done, all int) {
	if at, err := os.Stderr.Stat(); err == nil && at.Mode()&os.ModeCharDevice != 0 && os.Getenv("CLOSEORDER_SHOPS_TABLE") != "" {
		fmt.Fprintf(os.Stderr, "\r%d of %d worlds", done, all)
		if done == all {
			fmt.Fprintln(os.Stderr)
		}
	}
}

// sell carries out a plan with sales.
func sell(t *testing.T, plan Plan) Balance {
	var result Result
	synctest.Test(t, func(t *testing.T) { result = plan.Run(t.Context(), testLog()) })
	result.tell(t)
	b := result.Balance
	if plan.Sales.Rules == Careful && b.Wrong() > 0 {
		t.Errorf("a careful shop: %v", b)
	}
	t.Logf("%v; %v", b, result.Report)
	if t.Failed() {
		t.Logf("%v\nto repeat it: CLOSEORDER_SIM_SEED=%d go test ./internal/world -run 'TestNobodyPaysTwice/shops/%s' -v", plan, plan.Seed, plan.Sales.Rules)
	}
	return b
}

// shopsTable is the table of docs/order-services.md.
func shopsTable(sums map[Rules]*Balance) string {
	var b strings.Builder
	b.WriteString("| a shop that | purchases | numbers | paid twice | CNY too much | never delivered | delivered unpaid | left open |\n|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, rules := range AllRules() {
		s := sums[rules]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d |\n",
			rules, s.Purchases, s.Numbers, s.PaidTwice, s.Twice/100, s.NeverDelivered, s.DeliveredUnpaid, s.LeftOpen)
	}
	return b.String()
}
