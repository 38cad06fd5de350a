package main

import (
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// barAfter is how long a work goes on before it is worth a progress bar.
const barAfter = 2 * time.Second

// progress is a bar on standard error: only on a terminal, and only for what
// takes long. Its methods are safe for concurrent use.
type progress struct {
	mu      sync.Mutex
	make    func(done int) *progressbar.ProgressBar
	bar     *progressbar.ProgressBar
	started time.Time
	done    int
}

// progress begins to count towards total.
func (a *app) progress(what string, total int) *progress {
	p := &progress{started: time.Now()}
	if isTerminal(a.stderr) {
		p.make = func(done int) *progressbar.ProgressBar {
			bar := progressbar.NewOptions(total,
				progressbar.OptionSetWriter(a.stderr),
				progressbar.OptionSetDescription(what),
				progressbar.OptionShowCount(),
				progressbar.OptionShowIts(),
				progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionClearOnFinish(),
				progressbar.OptionSetPredictTime(true),
				progressbar.OptionEnableColorCodes(bool(a.paint(a.stderr))),
			)
			_ = bar.Set(done)
			return bar
		}
	}
	return p
}

func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	switch {
	case p.bar != nil:
		_ = p.bar.Add(n)
	case p.make != nil && time.Since(p.started) > barAfter:
		p.bar = p.make(p.done)
	}
}

// finish takes the bar away.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Finish()
	}
	p.make = nil
}
