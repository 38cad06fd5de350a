package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// usageError is a mistake of the command line.
type usageError struct{ what string }

func (e usageError) Error() string { return e.what }

// settings are the command line's.
type settings struct {
	scenarios []scenario
	floors    bool
	sweep     bool
	over      []string
	broker    string
	rounds    int
	programs  []program // peers first
	held      string    // the program that is held to the baseline
	reference string    // what ratios are to

	json, with, page, plot, baseline, logs string
	verbose                                bool
}

func parse(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	binary := flags.String("binary", "bin/closeorder", "closeorder, as make build makes it; or several, NAME=PATH,NAME=PATH, the last of which is held to the baseline; PATH+off has admin_addr off, PATH+scraped is asked for its metrics each second")
	list := flags.String("scenarios", "floors,burst,mix,paced,memory,merchants,exactly-once", "those whose names begin so, or none: "+strings.Join(names(), ", "))
	over := flags.String("over", httpOver+","+tlsOver, "what calls go over")
	flags.StringVar(&s.broker, "broker", kfakeBroker, kfakeBroker+", in memory; or "+apacheKafka+", of one node, which takes Java and is held to no baseline")
	peers := flags.String("peers", "franz-go,kafka-go", "workers to measure against, empty for none")
	flags.IntVar(&s.rounds, "rounds", 3, "how often each run is made, in turn")
	flags.StringVar(&s.json, "json", "", "write all figures to this file")
	flags.StringVar(&s.with, "with", "", "take in what such a file has and this run has not")
	flags.StringVar(&s.page, "page", "", "put the tables into this page, docs/performance.md, between its two marks")
	flags.StringVar(&s.plot, "plot", "", "write the plot of the sweep to this file, SVG")
	flags.StringVar(&s.baseline, "write-baseline", "", "write what was measured to this file, as the new baseline")
	flags.StringVar(&s.logs, "log", "", "keep what the processes log in this file")
	flags.BoolVar(&s.verbose, "v", false, "say each run when it is done")
	if err := flags.Parse(args); err != nil {
		var b strings.Builder
		flags.SetOutput(&b)
		flags.PrintDefaults()
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(os.Stdout, b.String())
			return s, flag.ErrHelp
		}
		return s, usageError{fmt.Sprintf("%v\n%s", err, b.String())}
	}
	if flags.NArg() > 0 {
		return s, usageError{fmt.Sprintf("%q is no flag", flags.Arg(0))}
	}
	var errs []error
	var err error
	s.scenarios, err = chosen(*list)
	errs = append(errs, err)
	for name := range strings.SplitSeq(*list, ",") {
		s.floors = s.floors || name == floorsName
		s.sweep = s.sweep || name == sweepName
	}
	for name := range strings.SplitSeq(*over, ",") {
		if name != httpOver && name != tlsOver {
			errs = append(errs, usageError{fmt.Sprintf("-over: %q is neither %s nor %s", name, httpOver, tlsOver)})
		}
		s.over = append(s.over, name)
	}
	switch {
	case s.broker != kfakeBroker && s.broker != apacheKafka:
		errs = append(errs, usageError{fmt.Sprintf("-broker: %q is neither %s nor %s", s.broker, kfakeBroker, apacheKafka)})
	case s.broker == apacheKafka && s.page+s.baseline != "":
		errs = append(errs, usageError{"-broker " + apacheKafka + ": -page and -write-baseline are for figures with " + kfakeBroker})
	}
	if s.rounds < 1 {
		errs = append(errs, usageError{fmt.Sprintf("-rounds %d: at least 1", s.rounds)})
	}
	beside, err := peersNamed(*peers)
	errs = append(errs, err)
	ours, err := closeorders(*binary)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return s, err
	}
	s.programs = slices.Concat(beside, ours)
	s.held, s.reference = ours[len(ours)-1].name, s.programs[0].name
	return s, nil
}

// run is one thing to do.
type run struct {
	what string
	do   func(context.Context, *lab, *Report) error
}

// withTwin are all programs, and the one that is held with the other guarantee.
func (s settings) withTwin() []program {
	return append(slices.Clone(s.programs), s.programs[len(s.programs)-1].twin())
}

