package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Baseline are figures that carry over from one machine to another, by scenario
// and what it goes over ("burst-0ms http"), then by measure. What is worse than
// one of them by more than its tolerance is a regression.
type Baseline map[string]map[string]Bound

// Bound is one figure. Tolerance is a share of it, 0.1 for a tenth.
type Bound struct {
	Value     float64 `json:"value"`
	Tolerance float64 `json:"tolerance"`
}

//go:embed baseline.json
var committed []byte

// measure is one kind of figure of the baseline.
type measure struct {
	name string
	// what it says, in one phrase.
	what string
	// more is better; else less is.
	more bool
	// tolerance is that of a new bound, and least its least value: what is
	// better than that by chance must not become the measure of all others.
	tolerance, least float64
	// promised: its bounds are what the documents promise, exactly. They are
	// written by hand, and no new baseline moves them.
	promised bool
	// of reads it from a report; n is 0 where there is nothing of it.
	of func(r *Report, s scenario, over, program string) spread
}

func measures() []measure {
	of := func(figure func(Figures) float64, holds func(scenario) bool) func(*Report, scenario, string, string) spread {
		return func(r *Report, s scenario, over, program string) spread {
			if !holds(s) {
				return spread{}
			}
			return each(r.of(s.name, over, program), figure)
		}
	}
	ratio := func(figure func(Figures) float64, holds func(scenario) bool) func(*Report, scenario, string, string) spread {
		return func(r *Report, s scenario, over, program string) spread {
			if !holds(s) {
				return spread{}
			}
			return r.ratio(s.name, over, program, reference, figure)
		}
	}
	// twin compares a program with its twin, which has the other guarantee.
	twin := func(of func(r *Report, scenario, over, program, to string) spread, holds func(scenario) bool) func(*Report, scenario, string, string) spread {
		return func(r *Report, s scenario, over, program string) spread {
			if !s.guarantees || !holds(s) {
				return spread{}
			}
			return of(r, s.name, over, exactly(program), program)
		}
	}
	paced := scenario.paced
	burst := func(s scenario) bool { return !paced(s) }
	three := func(s scenario) bool { return strings.HasPrefix(s.name, "merchants-") }
	return []measure{
		{name: "throughput", what: "x franz-go's", more: true, tolerance: .15, of: ratio(perSecond, func(s scenario) bool { return !s.waiting && !paced(s) && !three(s) })},
		{name: "cpu", what: "CPU per outcome, x franz-go's", tolerance: .1, of: ratio(workerCPU, func(s scenario) bool { return !s.waiting && !three(s) })},
		{name: "ideal", what: "share of what latency and limit allow", more: true, tolerance: .05, of: of(ideal, func(s scenario) bool { return s.ideal })},
		{name: "p99", what: "x franz-go's", tolerance: .4, least: .8, of: ratio(p99, func(s scenario) bool { return paced(s) && !three(s) })},
		{name: "peak", what: "MiB", tolerance: .15, of: of(peakMiB, func(s scenario) bool { return !three(s) && !s.guarantees })},
		{name: "healthy-p99", what: "x theirs without the trouble", tolerance: .5, least: 1, of: func(r *Report, s scenario, over, program string) spread {
			if s.quiet == "" {
				return spread{}
			}
			return r.trouble(s, over, program)
		}},
		{name: "exactly-once-throughput", what: "x at_least_once's", more: true, promised: true, of: twin(func(r *Report, scenario, over, program, to string) spread {
			return r.ratio(scenario, over, program, to, perSecond)
		}, burst)},
		{name: "exactly-once-added-p99", what: "ms that a read_committed reader waits more than with at_least_once", promised: true, of: twin(func(r *Report, scenario, over, program, to string) spread {
			return r.added(scenario, over, program, to, seenP99)
		}, paced)},
		{name: "exactly-once-cpu", what: "CPU per outcome, x at_least_once's", tolerance: .15, of: twin(func(r *Report, scenario, over, program, to string) spread {
			return r.ratio(scenario, over, program, to, workerCPU)
		}, func(s scenario) bool { return !s.once })},
	}
}

// trouble is the p99 of the healthy merchants beside one that has a trouble, over
// theirs without it.
func (r *Report) trouble(s scenario, over, program string) spread {
	quiet := each(r.of(s.quiet, over, program), p99).Median
	if quiet == 0 {
		return spread{}
	}
	return each(r.of(s.name, over, program), func(f Figures) float64 { return f.P99 / quiet })
}

// Finding is one figure held to its bound.
type Finding struct {
	Where, Measure, What string
	Now                  spread
	Bound                Bound
	// May is the worst that the figure may be.
	May  float64
	Miss bool
}

// readBaseline reads one as it is committed.
func readBaseline(text []byte) (Baseline, error) {
	b := make(Baseline)
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	for where, bounds := range b {
		for name, bound := range bounds {
			known := slices.ContainsFunc(measures(), func(m measure) bool {
				return m.name == name && (bound.Tolerance > 0 || m.promised && bound.Tolerance == 0)
			})
			if !known || bound.Value <= 0 {
				return nil, fmt.Errorf("baseline: %s, %s: %+v is no bound of a known measure", where, name, bound)
			}
		}
	}
	return b, nil
}

// hold compares a program with the baseline, as far as both know a figure.
func (b Baseline) hold(r *Report, program string) []Finding {
	var found []Finding
	for _, s := range scenarios() {
		for _, over := range s.over {
			where := s.name + " " + over
			for _, m := range measures() {
				bound, held := b[where][m.name]
				now := m.of(r, s, over, program)
				if !held || now.N == 0 {
					continue
				}
				f := Finding{Where: where, Measure: m.name, What: m.what, Now: now, Bound: bound, May: bound.Value * (1 + bound.Tolerance)}
				f.Miss = now.Median > f.May
				if m.more {
					f.May = bound.Value * (1 - bound.Tolerance)
					f.Miss = now.Median < f.May
				}
				found = append(found, f)
			}
		}
	}
	return found
}

// with is the baseline with what a report has measured in place of what it says.
// Tolerances stay.
func (b Baseline) with(r *Report, program string) Baseline {
	next := make(Baseline)
	for where, bounds := range b {
		next[where] = maps.Clone(bounds)
	}
	for _, s := range scenarios() {
		for _, over := range s.over {
			where := s.name + " " + over
			for _, m := range measures() {
				now := m.of(r, s, over, program)
				if m.promised || now.N == 0 || now.Median <= 0 {
					continue
				}
				if next[where] == nil {
					next[where] = make(map[string]Bound)
				}
				bound, there := next[where][m.name]
				if !there {
					bound.Tolerance = m.tolerance
				}
				bound.Value = round3(max(now.Median, m.least))
				next[where][m.name] = bound
			}
		}
	}
	return next
}

// round3 keeps three digits.
func round3(v float64) float64 {
	var r float64
	if _, err := fmt.Sscanf(fmt.Sprintf("%.3g", v), "%g", &r); err != nil {
		return v
	}
	return r
}

func (b Baseline) write(path string) error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
