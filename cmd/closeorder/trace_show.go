package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
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
	fmt.Fprintln(p.out, p.paint.in(faint, wasRead(r)))
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
	text := cell(r.OutTradeNo) + ": never seen in what the topics still hold"
	if !r.HeldSince.IsZero() {
		text += ", which is since " + r.HeldSince.In(p.zone).Format(timeline.Layout)
	}
	next := "compare the number with that of the order service; whether it was sent at all its producer knows"
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
			whatIs(e, p.paint), fmt.Sprintf("%s[%d]@%d", cell(e.Topic), e.Partition, e.Offset), cell(p.note(l, e)),
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
	switch e.Kind {
	case timeline.Requested:
		return "requested"
	case timeline.Replayed:
		return "replayed"
	case timeline.PutOff:
		if e.Finished {
			return "waited"
		}
		return p.in(yellow, "waits")
	case timeline.DeadLetter:
		return p.in(red, "dead letter")
	}
	if e.Repeat {
		return p.in(faint, string(e.Outcome)+" again")
	}
	return p.result(e.Outcome, string(e.Outcome))
}

// note is the rest of an entry in few words.
func (p *tracePrinter) note(l *timeline.Life, e *timeline.Entry) string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	switch e.Kind {
	case timeline.Requested, timeline.Replayed:
		p.request(l, e, add)
	case timeline.PutOff:
		add("%s", join(e.Code, e.Message))
		add("retry %d", e.Retries)
		add("due %s", e.DueAt.In(p.zone).Format(timeline.Layout))
		if e.WaitsFor != "" {
			add("waits for its merchant (%s)", e.WaitsFor)
		}
		add("%s so far", count(e.Calls, "call"))
	case timeline.DeadLetter:
		add("%s", join(e.Code, e.Message))
		add("%s", count(e.Calls, "call"))
		if e.ValueOmitted != "" {
			add("without its value: %s", e.ValueOmitted)
		}
	case timeline.Answered:
		add("%s", join(e.Code, e.Message))
		if g := e.Gateway; g != nil && g.ErrCodeDes != "" {
			add("the gateway: %s", g.ErrCodeDes)
		}
		if e.ConfirmedBy != "" {
			add("confirmed by %s", e.ConfirmedBy)
		}
		if e.Outcome == events.Closed {
			add("%s", map[bool]string{true: "safe to reissue", false: "not safe to reissue"}[e.SafeToReissue])
		}
		add("%s", count(e.Calls, "call"))
		add("id %s", e.EventID)
	}
	for _, h := range e.Headers {
		add("%s %s", h.Name, h.Value)
	}
	if e.Problem != "" {
		add("%s", e.Problem)
	}
	return strings.Join(notes, "; ")
}

// request is what a request says of itself.
func (p *tracePrinter) request(l *timeline.Life, e *timeline.Entry, add func(string, ...any)) {
	if e.Kind == timeline.Replayed {
		text := fmt.Sprintf("replay %d", e.Replay)
		if q := l.Requests[e.Request-1]; q.ReplayOf > 0 {
			text += fmt.Sprintf(" of #%d", q.ReplayOf)
		}
		add("%s", text)
	}
	for _, f := range []struct{ name, value string }{
		{"request_id", e.RequestID}, {"reason", e.Reason}, {"from", e.EventSource}, {"traceparent", e.TraceParent},
	} {
		if f.value != "" {
			add("%s %s", f.name, f.value)
		}
	}
	for _, f := range []struct {
		name string
		at   time.Time
	}{{"order made", e.OrderCreatedAt}, {"not before", e.NotBefore}, {"expires", e.ExpiresAt}} {
		if !f.at.IsZero() {
			add("%s %s", f.name, f.at.In(p.zone).Format(timeline.Layout))
		}
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

// wasRead says which partitions were read, and how to have the rest read.
func wasRead(r *timeline.Report) string {
	var offsets int64
	var parts []string
	topics := map[string][]string{}
	for _, one := range r.Read {
		offsets += one.Offsets
		part := fmt.Sprintf("%d of %d", len(one.Partitions), one.Of)
		if topics[part] == nil {
			parts = append(parts, part)
		}
		topics[part] = append(topics[part], cell(one.Topic))
	}
	if r.All {
		return fmt.Sprintf("read all partitions of %s, %s", count(len(r.Read), "topic"), count(int(offsets), "offset"))
	}
	for i, part := range parts {
		parts[i] += " of " + strings.Join(topics[part], ", ")
	}
	return fmt.Sprintf("read %s, of partitions %s; --all reads the rest", count(int(offsets), "offset"), strings.Join(parts, "; "))
}
