//go:build apachekafka && chaos

package crashtest

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/rebalances"
	"github.com/closeorder/closeorder/internal/world"
	"github.com/schollz/progressbar/v3"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/term"
)

// What TestRebalances is asked for, by make rebalances.
var (
	binaries  = flag.String("binary", "", "programs to measure one after the other, name=path or path, with commas between; the last one is held to the limits. Without: the one of this tree")
	memberIDs = flag.String("ids", "dynamic,static", "kinds of member ids to measure")
	earlier   = flag.String("with", "", "JSON of an earlier run, shown beside this one")
	jsonFile  = flag.String("json", "", "write all figures to this file")
	plotFile  = flag.String("plot", "", "write the plot to this file, SVG")
	session   = flag.Duration("session", 45*time.Second, "kafka.session_timeout of the workers")
)

const (
	rebalancePartitions = 24
	rebalancePerSecond  = 150
	// waitSlack is what a partition may wait longer than the session: the
	// coordinator looks at its timers, the others join, and the new owner reads.
	waitSlack = 5 * time.Second
)

// TestRebalances measures what a death, a join, a leave and a rolling restart
// cost the partitions that have nothing to do with it, with dynamic and with
// static ids. It takes minutes and wants a machine that has little else to do.
func TestRebalances(t *testing.T) {
	var results, held []rebalances.Result
	if *earlier != "" {
		text, err := os.ReadFile(*earlier)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &results); err != nil {
			t.Fatalf("%s: %v", *earlier, err)
		}
	}
	own := program
	t.Cleanup(func() { program = own })
	programs := strings.Split(*binaries, ",")
	for i, text := range programs {
		name, path, named := strings.Cut(text, "=")
		switch {
		case text == "":
			name, path = "now", own
		case !named:
			name, path = filepath.Base(text), text
		}
		program = path
		for ids := range strings.SplitSeq(*memberIDs, ",") {
			t.Run(name+" with "+ids+" ids", func(t *testing.T) {
				results = append(results, rebalances.Measure(newMeasurement(t, name, ids).run()))
				if i == len(programs)-1 {
					held = append(held, results[len(results)-1])
				}
			})
		}
	}
	fmt.Println(rebalances.Table(results))
	for _, res := range held {
		for _, complaint := range res.Complaints() {
			t.Error(complaint)
		}
	}
	if *jsonFile != "" {
		text, err := json.MarshalIndent(results, "", " ")
		if err == nil {
			err = os.WriteFile(*jsonFile, text, 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if *plotFile != "" {
		var svg strings.Builder
		err := rebalances.WritePlot(&svg, results)
		if err == nil {
			err = os.WriteFile(*plotFile, []byte(svg.String()), 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// measurement is a stage on which all scenes are played.
type measurement struct {
	*stage
	name, ids string
	scenes    []rebalances.Scene
	starts    map[*worker][]time.Time
	ended     map[string]time.Time
	bar       *progressbar.ProgressBar // nil: nobody looks
}

func newMeasurement(t *testing.T, name, ids string) *measurement {
	names := []string{"worker-0", "worker-1", "worker-2", "worker-3"}
	set := settings{
		gateway:    gatewaysim.Config{Latency: gatewaysim.Latency{Min: 25 * time.Millisecond, Max: 35 * time.Millisecond}},
		partitions: rebalancePartitions, workers: names,
		env: []string{
			"CLOSEORDER_KAFKA_SESSION_TIMEOUT=" + session.String(),
			"CLOSEORDER_KAFKA_REBALANCE_TIMEOUT=" + max(60*time.Second, *session).String(),
		},
	}
	switch ids {
	case "dynamic":
	case "static":
		set.static = names
	default:
		t.Fatalf("-ids %s: dynamic, static or both", ids)
	}
	m := &measurement{
		stage: newStage(t, set), name: name, ids: ids,
		starts: make(map[*worker][]time.Time), ended: make(map[string]time.Time),
	}
	// What an order service waits for is the moment at which the outcome
	// stands in the topic: the broker's clock says it.
	logAppendTime := "LogAppendTime"
	ctx, cancel := m.context()
	defer cancel()
	changed, err := m.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "message.timestamp.type", Value: &logAppendTime}}, outcomes)
	m.must(err)
	for _, c := range changed {
		m.must(c.Err)
	}
	return m
}

// run plays the scenes and returns what was seen.
func (m *measurement) run() rebalances.Run {
	m.t.Helper()
	three, fourth := m.workers[:3], m.workers[3]
	// The gateway of the stage does not notice whom a request was moved from:
	// the load is even, so that a second without an outcome is one of the
	// worker's making.
	load := openShop(m.t, m.kafka.Addrs(), requests, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	for _, w := range three {
		m.start(w)
	}
	m.awaitGroup(len(three))
	m.awaitAssigned(three...)

	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { m.publish(load, stop) })
	wg.Go(func() { m.watch(stop) })
	func() {
		defer wg.Wait()
		defer close(stop)
		defer m.progress(2**session + 3*time.Minute)()
		m.play(three, fourth)
	}()

	ctx, cancel := m.context()
	defer cancel()
	sent, err := load.flush(ctx)
	m.must(err)
	m.awaitAnswers(sent)
	m.stopAll()
	m.eventually("a look", func(ctx context.Context) (bool, error) { return true, m.look(ctx) })
	m.looks[len(m.looks)-1].Stopped = true
	report, e := m.check()
	if report.Requests != sent {
		m.t.Errorf("%d requests were acknowledged, the topic holds %d", sent, report.Requests)
	}
	run := rebalances.Run{Program: m.name, IDs: m.ids, Scenes: m.scenes, Requests: m.seen(e), Ended: m.ended}
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
	return run
}

// play disturbs the workers, one scene after the other. Each begins in quiet
// times, and ends when all should be as before.
func (m *measurement) play(three []*worker, fourth *worker) {
	const before, settle, quiet = 5 * time.Second, 20 * time.Second, 30 * time.Second
	static := m.ids == "static"
	m.pause(10 * time.Second) // warms up
	m.scene("quiet times", 0, quiet, func(*rebalances.Scene) {})
	m.scene("a member is killed and started again", before, *session+settle, func(*rebalances.Scene) {
		m.kill(three[1])
		m.start(three[1])
	})
	m.scene("a fourth member joins", before, settle, func(s *rebalances.Scene) {
		s.MayMove = rebalancePartitions / 4
		m.start(fourth)
	})
	left := settle
	if static { // it may come back: the group waits for it
		left += *session
	}
	m.scene("it leaves", before, left, func(*rebalances.Scene) { m.stop(fourth) })
	m.scene("rolling restart", before, settle, func(s *rebalances.Scene) {
		if !static { // one has to give and to take a third of all, three times
			s.MayMove = rebalancePartitions
		}
		for _, w := range three {
			m.stop(w)
			m.start(w)
			m.awaitAssigned(w)
			m.pause(before)
		}
	})
}

// scene plays one.
func (m *measurement) scene(name string, before, after time.Duration, do func(*rebalances.Scene)) {
	if m.bar != nil {
		m.bar.Describe(name)
	}
	m.scenes = append(m.scenes, rebalances.Scene{Name: name, From: time.Now(), MayWait: *session + waitSlack})
	s := &m.scenes[len(m.scenes)-1]
	m.pause(before)
	do(s)
	m.pause(after)
	s.To = time.Now()
}

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

// publish asks for an order each time, always for another one, evenly over time,
// partitions and merchants.
func (m *measurement) publish(load *shop, stop <-chan struct{}) {
	const each = time.Second / rebalancePerSecond
	merchants := []string{
		`"mch_id":"1900000109"`, `"mch_id":"1900000110"`, `"mch_id":"1900000111","sub_mch_id":"1900000001"`,
	}
	begin := time.Now()
	for i := 0; pause(stop, time.Until(begin.Add(time.Duration(i)*each))); i++ {
		no := fmt.Sprintf("R%d", i)
		merchant := merchants[i/rebalancePartitions%len(merchants)]
		load.send(m.t.Context(), world.Message{Key: []byte(no), Value: fmt.Appendf(nil, `{%s,"out_trade_no":%q}`, merchant, no)})
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
		order := events.Order{MchID: entry.MchID, SubMchID: entry.SubMchID, OutTradeNo: entry.OutTradeNo}
		calls[order] = entry.Calls
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
		req.Partition, req.Published = r.Partition, r.At
		all = append(all, req)
	}
	return all
}

func (m *measurement) pause(d time.Duration) { pause(m.t.Context().Done(), d) }

// progress shows how far it is, on a terminal.
func (m *measurement) progress(total time.Duration) (end func()) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func() {}
	}
	m.bar = progressbar.NewOptions(int(total/time.Second),
		progressbar.OptionSetWriter(os.Stderr), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for pause(stop, time.Second) {
			_ = m.bar.Add(1) // where it cannot be shown nobody misses it
		}
	})
	return func() {
		close(stop)
		wg.Wait()
		_ = m.bar.Finish()
	}
}
