package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/closeorder/closeorder/internal/bench/gateway"
)

// Report is all that was measured, as -json has it.
type Report struct {
	Runs   []Figures
	Floors []Floor   `json:",omitempty"`
	Sweep  []Swept   `json:",omitempty"`
	Held   []Finding `json:",omitempty"` // to the baseline
}

// of are the runs of a program in a scenario, by round.
func (r *Report) of(scenario, over, program string) []Figures {
	var runs []Figures
	for _, f := range r.Runs {
		if f.Scenario == scenario && f.Over == over && f.Program == program {
			runs = append(runs, f)
		}
	}
	return runs
}

// takeIn adds what an earlier report has measured and this one has not: runs of a
// program in a scenario, floors, the sweep.
func (r *Report) takeIn(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var earlier Report
	if err := json.Unmarshal(text, &earlier); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	now := *r
	for _, f := range earlier.Runs {
		if len(now.of(f.Scenario, f.Over, f.Program)) == 0 {
			r.Runs = append(r.Runs, f)
		}
	}
	if len(r.Floors) == 0 {
		r.Floors = earlier.Floors
	}
	if len(r.Sweep) == 0 {
		r.Sweep = earlier.Sweep
	}
	return nil
}

// faults are what a program has done that is no matter of speed: an error for each
// run in which an order of a healthy merchant has no outcome, two, or a wrong one.
func (r *Report) faults(program string) []error {
	var faults []error
	for _, s := range scenarios() {
		for _, over := range s.over {
			for _, f := range r.of(s.name, over, program) {
				wrong := f.Outcomes["unreadable"] + f.Outcomes["of no request"]
				if s.trouble() == (gateway.Trouble{}) {
					wrong += f.Outcomes["failed"]
				}
				lost := f.Lost
				if s.window > 0 {
					lost = 0
				}
				if lost+f.Repeated+wrong > 0 {
					faults = append(faults, fmt.Errorf("%s %s, round %d: %d of %d requests have no outcome, %d have two, %d a wrong one", s.name, over, f.Round+1, lost, f.Requests, f.Repeated, wrong))
				}
			}
		}
	}
	return faults
}

// programs that were measured in a scenario, in the order of their first run
// there.
func (r *Report) programs(scenario, over string) []string {
	var names []string
	for _, f := range r.Runs {
		if f.Scenario == scenario && f.Over == over && !slices.Contains(names, f.Program) {
			names = append(names, f.Program)
		}
	}
	return names
}

// each is one figure of all runs.
func each(runs []Figures, of func(Figures) float64) spread {
	var values []float64
	for _, f := range runs {
		values = append(values, of(f))
	}
	return spreadOf(values)
}

// ratio is one figure of a program over that of another, paired by round: what
// drifts between rounds cancels out.
func (r *Report) ratio(scenario, over, program, to string, of func(Figures) float64) spread {
	var values []float64
	for _, f := range r.of(scenario, over, program) {
		for _, g := range r.of(scenario, over, to) {
			if f.Round == g.Round && of(g) > 0 {
				values = append(values, of(f)/of(g))
			}
		}
	}
	return spreadOf(values)
}

// added is what a figure of a program is more than that of another, paired by
// round.
func (r *Report) added(scenario, over, program, to string, of func(Figures) float64) spread {
	var values []float64
	for _, f := range r.of(scenario, over, program) {
		for _, g := range r.of(scenario, over, to) {
			if f.Round == g.Round {
				values = append(values, of(f)-of(g))
			}
		}
	}
	return spreadOf(values)
}

func perSecond(f Figures) float64 { return f.PerSecond }
func workerCPU(f Figures) float64 { return f.WorkerCPU }
func brokerCPU(f Figures) float64 { return f.BrokerCPU }
func peakMiB(f Figures) float64   { return f.PeakMiB }
func p50(f Figures) float64       { return f.P50 }
func p99(f Figures) float64       { return f.P99 }
func ideal(f Figures) float64     { return f.Ideal }
func seenP50(f Figures) float64   { return f.SeenP50 }
func seenP99(f Figures) float64   { return f.SeenP99 }
func others(f Figures) float64    { return f.Others }
func first(f Figures) float64     { return f.First }
