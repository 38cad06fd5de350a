package consumer

import (
	"context"
	"time"

	"github.com/closeorder/closeorder/events"
)

// Closer gives requests their answers.
//
// Close must be safe for concurrent use, and must return soon after ctx has
// ended, with [Interrupted] unless it has an answer already. tried says that
// calls for the request were made before a retry. It may be called again for a
// request it has answered: after a crash, and after Interrupted. The worker never calls it for two requests of one order at the same time.
//
// Ask finds out what became of the order of a request that has expired, and
// closes nothing. What holds for Close holds for it, but that Failed means: the
// order is neither closed nor paid, or cannot be asked about; and that it never
// answers Held.
//
// Refuse answers a request for which no call can be made: its merchant is not
// known, or a field of it cannot be sent. ok is false for every other one. It
// calls nobody and returns at once.
//
// Alive says whether the gateway answers anything at all to a call in the
// name of r's merchant. It must be safe for concurrent use, conclude nothing
// about r's order, and return within seconds. It is asked when a request got
// no answer while no other call was answered either.
type Closer interface {
	Close(ctx context.Context, r events.Request, tried bool) Answer
	Ask(ctx context.Context, r events.Request, tried bool) Answer
	Refuse(r events.Request) (a Answer, ok bool)
	Alive(ctx context.Context, r events.Request) bool
}

// Disposition is what an [Answer] makes of its request.
type Disposition int

const (
	// Closed and Paid conclude: the outcome is published.
	Closed Disposition = iota + 1
	Paid
	// Failed concludes without proof: the request becomes a dead letter and
	// gets a failed outcome.
	Failed
	// Later: the gateway answered, but not for good. The request is tried
	// again after a delay, a limited number of times, or without limit when
	// no call was made (Attempts is 0) or NoTry says so.
	Later
	// Held: the gateway refuses the merchant, not the request. The request
	// waits until the merchant works again; that costs it no try.
	Held
	// Unanswered: the gateway gave no usable answer. It counts towards an
	// outage, and is tried again like Later when it was this request alone.
	Unanswered
	// Interrupted: the context ended. The request is as if never started.
	Interrupted
)

// Answer is what a [Closer] found out.
type Answer struct {
	Disposition   Disposition
	Code          string // the gateway's, or one of events.Code...
	Message       string // for people
	SafeToReissue bool
	ConfirmedBy   string
	Gateway       *events.Gateway // nil when no gateway was asked
	Attempts      int             // calls made
	// LastCall is when the last call began; an Unanswered one says that it got
	// no answer. Zero counts as the beginning of Close.
	LastCall time.Time
	// Scope is what a Held answer is about.
	Scope Scope
	// NoTry: a Later or Unanswered request was not really tried, for want of
	// calls that may be made at a time; that costs it no try.
	NoTry bool
	// Unproven: a Later answer that may be somebody else's, a forged reply say.
	Unproven bool
	// Unworkable: a Later answer that says of itself, without proof, that the
	// request as it stands cannot work: a few tries are enough.
	Unworkable bool
	// RetryAfter is the least time to wait before another try; 0 for any.
	RetryAfter time.Duration
}
