package metrics

import (
	"sync"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/prometheus/client_golang/prometheus"
)

// gauge is one of the metrics that come from the worker's state.
type gauge struct {
	desc *prometheus.Desc
}

// gauges are all of them, in the order in which they were made.
type gauges []*prometheus.Desc

func (g *gauges) gauge(name, help string, labels ...string) gauge {
	d := prometheus.NewDesc(name, help, labels, nil)
	*g = append(*g, d)
	return gauge{d}
}

var (
	stateGauges gauges

	stateReadable = stateGauges.gauge("closeorder_state_readable", "1 where the worker has told its state, 0 where it did not within a few seconds: then it is stuck, and the other metrics of its state are left out.")
	live          = stateGauges.gauge("closeorder_live", "1 where requests make progress, or wait for a reason that has a name; 0 where the worker is stuck.")
	ready         = stateGauges.gauge("closeorder_ready", "1 for a member of the group, with partitions or as a spare, that can publish.")
	stuckReasons  = stateGauges.gauge("closeorder_stuck_reasons", "How many things are stuck; /statusz names them.")
	waits         = stateGauges.gauge("closeorder_waits", "1 where requests wait for this reason.", "reason")
	started       = stateGauges.gauge("closeorder_start_time_seconds", "When the worker was made, since the epoch.")

	memberJoined     = stateGauges.gauge("closeorder_member_joined", "1 where the group has this worker in its present generation.")
	memberGeneration = stateGauges.gauge("closeorder_member_generation", "The generation of the group that the worker knows.")
	leaseRemaining   = stateGauges.gauge("closeorder_lease_remaining_seconds", "For how long the partitions are surely this worker's own; 0 where they are not.")

	partitions       = stateGauges.gauge("closeorder_partitions", "Partitions that the worker owns.", "topic")
	partitionLag     = stateGauges.gauge("closeorder_partition_lag", "Offsets of a partition that are not finished.", "topic", "partition")
	partitionStopped = stateGauges.gauge("closeorder_partition_stopped", "1 where a partition is stopped until somebody has looked at it.", "topic", "partition")
	partitionFailing = stateGauges.gauge("closeorder_partition_fetch_failing", "1 where nothing can be fetched of a partition at present.", "topic", "partition")

	dueNow           = stateGauges.gauge("closeorder_due_now", "Requests that more workers could serve at once: the number to scale on. While the gateway does not answer it stays as it was when that began.")
	oldestUnanswered = stateGauges.gauge("closeorder_oldest_unanswered_seconds", "For how long the oldest request in memory that has no answer has been asked for; 0 where there is none.")
	openRequests     = stateGauges.gauge("closeorder_open_requests", "Requests that are read and not finished.")
	tierWaiting      = stateGauges.gauge("closeorder_tier_waiting", "Requests of a retry topic in memory that are not due, or wait for their merchant.", "topic")
	tierUnread       = stateGauges.gauge("closeorder_tier_unread", "Records of a retry topic that are not read yet, of the partitions of this worker.", "topic")

	callSlots   = stateGauges.gauge("closeorder_call_slots", "The most turns with a call slot (max_in_flight).")
	inFlight    = stateGauges.gauge("closeorder_in_flight", "Turns that have a call slot.")
	resting     = stateGauges.gauge("closeorder_resting", "Turns that wait for a rate, or between two calls.")
	lanesReady  = stateGauges.gauge("closeorder_lanes_ready", "Orders that wait for a call slot.")
	lanes       = stateGauges.gauge("closeorder_lanes", "Orders with requests in memory.")
	unpublished = stateGauges.gauge("closeorder_unpublished", "Decisions on their way to the topics.")
	longestTurn = stateGauges.gauge("closeorder_longest_turn_seconds", "For how long the oldest turn goes on.")

	breakerState = stateGauges.gauge("closeorder_breaker_state", "1 for the state that the gateway breaker is in: closed (calls go through), open (none does), half-open (one does, on trial).", "state")
	breakerOpen  = stateGauges.gauge("closeorder_breaker_open_seconds", "For how long the breaker has not been closed; 0 while it is.")
	breakerLimit = stateGauges.gauge("closeorder_breaker_limit", "How many calls the breaker lets be in flight.")

	hostInUse   = stateGauges.gauge("closeorder_host_in_use", "1 where new calls go to this host of the gateway when it is its turn.", "host")
	hostFailing = stateGauges.gauge("closeorder_host_failing", "1 where most calls to this host fail, so that it gets few at a time.", "host")
	hostLimit   = stateGauges.gauge("closeorder_host_limit", "The most calls at once that there may be to this host at present.", "host")

	merchantsHeld = stateGauges.gauge("closeorder_merchants_held", "Merchants whose requests wait because the gateway refuses them, or does not answer them.", "reason")
	merchantHeld  = stateGauges.gauge("closeorder_merchant_held", "Holds of a merchant, of all of it or of parts; there is none where nothing of it is held.", "mch_id", "reason")
	oldestHold    = stateGauges.gauge("closeorder_oldest_hold_seconds", "For how long the merchant is held that was first; 0 where none is.")

	publishFailing = stateGauges.gauge("closeorder_publish_failing_seconds", "For how long no broker has acknowledged anything though something is on its way; 0 where that works.")
	commitFailing  = stateGauges.gauge("closeorder_commit_failing_seconds", "For how long offsets cannot be committed; 0 where they can.")
	commitPending  = stateGauges.gauge("closeorder_commit_pending_seconds", "For how long finished offsets wait for their commit; 0 where none do.")
	refusedRecords = stateGauges.gauge("closeorder_refused_records", "Records that their topic does not take; their requests wait.")
	setAside       = stateGauges.gauge("closeorder_publish_blocked", "1 where, with exactly once, partitions are set aside that cannot be written.")

	bufferedBytes = stateGauges.gauge("closeorder_buffered_bytes", "What is held of records and requests.")
	bufferedLimit = stateGauges.gauge("closeorder_buffered_limit_bytes", "The most that is held of records and requests.")
	connections   = stateGauges.gauge("closeorder_kafka_connections", "Connections to brokers that are open.")
)

