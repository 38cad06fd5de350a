package main

import (
	"context"
	"errors"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/spf13/cobra"
)

type replayOptions struct {
	yes, json  bool
	limit      int
	maxReplays int
	rate       float64
}

func (a *app) deadLettersReplayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "replay", Short: "Sends dead letters again; without --yes it says what it would do", Args: noArgs,
		Long: `Sends the requests of dead letters to the requests topic again: key, value and
headers byte for byte, and the number of the replay. The outcome of a replay
supersedes the failed one of the request. Each goes to the partition that the
request came from, so that it meets the other requests of its order whatever
partitioner their producers have; where that is no more, or was of another
topic, its key decides, as in Java's clients.

What is not sent: requests that have a final outcome by now (closed or paid),
those that were sent again already, those replayed --max-replays times, expired
ones, and those whose value can no longer be had. So a replay that was stopped
goes on where it stopped when it is called again, from anywhere.

Without --yes nothing is sent. Exit code 0: done, or there was nothing to do; 1:
it failed or was stopped, and something is left.`,
		Example: `closeorder deadletters replay --code UNKNOWN_MERCHANT --mch-id 1900000109
closeorder deadletters replay --code UNKNOWN_MERCHANT --mch-id 1900000109 --yes --rate 20`,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	var filter letterFilter
	filter.add(flags)
	var o replayOptions
	flags.BoolVar(&o.yes, "yes", false, "send them")
	flags.IntVar(&o.limit, "limit", 0, "the most to send in this run; 0: all")
	flags.Float64Var(&o.rate, "rate", 50, "the most to send per second; 0: as fast as it goes")
	flags.IntVar(&o.maxReplays, "max-replays", 3, "how often a request may be replayed in its life")
	flags.BoolVar(&o.json, "json", false, "print JSON lines: one for each dead letter, then a summary")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong misuse
		f, err := filter.parse(time.Now())
		wrong.add(err)
		wrong.must(o.limit >= 0, "--limit must not be negative")
		wrong.must(isRate(o.rate) && (o.rate == 0 || o.rate >= 0.001), "--rate must be 0, or at least 0.001")
		wrong.must(o.maxReplays >= 1, "--max-replays must be at least 1")
		c, err := settings.connect(&wrong)
		if err != nil {
			return err
		}
		defer c.close()
		return a.replay(cmd.Context(), c, f, o)
	}
	return cmd
}

func (a *app) replay(ctx context.Context, c *cluster, f deadletters.Filter, o replayOptions) error {
	plan, err := a.planReplay(ctx, c, f, o)
	if err != nil {
		return err
	}
	out := a.replayPrinter(o, c.topics.Requests, plan)
	if !o.yes {
		return out.print(nil)
	}
	bar := a.progress("replaying", int64(plan.Replays))
	defer bar.finish()
	err = deadletters.Sending{
		Reader: c.reader(), Writer: c.writer(), Topics: c.topics, Rate: o.rate, Patience: 2 * reachTimeout,
		OnSent: func(s deadletters.Step, landed events.Source) {
			out.sent[s.At] = landed
			bar.add(1)
		},
		OnLeft: func(s deadletters.Step, reason deadletters.Skip, err error) {
			out.left[s.At] = leftBehind{reason, err.Error()}
		},
	}.Send(ctx, plan)
	bar.finish()
	if ctx.Err() != nil {
		err = errStopped
	}
	if printed := out.print(err); printed != nil {
		return printed
	}
	if err == nil && len(out.left) > 0 {
		err = errBadNews
	}
	return err
}

var errStopped = errors.New("stopped; the same command goes on with the rest")

// planReplay makes the plan, with a bar while the topics are read.
func (a *app) planReplay(ctx context.Context, c *cluster, f deadletters.Filter, o replayOptions) (*deadletters.Plan, error) {
	// A cluster that cannot be reached is not waited for for ever, one that
	// is read for an hour is.
	reach, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unreached := time.AfterFunc(reachTimeout, func() { cancel(errUnreached) })
	defer unreached.Stop()
	bar := &progress{}
	defer func() { bar.finish() }()
	topic := 0
	return deadletters.Make(reach, c.reader(), c.topics, deadletters.Options{
		Filter: f, Limit: o.limit, MaxReplays: o.maxReplays, Now: time.Now(),
		OnTotal: func(n int64) {
			unreached.Stop()
			bar.finish()
			bar = a.progress("reading "+[]string{"dead letters", "outcomes", "requests"}[topic], n)
			topic++
		},
		OnRead: func(n int) { bar.add(n) },
	})
}
