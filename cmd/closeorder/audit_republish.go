package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/closeorder/closeorder/internal/republish"
	"github.com/spf13/pflag"
)

// mendOptions are the flags of audit that mend holes.
type mendOptions struct {
	republish, yes bool
	rate           float64
	by, reason     string
}

func (o *mendOptions) add(flags *pflag.FlagSet, a *app) {
	flags.BoolVar(&o.republish, "republish", false, "plan to send the requests of all holes again; nothing is sent without --yes")
	flags.BoolVar(&o.yes, "yes", false, "with --republish: send them")
	flags.Float64Var(&o.rate, "rate", 50, "with --republish: the most to send per second; 0: as fast as it goes")
	flags.StringVar(&o.by, "by", a.user(), "with --republish: `WHO` sends them, for their headers; USER@HOST unless given, empty: nobody")
	flags.Lookup("by").DefValue = "" // it differs from caller to caller: the text has said it
	flags.StringVar(&o.reason, "reason", "", "with --republish: `WHY`, for their headers")
}

func (o *mendOptions) check(flags *pflag.FlagSet) error {
	var wrong misuse
	for _, name := range []string{"yes", "rate", "by", "reason"} {
		wrong.must(o.republish || !flags.Changed(name), "--%s goes with --republish alone", name)
	}
	wrong.must(isRate(o.rate) && (o.rate == 0 || o.rate >= 0.001), "--rate must be 0, or at least 0.001")
	if err := (records.Replay{By: o.by}).Check(); err != nil {
		wrong.addf("--by: %v", err)
	}
	if err := (records.Replay{Reason: o.reason}).Check(); err != nil {
		wrong.addf("--reason: %v", err)
	}
	return wrong.err()
}

// mending is what became of the holes.
type mending struct {
	plan *deadletters.Plan
	id   string // of the replay, empty where nothing is sent
	sent map[events.Source]events.Source
	left map[events.Source]leftBehind
}

// whole reports whether there were holes and the request of each was sent.
func (m *mending) whole() bool { return len(m.sent) > 0 && len(m.sent) == len(m.plan.Steps) }

// republish plans how to mend what is lost, and does so with --yes.
func (l *look) republish(ctx context.Context) error {
	o := l.mend
	if !o.republish {
		return nil
	}
	a, c := l.app, l.cluster
	m := &mending{
		plan: republish.Plan(c.topics.Requests, l.lost, time.Now()),
		sent: map[events.Source]events.Source{}, left: map[events.Source]leftBehind{},
	}
	l.mended = m
	if !o.yes || m.plan.Replays == 0 {
		return nil
	}
	m.id = "audit-" + l.report.AsOf.UTC().Format("20060102T150405Z")
	bar := a.progress("sending", int64(m.plan.Replays))
	defer bar.finish()
	err := deadletters.Sending{
		Reader: c.reader(), Writer: c.writer(), Topics: c.topics, From: c.topics.Requests, Message: republish.Message,
		Replay: records.Replay{ID: m.id, By: o.by, Reason: o.reason}, Rate: o.rate, Patience: 2 * reachTimeout,
		OnSent: func(s deadletters.Step, landed events.Source) {
			m.sent[s.At] = landed
			bar.add(1)
		},
		OnLeft: func(s deadletters.Step, reason deadletters.Skip, err error) {
			m.left[s.At] = leftBehind{reason, err.Error()}
		},
	}.Send(ctx, m.plan)
	if ctx.Err() != nil {
		return errStopped
	}
	return err
}

// republishLine is one hole in JSON. The names, and the words of action and reason,
// are stable.
type republishLine struct {
	Action     deadletters.Action `json:"action"`
	Reason     deadletters.Skip   `json:"reason,omitempty"`
	Detail     string             `json:"detail,omitempty"`
	Partition  int                `json:"partition"`
	Offset     int64              `json:"offset"`
	Time       time.Time          `json:"time"`
	MchID      string             `json:"mch_id,omitempty"`
	SubMchID   string             `json:"sub_mch_id,omitempty"`
	OutTradeNo string             `json:"out_trade_no,omitempty"`
	RequestID  string             `json:"request_id,omitempty"`
	// Replay is the number of what is sent.
	Replay int            `json:"replay"`
	Landed *events.Source `json:"landed,omitempty"`
}

// Actions of a republishLine, beside those of deadletters.
const (
	wouldRepublish deadletters.Action = "would_republish"
	didRepublish   deadletters.Action = "republished"
)

