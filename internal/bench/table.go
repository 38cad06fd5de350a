package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// markdown renders a table that lines up where it is read as text, too. The first
// left columns are flush left, the others right.
func markdown(w io.Writer, left int, header []string, rows [][]string) {
	width := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell), 3)
		}
	}
	line := func(row []string) {
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i < left {
				fmt.Fprintf(w, "| %s%s ", cell, pad)
			} else {
				fmt.Fprintf(w, "| %s%s ", pad, cell)
			}
		}
		fmt.Fprintln(w, "|")
	}
	line(header)
	rule := make([]string, len(header))
	for i := range rule {
		rule[i] = strings.Repeat("-", width[i])
		if i >= left {
			rule[i] = rule[i][1:] + ":"
		}
	}
	line(rule)
	for _, row := range rows {
		line(row)
	}
}

// print writes all tables of a report that have something to say.
func (r *Report) print(w io.Writer, to string) {
	r.printRatios(w, to)
	r.printRuns(w)
	r.printWaiting(w)
	r.printMerchants(w)
	r.printGuarantees(w)
	r.printIntervals(w)
	r.printFloors(w)
	r.printHeld(w)
}

func section(w io.Writer, title, note string, left int, header []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n### %s\n\n%s\n\n", title, note)
	markdown(w, left, header, rows)
}

// printRatios: how each program stands to the reference.
func (r *Report) printRatios(w io.Writer, to string) {
	var rows [][]string
	for _, s := range scenarios() {
		for _, over := range s.over {
			for _, p := range r.programs(s.name, over) {
				if p == to || s.once || s.guarantees {
					continue
				}
				ratio := func(of func(Figures) float64) string { return r.ratio(s.name, over, p, to, of).text(2) }
				if r.ratio(s.name, over, p, to, perSecond).N == 0 {
					continue
				}
				middle, late := "-", "-" // of a burst they say what throughput says
				if s.paced() {
					middle, late = ratio(p50), ratio(p99)
				}
				rows = append(rows, []string{s.what, over, p, ratio(perSecond), ratio(workerCPU), ratio(brokerCPU), middle, late, ratio(peakMiB)})
			}
		}
	}
	section(w, "Against "+to, "Times "+to+"'s, paired by round: median (least-most). More is better for throughput, less for all else.", 3,
		[]string{"scenario", "over", "worker", "throughput", "CPU", "broker's CPU", "p50", "p99", "peak memory"}, rows)
}

// printRuns: what the ratios are made of.
func (r *Report) printRuns(w io.Writer) {
	var rows [][]string
	for _, s := range scenarios() {
		if s.once || s.guarantees {
			continue
		}
		for _, over := range s.over {
			for _, p := range r.programs(s.name, over) {
				runs := r.of(s.name, over, p)
				share := "-"
				if s.ideal {
					share = percent(each(runs, ideal).Median)
				}
				lost, repeated := 0, 0
				for _, f := range runs {
					lost, repeated = lost+f.Lost, repeated+f.Repeated
				}
				rows = append(rows, []string{
					s.what, over, p, each(runs, perSecond).text(0), share, each(runs, workerCPU).text(0), each(runs, brokerCPU).text(0),
					each(runs, p50).text(0), each(runs, p99).text(0), each(runs, peakMiB).text(0),
					strconv.Itoa(lost), strconv.Itoa(repeated), each(runs, others).text(2),
				})
			}
		}
	}
	section(w, "Figures", "Median (least-most). CPU in microseconds for each outcome, p50 and p99 in ms from request to outcome, memory in MiB.", 3,
		[]string{"scenario", "over", "worker", "per second", "of the ideal", "CPU", "broker's CPU", "p50", "p99", "peak memory", "lost", "repeated", "others' cores"}, rows)
}

func (r *Report) printWaiting(w io.Writer) {
	var rows [][]string
	for _, s := range scenarios() {
		if !s.waiting {
			continue
		}
		for _, over := range s.over {
			for _, p := range r.programs(s.name, over) {
				runs := r.of(s.name, over, p)
				rows = append(rows, []string{
					s.what, p, each(runs, peakMiB).text(0), each(runs, first).text(2), each(runs, perSecond).text(0), each(runs, workerCPU).text(0), each(runs, others).text(2),
				})
			}
		}
	}
	section(w, "Requests that wait when the worker starts", "8 partitions where nothing else is said, 20 ms, over HTTP. Memory in MiB, the first outcome in seconds from the start of the process, outcomes per second from then on.", 2,
		[]string{"scenario", "worker", "peak memory", "first outcome", "per second", "CPU", "others' cores"}, rows)
}

