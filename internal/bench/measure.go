package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// Figures are what one run of one program came to.
type Figures struct {
	Scenario string
	Over     string // http or tls
	Program  string
	Round    int
	// Requests that the program was given, those that only warmed it up left
	// out, and Answered those that it gave an outcome.
	Requests, Answered int
	// Lost have no outcome at the end, Repeated more than one. In a scenario with
	// a window, or a merchant in trouble, what is lost is only late.
	Lost, Repeated int
	// Seconds from the first request, or from the start of a program whose
	// requests waited for it, to the last outcome.
	Seconds float64
	// First is the seconds until the first outcome, of a program whose requests
	// waited for it.
	First float64 `json:",omitempty"`
	// PerSecond is outcomes per second, from the first one on where requests
	// waited.
	PerSecond float64
	// Ideal is PerSecond as a share of what the limit of calls and the gateway's
	// latency allow, where they are what bounds it.
	Ideal float64 `json:",omitempty"`
	// Microseconds of CPU for each outcome.
	WorkerCPU, GatewayCPU, BrokerCPU float64
	// PeakMiB is the worker's resident memory at its most.
	PeakMiB float64
	// P50 and P99, in ms, are of the waiting times of the healthy merchants: the
	// append of the outcome less that of the request.
	P50, P99 float64
	// SeenP50 and SeenP99, in ms, are until a reader with
	// isolation.level=read_committed had the outcome, where there is one.
	SeenP50 float64 `json:",omitempty"`
	SeenP99 float64 `json:",omitempty"`
	// Others is how many cores were used by what is not of the lab: above 0.1
	// the run is noisy.
	Others   float64
	Outcomes map[string]int
}

// patience is how long a run may go on when all is published.
const patience = 90 * time.Second

// lab runs one thing after the other.
type lab struct {
	log io.Writer
	// broker is kfakeBroker, also where it is empty, or apacheKafka.
	broker string
}

// The brokers that a lab knows.
const (
	kfakeBroker = "kfake"
	apacheKafka = "apache-kafka"
)

// run measures a program in a scenario.
func (l *lab) run(ctx context.Context, s scenario, over string, p program) (_ Figures, err error) {
	stage, err := l.stage(ctx, over, s.parts(), s.gateway)
	if err != nil {
		return Figures{}, err
	}
	defer stage.close()
	if err := p.prepare(ctx, stage, s); err != nil {
		return Figures{}, err
	}
	m := &measurement{stage: stage, scenario: s, flows: s.of(p), program: p}
	defer m.close()
	if s.guarantees {
		if m.reader, err = newReader(stage); err != nil {
			return Figures{}, err
		}
	}
	if s.waiting {
		err = m.waiting(ctx)
	} else {
		err = m.loaded(ctx)
	}
	if err != nil {
		return Figures{}, err
	}
	f, err := m.figures(ctx)
	f.Scenario, f.Over, f.Program = s.name, over, p.name
	return f, err
}

// measurement is one run under way.
type measurement struct {
	stage    *stage
	scenario scenario
	flows    []flow
	program  program

	worker   *process
	reader   *reader // of the outcomes, where what it sees is looked at
	tally    *tally
	from, to usage
	begun    time.Time // from which seconds count
	first    time.Time // when the first outcome was seen, of waiting requests
	before   int       // outcomes that are none of the load's
	answered int       // when it ended, with those before
}

func (m *measurement) close() {
	if m.reader != nil {
		m.reader.close()
	}
	if m.tally != nil {
		m.tally.close()
	}
	m.worker.stop()
}

func (m *measurement) requests() int {
	n := 0
	for _, f := range m.flows {
		n += f.n
	}
	return n
}

// healthy is the first merchant that nothing is wrong with.
func (m *measurement) healthy() int {
	i := slices.IndexFunc(m.flows, func(f flow) bool { return f.healthy })
	return m.flows[i].merchant
}

// loaded: the worker is there and warm before the load comes.
func (m *measurement) loaded(ctx context.Context) (err error) {
	if m.worker, err = m.program.start(m.stage, m.scenario); err != nil {
		return err
	}
	if err := m.stage.burst(ctx, warmUp, flow{merchant: m.healthy(), n: warm}); err != nil {
		return err
	}
	done, err := m.until(ctx, warm, 40*time.Second)
	if err == nil && !done {
		err = fmt.Errorf("%s did not answer the first %d requests", m.program.name, warm)
	}
	if err != nil {
		return err
	}
	if !sleep(ctx, time.Second) {
		return ctx.Err()
	}
	m.before = warm
	m.from = m.stage.usage(m.worker)
	m.begun = m.from.at
	if err := m.stage.load(ctx, m.flows); err != nil {
		return err
	}
	if m.healthyAlone() {
		err = m.untilHealthy(ctx)
	} else {
		_, err = m.until(ctx, warm+m.requests(), patience)
	}
	m.to = m.stage.usage(m.worker)
	return err
}

