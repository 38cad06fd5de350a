//go:build apachekafka

package drills

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// drill is one fault, from a worker that is well to one that is well again.
type drill struct {
	name string
	set  setting
	// begin brings the fault, or what of it is not in set, with the request of an
	// order on its way; end mends it.
	begin, end func(*scene)
	// fromStart: the fault is in set, and is there before the worker.
	fromStart bool
	// restarts: an orchestrator would rightly restart the worker.
	restarts bool
}

// order is asked about in each drill. Before it an ordinary one is answered
// where the fault is not there from the beginning.
const order = "T2"

// Each drill does to a worker what its name says, and all that the runbook says of
// it is there to be seen. Nobody is restarted by it but the one that is stopped
// itself, and when it is over its request is answered.
func TestDrills(t *testing.T) {
	kafka := apachekafka.ForTest(t, apachekafka.Config{})
	ahead := time.Now().Add(10 * time.Minute).Format(time.RFC3339)
	aside := []drill{
		{name: "The worker is stopped", restarts: true,
			begin: func(s *scene) { s.send(s.worker, syscall.SIGSTOP); s.ask(order) },
			end:   func(s *scene) { s.send(s.worker, syscall.SIGCONT) }},
		{name: "The gateway is stopped",
			begin: func(s *scene) {
				s.send(s.gateway, syscall.SIGSTOP)
				s.ask(order, "T3", "T4", "T5", "T6", "T7", "T8", "T9")
			},
			end: func(s *scene) { s.send(s.gateway, syscall.SIGCONT) }},
		{name: "A wrong API key", fromStart: true, set: setting{merchants: merchantsFile("0123456789abcdef0123456789abcdef")},
			begin: func(s *scene) { s.ask(order) },
			end:   func(s *scene) { s.writeMerchants(merchantsFile(gatewaysim.DirectKey)) }},
		{name: "A held merchant", fromStart: true, set: setting{gateway: []string{"--refuse", "1900000109=NOAUTH"}},
			begin: func(s *scene) { s.ask(order) }},
		{name: "A missing topic", fromStart: true, set: setting{lacks: "outcomes"},
			begin: func(s *scene) { s.ask(order) },
			end:   func(s *scene) { s.makeTopics() }},
		{name: "Clocks ten minutes apart", fromStart: true, set: setting{gateway: []string{"--clock-ahead", "10m"}, env: []string{"CLOSEORDER_MIN_ORDER_AGE=5s"}},
			begin: func(s *scene) {
				s.must("request", "--mch-id", "1900000109", "--out-trade-no", order, "--order-created-at", ahead)
			}},
	}
	// With a call in flight when the broker goes: its outcome cannot be published.
	// A session that ends well after publishing has failed for so long that the
	// worker is not ready: both are looked for.
	slow := setting{gateway: []string{"--latency", "1500ms"}, env: []string{"CLOSEORDER_KAFKA_SESSION_TIMEOUT=30s", "CLOSEORDER_KAFKA_REBALANCE_TIMEOUT=30s"}}
	// What is done to the broker is done to all: one at a time, behind the others.
	last := []drill{
		{name: "The broker is stopped", set: slow,
			begin: func(s *scene) { s.ask(order); s.stopBroker() },
			end:   func(s *scene) { s.good(s.kafka.SignalBroker(0, syscall.SIGCONT)) }},
		{name: "A full disk", set: slow,
			begin: func(s *scene) { s.ask(order); s.fillDisk() },
			end:   func(s *scene) { s.freeDisk() }},
	}
	var names []string
	for _, d := range slices.Concat(aside, last) {
		names = append(names, d.name)
	}
	if slices.Sort(names); !slices.Equal(names, slices.Sorted(slices.Values(drillNames))) {
		t.Fatalf("the drills are %q, want %q", names, drillNames)
	}
	t.Run("aside", func(t *testing.T) {
		for _, d := range aside {
			t.Run(d.name, func(t *testing.T) { t.Parallel(); d.do(t, kafka) })
		}
	})
	for _, d := range last {
		t.Run(d.name, func(t *testing.T) { d.do(t, kafka) })
	}
}

func (d drill) do(t *testing.T, kafka *apachekafka.Cluster) {
	s := newScene(t, kafka, "drill-"+strings.ToLower(strings.ReplaceAll(d.name, " ", "-")), d.set)
	if !d.fromStart {
		s.ask("T1")
		s.answered("T1", "closed")
	}
	if d.set.lacks == "" {
		// What it has said until it was ready is of topics that are new.
		s.from = s.worker.size()
	}
	verdict := func() {}
	if !d.restarts {
		verdict = s.probe()
	}
	d.begin(s)
	s.compare(d.name, order)
	if d.end != nil {
		d.end(s)
		s.answered(order, "closed")
		s.eventually("a worker that is ready again", func() error { return s.well("/readyz") })
	}
	verdict()
	if err := s.worker.stop(syscall.SIGTERM); err != nil {
		t.Errorf("the worker does not end well: %v", err)
	}
}