func (r *Report) printMerchants(w io.Writer) {
	var rows [][]string
	for _, s := range threeMerchants() {
		for _, over := range s.over {
			for _, p := range r.programs(s.name, over) {
				runs := r.of(s.name, over, p)
				times := "-"
				if s.quiet != "" {
					times = r.trouble(s, over, p).text(1)
				}
				late := 0
				for _, f := range runs {
					late += f.Lost
				}
				rows = append(rows, []string{
					s.what, p, each(runs, p50).text(0), each(runs, p99).text(0), times, strconv.Itoa(late), each(runs, others).text(2),
				})
			}
		}
	}
	section(w, "Three merchants", "Waiting times in ms of the healthy ones, and their p99 over that without the trouble. What has no outcome when the run ends has waited until then.", 2,
		[]string{"scenario", "worker", "p50", "p99", "x quiet", "without outcome", "others' cores"}, rows)
}

// printGuarantees: what exactly_once costs beside at_least_once.
func (r *Report) printGuarantees(w io.Writer) {
	var rows [][]string
	for _, s := range guarantees() {
		for _, over := range s.over {
			for _, p := range r.programs(s.name, over) {
				twin := exactly(p)
				runs, least := r.of(s.name, over, twin), r.of(s.name, over, p)
				if len(runs) == 0 {
					continue
				}
				times := func(of func(Figures) float64) string { return r.ratio(s.name, over, twin, p, of).text(2) }
				throughput, late := times(perSecond), "-" // of a burst it says what throughput says
				if s.paced() {
					throughput, late = "-", r.added(s.name, over, twin, p, seenP99).text(0)
				}
				lost, repeated := 0, 0
				for _, f := range runs {
					lost, repeated = lost+f.Lost, repeated+f.Repeated
				}
				rows = append(rows, []string{
					s.what, p, throughput, times(workerCPU), times(brokerCPU), times(peakMiB), each(least, seenP50).text(0), each(runs, seenP50).text(0),
					each(least, seenP99).text(0), each(runs, seenP99).text(0), late, strconv.Itoa(lost), strconv.Itoa(repeated), each(append(least, runs...), others).text(2),
				})
			}
		}
	}
	section(w, "Exactly once", "processing_guarantee: exactly_once, times at_least_once of the same binary, paired by round: median (least-most). Waiting times in ms are from the append of a request until a reader with isolation.level=read_committed has its outcome; *p99 added* is paired by round.", 2,
		[]string{"scenario", "worker", "throughput", "CPU", "broker's CPU", "peak memory", "p50, at least once", "p50, exactly once", "p99, at least once", "p99, exactly once", "p99 added", "lost", "repeated", "others' cores"}, rows)
}

// printIntervals: what transaction_interval was chosen by.
func (r *Report) printIntervals(w io.Writer) {
	var rows [][]string
	for _, s := range intervals() {
		for _, over := range s.over {
			for _, p := range r.programs(s.name, over) {
				runs := r.of(s.name, over, p)
				rows = append(rows, []string{
					fmt.Sprintf("%d ms", s.interval.Milliseconds()), s.what, each(runs, perSecond).text(0), each(runs, workerCPU).text(0), each(runs, brokerCPU).text(0),
					each(runs, seenP50).text(0), each(runs, seenP99).text(0), each(runs, others).text(2),
				})
			}
		}
	}
	section(w, "Transaction intervals", "exactly_once alone. CPU in microseconds for each outcome, p50 and p99 in ms until a reader with isolation.level=read_committed has the outcome.", 2,
		[]string{"transaction_interval", "scenario", "per second", "CPU", "broker's CPU", "p50", "p99", "others' cores"}, rows)
}

func (r *Report) printFloors(w io.Writer) {
	var rows [][]string
	for _, fl := range floors() {
		for _, over := range fl.over {
			var cpu, rate []float64
			for _, f := range r.Floors {
				if f.Name == fl.name && f.Over == over {
					cpu, rate = append(cpu, f.CPU), append(rate, f.PerSecond)
				}
			}
			if len(cpu) > 0 {
				rows = append(rows, []string{fl.name, over, spreadOf(cpu).text(1), spreadOf(rate).text(0)})
			}
		}
	}
	section(w, "Floors", fmt.Sprintf("What no worker can do without, CPU in microseconds for each. An exchange is one call, %d under way; raw is one write and one read on a kept connection.", concurrency), 2,
		[]string{"floor", "over", "CPU", "per second"}, rows)
}

func (r *Report) printHeld(w io.Writer) {
	var rows [][]string
	for _, f := range r.Held {
		verdict := "holds"
		if f.Miss {
			verdict = "MISSED"
		}
		rows = append(rows, []string{f.Where, f.Measure + ", " + f.What, f.Now.text(2), number(f.Bound.Value), number(f.May), verdict})
	}
	section(w, "Held to the baseline", "internal/bench/baseline.json; the median is what counts.", 2,
		[]string{"scenario", "measure", "now", "baseline", "may be", ""}, rows)
}

// missed is the number of figures that the baseline does not allow.
func (r *Report) missed() int {
	n := 0
	for _, f := range r.Held {
		if f.Miss {
			n++
		}
	}
	return n
}

func number(v float64) string { return strconv.FormatFloat(round3(v), 'g', -1, 64) }

func percent(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) }

// thousands writes 20000 as 20,000.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
