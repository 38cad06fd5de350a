package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// planted is a report of three rounds: closeorder has twice the throughput and half
// the CPU of franz-go in each, though all figures double from round to round.
func planted() *Report {
	r := &Report{}
	for round, scale := range []float64{1, 2, 4} {
		for _, over := range []string{httpOver, tlsOver} {
			r.Runs = append(r.Runs,
				Figures{Scenario: "burst-0ms", Over: over, Program: reference, Round: round, PerSecond: 1000 * scale, WorkerCPU: 100 * scale, PeakMiB: 40, P99: 20},
				Figures{Scenario: "burst-0ms", Over: over, Program: "closeorder", Round: round, PerSecond: 2000 * scale, WorkerCPU: 50 * scale, PeakMiB: 80, P99: 30})
		}
	}
	r.Runs = append(r.Runs,
		Figures{Scenario: "merchants-quiet", Over: httpOver, Program: "closeorder", P99: 30},
		Figures{Scenario: "merchants-limited", Over: httpOver, Program: "closeorder", P99: 45})
	return r
}

func TestRatiosArePairedByRound(t *testing.T) {
	got := planted().ratio("burst-0ms", httpOver, "closeorder", reference, perSecond)
	if want := (spread{2, 2, 2, 3}); got != want {
		t.Errorf("%+v, want %+v: what drifts between rounds must cancel out", got, want)
	}
}

func TestSpreads(t *testing.T) {
	for sentence, c := range map[string]struct {
		values []float64
		want   string
	}{
		"of nothing":                                       {nil, "-"},
		"of one value":                                     {[]float64{1.234}, "1.23"},
		"the middle of three":                              {[]float64{3, 1, 2}, "2.00 (1.00-3.00)"},
		"between the middle ones of four":                  {[]float64{4, 1, 2, 3}, "2.50 (1.00-4.00)"},
		"a range that does not show":                       {[]float64{1, 1.001}, "1.00"},
		"values stay as they are, and an extreme is named": {[]float64{1, 1, 9}, "1.00 (1.00-9.00)"},
	} {
		if got := spreadOf(c.values).text(2); got != c.want {
			t.Errorf("%s: %s, want %s", sentence, got, c.want)
		}
	}
}

// TestARegressionIsMissed makes each kind of figure worse than its bound, in its
// own direction, and better.
func TestARegressionIsMissed(t *testing.T) {
	for sentence, c := range map[string]struct {
		where, measure string
		bound          Bound
		miss           bool
	}{
		"throughput as it was":              {"burst-0ms http", "throughput", Bound{2, .1}, false},
		"throughput within its tolerance":   {"burst-0ms http", "throughput", Bound{2.2, .1}, false},
		"less throughput":                   {"burst-0ms tls", "throughput", Bound{2.3, .1}, true},
		"more throughput":                   {"burst-0ms http", "throughput", Bound{1, .1}, false},
		"more CPU":                          {"burst-0ms http", "cpu", Bound{.4, .1}, true},
		"less CPU":                          {"burst-0ms http", "cpu", Bound{1, .1}, false},
		"more memory":                       {"burst-0ms http", "peak", Bound{60, .15}, true},
		"healthy merchants wait longer":     {"merchants-limited http", "healthy-p99", Bound{.9, .5}, true},
		"healthy merchants wait as long":    {"merchants-limited http", "healthy-p99", Bound{1.5, .5}, false},
		"memory within its tolerance holds": {"burst-0ms tls", "peak", Bound{75, .15}, false},
	} {
		r := planted()
		r.Held = Baseline{c.where: {c.measure: c.bound}}.hold(r, "closeorder")
		if len(r.Held) != 1 || r.Held[0].Miss != c.miss || (r.missed() == 1) != c.miss {
			t.Errorf("%s: %+v", sentence, r.Held)
		}
	}
	if held := (Baseline{"mix http": {"cpu": {1, .1}}}).hold(planted(), "closeorder"); len(held) != 0 {
		t.Errorf("what was not measured is held: %+v", held)
	}
}

