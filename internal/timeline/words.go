package timeline

import (
	"fmt"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
)

// What is an entry in a word or two: requested, replayed, waited, waits, dead letter,
// or its outcome.
func (e *Entry) What() string {
	switch e.Kind {
	case Requested:
		return "requested"
	case Replayed:
		return "replayed"
	case PutOff:
		if e.Finished {
			return "waited"
		}
		return "waits"
	case DeadLetter:
		return "dead letter"
	}
	if e.Repeat {
		return string(e.Outcome) + " again"
	}
	return string(e.Outcome)
}

// Note is the rest of an entry in few words, times in a zone, nil for UTC. It holds
// what others have written, as they have.
func (l *Life) Note(e *Entry, zone *time.Location) string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	w := words{zone: zone}
	switch e.Kind {
	case Requested, Replayed:
		w.request(l, e, add)
	case PutOff:
		add("%s", join(e.Code, e.Message))
		add("retry %d", e.Retries)
		add("due %s", w.at(e.DueAt))
		if e.WaitsFor != "" {
			add("waits for its merchant (%s)", e.WaitsFor)
		}
		add("%s so far", count(e.Calls, "call"))
	case DeadLetter:
		add("%s", join(e.Code, e.Message))
		add("%s", count(e.Calls, "call"))
		if e.ValueOmitted != "" {
			add("without its value: %s", e.ValueOmitted)
		}
	case Answered:
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
func (w *words) request(l *Life, e *Entry, add func(string, ...any)) {
	if e.Kind == Replayed {
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
			add("%s %s", f.name, w.at(f.at))
		}
	}
}

// WasRead says which partitions were read, and which flag of trace has the rest read.
func (r *Report) WasRead() string {
	var offsets int64
	var parts []string
	topics := map[string][]string{}
	for _, one := range r.Read {
		offsets += one.Offsets
		part := fmt.Sprintf("%d of %d", len(one.Partitions), one.Of)
		if topics[part] == nil {
			parts = append(parts, part)
		}
		topics[part] = append(topics[part], one.Topic)
	}
	if r.All {
		return fmt.Sprintf("read all partitions of %s, %s", count(len(r.Read), "topic"), count(int(offsets), "offset"))
	}
	for i, part := range parts {
		parts[i] += " of " + strings.Join(topics[part], ", ")
	}
	return fmt.Sprintf("read %s, of partitions %s; --all reads the rest", count(int(offsets), "offset"), strings.Join(parts, "; "))
}

// NeverSeen says of a report without lives that nobody has asked about the order, and
// next what to do about that.
func (r *Report) NeverSeen(zone *time.Location) (answer, next string) {
	answer = "never seen in what the topics still hold"
	if !r.HeldSince.IsZero() {
		w := words{zone: zone}
		answer += ", which is since " + w.at(r.HeldSince)
	}
	return answer, "compare the number with that of the order service; whether it was sent at all its producer knows"
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
