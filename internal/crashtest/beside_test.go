//go:build apachekafka

package crashtest

import (
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/rebalances"
	"github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kgo"
)

// beside is one worker under the load of a measurement, at the same moments and the
// same broker, with a group, topics and a gateway of its own: nobody disturbs it.
// What it does less in a second is the machine's doing.
type beside struct {
	m        *measurement
	env      []string
	worker   *worker
	load     *shop
	observer *world.Observer
	due      map[string]time.Time
}

const (
	besideGroup    = "beside"
	besideRequests = "beside.requests"
	besideOutcomes = "beside.outcomes"
)

func newBeside(m *measurement) *beside {
	m.t.Helper()
	sim, err := gatewaysim.New(gatewaysim.Config{Latency: measuredLatency, History: -1})
	m.must(err)
	b := &beside{m: m, due: make(map[string]time.Time)}
	b.env = append(slices.Clone(m.env),
		"CLOSEORDER_KAFKA_GROUP="+besideGroup, "CLOSEORDER_TOPICS_REQUESTS="+besideRequests, "CLOSEORDER_TOPICS_OUTCOMES="+besideOutcomes,
		"CLOSEORDER_TOPICS_DEAD_LETTERS=beside.dead-letters", "CLOSEORDER_TOPICS_RETRIES_PREFIX=beside.retries")
	own := m.env
	m.env = b.env
	m.stage.run("topics", "create", "--partitions", strconv.Itoa(m.partitions))
	m.env = own
	m.stamped(besideOutcomes)
	b.load = openShop(m.t, m.kafka.Addrs(), besideRequests, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	host := serveGateway(m.t, sim)
	b.worker = &worker{name: "beside", host: host, log: filepath.Join(m.t.TempDir(), "beside.log"), env: append(slices.Clone(b.env), "CLOSEORDER_KAFKA_CLIENT_ID=beside", "CLOSEORDER_GATEWAY_URLS="+host.url())}
	m.t.Cleanup(func() { _ = b.worker.end(syscall.SIGKILL) }) // it runs on where the test has failed
	b.observer, err = world.NewObserver(besideGroup, []string{besideRequests, besideOutcomes}, kgo.SeedBrokers(m.kafka.Addrs()...), kgo.AlwaysRetryEOF())
	m.must(err)
	m.t.Cleanup(b.observer.Close)
	return b
}

func (b *beside) start() {
	b.m.t.Helper()
	b.m.must(b.worker.start())
	b.m.awaitAssigned(b.worker)
}

// ends waits until all is answered, ends the worker and returns what was seen.
func (b *beside) ends() (all []rebalances.Request) {
	b.m.t.Helper()
	ctx, cancel := b.m.context()
	defer cancel()
	sent, err := b.load.flush(ctx)
	b.m.must(err)
	answers := make(map[events.Source]time.Time)
	read := 0
	for len(answers) < sent {
		_, err := b.observer.Look(ctx)
		b.m.must(err)
		records := b.observer.Records(besideOutcomes)
		for _, r := range records[read:] {
			o, err := events.DecodeOutcome(r.Message)
			b.m.must(err)
			if _, again := answers[o.Source]; !again {
				answers[o.Source] = r.At
			}
		}
		read = len(records)
		pause(ctx.Done(), 250*time.Millisecond)
	}
	b.m.must(b.worker.stop())
	for _, r := range b.observer.Records(besideRequests) {
		all = append(all, rebalances.Request{Partition: r.Partition, Published: r.At, Due: b.due[string(r.Key)], Answered: answers[r.Source()], Owner: besideGroup})
	}
	return all
}
