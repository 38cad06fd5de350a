package main

import (
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// barAfter is how long a work goes on before it is worth a progress bar.
const barAfter = 2 * time.Second

// progress is a bar on standard error: only on a terminal, and only for what
// takes long. Its methods are safe for concurrent use. The zero value shows
// nothing.
type progress struct {
	mu   sync.Mutex
	late *late
	bar  *progressbar.ProgressBar // nil: nobody looks
}

// progress begins to count towards total, which an int of 32 bits may not hold.
func (a *app) progress(what string, total int64) *progress {
	if !isTerminal(a.stderr) {
		return &progress{}
	}
	return newProgress(a.stderr, what, total, bool(a.paint(a.stderr)))
}

// newProgress makes a bar that counts from now on and is seen only later: one
// that was made later would take what was done before for its own work of no
// time, and show a rate and a time left that are wrong.
func newProgress(out io.Writer, what string, total int64, colours bool) *progress {
	l := &late{Writer: out, from: time.Now().Add(barAfter)}
	bar := progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(l),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionEnableColorCodes(colours),
	)
	bar.StartWithoutRender() // else it takes the first piece of work for its beginning
	return &progress{late: l, bar: bar}
}

// late is an output that drops what comes before a time.
type late struct {
	io.Writer
	from  time.Time
	begun bool
}

func (l *late) Write(b []byte) (int, error) {
	if time.Now().Before(l.from) {
		return len(b), nil
	}
	l.begun = true
	return l.Writer.Write(b)
}

func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Add(n)
	}
}

// finish takes the bar away.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil && p.late.begun {
		_ = p.bar.Finish()
	}
	p.bar = nil
}
