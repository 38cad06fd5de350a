//go:build apachekafka && chaos

package crashtest

import (
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

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/rebalances"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// What TestRebalances is asked for, by make rebalances.
var (
	binaries  = flag.String("binary", "", "programs to measure one after the other, name=path or path, with commas between; the last one is held to the limits. Without: the one of this tree")
	memberIDs = flag.String("ids", "dynamic,static", "kinds of member ids to measure")
	earlier   = flag.String("with", "", "JSON of earlier runs, files with commas between, shown before this one")
	jsonFile  = flag.String("json", "", "write all figures of this run to this file")
	plotFile  = flag.String("plot", "", "write the plot to this file, SVG")
	session   = flag.Duration("session", 45*time.Second, "kafka.session_timeout of the workers")
	plays     = flag.String("plays", "faults,scaling", "what is done to the workers: faults (one is killed, a fourth one comes and goes, all are restarted), scaling (from one to four and back), both with a comma between")
)

// TestRebalances measures what a death, a join, a leave and a rolling restart
// cost the partitions that have nothing to do with it, and prints a table. It
// takes minutes, and wants a machine that has little else to do: the scene of
// quiet times tells.
func TestRebalances(t *testing.T) {
	before, err := readResults(*earlier)
	if err != nil {
		t.Fatal(err)
	}
	own := program
	t.Cleanup(func() { program = own })
	var results, held []rebalances.Result
	programs := strings.Split(*binaries, ",")
	for i, text := range programs {
		name := ""
		name, program = named(text, own)
		for ids := range strings.SplitSeq(*memberIDs, ",") {
			if ids != "dynamic" && ids != "static" {
				t.Fatalf("-ids %s: dynamic, static or both, with a comma between", *memberIDs)
			}
			for play := range strings.SplitSeq(*plays, ",") {
				measure := map[string]func(*testing.T, string, bool) rebalances.Result{"faults": measureFaults, "scaling": measureScaling}[play]
				if measure == nil {
					t.Fatalf("-plays %s: faults, scaling or both, with a comma between", *plays)
				}
				t.Run(fmt.Sprintf("%s of %s with %s ids", play, name, ids), func(t *testing.T) {
					results = append(results, measure(t, name, ids == "static"))
					if i == len(programs)-1 {
						held = append(held, results[len(results)-1])
					}
				})
			}
		}
	}
	fmt.Println(rebalances.Table(slices.Concat(before, results)))
	for _, res := range held {
		for _, complaint := range res.Complaints() {
			t.Error(complaint)
		}
	}
	if err := writeResults(results, before); err != nil {
		t.Error(err)
	}
}

// named reads one program of -binary; empty is the one of this tree.
func named(text, own string) (name, path string) {
	name, path, ok := strings.Cut(text, "=")
	switch {
	case text == "":
		return "now", own
	case !ok:
		return filepath.Base(text), text
	}
	return name, path
}

func readResults(files string) ([]rebalances.Result, error) {
	var all []rebalances.Result
	for file := range strings.SplitSeq(files, ",") {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var some []rebalances.Result
		if err := json.Unmarshal(text, &some); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

func writeResults(results, before []rebalances.Result) error {
	if *jsonFile != "" {
		text, err := json.MarshalIndent(results, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(*jsonFile, text, 0o644); err != nil {
			return err
		}
	}
	if *plotFile == "" {
		return nil
	}
	var svg strings.Builder
	if err := rebalances.WritePlot(&svg, slices.Concat(before, results)); err != nil {
		return err
	}
	return os.WriteFile(*plotFile, []byte(svg.String()), 0o644)
}

// measureFaults plays all scenes, each with what it needs to be as before.
func measureFaults(t *testing.T, name string, static bool) rebalances.Result {
	const before, settle, quiet = 5 * time.Second, 20 * time.Second, 30 * time.Second
	m := newMeasurement(t, demand{program: name, static: static, partitions: 24, perSecond: 150, session: *session, first: 3, beside: true})
	left := settle
	if static { // it may come back: the group waits for it
		left += *session
	}
	three, fourth := m.workers[:3], m.workers[3]
	show, end := progress(t, 30*time.Second+quiet+4*before+3*settle+left+*session+3*before)
	defer end()
	m.began = show
	return rebalances.Measure(m.run(func() {
		m.scene("quiet times", 0, quiet, func(*rebalances.Scene) {})
		m.scene("one is killed and started again", before, *session+settle, func(*rebalances.Scene) {
			m.kill(three[1])
			m.start(three[1])
		})
		m.scene("a fourth one joins", before, settle, func(s *rebalances.Scene) {
			s.MayMove = m.partitions / 4
			m.start(fourth)
		})
		m.scene("the fourth one leaves", before, left, func(*rebalances.Scene) { m.stop(fourth) })
		m.scene("rolling restart", before, settle, func(s *rebalances.Scene) {
			if !static { // each gets a third back, from those who took it over
				s.MayMove = m.partitions
			}
			for _, w := range three {
				m.stop(w)
				m.start(w)
				m.awaitAssigned(w)
				m.pause(before)
			}
		})
	}))
}

// measureScaling goes from one worker to four and back on eight partitions, as an
// autoscaler does.
func measureScaling(t *testing.T, name string, static bool) rebalances.Result {
	const before, settle, quiet = 5 * time.Second, 15 * time.Second, 30 * time.Second
	m := newMeasurement(t, demand{program: name, static: static, partitions: 8, perSecond: 160, session: *session, first: 1, inFlight: config.Default().MaxInFlight, beside: true})
	left := settle
	if static { // it may come back: the group waits for it
		left += *session
	}
	most := len(m.workers)
	show, end := progress(t, 30*time.Second+quiet+time.Duration(most-1)*(2*before+settle+left))
	defer end()
	m.began = show
	return rebalances.Measure(m.run(func() {
		m.scene("quiet times", 0, quiet, func(*rebalances.Scene) {})
		for n := 1; n < most; n++ {
			m.scene(fmt.Sprintf("from %d to %d", n, n+1), before, settle, func(s *rebalances.Scene) {
				s.MayMove = m.partitions / (n + 1)
				m.start(m.workers[n])
			})
		}
		for n := most; n > 1; n-- {
			m.scene(fmt.Sprintf("from %d to %d", n, n-1), before, left, func(s *rebalances.Scene) {
				m.stop(m.workers[n-1])
			})
		}
	}))
}

// progress shows on a terminal how far a measurement is and which scene is
// played; end takes it away.
func progress(t *testing.T, total time.Duration) (show func(scene string), end func()) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func(string) {}, func() {}
	}
	bar := progressbar.NewOptions(int(total/time.Second), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetDescription(t.Name()), progressbar.OptionClearOnFinish())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for second := 1; pause(stop, time.Second); second++ {
			_ = bar.Set(min(second, bar.GetMax()-1)) // who cannot see it misses nothing
		}
	})
	return bar.Describe, func() {
		close(stop)
		wg.Wait()
		_ = bar.Finish()
	}
}
