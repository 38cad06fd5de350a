// Package metrics shows Prometheus what a worker does. It counts what the
// consumer's and the closer's observers are told, and asks for the worker's state
// when it is scraped. It knows no policy, serves no port and decides nothing.
//
//	consumer -> Metrics (Observer) ---.
//	closer   -> Metrics.Attempt    ---+--> /metrics
//	worker   -> State, Hosts, asked --'
//
// # How many series there are
//
// A series is a line of /metrics. However many merchants, orders and codes there
// are, one worker has at most
//
//	14*M + 9 + C*(R+5) + 18*T + 3*P + 3300
//
// of its own, and about 100 of the Go runtime and the process. M is
// metrics.merchants, R the number of retry topics, T that of all topics (R+3), P
// that of the partitions it has at the moment, and C is 160: the codes that are
// known (see codes.go), 64 that are not, and "other". 3300 covers the rest, which
// has labels of fixed words and at most ten hosts. With the defaults and 60
// partitions that is at most 6,800; a worker whose gateway has few moods shows a
// tenth of it.
package metrics

import (
	"cmp"
	"net/http"
	"runtime"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what metrics are made with. The zero Config works.
type Config struct {
	// Merchants is how many merchants have series of their own: those that are
	// seen first. All others are mch_id "other".
	Merchants int
	// Known reports whether a mch_id is one of a merchant that this worker
	// serves: others get no series of their own, as anybody may make them up. nil:
	// all are. It must be safe for concurrent use and quick.
	Known func(mchID string) bool
	// Version and Revision are those of the build.
	Version, Revision string
	// Patience is how long a scrape waits for the worker's state; 0: three
	// seconds.
	Patience time.Duration
}

// Metrics are those of one worker. It is a [consumer.Observer]; its methods are
// safe for concurrent use and allocate nothing for what was seen before.
type Metrics struct {
	registry  *prometheus.Registry
	codes     bound
	hosts     bound
	topics    bound
	apis      bound
	merchants bound

	requests requestMetrics
	calls    callMetrics
	kafka    kafkaMetrics
	state    stateCollector
}

var _ consumer.Observer = (*Metrics)(nil)

// Bounds of labels whose values come from elsewhere.
const (
	mostCodes  = 64 // that are not known
	mostHosts  = 10
	mostTopics = 64 // a worker has as many as it is configured with
	mostAPIs   = 32 // of Kafka
	mostOfOne  = 8  // codes of failures of one merchant
)

// other is the label of all that have no series of their own.
const other = "other"

// New makes the metrics of a worker that does not exist yet: it is made with them
// as its observers, and then they are to [Metrics.Watch] it.
func New(cfg Config) *Metrics {
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		codes:     bound{most: mostCodes, fits: isCode},
		hosts:     bound{most: mostHosts, fits: isText},
		topics:    bound{most: mostTopics, fits: isText},
		apis:      bound{most: mostAPIs, fits: isText},
		merchants: bound{most: cfg.Merchants, fits: func(id string) bool { return isMchID(id) && (cfg.Known == nil || cfg.Known(id)) }},
	}
	m.codes.admit(knownCodes()...)
	m.state = stateCollector{patience: cmp.Or(cfg.Patience, 3*time.Second), merchants: &m.merchants, hosts: &m.hosts}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "closeorder_build_info", Help: "Which build this is: 1.",
		ConstLabels: prometheus.Labels{"version": cfg.Version, "revision": cfg.Revision, "goversion": runtime.Version()},
	})
	build.Set(1)
	to := register{m.registry}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build, &m.state)
	m.requests.init(to)
	m.calls.init(to)
	m.kafka.init(to)
	return m
}

// Watch has the state of a worker asked for at each scrape, by State and Hosts of
// it. Call it once, before it is scraped.
func (m *Metrics) Watch(state func() consumer.State, hosts func() []closer.HostHealth) {
	m.state.watch(state, hosts)
}

// Gatherer is what /metrics shows, for tests.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Handler serves /metrics: as text, as OpenMetrics, or as protobuf, which alone has
// the native histograms; a Prometheus asks for what it takes. A metric that
// cannot be read is left out and counted, the rest is served.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry: m.registry, EnableOpenMetrics: true, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 8,
	})
}

// register makes metrics that are registered.
type register struct{ to prometheus.Registerer }

func (r register) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.to.MustRegister(c)
	return c
}

// histogram is one that is classic and native at the same time: the buckets are
// for those that cannot read the native one, whose own are a tenth apart.
func (r register) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
	r.to.MustRegister(h)
	return h
}
