//go:build apachekafka

package crashtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/rebalances"
	"github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// demand says what is measured.
type demand struct {
	program    string // a name for what program is
	static     bool   // the workers' names are their kafka.instance_id
	partitions int
	perSecond  int // requests
	session    time.Duration
	first      int  // how many workers run from the start
	inFlight   int  // the most calls of each worker; 0: defaultInFlight
	beside     bool // a worker runs beside that nobody disturbs
}

func (d demand) ids() string {
	if d.static {
		return "static"
	}
	return "dynamic"
}

// measurement is a stage on which scenes are played under a load that is even
// over time, partitions and merchants, so that a second with few outcomes is of
// the workers' making. Some workers run from the start, and four may.
type measurement struct {
	*stage
	demand
	scenes []rebalances.Scene
	starts map[*worker][]time.Time
	ended  map[string]time.Time
	began  func(scene string)   // told of each scene
	due    map[string]time.Time // when each request was to be published, by out_trade_no
	beside *beside              // nil where there is none
}

// waitSlack is what a partition may wait longer than the session of its dead
// owner: the coordinator looks at its timers, the others join, the new owner
// reads where to begin.
const waitSlack = 5 * time.Second

// measuredLatency is that of the gateway.
var measuredLatency = gatewaysim.Latency{Min: 25 * time.Millisecond, Max: 35 * time.Millisecond}

func newMeasurement(t *testing.T, d demand) *measurement {
	names := []string{"worker-0", "worker-1", "worker-2", "worker-3"}
	set := settings{
		gateway:    gatewaysim.Config{Latency: measuredLatency},
		partitions: d.partitions, workers: names, inFlight: d.inFlight,
		env: []string{
			"CLOSEORDER_KAFKA_SESSION_TIMEOUT=" + d.session.String(),
			"CLOSEORDER_KAFKA_REBALANCE_TIMEOUT=" + max(60*time.Second, d.session).String(),
		},
	}
	if d.static {
		set.static = names
	}
	m := &measurement{
		stage: newStage(t, set), demand: d,
		starts: make(map[*worker][]time.Time), ended: make(map[string]time.Time), began: func(string) {},
		due: make(map[string]time.Time),
	}
	m.stamped(outcomes)
	if d.beside {
		m.beside = newBeside(m)
	}
	return m
}

// stamped has the broker's clock say when a record stands in a topic: what an order
// service waits for is the moment at which the outcome does.
func (m *measurement) stamped(topic string) {
	m.t.Helper()
	logAppendTime := "LogAppendTime"
	ctx, cancel := m.context()
	defer cancel()
	changed, err := m.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "message.timestamp.type", Value: &logAppendTime}}, topic)
	m.must(err)
	for _, c := range changed {
		m.must(c.Err)
	}
}

// run has the scenes played under load, waits for all outcomes, has everything
// checked and returns what was seen. The test fails for all that is wrong but
// two calls at a time, which are counted.
func (m *measurement) run(play func()) rebalances.Run {
	m.t.Helper()
	load := openShop(m.t, m.kafka.Addrs(), requests, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	first := m.workers[:m.first]
	for _, w := range first {
		m.start(w)
	}
	m.awaitGroup(len(first))
	m.awaitAssigned(first...)

	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { m.publish(m.t.Context(), load, stop, m.due) })
	wg.Go(func() { m.watch(stop) })
	if m.beside != nil {
		m.beside.start()
		wg.Go(func() { m.publish(m.t.Context(), m.beside.load, stop, m.beside.due) })
	}
	func() {
		defer wg.Wait()
		defer close(stop)
		m.pause(10 * time.Second) // warms up
		play()
	}()

	ctx, cancel := m.context()
	defer cancel()
	sent, err := load.flush(ctx)
	m.must(err)
	m.awaitAnswers(sent)
	m.stopAll()
	var beside []rebalances.Request
	if m.beside != nil {
		beside = m.beside.ends()
	}
	m.eventually("a look", func(ctx context.Context) (bool, error) { return true, m.look(ctx) })
	m.looks[len(m.looks)-1].Stopped = true
	report, e := m.check()
	if report.Requests != sent {
		m.t.Errorf("%d requests were acknowledged, the topic holds %d", sent, report.Requests)
	}
	m.count(report, e)
	return rebalances.Run{Program: m.program, IDs: m.ids(), Scenes: m.scenes, Requests: m.seen(e), Beside: beside, Ended: m.ended}
}

