package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/spf13/cobra"
)

func (a *app) simulateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "simulate", Short: "Runs the gateway simulator alone", GroupID: "tool", Args: noArgs,
		Long: "A gateway of WeChat Pay V2 to test against: /pay/closeorder, /pay/orderquery and\n" +
			"/pay/unifiedorder over plain HTTP, with an order book, signed replies, and the\n" +
			"faults of the real one and of hostile ones. An order that it does not know is\n" +
			"made up when it is first asked for; what it does follows from the beginning of\n" +
			"its out_trade_no. When a buyer pays an order that was created, the shop is told\n" +
			"by signed notices to its notify_url.\n\n" + behaviourTable() + "\n" + merchantTable(),
		Example: "closeorder simulate --latency 30ms --failure-rate 0.05\ncloseorder simulate --buyers 0.5 --late-creates 0.1",
	}
	var cfg gatewaysim.Config
	flags := cmd.Flags()
	listen := flags.String("listen", "127.0.0.1:8080", "`HOST:PORT` to listen on; port 0 is any free one")
	flags.DurationVar(&cfg.Latency.Min, "latency", 0, "least time that a call takes")
	flags.DurationVar(&cfg.Latency.Jitter, "latency-jitter", 0, "mean of what is added to it at random")
	var odds gatewayOdds
	odds.flags(flags, 0, "orders")
	flags.Float64Var(&cfg.Rate, "rate", 0, "calls per second after which a merchant is told to slow down (0: no limit)")
	refuse := flags.StringToString("refuse", nil, "answer all calls of a merchant with a code, `MCH_ID=CODE`, such as 1900000109=NOAUTH; comma-separated, may be repeated")
	flags.DurationVar(&cfg.ClockAhead, "clock-ahead", 0, "how far the Date header of its replies is ahead of this machine's clock; negative: behind")
	flags.Uint64Var(&cfg.Seed, "seed", 1, "seed of all randomness")
	quiet := flags.Bool("quiet", false, "do not print each call")
	asJSON := flags.Bool("json", false, "print calls and counts as JSON lines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong misuse
		wrong.must(cfg.Latency.Min >= 0, "--latency is %v, want 0s or more", cfg.Latency.Min)
		wrong.must(cfg.Latency.Jitter >= 0, "--latency-jitter is %v, want 0s or more", cfg.Latency.Jitter)
		odds.check(&wrong)
		wrong.must(cfg.Rate >= 0, "--rate is %v, want 0 or more", cfg.Rate)
		if err := wrong.err(); err != nil {
			return err
		}
		odds.set(&cfg)
		if !*quiet {
			t := table{out: a.stdout, widths: []int{len(time.TimeOnly), 10, 10, 24, 7}}
			cfg.Observe = (&callPrinter{json: *asJSON, table: t}).print
		}
		sim, err := gatewaysim.New(cfg)
		if err != nil {
			return usagef("%v", err)
		}
		for _, mchID := range slices.Sorted(maps.Keys(*refuse)) {
			if err := sim.Refuse(mchID, (*refuse)[mchID]); err != nil {
				return usagef("--refuse: %v", err)
			}
		}
		ln, err := net.Listen("tcp", *listen)
		if err != nil {
			return usagef("--listen: %v", err)
		}
		fmt.Fprintf(a.stderr, "closeorder: gateway simulator at http://%s; stop with Ctrl-C\n", ln.Addr())
		if err := sim.Serve(cmd.Context(), ln); err != nil {
			return err
		}
		return a.printStats(sim.Stats(), *asJSON)
	}
	return cmd
}

func behaviourTable() string {
	rows := [][]string{{"PREFIX", "THE ORDER", "OUTCOME"}}
	for _, one := range gatewaysim.Behaviours() {
		rows = append(rows, []string{cmp.Or(one.Prefix, "(any other)"), one.What, one.Outcome})
	}
	return wholeText(rows)
}

func merchantTable() string {
	rows := [][]string{{"MCH_ID", "APPID", "MODE", "SIGN TYPE", "API KEY"}}
	keys := map[string]string{
		"1900000109": gatewaysim.DirectKey, "1900000110": gatewaysim.HMACKey, "1900000111": gatewaysim.InstitutionKey,
	}
	for _, m := range gatewaysim.DefaultMerchants() {
		mode := "direct"
		if m.Institution {
			mode = "institution"
		}
		rows = append(rows, []string{m.MchID, m.AppID, mode, cmp.Or(string(m.SignType), "either"), keys[m.MchID]})
	}
	return "Its merchants, whose keys are no secrets:\n" + strings.TrimRight(wholeText(rows), "\n")
}

// callPrinter prints the calls that the simulator answers.
type callPrinter struct {
	mu    sync.Mutex
	json  bool
	table table
}

type callLine struct {
	Time       time.Time `json:"time"`
	Call       string    `json:"call"`
	MchID      string    `json:"mch_id,omitempty"`
	OutTradeNo string    `json:"out_trade_no,omitempty"`
	Took       string    `json:"took"`
	Answer     string    `json:"answer"`
}

func (p *callPrinter) print(c gatewaysim.Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := c.End.Sub(c.Start)
	if p.json {
		_ = json.NewEncoder(p.table.out).Encode(callLine{c.Start, string(c.Op), c.MchID, c.OutTradeNo, rounded(took), c.Answer})
		return
	}
	_ = p.table.row(c.Start.Local().Format(time.TimeOnly), string(c.Op), orDash(c.MchID), orDash(c.OutTradeNo), rounded(took), c.Answer)
}

func (a *app) printStats(s gatewaysim.Stats, asJSON bool) error {
	if asJSON {
		orders := map[string]int{}
		for state, n := range s.Orders {
			orders[state.String()] = n
		}
		return json.NewEncoder(a.stdout).Encode(map[string]any{
			"calls": s.Calls, "max_in_progress": s.MaxInProgress, "answers": s.Answers, "refusals": s.Refusals, "orders": orders,
		})
	}
	fmt.Fprintf(a.stdout, "%s, at most %d at one time\n", count(s.Calls, "call"), s.MaxInProgress)
	for _, group := range []struct {
		name   string
		counts map[string]int
	}{{"answers", s.Answers}, {"refusals", s.Refusals}} {
		for _, answer := range slices.Sorted(maps.Keys(group.counts)) {
			fmt.Fprintf(a.stdout, "  %-9s %7d  %s\n", group.name, group.counts[answer], answer)
		}
	}
	return nil
}
