package world

import (
	"slices"
	"strings"
	"time"
)

// fenceSlack is how long after a rebalance a call may still arrive that was
// started before it: it may have been under way over a slow or frozen path
// for as long as one attempt may take.
const fenceSlack = 12 * time.Second

// checkFences: a call for an order is made by a member that owns a partition
// in which something about the order stands (G6).
func (c *checker) checkFences() {
	if len(c.Generations) == 0 {
		return
	}
	for order, calls := range c.calls {
		places := make(map[Place]bool)
		for _, r := range c.byOrder[order] {
			places[Place{r.record.Topic, r.record.Partition}] = true
			for _, retry := range r.retries {
				places[Place{retry.Topic, retry.Partition}] = true
			}
		}
		if len(places) == 0 {
			continue
		}
		for _, call := range calls {
			if !call.Late && !c.mayCall(call, places) {
				c.find(NotOwner, order, c.byOrder[order][0].record.Source(), "%s by %s at %v, which owned nothing of the order for %v", call.Op, call.Caller, call.Start, fenceSlack)
				break
			}
		}
	}
}

// mayCall reports whether the caller owned one of the places when the call
// began, or at most fenceSlack before. A place that a generation gives to nobody
// is still its last owner's, which is to give it up.
func (c *checker) mayCall(call Call, places map[Place]bool) bool {
	for place := range places {
		for _, g := range slices.Backward(c.Generations) {
			if g.At.After(call.Start) {
				continue
			}
			owner := g.Owners[place]
			if strings.HasPrefix(owner, call.Caller) {
				return true
			}
			// The generation before this one ended when this one began.
			if owner != "" && call.Start.Sub(g.At) > fenceSlack {
				break
			}
		}
	}
	return false
}