func (l *look) line(s deadletters.Step) republishLine {
	m := l.mended
	is := republishLine{
		Reason: s.Skip, Detail: s.Why, Partition: s.At.Partition, Offset: s.At.Offset, Time: s.FailedAt,
		MchID: s.MchID, SubMchID: s.SubMchID, OutTradeNo: s.OutTradeNo, RequestID: s.RequestID, Replay: s.Replay,
	}
	landed, sent := m.sent[s.At]
	switch {
	case s.Skip != "":
		is.Action = deadletters.DidSkip
	case !l.mend.yes:
		is.Action = wouldRepublish
	case sent:
		is.Action, is.Landed = didRepublish, &landed
	default:
		why := m.left[s.At]
		is.Action, is.Reason, is.Detail = deadletters.DidLeave, why.reason, why.detail
	}
	return is
}

// auditDocument is an audit as JSON. Names may be added, none is changed.
type auditDocument struct {
	*audit.Report
	// Late says why --max-age is not kept.
	Late      []string           `json:"late,omitempty"`
	Republish *republishDocument `json:"republish,omitempty"`
}

type republishDocument struct {
	DryRun         bool            `json:"dry_run"`
	ReplayID       string          `json:"replay_id,omitempty"`
	WouldRepublish int             `json:"would_republish"`
	Republished    int             `json:"republished"`
	Left           int             `json:"left"`
	Skipped        int             `json:"skipped"`
	Holes          []republishLine `json:"holes"`
}

func (l *look) document() auditDocument {
	d := auditDocument{Report: l.report, Late: l.late}
	if m := l.mended; m != nil {
		d.Republish = &republishDocument{
			DryRun: !l.mend.yes, ReplayID: m.id, Republished: len(m.sent), Skipped: len(m.plan.Steps) - m.plan.Replays, Holes: []republishLine{},
		}
		if l.mend.yes {
			d.Republish.Left = m.plan.Replays - len(m.sent)
		} else {
			d.Republish.WouldRepublish = m.plan.Replays
		}
		for _, s := range m.plan.Steps {
			d.Republish.Holes = append(d.Republish.Holes, l.line(s))
		}
	}
	return d
}

// printMending prints what becomes of the holes, and what to do next.
func (l *look) printMending() {
	m, out := l.mended, l.app.stdout
	p := l.app.paint(out)
	if len(m.plan.Steps) == 0 {
		fmt.Fprintln(out, "\nnothing to send again: there is no hole")
		return
	}
	rows := [][]string{p.heads("ACTION", "OUT_TRADE_NO", "MCH_ID", "PARTITION:OFFSET", "TIME", "REPLAY", "NOTE")}
	for _, s := range m.plan.Steps[:min(len(m.plan.Steps), mostSends)] {
		is := l.line(s)
		colour, action, note := faint, "skip", is.Detail
		switch is.Action {
		case wouldRepublish:
			colour, action = green, "send"
		case didRepublish:
			colour, action, note = green, "sent", join(is.Detail, "now at "+place(*is.Landed))
		case deadletters.DidLeave:
			colour, action = red, "left"
		}
		rows = append(rows, []string{
			p.in(colour, action), orDash(s.OutTradeNo), merchant(s.MchID, s.SubMchID), place(s.At), zoned(s.FailedAt), strconv.Itoa(s.Replay), oneLine(note, 120),
		})
	}
	fmt.Fprintln(out)
	whole(out, rows)
	if more := len(m.plan.Steps) - mostSends; more > 0 {
		fmt.Fprintf(out, "and %d more; --json lists all\n", more)
	}
	fmt.Fprintln(out)
	skipped, left := "", m.plan.Replays-len(m.sent)
	if n := len(m.plan.Steps) - m.plan.Replays; n > 0 {
		skipped = fmt.Sprintf("; %d cannot be sent: their order services must ask again", n)
	}
	switch {
	case m.plan.Replays == 0:
		fmt.Fprintf(out, "nothing can be sent again%s\n", skipped)
	case !l.mend.yes:
		fmt.Fprintf(out, "%d of %s would be sent again%s. Nothing was sent; to send them add --yes\n", m.plan.Replays, count(len(m.plan.Steps), "hole"), skipped)
	case left > 0:
		fmt.Fprintf(out, "%d of %d sent again as replay %s, %d left%s; the same command goes on with them\n", len(m.sent), m.plan.Replays, m.id, left, skipped)
	default:
		fmt.Fprintf(out, "%d sent again as replay %s%s; follow them with: closeorder outcomes, and audit again when they are answered\n", len(m.sent), m.id, skipped)
	}
}
