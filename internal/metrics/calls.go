package metrics

import (
	"context"

	"github.com/closeorder/closeorder/closer"
	"github.com/prometheus/client_golang/prometheus"
)

// callMetrics are those of calls to the gateway.
type callMetrics struct {
	made     children[callHostClass, prometheus.Counter]
	duration children[callHostClass, prometheus.Observer]
	failures children[callHostFailure, prometheus.Counter]
	answers  children[callCode, prometheus.Counter]
}

type (
	callHostClass struct {
		call  closer.Call
		host  string
		class closer.Class
	}
	callHostFailure struct {
		call    closer.Call
		host    string
		failure closer.Failure
	}
	callCode struct {
		call closer.Call
		code string
	}
)

// callBuckets are for calls that take 20 ms on a good day, and 20 s on a bad one.
var callBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20}

func (c *callMetrics) init(to register) {
	made := to.counter("closeorder_gateway_calls_total", "Calls to the gateway, closes and queries, by what each came to.", "call", "host", "class")
	c.made.make = func(k callHostClass) prometheus.Counter {
		return made.WithLabelValues(string(k.call), k.host, k.class.String())
	}
	duration := to.histogram("closeorder_gateway_call_duration_seconds", "From a free call slot to the last byte of the reply.", callBuckets, "call", "host", "class")
	c.duration.make = func(k callHostClass) prometheus.Observer {
		return duration.WithLabelValues(string(k.call), k.host, k.class.String())
	}
	failures := to.counter("closeorder_gateway_failures_total", "Calls that gave no answer that proves anything, by why.", "call", "host", "code")
	c.failures.make = func(k callHostFailure) prometheus.Counter {
		return failures.WithLabelValues(string(k.call), k.host, string(k.failure))
	}
	answers := to.counter("closeorder_gateway_answers_total", "What the gateway answered, by its code.", "call", "code")
	c.answers.make = func(k callCode) prometheus.Counter { return answers.WithLabelValues(string(k.call), k.code) }
}

// Attempt counts a call. It is a [closer.Observer], and looks at nothing that is
// made for one that shows calls to people.
func (m *Metrics) Attempt(_ context.Context, a closer.Attempt) {
	c := &m.calls
	if a.Call != closer.CallClose && a.Call != closer.CallQuery {
		return
	}
	host, class := m.hosts.of(a.Host), a.Class
	if class < closer.Closed || class > closer.Unknown {
		class = closer.Unknown
	}
	key := callHostClass{a.Call, host, class}
	c.made.of(key).Inc()
	c.duration.of(key).Observe(a.Duration.Seconds())
	if a.Failure != "" {
		c.failures.of(callHostFailure{a.Call, host, knownFailure(a.Failure)}).Inc()
	} else {
		c.answers.of(callCode{a.Call, m.code(a.Code)}).Inc()
	}
}
