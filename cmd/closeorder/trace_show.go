package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/timeline"
)

// traceLayout is how a timeline writes its times: to the millisecond that Kafka keeps,
// with the zone.
const traceLayout = "2006-01-02 15:04:05.000Z07:00"

// printTrace prints the timeline of each order; its last lines say where it stands and
// what to do next.
func (a *app) printTrace(r *timeline.Report, asked []gatewayLine) {
	p := a.paint(a.stdout)
	for i := range r.Lives {
		a.printLife(&r.Lives[i], p)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(a.stdout, "%s %s\n", p.in(yellow, "note:"), cell(n))
	}
	fmt.Fprintf(a.stdout, "%s\n", p.in(faint, wasRead(r)))
	for i := range asked {
		g := &asked[i]
		fmt.Fprintf(a.stdout, "now at the gateway, merchant %s: %s\n", merchant(g.MchID, g.SubMchID), cell(g.sentence()))
		if g.Contradicts {
			fmt.Fprintf(a.stdout, "%s an outcome says that the order can no longer be paid, and the gateway says paid: treat it as paid, and report it\n", p.in(red, "contradiction:"))
		}
	}
	fmt.Fprintln(a.stdout)
	for i := range r.Lives {
		l := &r.Lives[i]
		name := cell(l.OutTradeNo)
		if len(r.Lives) > 1 {
			name += " of merchant " + merchant(l.MchID, l.SubMchID)
		}
		fmt.Fprintf(a.stdout, "%s\nnext: %s\n", p.in(bold, name+": ")+p.in(stateColour(l.State), cell(l.Answer)), cell(l.Next))
	}
	if len(r.Lives) > 0 {
		return
	}
	text := cell(r.OutTradeNo) + " was never seen in what the topics still hold"
	if !r.HeldSince.IsZero() {
		text += ": since " + r.HeldSince.Local().Format(timeline.Layout)
	}
	fmt.Fprintf(a.stdout, "%s\nnext: compare the number with that of the order service; whether it was sent at all its producer knows", p.in(bold, text))
	if len(asked) == 0 {
		fmt.Fprint(a.stdout, "; how the order stands now says --ask-gateway, with --mch-id")
	}
	fmt.Fprintln(a.stdout)
}

func (a *app) printLife(l *timeline.Life, p paint) {
	fmt.Fprintf(a.stdout, "%s\n\n", p.in(bold, cell(l.OutTradeNo)+" of merchant "+merchant(l.MchID, l.SubMchID)))
	several := len(l.Requests) > 1
	heads := []string{"TIME", "SINCE", "WHAT", "WHERE", "WHY"}
	if several {
		heads = append([]string{"REQUEST"}, heads...)
	}
	rows := [][]string{p.heads(heads...)}
	for i := range l.Entries {
		e := &l.Entries[i]
		row := []string{
			p.in(faint, e.Time.Local().Format(traceLayout)), timeline.Span(e.Time.Sub(l.Entries[0].Time)),
			whatIs(e, p), fmt.Sprintf("%s[%d]@%d", cell(e.Topic), e.Partition, e.Offset), cell(entryNote(l, e)),
		}
		if several {
			row = append([]string{fmt.Sprintf("#%d", e.Request)}, row...)
		}
		rows = append(rows, row)
	}
	whole(a.stdout, rows)
	fmt.Fprintln(a.stdout)
	if !several {
		return
	}
	for _, q := range l.Requests {
		fmt.Fprintf(a.stdout, "#%d %s\n", q.Number, p.in(stateColour(q.State), cell(q.Answer)))
	}
	fmt.Fprintln(a.stdout)
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

// entryNote is the rest of an entry in few words.
func entryNote(l *timeline.Life, e *timeline.Entry) string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	switch e.Kind {
	case timeline.Requested, timeline.Replayed:
		addRequest(l, e, add)
	case timeline.PutOff:
		add("%s", join(e.Code, e.Message))
		add("retry %d", e.Retries)
		add("due %s", e.DueAt.Local().Format(time.TimeOnly))
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

// addRequest is what a request says of itself.
func addRequest(l *timeline.Life, e *timeline.Entry, add func(string, ...any)) {
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
			add("%s %s", f.name, f.at.Local().Format(timeline.Layout))
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
	for _, one := range r.Read {
		offsets += one.Offsets
		if len(one.Partitions) < one.Of {
			parts = append(parts, fmt.Sprintf("%d of %d of %s", len(one.Partitions), one.Of, one.Topic))
		}
	}
	if len(parts) == 0 {
		return fmt.Sprintf("read all partitions, %d offsets", offsets)
	}
	return fmt.Sprintf("read, of partitions, %s: %d offsets; --all reads the rest", strings.Join(parts, ", "), offsets)
}
