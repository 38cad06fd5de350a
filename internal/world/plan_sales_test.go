package world

import (
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// saleBehaviours are what the numbers of a shop do: most are ordinary.
var saleBehaviours = []string{
	"", "", "", "", "", "", "", "", "", "", "", "",
	"FLAKY", "SLOW", "REFUSED", "LOST", "APPLIED", "RATE", "STALE", "DROP", "STALL", "RESET", "DRIP", "STATUS",
}

// NewSalesPlan draws a plan in which a shop sells, by its rules: the deployment and
// the faults are those of [NewPlan].
func NewSalesPlan(seed uint64, purchases int, rules Rules) Plan {
	p := NewPlan(seed)
	p.Traffic = Traffic{Over: 30 * time.Minute}
	p.Gateway.Failures = gatewaysim.Failures{SystemError: .02, Drop: .02, Lose: .02, BadGateway: .02}
	p.Gateway.Buyers = gatewaysim.Buyers{Share: .6, Within: 5 * time.Minute, Gap: .2, Twice: .5}
	p.Gateway.Notices = gatewaysim.Notices{Delay: 5 * time.Second, Lost: .1, Again: .1}
	p.Gateway.CreatedAlone, p.Gateway.LateCreates = true, .1
	p.Sales = Sales{
		Seed: seed, Purchases: purchases, Over: p.Traffic.Over, Rules: rules,
		Fails: .4, Impatient: .3, PayWithin: 15 * time.Minute, Aged: .5, Copies: .1, Rereads: .1,
		Behaviours: saleBehaviours,
	}
	p.ExactlyOnce = seed%3 == 0
	// With the default of 5 minutes no order is ever asked about that is younger
	// than gateway.settle_age and says so. By a clock that is minutes behind it
	// stays that young for longer than two retries take.
	if p.Young = seed%2 == 0; p.Young {
		p.RetryDelays = append(p.RetryDelays, 20*time.Minute)
	}
	if p.Confirm == "always" {
		// Whose first close answers SUCCESS and does nothing: only who always asks
		// again can know.
		p.Sales.Behaviours = append(p.Sales.Behaviours[:len(saleBehaviours):len(saleBehaviours)], "GHOST")
	}
	return p
}
