package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// kafkaMetrics are those of what is written to Kafka, and of the group.
type kafkaMetrics struct {
	published children[string, written]
	committed prometheus.Observer
	refused   prometheus.Counter
	rebalance prometheus.Counter
	got, gone prometheus.Counter
	drained   prometheus.Observer
	unfetched children[string, prometheus.Counter]
	throttled children[string, prometheus.Counter]
}

// written is what is counted of one topic.
type written struct {
	records, errors prometheus.Counter
	duration        prometheus.Observer
}

// Requests to brokers take milliseconds; a drain as long as a call.
var (
	writeBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	drainBuckets = []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
)

func (k *kafkaMetrics) init(to register) {
	records := to.counter("closeorder_records_published_total", "Records that are acknowledged by all in-sync replicas.", "topic")
	failed := to.counter("closeorder_publish_errors_total", "Requests to a broker that wrote nothing of a topic; they are made again.", "topic")
	duration := to.histogram("closeorder_publish_duration_seconds", "How long a request to a broker with records of a topic took, those that failed too.", writeBuckets, "topic")
	k.published.make = func(topic string) written {
		return written{records.WithLabelValues(topic), failed.WithLabelValues(topic), duration.WithLabelValues(topic)}
	}
	k.committed = to.histogram("closeorder_commit_duration_seconds", "How long a commit of offsets, or a transaction, took, those that failed too.", writeBuckets).WithLabelValues()
	k.refused = to.counter("closeorder_commit_errors_total", "Commits of offsets, or transactions, that failed; they are made again.").WithLabelValues()
	k.rebalance = to.counter("closeorder_rebalances_total", "Generations of the group that this worker has seen.").WithLabelValues()
	k.got = to.counter("closeorder_partitions_assigned_total", "Partitions that the group gave to this worker.").WithLabelValues()
	k.gone = to.counter("closeorder_partitions_given_up_total", "Partitions that this worker gave up in good order.").WithLabelValues()
	k.drained = to.histogram("closeorder_drain_duration_seconds", "How long it took to give partitions up: calls in flight, outcomes, commits.", drainBuckets).WithLabelValues()
	unfetched := to.counter("closeorder_fetch_errors_total", "Times that records of a partition could not be fetched; it is tried again.", "topic")
	k.unfetched.make = func(topic string) prometheus.Counter { return unfetched.WithLabelValues(topic) }
	throttled := to.counter("closeorder_throttled_seconds_total", "For how long brokers' quotas held requests back.", "api")
	k.throttled.make = func(api string) prometheus.Counter { return throttled.WithLabelValues(api) }
}

// Published counts a request with records of one topic.
func (m *Metrics) Published(topic string, records int, took time.Duration, err error) {
	w := m.kafka.published.of(m.topics.of(topic))
	w.duration.Observe(took.Seconds())
	if err != nil {
		w.errors.Inc()
		return
	}
	w.records.Add(float64(max(records, 0)))
}

// Committed counts a commit.
func (m *Metrics) Committed(took time.Duration, err error) {
	m.kafka.committed.Observe(took.Seconds())
	if err != nil {
		m.kafka.refused.Inc()
	}
}

// Assigned counts a rebalance.
func (m *Metrics) Assigned(got, _ int) {
	m.kafka.rebalance.Inc()
	m.kafka.got.Add(float64(max(got, 0)))
}

// Drained counts partitions that were given up.
func (m *Metrics) Drained(partitions int, took time.Duration) {
	m.kafka.gone.Add(float64(max(partitions, 0)))
	m.kafka.drained.Observe(took.Seconds())
}

// Unfetched counts a fetch that failed.
func (m *Metrics) Unfetched(topic string, _ int, _ error) {
	m.kafka.unfetched.of(m.topics.of(topic)).Inc()
}

// Throttled adds up what quotas cost.
func (m *Metrics) Throttled(_ int, api string, wait time.Duration) {
	m.kafka.throttled.of(m.apis.of(api)).Add(max(wait, 0).Seconds())
}
