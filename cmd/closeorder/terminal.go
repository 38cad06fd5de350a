package main

import (
	"io"
	"os"

	"github.com/closeorder/closeorder/events"
	"golang.org/x/term"
)

// isTerminal reports whether a stream ends at a person.
func isTerminal(stream any) bool {
	if out, ok := stream.(*output); ok {
		stream = out.Writer
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// paint colours words on a terminal, and leaves them alone elsewhere and
// where NO_COLOR is set (no-color.org).
type paint bool

func (a *app) paint(w io.Writer) paint {
	return paint(isTerminal(w) && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb")
}

const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	bold   = "\x1b[1m"
	faint  = "\x1b[2m"
	reset  = "\x1b[0m"
)

func (p paint) in(colour, text string) string {
	if !p || text == "" {
		return text
	}
	return colour + text + reset
}

// result colours an outcome: paid is what an order service must look at.
func (p paint) result(r events.Result, text string) string {
	switch r {
	case events.Closed:
		return p.in(green, text)
	case events.Paid:
		return p.in(yellow, text)
	default:
		return p.in(red, text)
	}
}
