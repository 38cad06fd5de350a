package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/config"
)

// print prints in words what is going on and what to do next, what was found, then the balance, with
// the sum in its last line, and what becomes of the holes.
func (l *look) print() {
	a, r := l.app, l.report
	p := a.paint(a.stdout)
	verdict, colour := "balanced", green
	if !l.report.Balanced {
		verdict, colour = "NOT BALANCED", red
	}
	fmt.Fprintln(a.stdout, p.in(colour, verdict)+sentence(r))
	for _, why := range l.late {
		fmt.Fprintf(a.stdout, "%s %s\n", p.in(red, "late:"), cell(why))
	}
	if r.Holes > 0 && l.mended == nil {
		fmt.Fprintln(a.stdout, "next: closeorder audit --republish shows what it would send again, which is safe: closing is idempotent")
	}
	span := "all that is retained"
	switch {
	case !r.Since.IsZero() && !r.Until.IsZero():
		span = "from " + zoned(r.Since) + " to " + zoned(r.Until)
	case !r.Since.IsZero():
		span = "since " + zoned(r.Since)
	case !r.Until.IsZero():
		span = "until " + zoned(r.Until)
	}
	if r.ExactlyOnce {
		span = config.ExactlyOnce + ", " + span
	}
	fmt.Fprintf(a.stdout, "%s\n\n", p.in(bold, fmt.Sprintf("%s, group %s, %s, as of %s", r.Topic, r.Group, span, zoned(r.AsOf))))
	a.printFindings(r, p)
	for _, n := range r.Notes {
		fmt.Fprintf(a.stdout, "%s %s\n", p.in(yellow, "note:"), cell(n))
	}
	if len(r.Notes) > 0 {
		fmt.Fprintln(a.stdout)
	}
	t := tally{width: 8, paint: p}
	t.row(true, p.result(events.Closed, "closed"), r.Closed, "")
	t.row(true, p.result(events.Paid, "paid"), r.Paid, "")
	t.row(true, p.result(events.Failed, "failed"), r.Failed, failedNote(r))
	t.row(true, "waiting", r.Waiting, oldest("in a retry topic", r.OldestWaiting))
	t.piles(r.WaitingBy)
	t.row(true, "in flight", r.InFlight, oldest("not finished", r.OldestInFlight))
	t.piles(r.InFlightBy)
	t.row(false, p.in(yellow, "republished"), r.Republished, mendedNote(r))
	t.row(false, p.in(yellow, "unproven"), r.Unproven, "finished, and whether they were answered cannot be told")
	t.bad(true, r)
	t.repeats(true, "duplicates", r)
	t.row(false, "doubtful", r.ClosedThenPaid, "closed and not safe to reissue, and paid after all")
	t.row(false, "replays", r.Replays, "requests that were replayed, from dead letters or holes; each is counted above")
	t.row(true, "dead letters", r.DeadLetters, deadNote(r))
	w := r.OutcomesWithoutRequest
	t.row(false, "other outcomes", w.Sum(), otherNote(w))
	t.row(false, p.in(yellow, "unreadable"), r.Unreadable, "records that count for nothing")
	whole(a.stdout, t.rows)

	line := fmt.Sprintf("%d = %d closed + %d paid + %d failed + %d waiting + %d in flight", r.Requests, r.Closed, r.Paid, r.Failed, r.Waiting, r.InFlight)
	if r.Unproven > 0 {
		line += fmt.Sprintf(" + %d unproven", r.Unproven)
	}
	if r.Holes > 0 {
		line += " + " + count(int(r.Holes), "hole")
	}
	if r.Republished > 0 {
		line += fmt.Sprintf(" + %d republished", r.Republished)
	}
	fmt.Fprintf(a.stdout, "\n%s\n", p.in(bold, line))
	if l.mended != nil {
		l.printMending()
	}
}

// sentence says what is wrong and what is going on, behind the verdict.
func sentence(r *audit.Report) string {
	wrong := r.Wrong()
	text := ""
	if len(wrong) > 0 {
		text = ": " + strings.Join(wrong, ", ")
	}
	if r.Waiting > 0 {
		text += fmt.Sprintf("; %d wait, oldest %s: %s", r.Waiting, age(r.AsOf.Sub(r.OldestWaiting)), largest(r.WaitingBy))
	}
	if r.InFlight > 0 {
		text += fmt.Sprintf("; %d in flight, oldest %s", r.InFlight, age(r.AsOf.Sub(r.OldestInFlight)))
	}
	if r.Waiting+r.InFlight == 0 {
		text += "; nothing waits"
	}
	return text
}

// largest are the two largest piles in few words.
func largest(of audit.Piles) string {
	var all []string
	rest := int64(0)
	if of.Rest != nil {
		rest = of.Rest.Count
	}
	for i, p := range of.Largest {
		if i < 2 {
			all = append(all, fmt.Sprintf("%d %s of %s", p.Count, orDash(oneLine(p.Code, 40)), orDash(oneLine(p.MchID, 40))))
		} else {
			rest += p.Count
		}
	}
	if rest > 0 {
		all = append(all, fmt.Sprintf("%d others", rest))
	}
	return strings.Join(all, ", ")
}

// age is how long something has waited, in its two largest units.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		d = d.Round(time.Second)
	case d < time.Hour:
		d = d.Truncate(time.Second)
	default:
		d = d.Truncate(time.Minute)
	}
	if d >= 48*time.Hour {
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
	return config.ShortDuration(d)
}

