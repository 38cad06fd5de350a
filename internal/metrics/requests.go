package metrics

import (
	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/prometheus/client_golang/prometheus"
)

// requestMetrics are those of requests.
type requestMetrics struct {
	taken    children[string, prometheus.Counter]
	turns    children[string, prometheus.Counter]
	outcomes children[outcomeCode, prometheus.Counter]
	delay    children[string, prometheus.Observer]
	ofOne    children[merchantOutcome, prometheus.Counter]
	failures children[merchantCode, prometheus.Counter]
	codes    children[string, *bound] // of failures, by merchant
	putOff   children[topicCode, prometheus.Counter]
}

type (
	outcomeCode     struct{ outcome, code string }
	merchantOutcome struct{ mchID, outcome string }
	merchantCode    struct{ mchID, code string }
	topicCode       struct{ topic, code string }
)

// delayBuckets are from a request's record to its outcome: a retry takes minutes,
// a held merchant hours.
var delayBuckets = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400}

func (r *requestMetrics) init(to register) {
	taken := to.counter("closeorder_requests_taken_total", "Records of requests and of retries that were read to be served.", "topic")
	r.taken.make = func(topic string) prometheus.Counter { return taken.WithLabelValues(topic) }
	turns := to.counter("closeorder_turns_total", "Turns of requests in which the gateway was called, by what they came to.", "class")
	r.turns.make = func(class string) prometheus.Counter { return turns.WithLabelValues(class) }
	outcomes := to.counter("closeorder_outcomes_total", "Outcomes that are acknowledged by all in-sync replicas.", "outcome", "code")
	r.outcomes.make = func(k outcomeCode) prometheus.Counter { return outcomes.WithLabelValues(k.outcome, k.code) }
	delay := to.histogram("closeorder_outcome_delay_seconds", "From the timestamp of a request's record to its outcome.", delayBuckets, "outcome")
	r.delay.make = func(outcome string) prometheus.Observer { return delay.WithLabelValues(outcome) }
	ofOne := to.counter("closeorder_merchant_outcomes_total", "Outcomes of a merchant.", "mch_id", "outcome")
	r.ofOne.make = func(k merchantOutcome) prometheus.Counter { return ofOne.WithLabelValues(k.mchID, k.outcome) }
	failures := to.counter("closeorder_merchant_failures_total", "Failed outcomes of a merchant, by code.", "mch_id", "code")
	r.failures.make = func(k merchantCode) prometheus.Counter { return failures.WithLabelValues(k.mchID, k.code) }
	r.codes.make = func(string) *bound { return &bound{most: mostOfOne, fits: isText} }
	putOff := to.counter("closeorder_put_off_total", "Requests that were put into a retry topic, to be served later.", "topic", "code")
	r.putOff.make = func(k topicCode) prometheus.Counter { return putOff.WithLabelValues(k.topic, k.code) }
	// What is there from the beginning can be seen to rise from zero.
	for c := consumer.Closed; c <= consumer.Interrupted; c++ {
		r.turns.of(classOf(c))
	}
	for _, result := range []events.Result{events.Closed, events.Paid, events.Failed} {
		r.delay.of(string(result))
	}
	r.outcomes.of(outcomeCode{string(events.Closed), "SUCCESS"})
	r.outcomes.of(outcomeCode{string(events.Paid), "ORDERPAID"})
	for _, code := range ownFailures {
		r.outcomes.of(outcomeCode{string(events.Failed), code})
	}
}

// Took counts a record that was read. See [consumer.Observer].
func (m *Metrics) Took(topic string) { m.requests.taken.of(m.topics.of(topic)).Inc() }

// Called counts a turn.
func (m *Metrics) Called(t consumer.Turn) { m.requests.turns.of(classOf(t.Class)).Inc() }

// Answered counts an outcome.
func (m *Metrics) Answered(a consumer.Answer) {
	r := &m.requests
	outcome, code, mchID := outcomeOf(a.Result), m.code(a.Code), m.merchants.of(a.Order.MchID)
	r.outcomes.of(outcomeCode{outcome, code}).Inc()
	r.ofOne.of(merchantOutcome{mchID, outcome}).Inc()
	if a.Result == events.Failed {
		r.failures.of(merchantCode{mchID, r.codes.of(mchID).of(code)}).Inc()
	}
	if !a.Requested.IsZero() {
		r.delay.of(outcome).Observe(a.Took.Seconds())
	}
}

// PutOff counts a wait in a retry topic.
func (m *Metrics) PutOff(p consumer.PutOff) {
	m.requests.putOff.of(topicCode{m.topics.of(p.Topic), m.code(p.Code)}).Inc()
}

// outcomeOf is a result that is one of three, whatever comes.
func outcomeOf(r events.Result) string {
	switch r {
	case events.Closed, events.Paid, events.Failed:
		return string(r)
	}
	return other
}

// turnClasses are the classes of turns, in the closer's words.
var turnClasses = [...]string{
	consumer.Closed: closer.Closed.String(), consumer.Paid: closer.Paid.String(), consumer.Failed: closer.Failed.String(),
	consumer.Temporary: closer.Temporary.String(), consumer.MerchantRefused: closer.MerchantRefused.String(),
	consumer.NoAnswer: closer.NoAnswer.String(), consumer.Interrupted: closer.Interrupted.String(),
}

func classOf(c consumer.Class) string {
	if c < consumer.Closed || int(c) >= len(turnClasses) {
		return other
	}
	return turnClasses[c]
}
