package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/closeorder/closeorder/internal/topicreader"
)

// balance is what the topics say: every request with its one outcome.
type balance struct {
	requests    map[events.Source]bool // true: answered
	results     map[events.Result]map[string]int
	outcomes    map[events.Source]events.Outcome
	repeated    int // the same event again
	contradict  int // another answer to the same record
	foreign     int // outcomes of records that are older than what was read
	deadLetters int
	unexplained int // dead letters without a failed outcome
}

// readBalance reads all three topics from where they began up to now.
func readBalance(ctx context.Context, r *topicreader.Reader, topics config.Topics, began map[string]topicreader.Offsets) (*balance, error) {
	b := &balance{
		requests: map[events.Source]bool{}, outcomes: map[events.Source]events.Outcome{},
		results: map[events.Result]map[string]int{},
	}
	for _, part := range []struct {
		topic string
		each  func(topicreader.Record) error
	}{
		{topics.Requests, func(r topicreader.Record) error { b.requests[r.Source()] = false; return nil }},
		{topics.Outcomes, b.outcome},
		{topics.DeadLetters, b.deadLetter},
	} {
		end, err := r.End(ctx, part.topic)
		if err != nil {
			return nil, err
		}
		if err := r.Read(ctx, part.topic, began[part.topic], end, part.each); err != nil {
			return nil, err
		}
	}
	for _, o := range b.outcomes {
		if b.results[o.Result] == nil {
			b.results[o.Result] = map[string]int{}
		}
		b.results[o.Result][cmp.Or(o.Code, "no code")]++
	}
	return b, nil
}

func (b *balance) outcome(r topicreader.Record) error {
	o, err := events.DecodeOutcome(r.Message)
	if err != nil {
		b.contradict++
		return nil
	}
	if _, ours := b.requests[o.Source]; !ours {
		b.foreign++
		return nil
	}
	before, again := b.outcomes[o.Source]
	switch {
	case !again:
		b.outcomes[o.Source] = o
		b.requests[o.Source] = true
	case before.ID == o.ID && before.Result == o.Result:
		b.repeated++
	default:
		b.contradict++
	}
	return nil
}

func (b *balance) deadLetter(r topicreader.Record) error {
	d, err := records.DecodeDeadLetter(r.Message)
	switch o, ok := b.outcomes[d.Source]; {
	case err != nil:
		b.deadLetters++
		b.unexplained++
	case !b.began(d.Source): // its outcome is among the foreign ones
	case !ok || o.Result != events.Failed:
		b.deadLetters++
		b.unexplained++
	default:
		b.deadLetters++
	}
	return nil
}

func (b *balance) began(at events.Source) bool { _, ok := b.requests[at]; return ok }

func (b *balance) count(r events.Result) int {
	n := 0
	for _, c := range b.results[r] {
		n += c
	}
	return n
}

func (b *balance) unanswered() int { return len(b.requests) - len(b.outcomes) }

// adds reports whether it adds up: nothing is contradicted and, when all must
// be answered, nothing is without an answer.
func (b *balance) adds(all bool) bool {
	return b.contradict == 0 && b.unexplained == 0 && (!all || b.unanswered() == 0)
}

var allResults = []events.Result{events.Closed, events.Paid, events.Failed}

func (b *balance) print(out io.Writer, p paint) {
	rows := [][]string{}
	for _, r := range allResults {
		rows = append(rows, []string{"  " + p.result(r, string(r)), fmt.Sprintf("%6d", b.count(r)), codes(b.results[r])})
	}
	for _, row := range []struct {
		name string
		n    int
		what string
	}{
		{"waiting", b.unanswered(), "requests without an outcome yet"},
		{"dead letters", b.deadLetters, "each with its failed outcome"},
		{"earlier", b.foreign, "outcomes of requests from before this start; they are not in the sum"},
		{"repeated", b.repeated, "outcomes that came twice, with the same id"},
		{"contradictions", b.contradict + b.unexplained, "a request with two answers, or a dead letter with none"},
	} {
		if row.n > 0 || row.name == "dead letters" {
			rows = append(rows, []string{"  " + row.name, fmt.Sprintf("%6d", row.n), row.what})
		}
	}
	whole(out, rows)
	line := fmt.Sprintf("%d = %d closed + %d paid + %d failed", len(b.requests), b.count(events.Closed), b.count(events.Paid), b.count(events.Failed))
	if n := b.unanswered(); n > 0 {
		line += fmt.Sprintf(" + %d waiting", n)
	}
	fmt.Fprintf(out, "\n%s\n", p.in(bold, line))
}

// codes lists counts by code, the most frequent first.
func codes(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(x, y string) int {
		return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x, y))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", cell(name), counts[name])
	}
	return strings.Join(names, ", ")
}

func (b *balance) printJSON(out io.Writer) error {
	return json.NewEncoder(out).Encode(map[string]any{"balance": map[string]any{
		"requests": len(b.requests), "closed": b.count(events.Closed), "paid": b.count(events.Paid), "failed": b.count(events.Failed),
		"waiting": b.unanswered(), "dead_letters": b.deadLetters, "repeated": b.repeated, "earlier": b.foreign,
		"contradictions": b.contradict + b.unexplained, "codes": b.results,
	}})
}
