package closer

import (
	"context"
	"strconv"
	"time"
)

// Checkup is what the gateway says of a merchant, see [Closer.Check].
type Checkup struct {
	// Proven: the gateway took the signature and the merchant, and its reply is
	// signed with a key of the merchant's. Then the key, sign_type, mch_id and
	// appid are right.
	Proven bool
	// Class is why it is not proven: MerchantRefused (wrong key, no such merchant,
	// no permission), NoAnswer, Temporary (an unsigned refusal that says nothing of
	// the merchant), Failed (no call can be made, or the request is refused) or
	// Interrupted. Zero when proven.
	Class Class
	// Code is the gateway's, a Failure or one of closer's own; Reason is for people.
	Code, Reason string
	// Host is the base URL that was asked.
	Host string
	// Key says which of the merchant's keys the gateway has taken, from 1; 0 for
	// none.
	Key int
}

// Check asks the gateway in the name of a merchant about an order that cannot
// exist. It closes nothing and concludes nothing about any order, nor does it
// hold anybody. It waits for the merchant's rate, and takes at most
// Config.AttemptTimeout for each of his keys after that.
func (c *Closer) Check(ctx context.Context, mchID string) Checkup {
	r, v := c.begin(ctx, Order{MchID: mchID, OutTradeNo: probeNumber + newNonce()[:16]})
	if r == nil {
		return Checkup{Class: v.Class, Code: v.Code, Reason: v.Message}
	}
	defer r.end()
	if later, err := r.account.begin(r.rest); later > 0 {
		return Checkup{Class: Temporary, Code: CodeOwnRate, Reason: "the merchant's rate is used up for the next " + later.Round(time.Second).String()}
	} else if err != nil {
		return Checkup{Class: Interrupted, Code: CodeInterrupted, Reason: "interrupted: " + err.Error()}
	}
	r.pace.deadline = time.Now().Add(time.Duration(len(r.m.Keys)) * c.cfg.AttemptTimeout)
	a, ok := r.exchange(CallQuery)
	if !ok {
		r.observe(0)
		if ctx.Err() != nil {
			return Checkup{Class: Interrupted, Code: CodeInterrupted, Reason: "interrupted: " + context.Cause(ctx).Error(), Host: r.evidence.Host}
		}
		return Checkup{Class: NoAnswer, Code: string(FailBusy), Reason: "no call slot of the host was free", Host: r.evidence.Host}
	}
	found := checkup(a)
	found.Host = r.evidence.Host
	class := found.Class
	if found.Proven {
		found.Key, class = r.pending.Key, Temporary
	}
	r.saw(class, found.Code, "a check of the merchant: "+found.Reason)
	r.observe(0)
	return found
}

// checkup says what an answer about an order that cannot exist shows of the
// merchant. Only a signed reply proves anything; a refusal that nobody signed is
// the best that there is to know of a wrong key.
func checkup(a answer) Checkup {
	_, code, reason := decideQuery(a)
	d := decide(a)
	switch {
	case d.class == NoAnswer:
		return Checkup{Class: NoAnswer, Code: d.code, Reason: reason}
	case d.class == MerchantRefused:
		return Checkup{Class: MerchantRefused, Code: d.code, Reason: d.reason}
	case a.verified && d.class == Failed:
		return Checkup{Class: Failed, Code: code, Reason: reason}
	case a.verified:
		return Checkup{Proven: true, Code: code, Reason: "the reply is signed as it must be (" + strconv.Quote(code) + ")"}
	case d.unworkable:
		return Checkup{Class: Failed, Code: d.code, Reason: d.reason}
	}
	return Checkup{Class: Temporary, Code: d.code, Reason: d.reason}
}