func mendedNote(r *audit.Report) string {
	text := "were holes, and were sent again"
	if r.RepublishedOpen > 0 {
		text += fmt.Sprintf("; %d not answered yet", r.RepublishedOpen)
	}
	return text
}

// mostPilesShown is how many piles a person wants to see.
const mostPilesShown = 10

// piles adds a row for each of the largest piles, below what they are part of.
func (t *tally) piles(of audit.Piles) {
	rest := int64(0)
	if of.Rest != nil {
		rest = of.Rest.Count
	}
	for i, p := range of.Largest {
		if i >= mostPilesShown {
			rest += p.Count
			continue
		}
		name := orDash(oneLine(p.MchID, 40))
		if p.Code != "" {
			name = oneLine(p.Code, 40) + " of " + name
		}
		note := oldest(name, p.Oldest)
		if !p.DueFirst.IsZero() {
			note += ", due from " + zoned(p.DueFirst)
			if !p.DueLast.Equal(p.DueFirst) {
				note += " to " + zoned(p.DueLast)
			}
		}
		t.row(true, "", p.Count, note)
	}
	t.row(false, "", rest, "others; --json --limit 0 lists all")
}

// tally is the rows of what was counted.
type tally struct {
	width int // of the numbers
	paint paint
	rows  [][]string
}

// row adds a row; one that need not be there always only where there is
// something to count.
func (t *tally) row(always bool, name string, n int64, note string) {
	if always || n > 0 {
		t.rows = append(t.rows, []string{"  " + name, fmt.Sprintf("%*d", t.width, n), note})
	}
}

// bad adds the rows of what an audit takes for bad.
func (t *tally) bad(always bool, r *audit.Report) {
	row := func(always bool, name string, n int64, what string) {
		if n > 0 {
			name = t.paint.in(red, name)
		}
		t.row(always, name, n, what)
	}
	row(always, "holes", r.Holes, "finished, and neither answered nor waiting")
	row(always, "contradictions", r.Contradictions, "orders that are both paid and closed")
	row(false, "misnamed", r.Misnamed, "outcomes that name another order than their request")
	row(false, "deleted unread", r.DeletedUnread, "requests that retention took before a worker had them")
	row(false, "unreadable batches", r.UnreadableOffsets, "offsets of batches that nobody can read")
}

// repeats adds the rows of what came again, under a name. With exactly once it is
// bad, and that there is none is said.
func (t *tally) repeats(always bool, name string, r *audit.Report) {
	colour := yellow
	if r.ExactlyOnce {
		if always, colour = true, red; r.Duplicates > 0 {
			name = t.paint.in(red, name)
		}
	}
	t.row(always, name, r.Duplicates, "outcomes that came again, with the same id")
	t.row(false, t.paint.in(colour, "that differ"), r.DuplicatesThatDiffer, "outcomes that came again and say something else; the first counts")
	if r.ExactlyOnce {
		t.row(false, t.paint.in(red, "dead letters again"), r.DeadLettersRepeated, "of requests that had one before")
	}
}

func failedNote(r *audit.Report) string {
	if r.FailedSuperseded == 0 {
		return ""
	}
	return fmt.Sprintf("%d of them superseded by the outcome of another record of the same request", r.FailedSuperseded)
}

func deadNote(r *audit.Report) string {
	var notes []string
	if r.DeadLettersWithoutOutcome > 0 {
		notes = append(notes, fmt.Sprintf("%d without an outcome: holes", r.DeadLettersWithoutOutcome))
	}
	if r.DeadLettersAnswered > 0 {
		notes = append(notes, fmt.Sprintf("%d of requests that were answered after all", r.DeadLettersAnswered))
	}
	return strings.Join(notes, ", ")
}

func otherNote(w audit.WithoutRequest) string {
	var notes []string
	parts := []struct {
		n    int64
		what string
	}{
		{w.OutsideRange, "of requests outside of the range"},
		{w.BeyondRetention, "of requests that are deleted"},
		{w.Foreign, "of records that are none of these requests"},
	}
	for _, part := range parts {
		if part.n == w.Sum() {
			return part.what // the number stands before it
		}
		if part.n > 0 {
			notes = append(notes, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return strings.Join(notes, ", ")
}

func oldest(what string, t time.Time) string {
	if t.IsZero() {
		return what
	}
	return what + "; the oldest was asked for at " + zoned(t)
}

// printFindings lists what does not fit, the bad kinds first.
func (a *app) printFindings(r *audit.Report, p paint) {
	if len(r.Findings) == 0 {
		return
	}
	rows := [][]string{p.heads("FINDING", "OUT_TRADE_NO", "MCH_ID", "PARTITION:OFFSET", "TIME", "WHAT")}
	for _, f := range r.Findings {
		kind, colour := strings.ReplaceAll(string(f.Kind), "_", " "), red
		if f.Kind == audit.Differs {
			if kind = "differs"; !r.ExactlyOnce {
				colour = yellow
			}
		}
		rows = append(rows, []string{
			p.in(colour, kind), orDash(f.OutTradeNo), merchant(f.MchID, f.SubMchID),
			strconv.Itoa(f.Partition) + ":" + strconv.FormatInt(f.Offset, 10), zoned(f.Time), cell(f.Detail),
		})
	}
	whole(a.stdout, rows)
	if r.FindingsLeftOut > 0 {
		fmt.Fprintf(a.stdout, "and %d more; --limit 0 lists all\n", r.FindingsLeftOut)
	}
	fmt.Fprintln(a.stdout)
}

// heads are the heads of a table.
func (p paint) heads(names ...string) []string {
	for i := range names {
		names[i] = p.in(bold, names[i])
	}
	return names
}
