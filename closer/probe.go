package closer

import (
	"context"
	"time"
)

// probeNumber begins the out_trade_no of a probe: a number that no shop uses.
const probeNumber = "UNKNOWN_PROBE_"

// Probe finds out whether the gateway answers at all: it makes one closeorder
// in the name of o's merchant for a number that does not exist, and returns
// true when anything came back that a payment gateway gives, a refusal
// included. It tells an outage, also one of the close alone, from an order that
// alone gets no answer. It concludes nothing about any order, and takes at most
// Config.AttemptTimeout after its call slot, or twice that where the first call
// was lost on a connection that had been idle.
func (c *Closer) Probe(ctx context.Context, o Order) bool {
	o.OutTradeNo = probeNumber + newNonce()[:16]
	r, _ := c.begin(ctx, o)
	if r == nil {
		return false
	}
	defer r.end()
	r.pace.deadline = time.Now().Add(c.cfg.AttemptTimeout)
	a, ok := r.exchange(CallClose)
	if ok {
		class, reason := Temporary, "a probe: the gateway answers"
		if a.failure != "" {
			class, reason = NoAnswer, "a probe: no answer"
		}
		r.saw(class, string(a.failure), reason)
	}
	r.observe(0)
	return ok && !a.failure.hostDown()
}
