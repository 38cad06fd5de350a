package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/moments"
	"github.com/closeorder/closeorder/internal/status"
	"github.com/spf13/cobra"
)

func (a *app) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Shows the whole on one screen: members, lag, what waits, what has failed", GroupID: "look", Args: noArgs,
		Long: `Asks the group who is in it, each member what it does (at its admin_addr), and
the topics what waits, why and for whom, and what has failed in the last hour. The
first line says how it is, and what is wrong.

A member says in the group where it can be asked. One whose address is on loopback
can be asked on its own machine alone; --admin names addresses to ask instead.

Nothing is written, and no group is joined: it works while the gateway is away,
workers are stopped, or there are none.

Exit code 0: workers serve, and none is stuck; 1: nobody serves, a member is stuck,
not ready or does not answer, a partition has no owner, or Kafka cannot be read.`,
		Example: `closeorder status
closeorder status --watch
closeorder status --since 24h --json | jq .failures
closeorder status --admin http://10.0.0.7:9290,http://10.0.0.8:9290`,
	}
	flags := cmd.Flags()
	since := flags.String("since", "1h", "count outcomes from `WHEN` on: a time (RFC 3339, or local as tables show it), or so long ago (90s, 1h, 7d)")
	watch := flags.Duration("watch", 0, "show it again after each so long, 5s without a value, until it is stopped")
	flags.Lookup("watch").NoOptDefVal = "5s"
	limit := flags.Int("limit", 20, "the most piles of what waits that are listed; 0: all. All are counted")
	admins := flags.StringSlice("admin", nil, "admin addresses to ask, as `URL`s, instead of those that members tell; comma-separated")
	asJSON := flags.Bool("json", false, "print JSON: one document, with --watch one on each line")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	settings.alsoOf(config.Work, "kafka.group")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong misuse
		from, ok := moments.Parse(*since, time.Now())
		wrong.must(ok && from.Before(time.Now()), "--since: want a time such as 2026-01-31T08:00:00Z, or how long ago, such as 90s, 1h or 7d")
		wrong.must(*limit >= 0, "--limit must not be negative")
		wrong.must(*watch >= time.Second || *watch == 0 && !flags.Changed("watch"), "--watch must be 1s or more")
		for _, address := range *admins {
			u, err := url.Parse(address)
			wrong.must(err == nil && u.Scheme == "http" && u.Host != "" && u.Path == "", "--admin: want http://host:port")
		}
		c, err := settings.connect(&wrong)
		if err != nil {
			return err
		}
		defer c.close()
		ago := time.Since(from)
		for {
			report, err := a.lookAtAll(cmd.Context(), c, ago, *limit, *admins)
			if err != nil {
				return err
			}
			switch {
			case *asJSON && *watch == 0:
				enc := a.jsonLines()
				enc.SetIndent("", "  ")
				err = enc.Encode(report)
			case *asJSON:
				err = a.jsonLines().Encode(report)
			default:
				if *watch > 0 && isTerminal(a.stdout) {
					fmt.Fprint(a.stdout, "\x1b[H\x1b[2J")
				}
				a.printStatus(report)
			}
			switch {
			case err != nil:
				return err
			case *watch > 0 && kafka.Sleep(cmd.Context(), *watch) == nil:
				if !*asJSON && !isTerminal(a.stdout) {
					fmt.Fprintln(a.stdout)
				}
				continue
			case len(report.Wrong) > 0 && *watch == 0:
				return errBadNews
			}
			return nil
		}
	}
	return cmd
}

// lookAtAll takes one look, with a bar where that takes long.
func (a *app) lookAtAll(ctx context.Context, c *cluster, ago time.Duration, piles int, admins []string) (*status.Report, error) {
	asking, cancel := reach(ctx)
	defer cancel()
	if err := c.reader().Exist(asking, append(c.topics.Retries(), c.topics.Requests, c.topics.Outcomes)...); err != nil {
		return nil, err
	}
	var bar *progress
	report, err := status.Look(ctx, status.Scope{
		Reader: c.reader(), Group: c.group, Topics: c.topics, Since: time.Now().Add(-ago), Piles: piles, Admins: admins,
		OnTotal: func(n int64) { bar = a.progress("looking", n) },
		OnRead:  func(n int) { bar.add(n) },
	})
	if bar != nil {
		bar.finish()
	}
	if err != nil && ctx.Err() != nil {
		err = errors.New("stopped before all was looked at")
	}
	return report, err
}
