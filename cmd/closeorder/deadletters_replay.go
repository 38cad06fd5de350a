package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
)

type replayOptions struct {
	yes, json  bool
	limit      int
	maxReplays int
	rate       float64
	pauseAfter int
	governance
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

Each record says in its headers which replay sent it (--replay-id), who began
that (--by) and why (--reason), and so does the dead letter if it fails again.
The same command with the id of a replay that was stopped goes on with it: what
it has sent and what failed again stays as it is.

--ask-gateway shows what the gateway says of each order now, of as many as
--limit says or 100. To close an order that is paid is harmless: the gateway
answers ORDERPAID, and the outcome is paid.

--pause-on-failures stops sending when so many outcomes of what it sent are
failed. What was sent before the first of them came in is on its way by then:
about --rate times the seconds that an outcome takes.

Without --yes nothing is sent. Exit code 0: done, or there was nothing to do; 1:
it failed, was stopped or paused itself, and something is left.`,
		Example: `closeorder deadletters replay --code UNKNOWN_MERCHANT --mch-id 1900000109
closeorder deadletters replay --code UNKNOWN_MERCHANT --mch-id 1900000109 --yes --rate 20 \\
  --reason "OPS-17: merchant added" --pause-on-failures 5`,
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
	flags.IntVar(&o.pauseAfter, "pause-on-failures", 0, "stop after so many failed outcomes of what was sent; 0: never")
	o.add(flags, a)
	flags.BoolVar(&o.json, "json", false, "print JSON lines: one for each dead letter, then a summary")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	settings.mayAsk(cmd, "mch_id")
	settings.alsoOf(config.Logging, "log.level", "log.format")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong misuse
		f, err := filter.parse(time.Now())
		wrong.add(err)
		wrong.must(o.limit >= 0, "--limit must not be negative")
		wrong.must(isRate(o.rate) && (o.rate == 0 || o.rate >= 0.001), "--rate must be 0, or at least 0.001")
		wrong.must(o.maxReplays >= 1, "--max-replays must be at least 1")
		wrong.must(o.pauseAfter >= 0, "--pause-on-failures must not be negative")
		wrong.must(o.pauseAfter == 0 || o.rate > 0, "--pause-on-failures needs a --rate: at full speed all is sent before the first outcome")
		wrong.add(o.check())
		cfg, err := settings.load()
		wrong.add(err)
		if err := wrong.err(); err != nil {
			return err
		}
		c, err := a.cluster(cfg)
		if err != nil {
			return err
		}
		defer c.close()
		r := replay{app: a, cluster: c, options: o, log: a.logger(cfg.Log)}
		if settings.asks {
			if r.asker, err = newAsker(cfg); err != nil {
				return err
			}
			defer r.asker.close()
		}
		return r.run(cmd.Context(), f)
	}
	return cmd
}

// replay is one call of the command.
type replay struct {
	app     *app
	cluster *cluster
	options replayOptions
	log     logrus.FieldLogger
	asker   *asker // nil: the gateway is not asked
}

func (r *replay) run(ctx context.Context, f deadletters.Filter) error {
	a, c, o := r.app, r.cluster, r.options
	plan, err := a.planReplay(ctx, c, f, o)
	if err != nil {
		return err
	}
	out := a.replayPrinter(o, c.topics.Requests, plan)
	if r.asker != nil {
		if out.states = r.ask(ctx, plan); ctx.Err() != nil {
			return errors.New("stopped; nothing was sent")
		}
	}
	if !o.yes {
		return out.print(nil)
	}
	err = r.send(ctx, plan, out)
	if printed := out.print(err); printed != nil {
		return printed
	}
	if err == nil && len(out.left) > 0 {
		err = errBadNews
	}
	return err
}

// send carries the plan out. The error is errStopped or a *pausedError where that
// is why something is left.
func (r *replay) send(ctx context.Context, plan *deadletters.Plan, out *replayPrinter) error {
	a, c, o := r.app, r.cluster, r.options
	bar := a.progress("replaying", int64(plan.Replays))
	defer bar.finish()
	run := deadletters.Run{PauseAfter: o.pauseAfter, Sending: deadletters.Sending{
		Reader: c.reader(), Writer: c.writer(), Topics: c.topics, Replay: o.governance.replay(), Rate: o.rate, Patience: 2 * reachTimeout,
		OnSent: func(s deadletters.Step, landed events.Source) {
			out.sent[s.At] = landed
			bar.add(1)
		},
		OnLeft: func(s deadletters.Step, reason deadletters.Skip, err error) {
			out.left[s.At] = leftBehind{reason, err.Error()}
		},
	}}
	if o.wanted() {
		run.Log = r.log
	}
	err := run.Do(ctx, plan)
	if ctx.Err() != nil {
		return errStopped
	}
	if paused, ok := errors.AsType[*deadletters.PausedError](err); ok {
		return &pausedError{paused}
	}
	return err
}

// pausedError is a *deadletters.PausedError with what to do next.
type pausedError struct{ *deadletters.PausedError }

func (e *pausedError) Error() string {
	return fmt.Sprintf("paused: %s failed (%s); look at closeorder outcomes and mend the cause, then the same command with --replay-id %s goes on with the rest",
		count(e.Failed, "outcome"), codes(e.Codes), e.ID)
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
		Filter: f, Limit: o.limit, MaxReplays: o.maxReplays, ReplayID: o.goesOn(), Now: time.Now(),
		OnTotal: func(n int64) {
			unreached.Stop()
			bar.finish()
			bar = a.progress("reading "+[]string{"dead letters", "outcomes", "requests"}[topic], n)
			topic++
		},
		OnRead: func(n int) { bar.add(n) },
		OnHeld: func(topic string) {
			fmt.Fprintf(a.stderr, "closeorder: an open transaction hides what is written in %s; its end is waited for, 10 s at most\n", topic)
		},
	})
}
