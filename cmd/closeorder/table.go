package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/rivo/uniseg"
)

// table prints rows in columns. Widths count what a terminal shows: a
// gateway's words are Chinese, and take two places each.
type table struct {
	out io.Writer
	// widths of all columns but the last, which is as wide as it comes. A
	// text that is longer pushes its row to the right and loses nothing.
	widths []int
}

func (t table) row(cells ...string) {
	var b strings.Builder
	for i, c := range cells {
		b.WriteString(c)
		if i == len(cells)-1 {
			break
		}
		width := 0
		if i < len(t.widths) {
			width = t.widths[i]
		}
		b.WriteString(strings.Repeat(" ", max(width-shown(c), 0)+2))
	}
	fmt.Fprintln(t.out, strings.TrimRight(b.String(), " "))
}

// shown is the number of places that s takes on a terminal.
func shown(s string) int {
	if !strings.Contains(s, "\x1b") {
		return uniseg.StringWidth(s)
	}
	for {
		start := strings.IndexByte(s, '\x1b')
		if start < 0 {
			return uniseg.StringWidth(s)
		}
		end := strings.IndexByte(s[start:], 'm')
		if end < 0 {
			return uniseg.StringWidth(s)
		}
		s = s[:start] + s[start+end+1:]
	}
}

// whole prints a table all of whose rows are known.
func whole(out io.Writer, rows [][]string) {
	t := table{out: out}
	for _, r := range rows {
		for i, c := range r {
			if i == len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], shown(c))
		}
	}
	for _, r := range rows {
		t.row(r...)
	}
}
