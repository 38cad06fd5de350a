package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/timeline"
	"github.com/spf13/cobra"
)

// errNeverSeen ends trace with an exit code of its own, when that was said.
var errNeverSeen = errors.New("never seen")

// longestNumber is the longest out_trade_no that can be asked for: what is longer is
// repeated by no outcome.
const longestNumber = 128

func (a *app) traceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "trace OUT_TRADE_NO", Short: "Tells what happened to one order", GroupID: "look",
		Long: `Finds every record of an order in all topics, prints them as a timeline, and
says in its last lines where the order stands and what to do next: closed, paid,
failed, waiting (where, why, until when), in flight, or lost.

The partitions are read first that the number leads to, by the rule of every
client of Kafka that is known, and the rest only where nothing is found there, or
with --all. Which were read is said. With --since and --until the requests of that
time are looked for, by their timestamps, and what became of them up to the end of
the topics. A number that begins with - goes behind --.

With --ask-gateway each order found is asked about at WeChat Pay, by a query that
changes nothing; only then a merchant's key is needed.

Exit code 0: it is closed or paid, waits, or is in flight; 1: it failed, is lost,
contradictory or not proven, or something could not be read; 3: never seen.`,
		Example: `closeorder trace T2026112700042
closeorder trace T2026112700042 --since 24h --json | jq -r '.orders[].answer'
closeorder trace T2026112700042 --mch-id 1900000109 --ask-gateway
closeorder trace --all -- '-T|42*'`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) != 1 || args[0] == "":
				return usagef("takes one argument, the out_trade_no of an order")
			case len(args[0]) > longestNumber:
				return usagef("the out_trade_no has %d bytes, and no order has more than 32", len(args[0]))
			}
			return nil
		},
	}
	var o traceOptions
	var during timeRange
	flags := cmd.Flags()
	flags.StringVar(&o.mchID, "mch-id", "", "only the order of this merchant `ID`")
	flags.StringVar(&o.subMchID, "sub-mch-id", "", "only that of this sub-merchant `ID`, institution mode only")
	during.add(flags, "requests")
	flags.BoolVar(&o.all, "all", false, "read every partition, also where the order is found before")
	asJSON := flags.Bool("json", false, "print one JSON document")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	settings.alsoOf(config.Work, "kafka.group")
	settings.mayAsk(cmd, "mch_id", "appid")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var wrong misuse
		var err error
		o.number = args[0]
		o.since, o.until, err = during.parse(time.Now())
		wrong.add(err)
		wrong.must(o.subMchID == "" || o.mchID != "", "--sub-mch-id needs --mch-id beside it")
		cfg, err := settings.loadFor(o.mchID)
		wrong.add(err)
		if err := wrong.err(); err != nil {
			return err
		}
		c, err := a.cluster(cfg)
		if err != nil {
			return err
		}
		defer c.close()
		if !*asJSON {
			o.zone = time.Local
		}
		report, err := a.findOrder(cmd.Context(), c, o)
		if err != nil {
			return err
		}
		var asked []gatewayLine
		if settings.asks {
			if asked, err = askGateway(cmd.Context(), cfg, o, report); err != nil {
				return err
			}
		}
		if *asJSON {
			enc := a.jsonLines()
			enc.SetIndent("", "  ")
			err = enc.Encode(traceLine{report, asked})
		} else {
			(&tracePrinter{out: a.stdout, paint: a.paint(a.stdout), zone: time.Local}).print(report, asked)
		}
		switch {
		case err != nil:
			return err
		case len(report.Lives) == 0:
			return errNeverSeen
		case report.Bad() || slices.ContainsFunc(asked, func(g gatewayLine) bool { return g.Contradicts }):
			return errBadNews
		}
		return nil
	}
	return cmd
}

type traceOptions struct {
	number, mchID, subMchID string
	since, until            time.Time
	all                     bool
	zone                    *time.Location
}

// traceLine is a report as JSON, with what the gateway says now where it was asked.
type traceLine struct {
	*timeline.Report
	Gateway []gatewayLine `json:"gateway,omitempty"`
}

// findOrder reads the topics, with a bar for what takes long.
func (a *app) findOrder(ctx context.Context, c *cluster, o traceOptions) (*timeline.Report, error) {
	asking, cancel := reach(ctx)
	defer cancel()
	snapshot, err := timeline.Take(asking, timeline.Scope{
		Reader: c.reader(), Topics: c.topics, Group: c.group,
		OutTradeNo: o.number, MchID: o.mchID, SubMchID: o.subMchID,
		Since: o.since, Until: o.until, All: o.all, Zone: o.zone,
	})
	if err != nil {
		return nil, err
	}
	bar := &progress{}
	defer func() { bar.finish() }()
	report, err := snapshot.Find(ctx, timeline.Options{
		OnTotal: func(n int64) {
			bar.finish()
			bar = a.progress("reading", n)
		},
		OnRead: func(n int) { bar.add(n) },
	})
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	return report, nil
}
