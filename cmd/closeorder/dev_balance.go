package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/kafka"
)

// balance is an audit of what came since dev was started, with the codes.
type balance struct {
	*audit.Report
	codes map[events.Result]map[string]int
}

// takeBalance audits the topics from where they began up to now.
func takeBalance(ctx context.Context, c *cluster, began map[string]kafka.Offsets) (*balance, error) {
	snapshot, err := audit.Take(ctx, audit.Scope{Reader: c.reader(), Group: c.group, Topics: c.topics, From: began})
	if err != nil {
		return nil, err
	}
	b := &balance{codes: map[events.Result]map[string]int{}}
	b.Report, err = snapshot.Audit(ctx, audit.Options{ExactlyOnce: c.exactlyOnce, OnAnswer: func(o events.Outcome) {
		if b.codes[o.Result] == nil {
			b.codes[o.Result] = map[string]int{}
		}
		b.codes[o.Result][cmp.Or(o.Code, "no code")]++
	}})
	return b, err
}

// open counts the requests without an outcome that are not lost.
func (b *balance) open() int64 { return b.Waiting + b.InFlight + b.Unproven }

// adds reports whether it adds up: the audit balances and, when all must be
// answered, no request is without an answer.
func (b *balance) adds(all bool) bool { return b.Balanced && (!all || b.open() == 0) }

func (b *balance) print(out io.Writer, p paint) {
	t := tally{width: 6, paint: p}
	for _, r := range []struct {
		result events.Result
		n      int64
	}{{events.Closed, b.Closed}, {events.Paid, b.Paid}, {events.Failed, b.Failed}} {
		t.row(true, p.result(r.result, string(r.result)), r.n, codes(b.codes[r.result]))
	}
	t.row(false, "waiting", b.open(), "requests without an outcome yet")
	t.row(true, "dead letters", b.DeadLetters, cmp.Or(deadNote(b.Report), "each with its failed outcome"))
	t.row(false, "earlier", b.OutcomesWithoutRequest.Sum(), "outcomes of requests from before this start; they are not in the sum")
	t.repeats(false, "repeated", b.Report)
	t.bad(false, b.Report)
	whole(out, t.rows)
	line := fmt.Sprintf("%d = %d closed + %d paid + %d failed", b.Requests, b.Closed, b.Paid, b.Failed)
	if n := b.open(); n > 0 {
		line += fmt.Sprintf(" + %d waiting", n)
	}
	if b.Holes > 0 {
		line += " + " + count(int(b.Holes), "hole")
	}
	fmt.Fprintf(out, "\n%s\n", p.in(bold, line))
}

func (b *balance) printJSON(out io.Writer) error {
	return json.NewEncoder(out).Encode(map[string]any{"balance": map[string]any{
		"requests": b.Requests, "closed": b.Closed, "paid": b.Paid, "failed": b.Failed, "waiting": b.open(), "holes": b.Holes,
		"dead_letters": b.DeadLetters, "repeated": b.Duplicates, "earlier": b.OutcomesWithoutRequest.Sum(),
		"contradictions": b.Contradictions + b.Misnamed, "codes": b.codes,
	}})
}
