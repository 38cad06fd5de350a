package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/kafka"
)

// replayPrinter says what a replay does, and did.
type replayPrinter struct {
	app     *app
	options replayOptions
	topic   string
	plan    *deadletters.Plan
	sent    map[events.Source]events.Source
	left    map[events.Source]leftBehind
	// states are what the gateway says of orders, by their dead letters; nil where
	// it was not asked.
	states map[events.Source]orderState
}

// leftBehind is why a dead letter was not sent, though the others were.
type leftBehind struct {
	reason deadletters.Skip
	detail string
}

func (a *app) replayPrinter(o replayOptions, topic string, plan *deadletters.Plan) *replayPrinter {
	return &replayPrinter{app: a, options: o, topic: topic, plan: plan, sent: map[events.Source]events.Source{}, left: map[events.Source]leftBehind{}}
}

// replayLine is one dead letter as a JSON line. The names are stable.
type replayLine struct {
	deadletters.Told
	// Gateway is what the gateway says of the order, where it was asked.
	Gateway *orderState `json:"gateway,omitempty"`
}

// replaySummary is the last JSON line.
type replaySummary struct {
	DryRun      bool                     `json:"dry_run"`
	WouldReplay int                      `json:"would_replay"`
	Replayed    int                      `json:"replayed"`
	Left        int                      `json:"left"`
	Skipped     map[deadletters.Skip]int `json:"skipped"`
	// ReplayID, By and Reason stand in the headers of what was sent.
	ReplayID string `json:"replay_id,omitempty"`
	By       string `json:"by,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

func (p *replayPrinter) line(s deadletters.Step) replayLine {
	l := replayLine{Told: s.Told()}
	if state, asked := p.states[s.At]; asked {
		l.Gateway = &state
	}
	if s.Skip != "" || !p.options.yes {
		return l
	}
	if landed, sent := p.sent[s.At]; sent {
		l.Told = l.Sent(landed)
	} else {
		why := p.left[s.At]
		l.Told = l.LeftFor(why.reason, why.detail)
	}
	return l
}

func (p *replayPrinter) summary() replaySummary {
	s := replaySummary{DryRun: !p.options.yes, Replayed: len(p.sent), Skipped: p.plan.Skipped()}
	if s.DryRun {
		s.WouldReplay = p.plan.Replays
	} else {
		s.Left = p.plan.Replays - len(p.sent)
		if p.plan.Replays > 0 {
			s.ReplayID, s.By, s.Reason = p.options.id, p.options.by, p.options.reason
		}
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
	if s := p.summary(); s.ReplayID != "" {
		rows := [][]string{{"replay", s.ReplayID}, {"by", orDash(cell(s.By))}, {"reason", orDash(cell(s.Reason))}}
		whole(p.app.stdout, rows)
		fmt.Fprintln(p.app.stdout)
	}
	p.table()
	p.asked()
	p.conclude(failure)
	return nil
}

// How many rows a person wants to see: of what is sent, and of what is not.
const (
	mostSends = 100
	mostSkips = 20
)

func (p *replayPrinter) table() {
	if len(p.plan.Steps) == 0 {
		return
	}
	paint, out := p.app.paint(p.app.stdout), p.app.stdout
	heads := []string{"ACTION", "OUT_TRADE_NO", "MCH_ID", "CODE", "FAILED", "PARTITION:OFFSET", "REPLAY"}
	if p.states != nil {
		heads = append(heads, "GATEWAY")
	}
	rows := [][]string{paint.heads(append(heads, "NOTE")...)}
	shown, sends, skips := p.shown()
	for _, s := range shown {
		l := p.line(s)
		colour, action, note := faint, "skip", s.Why
		switch l.Action {
		case deadletters.WouldReplay:
			colour, action = green, "replay"
			if s.To == kafka.ByKey {
				note = fmt.Sprintf("its key decides the partition: it came from %s, partition %d", s.Source.Topic, s.Source.Partition)
			}
		case deadletters.DidReplay:
			colour, action, note = green, "replayed", "now at "+place(*l.Landed)
		case deadletters.DidLeave:
			colour, action, note = red, "left", l.Detail
		}
		row := []string{
			paint.in(colour, action), orDash(s.OutTradeNo), merchant(s.MchID, s.SubMchID), orDash(oneLine(s.Code, 40)), zoned(s.FailedAt),
			place(s.At), strconv.Itoa(s.Replay),
		}
		if p.states != nil {
			row = append(row, p.gateway(l.Gateway))
		}
		rows = append(rows, append(row, oneLine(note, 120)))
	}
	whole(out, rows)
	var more []string
	if sends > 0 {
		more = append(more, fmt.Sprintf("%d more to replay", sends))
	}
	if skips > 0 {
		more = append(more, fmt.Sprintf("%d more to skip", skips))
	}
	if len(more) > 0 {
		fmt.Fprintf(out, "and %s; --json lists all\n", strings.Join(more, ", "))
	}
	fmt.Fprintln(out)
}

// gateway is the cell of what the gateway says.
func (p *replayPrinter) gateway(s *orderState) string {
	if s == nil {
		return "-"
	}
	return oneLine(join(s.State, s.Means), 80)
}

// asked says what the answers of the gateway mean for a replay.
func (p *replayPrinter) asked() {
	if p.states == nil || p.plan.Replays == 0 {
		return
	}
	paid := 0
	for _, s := range p.states {
		if s.paid() {
			paid++
		}
	}
	if paid > 0 {
		fmt.Fprintf(p.app.stdout, "%s paid: to replay its close is harmless, the gateway answers ORDERPAID and the outcome is paid.\n", count(paid, "order")+map[bool]string{true: " is", false: " are"}[paid == 1])
	}
	if more := p.plan.Replays - len(p.states); more > 0 {
		fmt.Fprintf(p.app.stdout, "%s not asked about; --limit says how many are.\n", count(more, "more order")+map[bool]string{true: " was", false: " were"}[more == 1])
	}
}

// shown are the steps that a person sees: first what is sent, which is what
// --yes is given for, then some of what is not, each in the order of the
// failures. sends and skips count those that are left out.
func (p *replayPrinter) shown() (steps []deadletters.Step, sends, skips int) {
	var skipped []deadletters.Step
	for _, s := range p.plan.Steps {
		switch {
		case s.Skip != "" && len(skipped) < mostSkips:
			skipped = append(skipped, s)
		case s.Skip != "":
			skips++
		case len(steps) < mostSends:
			steps = append(steps, s)
		default:
			sends++
		}
	}
	return append(steps, skipped...), sends, skips
}

func (p *replayPrinter) conclude(failure error) {
	out, s := p.app.stdout, p.summary()
	var whys []string
	for _, why := range slices.Sorted(maps.Keys(s.Skipped)) {
		whys = append(whys, fmt.Sprintf("%d %s", s.Skipped[why], strings.ReplaceAll(string(why), "_", " ")))
	}
	skipped := ""
	if n := len(p.plan.Steps) - p.plan.Replays; n > 0 {
		skipped = fmt.Sprintf("; %d skipped (%s)", n, strings.Join(whys, ", "))
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