// healthyAlone: there are flows that nobody waits for.
func (m *measurement) healthyAlone() bool {
	for _, f := range m.flows {
		if !f.healthy {
			return true
		}
	}
	return false
}

// waiting: the load is there before the worker.
func (m *measurement) waiting(ctx context.Context) (err error) {
	if err := m.stage.load(ctx, m.flows); err != nil {
		return err
	}
	m.from = m.stage.usage(nil)
	m.begun = m.from.at
	if m.worker, err = m.program.start(m.stage, m.scenario); err != nil {
		return err
	}
	limit := patience
	if m.scenario.window > 0 {
		limit = m.scenario.window
	}
	_, err = m.until(ctx, m.requests(), limit)
	m.to = m.stage.usage(m.worker)
	return err
}

// outcomes is their number so far, repeats too: in the topic or, where there is a
// reader, those that it had.
func (m *measurement) outcomes(ctx context.Context) int {
	if m.reader != nil {
		return m.reader.outcomes()
	}
	return m.stage.answered(ctx)
}

// until waits for a number of outcomes, and reports whether they came.
func (m *measurement) until(ctx context.Context, want int, limit time.Duration) (bool, error) {
	for end := time.Now().Add(limit); ; {
		m.answered = m.outcomes(ctx)
		if m.answered > 0 && m.first.IsZero() {
			m.first = time.Now()
		}
		switch {
		case m.answered >= want:
			return true, nil
		case m.worker.hasEnded():
			return false, m.ended()
		case time.Now().After(end):
			return false, nil
		case !sleep(ctx, 10*time.Millisecond):
			return false, ctx.Err()
		}
	}
}

// ended is the error of a worker that should not have ended.
func (m *measurement) ended() error {
	why := "with status 0"
	if m.worker.err != nil {
		why = m.worker.err.Error()
	}
	return fmt.Errorf("%s has ended by itself: %s", m.program.name, why)
}

// untilHealthy waits for the outcomes of the healthy flows, a third of patience at
// most.
func (m *measurement) untilHealthy(ctx context.Context) (err error) {
	if m.tally, err = newTally(m.stage, len(m.flows)); err != nil {
		return err
	}
	for end := time.Now().Add(patience / 3); ; {
		if err := m.tally.read(ctx); err != nil {
			return err
		}
		m.answered = m.outcomes(ctx)
		switch {
		case m.tally.open(m.flows) == 0 || time.Now().After(end):
			return nil
		case m.worker.hasEnded():
			return m.ended()
		case !sleep(ctx, time.Second):
			return ctx.Err()
		}
	}
}

// tallied is the most requests whose waiting times are looked at: a million would
// take longer than the run.
const tallied = 200_000

func (m *measurement) figures(ctx context.Context) (Figures, error) {
	answered := m.answered - m.before
	per := func(to, from time.Duration) float64 {
		return float64((to - from).Nanoseconds()) / 1e3 / float64(max(answered, 1))
	}
	f := Figures{
		Requests: m.requests(), Answered: answered, Seconds: m.to.at.Sub(m.begun).Seconds(),
		WorkerCPU: per(m.to.worker, m.from.worker), GatewayCPU: per(m.to.gateway, m.from.gateway), BrokerCPU: per(m.to.broker, m.from.broker),
		PeakMiB: m.worker.peak(), Others: m.to.others(m.from),
	}
	f.PerSecond = float64(answered) / f.Seconds
	if m.scenario.waiting && !m.first.IsZero() {
		f.First = m.first.Sub(m.begun).Seconds()
		f.PerSecond = float64(answered) / max(f.Seconds-f.First, .001)
	}
	if m.scenario.ideal {
		f.Ideal = f.PerSecond * m.scenario.gateway.Latency.Seconds() / float64(m.scenario.limit())
	}
	if m.worker.hasEnded() {
		return f, m.ended()
	}
	if m.worker.scrapes.missed() {
		return f, fmt.Errorf("%s did not answer at /metrics: it is no measure of what that costs", m.program.name)
	}
	m.worker.stop() // what reads the topics now shall have the machine
	f.Lost = max(0, f.Requests-answered)
	if f.Requests > tallied {
		return f, nil
	}
	if m.tally == nil {
		var err error
		if m.tally, err = newTally(m.stage, len(m.flows)); err != nil {
			return f, err
		}
	}
	if err := m.tally.read(ctx); err != nil {
		return f, err
	}
	f.Lost, f.Repeated, f.Outcomes = m.tally.open(m.flows), m.tally.repeated, m.tally.byName
	waited := m.tally.waited(m.flows, m.to.at)
	f.P50, f.P99 = millis(quantile(waited, .5)), millis(quantile(waited, .99))
	if m.reader != nil {
		seen := m.tally.seen(m.flows, m.reader.times(), m.to.at)
		f.SeenP50, f.SeenP99 = millis(quantile(seen, .5)), millis(quantile(seen, .99))
	}
	return f, nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
