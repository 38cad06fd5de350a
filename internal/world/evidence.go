package world

import (
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// Evidence is all that a [Check] sees: what stands in the topics, what was
// committed, and the gateway's side. None of it comes from a worker.
type Evidence struct {
	// Records of the topics, each partition in the order of its offsets.
	Requests, Outcomes, DeadLetters, Retries []Record
	// Aborted are the requests of transactions that were aborted. nil: there
	// are none, or nobody has read them, see [Observer.Aborted].
	Aborted []Record
	// ExactlyOnce: what a request led to and its offset are one transaction,
	// so that nothing may stand there twice.
	ExactlyOnce bool
	// AtOnce: a transaction ends in all of its partitions at one moment, as
	// kfake's do. Apache Kafka's coordinator writes one marker after the other.
	AtOnce bool
	// Looks at the commits, oldest first. The last one is the end: every
	// record is below its Ends.
	Looks []Look
	// Settled: everything had time to end, so that a request without an
	// outcome is a hole wherever it waits.
	Settled bool

	// Book is the order book at the end. nil: there is none, and nothing
	// about closed and paid is checked.
	Book []gatewaysim.Entry
	// Calls of the workers at the gateway. nil: nothing about calls is checked.
	Calls []Call
	// Generations are the assignments of the group, oldest first. nil:
	// nothing about owners is checked.
	Generations []Generation
	// MaxInFlight is the most calls that may go on at once, of all workers
	// together; 0 is without limit.
	MaxInFlight int
	// MinOrderAge is the age below which an order is not to be closed.
	MinOrderAge time.Duration
	// ClocksAhead says when the clock of a worker was ahead: by so much it may
	// have been early.
	ClocksAhead []ClockAhead
	// OutagesMayFail: a request may fail because the gateway did not answer.
	OutagesMayFail bool
}

// Observe starts an observer of all topics and of the workers' group. No
// fault of the network reaches it.
func (w *World) Observe() (*Observer, error) {
	host := w.Network.Boot("observer")
	host.Exempt()
	topics := make([]string, len(w.Topics))
	for i, t := range w.Topics {
		topics[i] = t.Name
	}
	o, err := NewObserver(w.Config.Kafka.Group, topics, reach(w, host)...)
	if err != nil {
		return nil, err
	}
	w.closers = append(w.closers, func() error { o.Close(); return nil })
	return o, nil
}

// Evidence puts together what the observer and the gateway saw. The limits
// are for the caller to set.
func (w *World) Evidence(o *Observer) Evidence {
	e := Evidence{
		Requests:    o.Records(w.Config.Topics.Requests),
		Outcomes:    o.Records(w.Config.Topics.Outcomes),
		DeadLetters: o.Records(w.Config.Topics.DeadLetters),
		Looks:       o.Looks(),
		Book:        w.Gateway.Book(),
		// Create calls are those of order services.
		Calls:       slices.DeleteFunc(w.Gateway.Calls(), func(c Call) bool { return c.Op == gatewaysim.UnifiedOrder }),
		Generations: w.generations.list(),
		MinOrderAge: w.Config.MinOrderAge,
		ClocksAhead: w.ahead,
		ExactlyOnce: w.Config.ProcessingGuarantee == config.ExactlyOnce,
		AtOnce:      true,
	}
	for _, name := range w.Config.Topics.Retries() {
		e.Retries = append(e.Retries, o.Records(name)...)
	}
	return e
}

func bookKey(e gatewaysim.Entry) events.Order {
	return events.Order{MchID: e.MchID, SubMchID: e.SubMchID, OutTradeNo: e.OutTradeNo}
}