// count finds the scenes of the orders that had two calls at a time.
func (m *measurement) count(report world.Report, e world.Evidence) {
	published := make(map[events.Order]time.Time)
	for _, r := range e.Requests {
		if req, err := events.DecodeRequest(r.Message); err == nil {
			published[req.Order()] = r.At
		}
	}
	for _, f := range report.Findings {
		for i, s := range m.scenes {
			if at := published[f.Order]; f.Kind == world.SideBySide && !at.Before(s.From) && at.Before(s.To) {
				m.scenes[i].SideBySide++
			}
		}
	}
}

// scene plays one: quiet times, then what do does, and time for all to be as
// before.
func (m *measurement) scene(name string, before, after time.Duration, do func(*rebalances.Scene)) {
	m.began(name)
	m.scenes = append(m.scenes, rebalances.Scene{Name: name, From: time.Now(), MayWait: m.session + waitSlack})
	s := &m.scenes[len(m.scenes)-1]
	m.pause(before)
	do(s)
	m.pause(after)
	s.To = time.Now()
}

func (m *measurement) pause(d time.Duration) { pause(m.t.Context().Done(), d) }

func (m *measurement) start(w *worker) {
	m.t.Helper()
	m.happens(w.name + " starts")
	m.must(w.start())
	m.starts[w] = append(m.starts[w], time.Now())
}

func (m *measurement) stop(w *worker) {
	m.t.Helper()
	m.happens(w.name + " is stopped")
	m.must(w.stop())
	m.ended[m.process(w, time.Now())] = time.Now()
}

func (m *measurement) kill(w *worker) {
	m.t.Helper()
	m.happens(w.name + " is killed")
	m.must(w.kill())
	m.ended[m.process(w, time.Now())] = time.Now()
}

// happens notes an event of the present scene.
func (m *measurement) happens(what string) {
	m.note("%s", what)
	if n := len(m.scenes); n > 0 {
		m.scenes[n-1].Events = append(m.scenes[n-1].Events, rebalances.Event{At: time.Now(), What: what})
	}
}

// process names the process that w was at a time.
func (m *measurement) process(w *worker, at time.Time) string {
	n := 0
	for _, started := range m.starts[w] {
		if !started.After(at) {
			n++
		}
	}
	return fmt.Sprintf("%s, start %d", w.name, n)
}

// publish asks for another order each time, until stop is closed: an order that
// says its age, so that the close alone is proof.
func (d demand) publish(ctx context.Context, load *shop, stop <-chan struct{}, dues map[string]time.Time) {
	each := time.Second / time.Duration(d.perSecond)
	merchants := []string{
		`"mch_id":"1900000109"`, `"mch_id":"1900000110"`, `"mch_id":"1900000111","sub_mch_id":"1900000001"`,
	}
	begin := time.Now()
	created := begin.Add(-time.Hour).UTC().Format(time.RFC3339)
	for i := 0; ; i++ {
		due := begin.Add(time.Duration(i) * each)
		if !pause(stop, time.Until(due)) {
			return
		}
		no := fmt.Sprintf("R%d", i)
		dues[no] = due
		merchant := merchants[i/d.partitions%len(merchants)]
		load.send(ctx, world.Message{Key: []byte(no), Value: fmt.Appendf(nil, `{%s,"out_trade_no":%q,"order_created_at":%q}`, merchant, no, created)})
	}
}

// seen is what the topics and the gateway say of each request.
func (m *measurement) seen(e world.Evidence) []rebalances.Request {
	callers := make(map[string]*worker)
	for _, w := range m.workers {
		callers[w.host.addr] = w
	}
	calls := make(map[events.Order][]gatewaysim.Call)
	for _, entry := range e.Book {
		calls[events.Order{MchID: entry.MchID, SubMchID: entry.SubMchID, OutTradeNo: entry.OutTradeNo}] = entry.Calls
	}
	answers := make(map[events.Source]rebalances.Request)
	for _, r := range e.Outcomes {
		o, err := events.DecodeOutcome(r.Message)
		if _, again := answers[o.Source]; err != nil || again {
			continue // the check complains of what cannot be read
		}
		answer := rebalances.Request{Answered: r.At}
		order := events.Order{MchID: o.MchID, SubMchID: o.SubMchID, OutTradeNo: o.OutTradeNo}
		for _, c := range slices.Backward(calls[order]) {
			// To the millisecond, as the timestamps of records.
			if w := callers[c.Host]; w != nil && !c.Start.Truncate(time.Millisecond).After(r.At) {
				answer.Owner = m.process(w, c.Start)
				break
			}
		}
		answers[o.Source] = answer
	}
	var all []rebalances.Request
	for _, r := range e.Requests {
		req := answers[r.Source()]
		req.Partition, req.Published, req.Due = r.Partition, r.At, m.due[string(r.Key)]
		all = append(all, req)
	}
	return all
}
