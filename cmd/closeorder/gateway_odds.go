package main

import (
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/spf13/pflag"
)

// gatewayOdds is what dev and simulate let the gateway simulator do at random:
// shares, 0 to 1.
type gatewayOdds struct {
	failures, lost, late, buyers float64
}

// buyersTime is the longest that a buyer takes, noticesTime what a notice takes
// after the payment. A person can wait for both.
const (
	buyersTime  = 20 * time.Second
	noticesTime = 2 * time.Second
)

// flags adds the flags; buyers is the default of --buyers, and whose says which
// orders they pay.
func (g *gatewayOdds) flags(flags *pflag.FlagSet, buyers float64, whose string) {
	flags.Float64Var(&g.failures, "failure-rate", 0, "share of calls that fail at random, 0 to 1: SYSTEMERROR, dropped connections, status 502")
	flags.Float64Var(&g.lost, "lost-replies", 0, "share of calls that take effect and whose reply is lost, 0 to 1")
	flags.Float64Var(&g.late, "late-creates", 0, "share of creates (unifiedorder; of made-up orders too) that arrive 20 s late, 0 to 1")
	flags.Float64Var(&g.buyers, "buyers", buyers, "share of "+whose+" that buyers try to pay within 20 s, 0 to 1; above 0 some also pay in the gap between a query and a close, or old numbers of an attach beside the new one")
}

func (g *gatewayOdds) check(wrong *misuse) {
	wrong.must(isShare(g.failures), "--failure-rate is %v, want 0 to 1", g.failures)
	wrong.must(isShare(g.lost), "--lost-replies is %v, want 0 to 1", g.lost)
	wrong.must(!isShare(g.failures) || !isShare(g.lost) || g.failures+g.lost <= 1, "--failure-rate and --lost-replies are %v together, want 1 or less", g.failures+g.lost)
	wrong.must(isShare(g.late), "--late-creates is %v, want 0 to 1", g.late)
	wrong.must(isShare(g.buyers), "--buyers is %v, want 0 to 1", g.buyers)
}

// set sets what the flags say. Where nobody buys, nobody pays in a gap either.
func (g *gatewayOdds) set(cfg *gatewaysim.Config) {
	cfg.Failures = gatewaysim.EvenFailures(g.failures)
	cfg.Failures.Lose = g.lost
	cfg.LateCreates = g.late
	cfg.Notices.Delay = noticesTime
	if g.buyers > 0 {
		cfg.Buyers = gatewaysim.Buyers{Share: g.buyers, Within: buyersTime, Gap: .3, Twice: .5}
	}
}