// plantedTwins are three rounds of both guarantees: exactly_once has 0.95 of the
// throughput of at_least_once and 1.2 of its CPU, and a reader waits 50, 60 and
// 70 ms more, though all drifts from round to round.
func plantedTwins() *Report {
	r := &Report{}
	for round, scale := range []float64{1, 2, 4} {
		more := 50 + 10*float64(round)
		for _, scenario := range []string{"exactly-once-burst-0ms", "exactly-once-paced", "exactly-once-light"} {
			if scenario == "exactly-once-light" && round > 0 {
				continue
			}
			r.Runs = append(r.Runs,
				Figures{Scenario: scenario, Over: httpOver, Program: "closeorder", Round: round, PerSecond: 1000 * scale, WorkerCPU: 100 * scale, BrokerCPU: 10, PeakMiB: 40, SeenP50: 21, SeenP99: 22 * scale},
				Figures{Scenario: scenario, Over: httpOver, Program: "closeorder, exactly once", Round: round, PerSecond: 950 * scale, WorkerCPU: 120 * scale, BrokerCPU: 20, PeakMiB: 50, SeenP50: 70, SeenP99: 22*scale + more})
		}
	}
	return r
}

// TestExactlyOnceIsHeldToItsTwin makes each figure better and worse than its bound.
func TestExactlyOnceIsHeldToItsTwin(t *testing.T) {
	for sentence, c := range map[string]struct {
		where, measure string
		bound          Bound
		now            float64
		miss           bool
	}{
		"throughput as promised":              {"exactly-once-burst-0ms http", "exactly-once-throughput", Bound{.95, 0}, .95, false},
		"a little less than promised":         {"exactly-once-burst-0ms http", "exactly-once-throughput", Bound{.951, 0}, .95, true},
		"a reader waits as long as promised":  {"exactly-once-paced http", "exactly-once-added-p99", Bound{60, 0}, 60, false},
		"a little longer than promised":       {"exactly-once-paced http", "exactly-once-added-p99", Bound{59, 0}, 60, true},
		"longer where few requests come":      {"exactly-once-light http", "exactly-once-added-p99", Bound{49, 0}, 50, true},
		"CPU within its tolerance":            {"exactly-once-burst-0ms http", "exactly-once-cpu", Bound{1.1, .15}, 1.2, false},
		"more CPU than that":                  {"exactly-once-paced http", "exactly-once-cpu", Bound{1, .15}, 1.2, true},
		"half of its own CPU is no way to it": {"exactly-once-burst-0ms http", "exactly-once-cpu", Bound{.6, .15}, 1.2, true},
	} {
		r := plantedTwins()
		r.Held = Baseline{c.where: {c.measure: c.bound}}.hold(r, "closeorder")
		if len(r.Held) != 1 || r.Held[0].Miss != c.miss || math.Abs(r.Held[0].Now.Median-c.now) > 1e-9 {
			t.Errorf("%s: %+v, want %v", sentence, r.Held, c.now)
		}
	}
	old := Baseline{"exactly-once-burst-0ms http": {"exactly-once-throughput": {.9, 0}}}
	next := old.with(plantedTwins(), "closeorder")
	for where, bounds := range map[string]map[string]Bound{
		"exactly-once-burst-0ms http": {"exactly-once-throughput": {.9, 0}, "exactly-once-cpu": {1.2, .15}},
		"exactly-once-paced http":     {"exactly-once-cpu": {1.2, .15}},
		"exactly-once-light http":     nil,
	} {
		if !maps.Equal(next[where], bounds) {
			t.Errorf("%s: %v, want %v: what is promised is not measured anew", where, next[where], bounds)
		}
	}
}

