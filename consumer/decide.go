package consumer

import (
	"time"

	"github.com/closeorder/closeorder/events"
)

// This file is what becomes of a request, as tables: what a verdict is evidence
// of, what the turn of a request came to, and what follows from that. All of it
// is pure: no clock, no lock, no log. docs/decisions-of-a-request.md is written
// from its test.

// Class is what a [Verdict] makes of its request.
type Class int

const (
	// Closed and Paid conclude: the outcome is published.
	Closed Class = iota + 1
	Paid
	// Failed concludes without proof: the request becomes a dead letter and
	// gets a failed outcome.
	Failed
	// Temporary: the gateway answered, but not for good. The request is tried
	// again after a delay, a limited number of times, or without limit when
	// no call was made (Calls is 0) or it was Starved.
	Temporary
	// MerchantRefused: the gateway refuses the merchant, not the request, which
	// waits until the merchant works again; that costs it no try.
	MerchantRefused
	// NoAnswer: the gateway gave no usable answer. It counts towards an outage,
	// unless its host did answer, with what proves nothing (Unsigned), and is
	// tried again like Temporary when it was this request alone.
	NoAnswer
	// Interrupted: the context ended. The request is as if never started.
	Interrupted
)

// evidence is what a verdict says about the gateway as a whole.
type evidence int

const (
	unused     evidence = iota // no call was made, or it was cut off: nothing
	answered                   // the gateway is there, whatever it said
	unanswered                 // a probe must find out what that speaks against
)

// evidence of a verdict. One without calls is no proof that the gateway answers.
func (v Verdict) evidence() evidence {
	switch {
	case v.Calls == 0 || v.Class == Interrupted:
		return unused
	case v.Class == NoAnswer && !v.Unsigned:
		return unanswered
	}
	return answered
}

// finding is what a probe found that was made because a call was not answered:
// whom that speaks against. See [gatewayBreaker].
type finding int

const (
	foundNothing finding = iota // no probe was made, or it was cut off
	itIsTheOrder
	itIsTheMerchant
	itIsTheGateway
	nobodyKnows
)

// findingOf says what a call without an answer speaks against: by whether a probe
// in the name of its merchant was answered, whether others are, and whether
// many orders have got no answer.
func findingOf(alive, others, many bool) finding {
	switch {
	case !alive && others:
		return itIsTheMerchant
	case !alive:
		return itIsTheGateway
	case others || !many:
		return itIsTheOrder
	}
	return nobodyKnows
}

// merchantNews is what a verdict shows of its merchant: what [merchantHolds] learns.
type merchantNews int

const (
	noNews    merchantNews = iota
	isServed               // an answer that only a merchant gets who works: lifts its holds
	isHeard                // a probe was answered: lifts what is held for silence alone
	isRefused              // held until it is served
	isSilent               // held until it is heard
	isUnclear              // its prober may be a bad order: another one probes
)

// turn is what the turn of a request came to, in a word.
type turn int

const (
	proven     turn = iota + 1 // closed or paid
	hopeless                   // it cannot work as it stands
	notDue                     // not called: not_before lies ahead, or its order is too young
	crowdedOut                 // not called: others of its merchant wait for a slot, and it would take up the memory that others need
	handedOver                 // not called: another order probes its merchant
	held                       // not called: its merchant is held
	away                       // its merchant is refused, or does not answer
	cutShort                   // nothing was found out about it: cut off, or an outage
	uncalled                   // no call could be made: the merchant's own rate, say
	starved                    // the call that would have settled it could not be made
	tried                      // it had its try, and the answer is not for good
)

// read says what the turn of a request came to, and what that shows of its
// merchant. A query says nothing of what closes are refused for, and an unsigned
// reply nothing at all. blamed is one whose order was refused where others are
// served, see merchantHolds.blames.
func read(v Verdict, found finding, expired, blamed bool) (turn, merchantNews) {
	works := isServed
	if v.Calls == 0 || expired || v.Unsigned {
		works = noNews
	}
	switch v.Class {
	case Closed, Paid:
		return proven, works
	case Failed:
		return hopeless, works
	case Interrupted:
		return cutShort, noNews
	case MerchantRefused:
		if blamed {
			return tried, noNews
		}
		return away, isRefused
	case NoAnswer:
		if v.Unsigned {
			break // its host did answer: no outage, and no reason to wait for ever
		}
		switch found {
		case foundNothing, itIsTheGateway:
			return cutShort, noNews
		case nobodyKnows:
			return cutShort, isUnclear
		case itIsTheMerchant:
			if works = isSilent; !expired {
				return away, works
			}
		case itIsTheOrder:
			works = isHeard
		}
	default:
		if v.Calls == 0 {
			return uncalled, noNews
		}
	}
	if v.Starved {
		return starved, works
	}
	return tried, works
}

// circumstances are all that the decision about a request depends on.
type circumstances struct {
	turn    turn
	verdict Verdict   // code, message, scope, least wait; of a request that was not called why
	now     time.Time // by the clock of due times
	until   time.Time // when a request that is not due will be
	expires time.Time // zero for never
	expired bool      // had passed when its turn came
	retries int       // so far, that counted
	tiers   tiers
	roomy   bool // its partition has room for requests that wait in memory
	// Of one that waits for its merchant:
	prober  bool          // it is the one that finds out
	alone   bool          // no other request of its order waits behind it
	had     time.Duration // for how long it is in memory
	left    time.Duration // until its record is due; none where it has none
	climbed int           // in how many tiers it has waited for its merchant
}