// The words of labels that are fixed.
var (
	breakerStates = []string{"closed", "open", "half-open"}
	holdReasons   = []string{"refused", "silent"}
	waitReasons   = []string{"gateway", "merchants", "publishing", "committing", "partition_stopped", "fetching", "refused_records", "quotas"}
)

// throttledLong is from when on quotas are a reason to wait: as in the health of
// the worker.
const throttledLong = 5 * time.Second

// stateCollector asks the worker at each scrape. A worker that is stuck in one of
// its locks does not answer: then the scrape says so, in time.
type stateCollector struct {
	patience         time.Duration
	merchants, hosts *bound

	mu      sync.Mutex
	state   func() consumer.State
	hostsOf func() []closer.HostHealth
	asking  chan answered // while nobody has read the answer of the last question
}

type answered struct {
	state consumer.State
	hosts []closer.HostHealth
}

func (c *stateCollector) watch(state func() consumer.State, hosts func() []closer.HostHealth) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.hostsOf = state, hosts
}

// ask returns what the worker says, or false where it has not said it in time. A
// question that is not answered stays the only one: scrapes of a worker that is
// stuck for hours leave one goroutine behind, not thousands. One that was answered
// after its scrape was over says how the worker was then: it is asked anew. Scrapes
// at the same time take turns.
func (c *stateCollector) ask() (answered, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.asking:
		c.asking = nil
	default:
	}
	if c.asking == nil {
		asking := make(chan answered, 1)
		state, hosts := c.state, c.hostsOf
		go func() { asking <- answered{state(), hosts()} }()
		c.asking = asking
	}
	timeout := time.NewTimer(c.patience)
	defer timeout.Stop()
	select {
	case a := <-c.asking:
		c.asking = nil
		return a, true
	case <-timeout.C:
		return answered{}, false
	}
}

// Describe names all metrics of the state. See [prometheus.Collector].
func (c *stateCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range stateGauges {
		to <- d
	}
}

// Collect asks the worker, and shows what it says.
func (c *stateCollector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	watched := c.state != nil
	c.mu.Unlock()
	if !watched {
		return
	}
	out := sink{to}
	a, told := c.ask()
	out.flag(stateReadable, told)
	if !told {
		return
	}
	c.show(out, &a.state)
	c.showHosts(out, a.hosts)
	c.showHolds(out, &a.state)
}

// sink takes values.
type sink struct{ to chan<- prometheus.Metric }

func (s sink) value(g gauge, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, v, labels...)
}

func (s sink) count(g gauge, n int, labels ...string) { s.value(g, float64(n), labels...) }

func (s sink) flag(g gauge, is bool, labels ...string) {
	v := 0.0
	if is {
		v = 1
	}
	s.value(g, v, labels...)
}

// since is an age: 0 where there is no such time.
func (s sink) since(g gauge, then, now time.Time) {
	age := time.Duration(0)
	if !then.IsZero() {
		age = max(now.Sub(then), 0)
	}
	s.value(g, age.Seconds())
}