// TestWhatIsPromisedIsHeld: without a bound in the file nothing would be.
func TestWhatIsPromisedIsHeld(t *testing.T) {
	b, err := readBaseline(committed)
	if err != nil {
		t.Fatal(err)
	}
	all := guarantees()
	if len(all) == 0 {
		t.Fatal("no scenario of both guarantees")
	}
	for _, s := range all {
		measure, want := "exactly-once-throughput", Bound{.9, 0}
		if s.paced() {
			measure, want = "exactly-once-added-p99", Bound{110, 0}
		}
		if got := b[s.name+" "+httpOver][measure]; got != want {
			t.Errorf("%s, %s: %+v, want %+v", s.name, measure, got, want)
		}
	}
}

// TestBothGuaranteesTakeTurns: those two alone, each one first in its round, and
// transaction intervals with one of them.
func TestBothGuaranteesTakeTurns(t *testing.T) {
	s, err := parse([]string{"-binary", "before=" + os.Args[0] + ",now=" + os.Args[0], "-scenarios", "exactly-once-burst-0,intervals-paced-50", "-rounds", "2"})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, r := range s.runs() {
		order = append(order, r.what)
	}
	want := []string{
		"exactly-once-burst-0ms http before", "exactly-once-burst-0ms http now", "exactly-once-burst-0ms http now, exactly once", "intervals-paced-50 http now, exactly once",
		"intervals-paced-500 http now, exactly once",
		"exactly-once-burst-0ms http now", "exactly-once-burst-0ms http now, exactly once", "exactly-once-burst-0ms http before", "intervals-paced-50 http now, exactly once",
		"intervals-paced-500 http now, exactly once",
	}
	if !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
}

