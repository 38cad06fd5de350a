package consumer

import (
	"context"
	"time"

	"github.com/closeorder/closeorder/events"
)

// Closer gives requests their verdicts. All methods must be safe for concurrent
// use; none returns an error: what went wrong is a [Class].
//
// Close closes the order of a request. It must return soon after ctx has ended,
// with [Interrupted] unless it has a verdict already. tried says that calls for
// the request were made before. It may be called again for a request that has
// its verdict: after a crash, and after Interrupted. A worker never calls it for
// two requests of one order at the same time. Whatever Close waits for but a call,
// it should wait for in place.
//
// Query finds out what became of the order of a request that has expired, and
// closes nothing. What holds for Close holds for it, but that Failed means: the
// order is neither closed nor paid, or cannot be asked about; and that it never
// answers MerchantRefused.
//
// Refuse gives the verdict on a request for which no call can be made: its
// merchant is not known, or a field of it cannot be sent. ok is false for every
// other one. It calls nobody and returns at once.
//
// Probe says whether the gateway answers anything at all to a call in the name
// of r's merchant. It must conclude nothing about r's order, and return within
// seconds. It is made when a request got no answer while no other call was
// answered either.
type Closer interface {
	Close(ctx context.Context, r events.Request, tried bool, place Place) Verdict
	Query(ctx context.Context, r events.Request, tried bool, place Place) Verdict
	Refuse(r events.Request) (v Verdict, ok bool)
	Probe(ctx context.Context, r events.Request) bool
}

// Verdict is what a [Closer] found out.
type Verdict struct {
	Class         Class
	Code          string // the gateway's, or one of events.Code...
	Message       string // for people
	SafeToReissue bool
	ConfirmedBy   string
	Gateway       *events.Gateway // nil when no gateway was asked
	Calls         int             // made
	// LastCall is when the last call began; NoAnswer says that it got none.
	// Zero counts as the beginning of Close.
	LastCall time.Time
	// Scope is what a MerchantRefused is about.
	Scope Scope
	// Starved: with Temporary or NoAnswer, the request was not really tried, for
	// want of a call slot or of time; that costs it no try.
	Starved bool
	// Unsigned: a Temporary or NoAnswer that rests on a reply without proof, which
	// may be somebody else's: a forged one, say.
	Unsigned bool
	// Unworkable: a Temporary that says of itself, without proof, that the
	// request as it stands cannot work: a few tries are enough.
	Unworkable bool
	// RetryAfter is the least time to wait before another try; 0 for any.
	RetryAfter time.Duration
}
