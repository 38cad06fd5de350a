package consumer

import (
	"time"

	"github.com/closeorder/closeorder/events"
)

// Observer sees what becomes of requests, as it happens: for metrics. Its methods
// are called concurrently, on the way of every request: they must be quick and
// must not wait, nor call the worker. What they are given is theirs to read and
// not to keep.
type Observer interface {
	// Took: a record was read, of the requests topic or of a retry topic, that was
	// not finished before.
	Took(topic string)
	// Called: a turn with calls has ended, after so long; found is what it came to.
	Called(t Turn)
	// Answered: the outcome of a request is acknowledged by all in-sync replicas,
	// and its dead letter too where it has one; with Config.ExactlyOnce they are
	// committed.
	Answered(a Answer)
	// PutOff: the record by which a request waits in a retry topic is
	// acknowledged.
	PutOff(p PutOff)
	// Published: one request to a broker with records of one topic has ended after
	// so long; err is nil where they are acknowledged.
	Published(topic string, records int, took time.Duration, err error)
	// Committed: one request that commits offsets, or one transaction, has ended
	// after so long; err is nil where it has committed them.
	Committed(took time.Duration, err error)
	// Assigned: the group has a new generation, in which the worker got so many
	// partitions that it had not, and is to give so many up.
	Assigned(got, leaving int)
	// Drained: partitions were given up in good order, after so long.
	Drained(partitions int, took time.Duration)
	// Unfetched: records of a partition could not be fetched; it is tried again.
	Unfetched(topic string, partition int, err error)
	// Throttled: a broker's quotas hold requests of an API back for so long.
	Throttled(broker int, api string, wait time.Duration)
}

// Turn is one turn of a request in which the gateway was called.
type Turn struct {
	MchID string
	// Calls were made in it; Class and Code are its verdict's.
	Calls int
	Class Class
	Code  string
	// Began is when it had a call slot, by the process's clock.
	Began time.Time
	Took  time.Duration
}

// Answer is the outcome of one request.
type Answer struct {
	Order         events.Order
	Result        events.Result
	Code          string
	Message       string
	SafeToReissue bool
	Calls         int
	Replay        int
	// Source is the record that the order service published, and Requested its
	// timestamp: where it has none, when it was read.
	Source    events.Source
	Requested time.Time
	// Traceparent is that of its outcome: of the span that sent it where there is
	// one, or else of the request's record; empty where it has none either.
	Traceparent string
	// Took is from Requested until now, by the worker's wall clock: never negative,
	// however the clocks differ.
	Took time.Duration
}

// PutOff is one wait of a request in a retry topic.
type PutOff struct {
	Order  events.Order
	Topic  string
	Code   string
	Due    time.Time
	Source events.Source
	// Counts: it costs the request a try.
	Counts bool
}