// TestTheTwinHasItsSettings and the other one has none of them.
func TestTheTwinHasItsSettings(t *testing.T) {
	s := &stage{dir: t.TempDir()}
	for sentence, c := range map[string]struct {
		program program
		want    []string
	}{
		"at_least_once is the default": {program{name: "now"}, nil},
		"exactly_once says so": {program{name: "now"}.twin(), []string{
			"CLOSEORDER_PROCESSING_GUARANTEE=exactly_once", "CLOSEORDER_TRANSACTION_INTERVAL=50ms",
		}},
	} {
		env, err := c.program.env(s, scenario{interval: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range env {
			if strings.Contains(v, "GUARANTEE") || strings.Contains(v, "TRANSACTION") {
				got = append(got, v)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", sentence, got, c.want)
		}
	}
}

// TestABinaryIsScrapedOrNot as its path says.
func TestABinaryIsScrapedOrNot(t *testing.T) {
	got, err := closeorders("before=" + os.Args[0] + ",off=" + os.Args[0] + "+off,on=" + os.Args[0] + "+scraped")
	if err != nil {
		t.Fatal(err)
	}
	want := []program{{name: "before"}, {name: "off", admin: adminOff}, {name: "on", admin: adminScraped}}
	for i := range got {
		got[i].binary = ""
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestAWorkerThatIsNotScrapedIsNoMeasure of what a scrape costs.
func TestAWorkerThatIsNotScrapedIsNoMeasure(t *testing.T) {
	for sentence, c := range map[string]struct {
		status int
		missed bool
	}{
		"it answers":                {http.StatusOK, false},
		"it has no metrics to show": {http.StatusNotFound, true},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.status) }))
		ended := make(chan struct{})
		s := scrape(server.URL, ended)
		for end := time.Now().Add(time.Minute); s.asked.Load() == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		close(ended)
		s.wait()
		server.Close()
		if s.missed() != c.missed {
			t.Errorf("%s: missed is %v", sentence, s.missed())
		}
	}
	var none *scraper
	if none.missed() {
		t.Error("a worker that is not to be scraped is missed")
	}
}

// TestALostRequestIsAFault whatever the speed, and a repeated or a wrong answer.
func TestALostRequestIsAFault(t *testing.T) {
	for sentence, c := range map[string]struct {
		run    Figures
		faults int
	}{
		"all is well":                            {Figures{Scenario: "mix", Outcomes: map[string]int{"closed": 5, "paid": 1}}, 0},
		"one is lost":                            {Figures{Scenario: "mix", Lost: 1}, 1},
		"one is answered twice":                  {Figures{Scenario: "mix", Repeated: 1}, 1},
		"one cannot be read":                     {Figures{Scenario: "mix", Outcomes: map[string]int{"unreadable": 1}}, 1},
		"nobody asked for one":                   {Figures{Scenario: "mix", Outcomes: map[string]int{"of no request": 1}}, 1},
		"one failed where all can be closed":     {Figures{Scenario: "mix", Outcomes: map[string]int{"failed": 1}}, 1},
		"a merchant in trouble may fail":         {Figures{Scenario: "merchants-limited", Outcomes: map[string]int{"failed": 1}}, 0},
		"the healthy beside it may not be lost":  {Figures{Scenario: "merchants-limited", Lost: 1}, 1},
		"where the time is up, the rest is late": {Figures{Scenario: "memory-1000000", Lost: 800_000}, 0},
	} {
		c.run.Over, c.run.Program = httpOver, "closeorder"
		r := &Report{Runs: []Figures{c.run}}
		if faults := r.faults("closeorder"); len(faults) != c.faults {
			t.Errorf("%s: %v", sentence, faults)
		}
		if faults := r.faults(reference); len(faults) != 0 {
			t.Errorf("%s, of another program: %v", sentence, faults)
		}
	}
}

func TestANewBaselineHoldsWhatWasMeasured(t *testing.T) {
	r := planted()
	old := Baseline{"burst-0ms http": {"cpu": {9, .33}}, "mix http": {"cpu": {2, .2}}}
	next := old.with(r, "closeorder")
	for where, bounds := range map[string]map[string]Bound{
		"burst-0ms http":         {"cpu": {.5, .33}, "throughput": {2, .15}, "peak": {80, .15}},
		"mix http":               {"cpu": {2, .2}}, // was not measured
		"merchants-limited http": {"healthy-p99": {1.5, .5}},
	} {
		if !maps.Equal(next[where], bounds) {
			t.Errorf("%s: %v, want %v", where, next[where], bounds)
		}
	}
	lucky := &Report{Runs: []Figures{
		{Scenario: "merchants-quiet", Over: httpOver, Program: "closeorder", P99: 50}, {Scenario: "merchants-limited", Over: httpOver, Program: "closeorder", P99: 25},
	}}
	if got := old.with(lucky, "closeorder")["merchants-limited http"]["healthy-p99"].Value; got != 1 {
		t.Errorf("half of the quiet p99 became a bound of %v", got)
	}
	r.Held = next.hold(r, "closeorder")
	if len(r.Held) == 0 || r.missed() != 0 {
		t.Errorf("%d held, %d missed", len(r.Held), r.missed())
	}
	path := filepath.Join(t.TempDir(), "baseline.json")
	if err := next.write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := readBaseline(text)
	if err != nil || !maps.EqualFunc(again, next, maps.Equal) {
		t.Errorf("read back: %v, %v", again, err)
	}
}

func TestTheCommittedBaselineIsOfScenariosThatThereAre(t *testing.T) {
	b, err := readBaseline(committed)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) == 0 {
		t.Fatal("internal/bench/baseline.json is empty: make bench ARGS='-write-baseline internal/bench/baseline.json'")
	}
	known := make(map[string]bool)
	for _, s := range scenarios() {
		for _, over := range s.over {
			known[s.name+" "+over] = true
		}
	}
	for where := range b {
		if !known[where] {
			t.Errorf("%q is no scenario", where)
		}
	}
	for _, text := range []string{`{"burst-0ms http": {"speed": {"value": 1, "tolerance": 0.1}}}`, `{"burst-0ms http": {"cpu": {"value": 1}}}`, `[]`} {
		if _, err := readBaseline([]byte(text)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func TestScenariosAreChosenByTheirBeginnings(t *testing.T) {
	for list, want := range map[string][]string{
		"burst":                    {"burst-0ms", "burst-50ms"},
		"paced,mix":                {"mix", "paced"},
		"merchants-limited":        {"merchants-quiet", "merchants-limited"},
		"memory-1":                 {"memory-1000000", "memory-1000000-50"},
		"floors,burst-0ms":         {"burst-0ms"},
		"floors":                   nil,
		"none":                     nil,
		"merchants-slow,burst-0ms": {"burst-0ms", "merchants-quiet-80", "merchants-slow"},
	} {
		got, err := chosen(list)
		var names []string
		for _, s := range got {
			names = append(names, s.name)
		}
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("%s: %v, %v; want %v", list, names, err, want)
		}
	}
	var wrong usageError
	for _, list := range []string{"", "bursts", "burst,"} {
		if _, err := chosen(list); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "burst-0ms") {
			t.Errorf("%q: %v; want an error that says what there is", list, err)
		}
	}
}

func TestScenariosHold(t *testing.T) {
	all := scenarios()
	for _, s := range all {
		if s.quiet != "" && !slices.ContainsFunc(all, func(q scenario) bool { return q.name == s.quiet }) {
			t.Errorf("%s: there is no %s", s.name, s.quiet)
		}
		healthy := 0
		for _, f := range s.flows {
			if f.healthy {
				healthy++
			}
		}
		if healthy == 0 || len(s.flows) > len(letters) || s.what == "" || len(s.over) == 0 {
			t.Errorf("%s: %+v", s.name, s)
		}
	}
}

// TestEachRequestHasAPlace: numbers differ, and go to the partitions of their flow
// alone, evenly.
func TestEachRequestHasAPlace(t *testing.T) {
	for sentence, c := range map[string]struct {
		flow flow
		want []int32
	}{
		"on all partitions":              {flow{n: 800}, []int32{0, 1, 2, 3, 4, 5, 6, 7}},
		"on all but the last one":        {flow{n: 700, to: 7}, []int32{0, 1, 2, 3, 4, 5, 6}},
		"on one partition":               {flow{n: 100, from: 7, to: 8}, []int32{7}},
		"on two, and those that went on": {flow{n: 200, from: 3, to: 5}, []int32{3, 4}},
	} {
		rs, err := records("A", c.flow, 0, c.flow.n)
		if err != nil {
			t.Fatal(err)
		}
		numbers, on := make(map[string]bool), make(map[int32]int)
		for _, r := range rs {
			numbers[string(r.Key)] = true
			on[r.Partition]++
		}
		if len(numbers) != c.flow.n || !slices.Equal(slices.Sorted(maps.Keys(on)), c.want) {
			t.Errorf("%s: %d numbers on %v", sentence, len(numbers), on)
		}
		for p, n := range on {
			if n != 100 {
				t.Errorf("%s: %d on partition %d", sentence, n, p)
			}
		}
	}
}

// TestRequestsAndOutcomesAreJoined plants what a bad worker would do, two
// merchants: A in trouble, B healthy.
func TestRequestsAndOutcomesAreJoined(t *testing.T) {
	start := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	at := func(ms int, key, value string) *kgo.Record {
		return &kgo.Record{Key: []byte(key), Value: []byte(value), Timestamp: start.Add(time.Duration(ms) * time.Millisecond)}
	}
	tally, flows := emptyTally(2), []flow{{}, {healthy: true}}
	for _, no := range []string{"W1", "A1", "A2", "B1", "B2", "B3", ""} {
		tally.ask(at(0, no, ""))
	}
	for _, r := range []*kgo.Record{
		at(1, "W1", `{"outcome":"closed"}`), at(500, "A1", `{"outcome":"failed"}`),
		at(20, "B1", `{"outcome":"closed"}`), at(25, "B1", `{"outcome":"closed"}`),
		at(30, "B2", "<html>"), at(31, "B9", `{"outcome":"closed"}`),
	} {
		tally.answer(r)
	}
	if tally.open(flows) != 1 || tally.repeated != 1 {
		t.Errorf("%d open, %d repeated; want B3, and B1 once", tally.open(flows), tally.repeated)
	}
	if want := map[string]int{"closed": 1, "failed": 1, "unreadable": 1, "of no request": 1}; !maps.Equal(tally.byName, want) {
		t.Errorf("%v, want %v", tally.byName, want)
	}
	had := map[string]time.Time{"A1": start, "B1": start.Add(80 * time.Millisecond), "B2": start.Add(70 * time.Millisecond)}
	seen := tally.seen(flows, had, start.Add(time.Second))
	if want := []time.Duration{70 * time.Millisecond, 80 * time.Millisecond, time.Second}; !slices.Equal(seen, want) {
		t.Errorf("%v, want %v: until the reader had them, and what it never had until now", seen, want)
	}
	waited := tally.waited(flows, start.Add(time.Second))
	if want := []time.Duration{20 * time.Millisecond, 30 * time.Millisecond, time.Second}; !slices.Equal(waited, want) {
		t.Errorf("%v, want %v: of the healthy one, and what has no outcome until now", waited, want)
	}
	for q, want := range map[float64]time.Duration{0: waited[0], .5: waited[1], .99: waited[2], 1: waited[2]} {
		if got := quantile(waited, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

func TestTablesLineUp(t *testing.T) {
	r := planted()
	r.Runs = append(r.Runs, plantedTwins().Runs...)
	r.Runs = append(r.Runs, Figures{Scenario: "intervals-paced-50", Over: httpOver, Program: "closeorder, exactly once", PerSecond: 498, SeenP99: 77})
	r.Held = Baseline{"burst-0ms http": {"throughput": {9, .1}}}.hold(r, "closeorder")
	var b strings.Builder
	r.print(&b, reference)
	width, rows := 0, 0
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "|") {
			width = 0
			continue
		}
		rows++
		if width == 0 {
			width = len([]rune(line))
		}
		if len([]rune(line)) != width {
			t.Errorf("%d characters, those above %d: %s", len([]rune(line)), width, line)
		}
	}
	for _, want := range []string{"2.00", "MISSED", "FREQUENCY_LIMITED", "| 60 (50-70) |", "0.95 | 1.20 |", "| 50 ms", "77 |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if rows < 20 {
		t.Errorf("only %d lines of tables:\n%s", rows, b.String())
	}
}

func TestAPageGetsItsTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	for sentence, c := range map[string]struct {
		page string
		ok   bool
	}{
		"between the marks":        {"# Title\n" + pageBegin + "stale figures\n" + pageEnd + "rest\n", true},
		"not without the second":   {"# Title\n" + pageBegin + "stale figures\nrest\n", false},
		"not with marks in a mess": {"# Title\n" + pageEnd + "stale figures\n" + pageBegin + "rest\n", false},
	} {
		if err := os.WriteFile(path, []byte(c.page), 0o600); err != nil {
			t.Fatal(err)
		}
		err := planted().writePage(path, reference)
		text, readErr := os.ReadFile(path)
		if (err == nil) != c.ok || readErr != nil {
			t.Errorf("%s: %v, %v", sentence, err, readErr)
		}
		if !c.ok {
			if string(text) != c.page {
				t.Errorf("%s: was changed to %s", sentence, text)
			}
			continue
		}
		if s := string(text); !strings.HasPrefix(s, "# Title\n"+pageBegin) || !strings.HasSuffix(s, pageEnd+"rest\n") || strings.Contains(s, "stale") || !strings.Contains(s, " 2.00 |") {
			t.Errorf("%s: %s", sentence, s)
		}
	}
}

func TestAnEarlierReportFillsWhatIsMissing(t *testing.T) {
	text, err := json.Marshal(Report{
		Runs:   []Figures{{Scenario: "burst-0ms", Over: httpOver, Program: "closeorder", PerSecond: 9}, {Scenario: "mix", Over: httpOver, Program: "closeorder", PerSecond: 7}},
		Floors: []Floor{{Name: "codec", CPU: 5}},
	})
	path := filepath.Join(t.TempDir(), "earlier.json")
	if err := errors.Join(err, os.WriteFile(path, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	r := planted()
	if err := r.takeIn(path); err != nil {
		t.Fatal(err)
	}
	if got := each(r.of("burst-0ms", httpOver, "closeorder"), perSecond); got.N != 3 || got.Least == 9 {
		t.Errorf("what is there was mixed with what was: %+v", got)
	}
	if got := each(r.of("mix", httpOver, "closeorder"), perSecond); got.Median != 7 || len(r.Floors) != 1 {
		t.Errorf("mix %+v, floors %v", got, r.Floors)
	}
}

func TestThePlotIsXMLAndHasEachPoint(t *testing.T) {
	var points []Swept
	for _, program := range []string{"franz-go", "<closeorder>"} {
		for _, ms := range sweptLatencies {
			for _, limit := range sweptLimits {
				points = append(points, Swept{program, ms, limit, 1000, float64(ms) + 2})
			}
		}
	}
	var b bytes.Buffer
	if err := writePlot(&b, points); err != nil {
		t.Fatal(err)
	}
	circles := 0
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, is := token.(xml.StartElement); is && e.Name.Local == "circle" {
			circles++
		}
	}
	if want := len(points) * len(panels); circles != want {
		t.Errorf("%d points, want %d", circles, want)
	}
	if err := writePlot(&b, nil); err == nil {
		t.Error("a plot of nothing was written")
	}
	a := panels[0].axis
	if y := a.y(math.Sqrt(a.bottom * a.top)); math.Abs(y-panelTop-panelHeight/2) > .01 {
		t.Errorf("the middle of the axis is at %v", y)
	}
}

func TestMistakesOfTheCommandLineAreNamed(t *testing.T) {
	for sentence, args := range map[string][]string{
		"a binary that is not there": {"-binary", "nowhere/closeorder"},
		"an unknown peer":            {"-binary", os.Args[0], "-peers", "sarama"},
		"an unknown way":             {"-binary", os.Args[0], "-over", "quic"},
		"an unknown broker":          {"-binary", os.Args[0], "-broker", "redpanda"},
		"a page of another broker":   {"-binary", os.Args[0], "-broker", "apache-kafka", "-page", "docs/performance.md"},
		"no round":                   {"-binary", os.Args[0], "-rounds", "0"},
		"an unknown flag":            {"-fast"},
		"a word too many":            {"-binary", os.Args[0], "burst"},
	} {
		var wrong usageError
		if _, err := parse(args); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", sentence, err)
		}
	}
	s, err := parse([]string{"-binary", "before=" + os.Args[0] + ",now=" + os.Args[0], "-scenarios", "burst-0ms", "-rounds", "2", "-over", "http"})
	if err != nil || s.held != "now" || s.reference != reference || len(s.programs) != 4 {
		t.Fatalf("%+v, %v", s, err)
	}
	var order []string
	for _, r := range s.runs() {
		order = append(order, r.what)
	}
	want := []string{
		"burst-0ms http franz-go", "burst-0ms http kafka-go", "burst-0ms http before", "burst-0ms http now",
		"burst-0ms http kafka-go", "burst-0ms http before", "burst-0ms http now", "burst-0ms http franz-go",
	}
	if !slices.Equal(order, want) {
		t.Errorf("%q, want %q: each round begins with another program", order, want)
	}
}
