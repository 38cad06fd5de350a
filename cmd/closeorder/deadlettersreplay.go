package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
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
supersedes the failed one of the request.

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
		f, err := filter.parse(time.Now())
		if err != nil {
			return err
		}
		if err := o.check(); err != nil {
			return err
		}
		cfg, err := settings.load()
		if err != nil {
			return err
		}
		return a.replay(cmd.Context(), cfg, f, o)
	}
	return cmd
}

func (o replayOptions) check() error {
	var wrong []string
	if o.limit < 0 {
		wrong = append(wrong, "--limit must not be negative")
	}
	if o.rate < 0 || o.rate > 0 && o.rate < 0.001 {
		wrong = append(wrong, "--rate must be 0, or at least 0.001")
	}
	if o.maxReplays < 1 {
		wrong = append(wrong, "--max-replays must be at least 1")
	}
	if len(wrong) > 0 {
		return usagef("%s", strings.Join(wrong, "; "))
	}
	return nil
}

func (a *app) replay(ctx context.Context, cfg config.Config, f deadletters.Filter, o replayOptions) error {
	c, err := a.cluster(cfg)
	if err != nil {
		return err
	}
	defer c.close()
	topics := deadletters.Topics{Requests: cfg.Topics.Requests, Outcomes: cfg.Topics.Outcomes, DeadLetters: cfg.Topics.DeadLetters}
	plan, err := a.planReplay(ctx, c, topics, f, o)
	if err != nil {
		return err
	}
	out := a.replayPrinter(o, topics.Requests, plan)
	if !o.yes {
		return out.print(nil)
	}
	bar := a.progress("replaying", plan.Replays)
	defer bar.finish()
	err = deadletters.Sending{
		Reader: c.reader(), Writer: c.writer(), Topics: topics, Rate: o.rate, Patience: 2 * reachTimeout,
		OnSent: func(s deadletters.Step, landed events.Source) {
			out.sent[s.At] = landed
			bar.add(1)
		},
		OnLeft: func(s deadletters.Step, err error) { out.left[s.At] = err.Error() },
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
func (a *app) planReplay(ctx context.Context, c *cluster, topics deadletters.Topics, f deadletters.Filter, o replayOptions) (*deadletters.Plan, error) {
	// A cluster that cannot be reached is not waited for for ever, one that
	// is read for an hour is.
	reach, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unreached := time.AfterFunc(reachTimeout, func() { cancel(errUnreached) })
	defer unreached.Stop()
	var bar *progress
	finish := func() {
		if bar != nil {
			bar.finish()
		}
	}
	defer func() { finish() }()
	topic := 0
	return deadletters.Make(reach, c.reader(), topics, deadletters.Options{
		Filter: f, Limit: o.limit, MaxReplays: o.maxReplays, Now: time.Now(),
		OnTotal: func(n int64) {
			unreached.Stop()
			finish()
			bar = a.progress("reading "+[]string{"dead letters", "outcomes", "requests"}[topic], int(n))
			topic++
		},
		OnRead: func(n int) { bar.add(n) },
	})
}

// replayPrinter says what a replay does, and did.
type replayPrinter struct {
	app     *app
	options replayOptions
	topic   string
	plan    *deadletters.Plan
	sent    map[events.Source]events.Source
	left    map[events.Source]string // sent neither now nor later, and why
}

func (a *app) replayPrinter(o replayOptions, topic string, plan *deadletters.Plan) *replayPrinter {
	return &replayPrinter{app: a, options: o, topic: topic, plan: plan, sent: map[events.Source]events.Source{}, left: map[events.Source]string{}}
}

// Actions of a replayLine.
const (
	wouldReplay = "would_replay"
	didReplay   = "replayed"
	didSkip     = "skipped"
	didLeave    = "left" // not sent: stopped, or it failed
)

// replayLine is one dead letter as a JSON line. The names and the words of
// action and reason are stable.
type replayLine struct {
	Action string           `json:"action"`
	Reason deadletters.Skip `json:"reason,omitempty"`
	Detail string           `json:"detail,omitempty"`
	// Partition and Offset are the dead letter, Source the request.
	Partition  int            `json:"partition"`
	Offset     int64          `json:"offset"`
	Source     *events.Source `json:"source,omitempty"`
	FailedAt   time.Time      `json:"failed_at"`
	Code       string         `json:"code,omitempty"`
	MchID      string         `json:"mch_id,omitempty"`
	SubMchID   string         `json:"sub_mch_id,omitempty"`
	OutTradeNo string         `json:"out_trade_no,omitempty"`
	RequestID  string         `json:"request_id,omitempty"`
	// Replay is the number of the replay.
	Replay int            `json:"replay"`
	Landed *events.Source `json:"landed,omitempty"`
}

// replaySummary is the last JSON line.
type replaySummary struct {
	DryRun      bool                     `json:"dry_run"`
	WouldReplay int                      `json:"would_replay"`
	Replayed    int                      `json:"replayed"`
	Left        int                      `json:"left"`
	Skipped     map[deadletters.Skip]int `json:"skipped"`
}

func (p *replayPrinter) line(s deadletters.Step) replayLine {
	l := replayLine{
		Reason: s.Skip, Detail: s.Why, Partition: s.At.Partition, Offset: s.At.Offset, FailedAt: s.FailedAt.UTC(), Code: s.Code,
		MchID: s.MchID, SubMchID: s.SubMchID, OutTradeNo: s.OutTradeNo, RequestID: s.RequestID, Replay: s.Replay,
	}
	if s.Skip != deadletters.Unreadable {
		l.Source = &s.Source
	}
	landed, sent := p.sent[s.At]
	switch {
	case s.Skip != "":
		l.Action = didSkip
	case !p.options.yes:
		l.Action = wouldReplay
	case sent:
		l.Action, l.Landed = didReplay, &landed
	default:
		l.Action, l.Detail = didLeave, p.left[s.At]
	}
	return l
}

func (p *replayPrinter) summary() replaySummary {
	s := replaySummary{DryRun: !p.options.yes, Replayed: len(p.sent), Skipped: p.plan.Skipped()}
	if s.DryRun {
		s.WouldReplay = p.plan.Replays
	} else {
		s.Left = p.plan.Replays - len(p.sent)
	}
	return s
}

// print prints all of it. failure is how the sending ended.
func (p *replayPrinter) print(failure error) error {
	if p.options.json {
		enc := p.app.jsonLines()
		for _, s := range p.plan.Steps {
			if err := enc.Encode(p.line(s)); err != nil {
				return err
			}
		}
		return enc.Encode(map[string]replaySummary{"summary": p.summary()})
	}
	p.table()
	p.conclude(failure)
	return nil
}

// mostSteps is how many rows a person wants to see.
const mostSteps = 100

func (p *replayPrinter) table() {
	if len(p.plan.Steps) == 0 {
		return
	}
	paint, out := p.app.paint(p.app.stdout), p.app.stdout
	rows := [][]string{paint.heads("ACTION", "OUT_TRADE_NO", "MCH_ID", "CODE", "FAILED", "PARTITION:OFFSET", "REPLAY", "NOTE")}
	for i, s := range p.plan.Steps {
		if i == mostSteps {
			break
		}
		l := p.line(s)
		colour, action, note := faint, "skip", s.Why
		switch l.Action {
		case wouldReplay:
			colour, action = green, "replay"
		case didReplay:
			colour, action, note = green, "replayed", "now at "+place(*l.Landed)
		case didLeave:
			colour, action, note = red, "left", l.Detail
		}
		rows = append(rows, []string{
			paint.in(colour, action), orDash(s.OutTradeNo), merchant(s.MchID, s.SubMchID), orDash(oneLine(s.Code, 40)), local(s.FailedAt),
			place(s.At), strconv.Itoa(s.Replay), oneLine(note, 120),
		})
	}
	whole(out, rows)
	if more := len(p.plan.Steps) - mostSteps; more > 0 {
		fmt.Fprintf(out, "and %d more; --json lists all\n", more)
	}
	fmt.Fprintln(out)
}

func (p *replayPrinter) conclude(failure error) {
	out, s := p.app.stdout, p.summary()
	skipped, total := "", 0
	for _, why := range slices.Sorted(maps.Keys(s.Skipped)) {
		skipped = joinComma(skipped, fmt.Sprintf("%s %d", strings.ReplaceAll(string(why), "_", " "), s.Skipped[why]))
		total += s.Skipped[why]
	}
	if total > 0 {
		skipped = fmt.Sprintf("; %d skipped (%s)", total, skipped)
	}
	switch {
	case len(p.plan.Steps) == 0:
		fmt.Fprintln(out, "nothing to do: no dead letter matches")
	case p.plan.Replays == 0:
		fmt.Fprintf(out, "nothing to do%s\n", skipped)
	case s.DryRun:
		fmt.Fprintf(out, "%d would be replayed%s. Nothing was sent; to send them add --yes\n", s.WouldReplay, skipped)
	case failure != nil || s.Left > 0:
		fmt.Fprintf(out, "%d of %d replayed to %s, %d left%s\n", s.Replayed, p.plan.Replays, p.topic, s.Left, skipped)
	default:
		fmt.Fprintf(out, "%d replayed to %s%s; follow the outcomes with: closeorder outcomes\n", s.Replayed, p.topic, skipped)
	}
}

func joinComma(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}
