package main

import (
	"fmt"
	"io"
	"time"

	"github.com/closeorder/closeorder/internal/timeline"
)

// traceLayout is how a timeline writes its times: to the millisecond that Kafka keeps,
// with the zone.
const traceLayout = "2006-01-02 15:04:05.000Z07:00"

// tracePrinter prints the timelines of orders, times in a zone.
type tracePrinter struct {
	out   io.Writer
	paint paint
	zone  *time.Location
}

// print prints the timeline of each order; its last lines say where it stands and what
// to do next.
func (p *tracePrinter) print(r *timeline.Report, asked []gatewayLine) {
	for i := range r.Lives {
		p.life(&r.Lives[i])
	}
	for _, n := range r.Notes {
		fmt.Fprintf(p.out, "%s %s\n", p.paint.in(yellow, "note:"), cell(n))
	}
	fmt.Fprintln(p.out, p.paint.in(faint, cell(r.WasRead())))
	for i := range asked {
		g := &asked[i]
		fmt.Fprintf(p.out, "now at the gateway, merchant %s: %s\n", merchant(g.MchID, g.SubMchID), cell(g.sentence()))
		if g.Contradicts {
			fmt.Fprintf(p.out, "%s an outcome says that the order can no longer be paid, and the gateway says paid: treat it as paid, and report it\n", p.paint.in(red, "contradiction:"))
		}
	}
	fmt.Fprintln(p.out)
	for i := range r.Lives {
		l := &r.Lives[i]
		name := cell(l.OutTradeNo)
		if len(r.Lives) > 1 {
			name += " of merchant " + merchant(l.MchID, l.SubMchID)
		}
		fmt.Fprintf(p.out, "%s %s\nnext: %s\n", p.paint.in(bold, name+":"), p.paint.in(stateColour(l.State), cell(l.Answer)), cell(l.Next))
	}
	if len(r.Lives) == 0 {
		p.neverSeen(r, len(asked) > 0)
	}
}

func (p *tracePrinter) neverSeen(r *timeline.Report, asked bool) {
	answer, next := r.NeverSeen(p.zone)
	text := cell(r.OutTradeNo) + ": " + answer
	if !asked {
		next += "; how the order stands now says --ask-gateway, with --mch-id"
	}
	fmt.Fprintf(p.out, "%s\nnext: %s\n", p.paint.in(bold, text), next)
}

func (p *tracePrinter) life(l *timeline.Life) {
	fmt.Fprintf(p.out, "%s\n\n", p.paint.in(bold, cell(l.OutTradeNo)+" of merchant "+merchant(l.MchID, l.SubMchID)))
	several := len(l.Requests) > 1
	heads := []string{"TIME", "SINCE", "WHAT", "WHERE", "WHY"}
	if several {
		heads = append([]string{"REQUEST"}, heads...)
	}
	rows := [][]string{p.paint.heads(heads...)}
	for i := range l.Entries {
		e := &l.Entries[i]
		row := []string{
			p.paint.in(faint, e.Time.In(p.zone).Format(traceLayout)), timeline.Span(e.Time.Sub(l.Entries[0].Time)),
			whatIs(e, p.paint), fmt.Sprintf("%s[%d]@%d", cell(e.Topic), e.Partition, e.Offset), cell(l.Note(e, p.zone)),
		}
		if several {
			row = append([]string{fmt.Sprintf("#%d", e.Request)}, row...)
		}
		rows = append(rows, row)
	}
	whole(p.out, rows)
	fmt.Fprintln(p.out)
	if !several {
		return
	}
	for _, q := range l.Requests {
		fmt.Fprintf(p.out, "#%d %s\n", q.Number, p.paint.in(stateColour(q.State), cell(q.Answer)))
	}
	fmt.Fprintln(p.out)
}

// whatIs is an entry in a word.
func whatIs(e *timeline.Entry, p paint) string {
	switch what := e.What(); e.Kind {
	case timeline.PutOff:
		if e.Finished {
			return what
		}
		return p.in(yellow, what)
	case timeline.DeadLetter:
		return p.in(red, what)
	case timeline.Answered:
		if e.Repeat {
			return p.in(faint, what)
		}
		return p.result(e.Outcome, what)
	default:
		return what
	}
}

func stateColour(s timeline.State) string {
	switch s {
	case timeline.Closed:
		return green
	case timeline.Failed, timeline.Lost, timeline.Unproven, timeline.Contradictory:
		return red
	}
	return yellow
}