// runs is all that has to be done, a round after the other: each round begins with
// another program, so that none is always first.
func (s settings) runs() []run {
	var all []run
	add := func(what string, do func(context.Context, *lab, *Report) error) { all = append(all, run{what, do}) }
	for round := range s.rounds {
		if s.floors {
			for _, fl := range floors() {
				for _, over := range fl.over {
					if over != "" && !slices.Contains(s.over, over) {
						continue
					}
					add(fl.name+" "+over, func(ctx context.Context, l *lab, r *Report) error {
						f, err := l.floor(ctx, fl, over)
						f.Round = round
						r.Floors = append(r.Floors, f)
						return err
					})
				}
			}
		}
		for _, sc := range s.scenarios {
			for _, over := range sc.over {
				if !slices.Contains(s.over, over) {
					continue
				}
				programs := slices.DeleteFunc(s.withTwin(), func(p program) bool { return !sc.has(p, over, round) })
				for i := range programs {
					p := programs[(i+round)%len(programs)]
					add(fmt.Sprintf("%s %s %s", sc.name, over, p.name), func(ctx context.Context, l *lab, r *Report) error {
						f, err := l.run(ctx, sc, over, p)
						f.Round = round
						if err == nil {
							r.Runs = append(r.Runs, f)
						}
						return err
					})
				}
			}
		}
	}
	if !s.sweep {
		return all
	}
	for _, ms := range sweptLatencies {
		for _, limit := range sweptLimits {
			for _, p := range s.programs {
				if p.oneByOne {
					continue
				}
				add(fmt.Sprintf("sweep %d ms, %d calls, %s", ms, limit, p.name), func(ctx context.Context, l *lab, r *Report) error {
					point, err := l.sweep(ctx, p, ms, limit)
					if err == nil {
						r.Sweep = append(r.Sweep, point)
					}
					return err
				})
			}
		}
	}
	return all
}

// bench measures, prints the tables and holds the result to the baseline. An error
// is also a figure that the baseline does not allow, and a request that was lost.
func bench(ctx context.Context, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if err := supported(); err != nil {
		return err
	}
	baseline, err := readBaseline(committed)
	if err != nil {
		return err
	}
	log, err := openLog(s.logs)
	if err != nil {
		return err
	}
	defer log.Close()
	report, err := s.measure(ctx, log)
	if err != nil {
		report.print(os.Stdout, s.reference) // as far as it came
		return err
	}
	if s.with != "" {
		if err := report.takeIn(s.with); err != nil {
			return err
		}
	}
	if s.reference == reference && s.broker == kfakeBroker {
		report.Held = baseline.hold(report, s.held)
	}
	report.print(os.Stdout, s.reference)
	if err := s.write(report, baseline); err != nil {
		return err
	}
	errs := append(report.faults(s.held), report.faults(exactly(s.held))...)
	if n := report.missed(); n > 0 {
		errs = append(errs, fmt.Errorf("%d of %d figures are worse than the baseline allows; where that is meant, -write-baseline internal/bench/baseline.json", n, len(report.Held)))
	}
	return errors.Join(errs...)
}

// measure does all runs. One that fails ends the rest: what is left would not be
// comparable.
func (s settings) measure(ctx context.Context, log *os.File) (*Report, error) {
	report, l := &Report{}, &lab{log: log, broker: s.broker}
	runs := s.runs()
	bar := newProgress(os.Stderr, len(runs))
	defer bar.finish()
	for _, r := range runs {
		bar.now(r.what)
		fmt.Fprintf(log, "--- %s\n", r.what)
		began := time.Now()
		if err := r.do(ctx, l, report); err != nil {
			if ctx.Err() != nil {
				return report, errors.New("interrupted")
			}
			return report, fmt.Errorf("%s: %w%s", r.what, err, tail(log))
		}
		bar.done()
		if s.verbose {
			fmt.Fprintf(os.Stderr, "%s: %.1f s%s\n", r.what, time.Since(began).Seconds(), report.last())
		}
	}
	return report, nil
}

// last is the newest run in a line, for -v.
func (r *Report) last() string {
	if len(r.Runs) == 0 {
		return ""
	}
	text, err := json.Marshal(r.Runs[len(r.Runs)-1])
	if err != nil {
		return ""
	}
	return " " + string(text)
}

func (s settings) write(r *Report, baseline Baseline) error {
	var errs []error
	if s.json != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		errs = append(errs, err, os.WriteFile(s.json, append(text, '\n'), 0o644))
	}
	if s.page != "" {
		errs = append(errs, r.writePage(s.page, s.reference))
	}
	if s.plot != "" {
		var b strings.Builder
		errs = append(errs, writePlot(&b, r.Sweep), os.WriteFile(s.plot, []byte(b.String()), 0o644))
	}
	if s.baseline != "" {
		if s.reference != reference {
			return usageError{"-write-baseline: ratios are to " + reference + ", which was left out"}
		}
		errs = append(errs, baseline.with(r, s.held).write(s.baseline))
	}
	return errors.Join(errs...)
}

// openLog opens what the processes log to: a file that goes away where none is
// named.
func openLog(path string) (*os.File, error) {
	if path != "" {
		return os.Create(path)
	}
	f, err := os.CreateTemp("", "closeorder-bench-*.log")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// tail is the end of what the processes have logged.
func tail(log *os.File) string {
	const most = 2000
	info, err := log.Stat()
	if err != nil {
		return ""
	}
	text := make([]byte, min(info.Size(), most))
	if _, err := log.ReadAt(text, info.Size()-int64(len(text))); err != nil {
		return ""
	}
	return "\n" + strings.TrimSpace(string(text))
}
