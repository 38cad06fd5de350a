package closer

import (
	"context"
	"slices"
	"time"

	"github.com/closeorder/closeorder/signing"
)

// Call names one of the gateway's two calls.
type Call string

const (
	CallClose Call = "closeorder"
	CallQuery Call = "orderquery"
)

// Failure is why a call gave no answer: nothing that proves anything came
// back, and a close may have happened. The empty Failure means that it did
// give one.
type Failure string

const (
	// FailDNS: the name of the host could not be resolved.
	FailDNS Failure = "DNS_ERROR"
	// FailConnect: no connection, TLS included: refused, unreachable, timed out.
	FailConnect Failure = "CONNECT_FAILED"
	// FailTimeout: connected, but no whole reply within Config.AttemptTimeout.
	FailTimeout Failure = "TIMEOUT"
	// FailLost: the connection broke before the whole reply was in.
	FailLost Failure = "CONNECTION_LOST"
	// FailStatus: another HTTP status than 200.
	FailStatus Failure = "HTTP_STATUS"
	// FailFormat: a body that is not the strict XML of a V2 reply.
	FailFormat Failure = "UNREADABLE_REPLY"
	// FailUnsigned: return_code=SUCCESS without a sign.
	FailUnsigned Failure = "UNSIGNED_REPLY"
	// FailSignature: a sign that does not match, or of another algorithm than
	// the request's.
	FailSignature Failure = "BAD_SIGNATURE"
	// FailIdentity: signed, but about another merchant, appid or order.
	FailIdentity Failure = "IDENTITY_MISMATCH"
	// FailIncomplete: signed, but without the field that would say something.
	FailIncomplete Failure = "INCOMPLETE_REPLY"
	// FailBusy: no call was made, every call slot of the host stayed taken
	// until the budget was over. See Config.MaxConcurrency.
	FailBusy Failure = "HOST_BUSY"
)

// hostDown reports whether the failure speaks against the host, not against
// one merchant or one order: the host could not be reached, or it gave
// nothing that a payment gateway gives.
func (f Failure) hostDown() bool {
	switch f {
	case FailDNS, FailConnect, FailTimeout, FailLost, FailStatus, FailFormat:
		return true
	}
	return false
}

// unsigned reports whether the host did answer, with something that proves
// nothing: a forged signature, say. That is no outage. See [Verdict.Unsigned].
func (f Failure) unsigned() bool { return f != "" && f != FailBusy && !f.hostDown() }

// Attempt is one call to the gateway, for logs, metrics, traces and
// `close --explain`. It holds neither a key nor a signature.
type Attempt struct {
	Order Order
	Call  Call
	// Number counts the calls of one Close from 1, closes and queries together.
	Number int
	// Host is the base URL that was called.
	Host string
	// Start is when the call slot was free and the call began; Duration ends
	// with the last byte of the reply.
	Start    time.Time
	Duration time.Duration
	// Reused: the call went over a connection that had been idle.
	Reused bool
	// Status is the HTTP status; 0 when there was none.
	Status int
	// Key says which of the merchant's keys signed the request, from 1.
	Key int
	// Reply has the fields of the reply, verified or not, without sign. It is
	// made for the observer.
	Reply map[string]string
	// Verified: the reply has a signature that is right under one of the
	// merchant's keys, and one reading. What else is wrong with it, see Failure,
	// is found only behind that.
	Verified bool
	// Body is the beginning of what came back when Reply is empty, at most 256
	// bytes, with what may be a signature masked.
	Body string
	// Class is what the call came to by itself. A query's is Closed or Paid
	// when it shows that, Temporary when the order is still open or unknown.
	Class Class
	// Code is the gateway's code, or the Failure.
	Code string
	// Failure is set when Class is NoAnswer.
	Failure Failure
	// Err is the detail of Failure. Its text holds no secret.
	Err error
	// Reason says in words why Class is what it is.
	Reason string
	// Wait is the pause before the next call of this Close; 0 when there is none.
	Wait time.Duration

	request fields
}

// Signed returns the exact string that was signed, the key masked.
func (a Attempt) Signed() string { return signing.ExplainFields(a.request) }

// show adds what an observer gets to see of a call: its request, and the
// reply's fields or what came in the place of a reply.
func (a *Attempt) show(request, reply fields, body []byte, id identity, sign string) {
	a.request = slices.Clone(request)
	if len(reply) > 0 {
		a.Reply = shown(reply, id, sign)
	} else {
		a.Body = excerpt(body)
	}
}

// Observer is called after each attempt, from the goroutine of its Close,
// once it is known what follows and before the wait. It gets the context of
// the Close, must be safe for concurrent use and should be quick.
type Observer func(context.Context, Attempt)
