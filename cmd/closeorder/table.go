package main

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

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

func (t table) row(cells ...string) error {
	var b strings.Builder
	for i, c := range cells {
		b.WriteString(c)
		if i == len(cells)-1 {
			break
		}
		b.WriteString(strings.Repeat(" ", max(t.widths[i]-shown(c), 0)+2))
	}
	_, err := fmt.Fprintln(t.out, strings.TrimRight(b.String(), " "))
	return err
}

// shown is the number of places that s takes on a terminal.
func shown(s string) int {
	return uniseg.StringWidth(colours.ReplaceAllString(s, ""))
}

// colours is what paint puts round a word.
var colours = regexp.MustCompile(`\x1b[^m]*m`)

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
		if t.row(r...) != nil {
			return // run has seen it
		}
	}
}

// wholeText is the same as a text.
func wholeText(rows [][]string) string {
	var b strings.Builder
	whole(&b, rows)
	return b.String()
}

// cell makes a text that came from elsewhere fit to be printed in a row: what
// is not text, and what a terminal would obey, a line break included, is
// escaped as in Go.
func cell(s string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(printable([]byte(s)))
}

// escaped writes JSON to a terminal or elsewhere: what encoding/json lets
// through and a terminal would obey is escaped as JSON has it. It can only
// stand in strings. Each document must come in one Write.
type escaped struct{ io.Writer }

func (e escaped) Write(b []byte) (int, error) {
	odd := func(r rune) bool { return r >= 0x7f && !strconv.IsPrint(r) && r != '\u3000' }
	if !bytes.ContainsFunc(b, odd) {
		return e.Writer.Write(b)
	}
	var out []byte
	for _, r := range string(b) {
		switch high, low := utf16.EncodeRune(r); {
		case !odd(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	if _, err := e.Writer.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}
