package consumer

import (
	"slices"
	"time"
)

// Tier is a retry topic and the delay of the records in it.
type Tier struct {
	Topic string
	Delay time.Duration
}

// tiers are the retry topics, the shortest delay first. A record waits in the
// topic of its delay, which therefore is nearly in the order of due times: it
// is read ahead up to the window, and each record starts when it is due.
type tiers []Tier

// forRetry returns the tier of the next retry after so many, whose delay is not
// below least, as far as there is one; false when there is none left.
func (ts tiers) forRetry(retries int, least time.Duration) (Tier, bool) {
	if retries >= len(ts) {
		return Tier{}, false
	}
	for _, t := range ts[retries:] {
		if t.Delay >= least {
			return t, true
		}
	}
	return ts[len(ts)-1], true
}

// forWait returns the tier for a wait: the longest delay that is not longer,
// else the shortest. A long wait takes several hops.
func (ts tiers) forWait(wait time.Duration) Tier {
	tier := ts[0]
	for _, t := range ts[1:] {
		if t.Delay <= wait {
			tier = t
		}
	}
	return tier
}

// delayOf is the longest that a record of a topic can have to wait; 0 for what
// is no retry topic. What is due later was written by a clock that was wrong.
func (ts tiers) delayOf(topic string) time.Duration {
	if i := ts.index(topic); i >= 0 {
		return ts[i].Delay + unmeasured
	}
	return 0
}

// unmeasured is added to a wait that somebody asked for: what a record takes to
// its topic and back is in nobody's hand, and an order whose age is measured
// (see ageOf) would come back just too young.
const unmeasured = 2 * time.Second

// longestHold is the longest that a request waits for its merchant before it is
// written again: without a prober that bounds how late it is served when the
// merchant works again.
const longestHold = 30 * time.Minute

// forHold returns the tier for a request whose merchant is held and which has
// waited for that in climbed tiers already: it climbs, so that a merchant that is
// held for long costs few writes. last is set when there is none to climb to.
func (ts tiers) forHold(climbed int) (tier Tier, last bool) {
	top := 0
	for i, t := range ts {
		if t.Delay <= longestHold {
			top = i
		}
	}
	return ts[min(climbed, top)], climbed > top
}

// index is the position of a topic.
func (ts tiers) index(topic string) int {
	return slices.IndexFunc(ts, func(t Tier) bool { return t.Topic == topic })
}
