package main

import (
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is a bar over all runs, on a terminal. Elsewhere nothing is shown.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(out *os.File, runs int) progress {
	if !term.IsTerminal(int(out.Fd())) {
		return progress{}
	}
	return progress{progressbar.NewOptions(runs,
		progressbar.OptionSetWriter(io.Writer(out)),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(24),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true),
	)}
}

// now says what is under way.
func (p progress) now(what string) {
	if p.bar != nil {
		p.bar.Describe(what)
	}
}

func (p progress) done() {
	if p.bar != nil {
		_ = p.bar.Add(1) // what the bar cannot show does not matter
	}
}

func (p progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