// next is what happens to a request.
type next int

const (
	conclude        next = iota + 1 // its outcome is published
	deadLetter                      // so are its dead letter and a failed outcome
	retryLater                      // a retry record brings it back
	restInPlace                     // it keeps its place, at the head of its lane
	waitForMerchant                 // it leaves its lane, and waits in memory
)

// decision is what becomes of a request.
type decision struct {
	next    next
	verdict Verdict
	// Of a retry: its topic, when it is due, and the retries that counted, this
	// one included where it costs a try.
	tier    Tier
	due     time.Time
	retries int
	// pause is how long it rests or waits at the most; 0: its turn may come at
	// once.
	pause time.Duration
	// scope is what it waits for, if it waits for its merchant.
	scope Scope
}

// unworkableTries is how many retries a request gets of which the gateway says,
// in words that nobody signs, that it cannot work as it stands.
const unworkableTries = 2

// decide is the decision table of the worker.
func decide(c circumstances) decision {
	d := decision{verdict: c.verdict, retries: c.retries}
	// What is asked for again at no cost of a try waits a second at least.
	least := max(c.verdict.RetryAfter, time.Second)
	switch c.turn {
	case proven:
		d.next = conclude
	case hopeless:
		return d.fail(c)
	case notDue:
		return d.putOff(c, c.until)
	case crowdedOut:
		return d.putOff(c, c.now.Add(least))
	case handedOver:
		d.next, d.pause = restInPlace, c.soonest(2*probeEvery)
	case held, away:
		return d.hold(c)
	case cutShort:
		d.next = restInPlace
	case uncalled:
		if !c.roomy {
			return d.putOff(c, c.now.Add(least))
		}
		// In a topic it would be written and read all the time.
		d.next, d.pause = restInPlace, least
	case starved:
		return d.putOff(c, c.now.Add(least))
	case tried:
		tier, ok := c.tiers.forRetry(c.retries, c.verdict.RetryAfter)
		if !ok || c.verdict.Unworkable && c.retries >= unworkableTries {
			d.verdict.Message = "no final answer after the last retry: " + c.verdict.Code + ": " + c.verdict.Message
			d.verdict.Code = events.CodeRetriesExhausted
			return d.fail(c)
		}
		delay := tier.Delay
		if c.verdict.RetryAfter > 0 {
			// Never longer than the longest tier, whatever was asked for: a record
			// that is due in years would keep its partition's window shut.
			delay = max(delay, min(c.verdict.RetryAfter, c.tiers[len(c.tiers)-1].Delay)+unmeasured)
		}
		d.retries++
		return d.comeBack(c, tier, c.now.Add(delay))
	}
	return d
}

// fail ends a request without proof. One that has expired gets no dead letter:
// the shop has given it up itself, there is nothing to replay.
func (d decision) fail(c circumstances) decision {
	d.next, d.verdict.Class = deadLetter, Failed
	if c.expired {
		d.next, d.verdict.Code = conclude, events.CodeExpired
		d.verdict.Message = "expires_at " + c.expires.Format(time.RFC3339) + " has passed; " + d.verdict.Message
	}
	return d
}

// hold lets a request wait for its merchant, at no cost of a try.
func (d decision) hold(c circumstances) decision {
	d.scope = c.verdict.Scope
	tier, last := c.tiers.forHold(c.climbed)
	switch {
	case c.prober && c.roomy && c.alone && c.had < longestHold:
		// In its place it holds up the commits of its partition, and at last its
		// intake: only while there is room. Those behind it in its lane, which
		// may expire and may be of another partition, have waited long enough.
		// And what stays uncommitted for days may be deleted for its age.
		d.next, d.pause = restInPlace, c.soonest(2*probeEvery)
	case c.left > 0:
		// It was woken, and the merchant is held again: its record waits on.
		// Written is only what is due, however often a merchant comes and goes.
		d.next, d.pause = waitForMerchant, c.left
	case last && c.roomy && c.had+tier.Delay <= longestHold:
		// The longest of short delays: it stays for some of them.
		d.next, d.pause = waitForMerchant, c.soonest(tier.Delay)
	default:
		return d.comeBack(c, tier, c.now.Add(tier.Delay))
	}
	return d
}

// putOff puts a request off until a time, at no cost of a try. A wait that is
// longer than the longest tier takes several hops.
func (d decision) putOff(c circumstances, until time.Time) decision {
	tier := c.tiers.forWait(until.Sub(c.now))
	due := c.now.Add(tier.Delay)
	if until.Sub(due) <= unmeasured { // or it would take another hop for that
		due = until
	}
	return d.comeBack(c, tier, due)
}

// comeBack brings a request back when due, or when it expires: to say so then, not
// later.
func (d decision) comeBack(c circumstances, tier Tier, due time.Time) decision {
	if !c.expired && !c.expires.IsZero() && due.After(c.expires) {
		due = c.expires
	}
	d.next, d.tier, d.due = retryLater, tier, due
	return d
}

// soonest is a pause, or less where the request expires before its end.
func (c circumstances) soonest(pause time.Duration) time.Duration {
	if c.expires.IsZero() {
		return pause
	}
	return max(min(pause, c.expires.Sub(c.now)), time.Millisecond)
}
