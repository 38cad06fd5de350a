package drills

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runbook is where the tables of the drills stand.
const runbook = "../../docs/operations.md"

// drillNames are the headings of the drills in the runbook, all of them.
var drillNames = []string{
	"The worker is stopped", "The broker is stopped", "The gateway is stopped",
	"A wrong API key", "A held merchant", "A missing topic", "A full disk", "Clocks ten minutes apart",
}

// places are where somebody looks, a row of each table.
var places = []string{"`/livez`", "`/readyz`", "`/statusz`", "`/metrics`", "first line of the log", "`doctor`", "`trace`"}

// row is what a table says of one place.
type row struct {
	line   int
	place  string
	quotes []*regexp.Regexp // in the order of the cell
	then   *row             // what the same place says later; nil where it stays so
}

// drillTables reads the tables of the section Drills by the name of the drill.
// Words in backquotes are quotes; … in them stands for anything in one line. What
// stands before "; then " is there to be seen at one moment, what stands behind it
// at a later one.
func drillTables() (map[string][]row, error) {
	text, err := os.ReadFile(runbook)
	if err != nil {
		return nil, err
	}
	tables := make(map[string][]row)
	in, drill := false, ""
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, "## "):
			in, drill = line == "## Drills", ""
		case !in:
		case strings.HasPrefix(line, "### "):
			drill = strings.TrimPrefix(line, "### ")
		case drill == "" || !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| look at |"):
		default:
			place, cell, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), " | ")
			if !ok {
				return nil, fmt.Errorf("%s, line %d: want a place and what it says", runbook, i+1)
			}
			tables[drill] = append(tables[drill], *rowOf(i+1, place, cell))
		}
	}
	return tables, nil
}

func rowOf(line int, place, cell string) *row {
	now, later, found := strings.Cut(cell, "; then ")
	r := &row{line: line, place: place, quotes: quotesOf(now)}
	if found {
		r.then = rowOf(line, place, later)
	}
	return r
}

var quoted = regexp.MustCompile("`([^`]+)`")

func quotesOf(cell string) (quotes []*regexp.Regexp) {
	for _, m := range quoted.FindAllStringSubmatch(strings.ReplaceAll(cell, `\|`, "|"), -1) {
		parts := strings.Split(m[1], "…")
		for i, part := range parts {
			parts[i] = regexp.QuoteMeta(part)
		}
		quotes = append(quotes, regexp.MustCompile(strings.Join(parts, "[^\n]*?")))
	}
	return quotes
}

// missing returns the quotes of the row that are not in what was seen.
func (r row) missing(seen string) (all []string) {
	for _, q := range r.quotes {
		if !q.MatchString(seen) {
			all = append(all, q.String())
		}
	}
	return all
}

// Each drill has a table in the runbook, with every place in it, and each cell
// quotes something: else there would be nothing to look for.
func TestEachDrillHasItsTable(t *testing.T) {
	tables, err := drillTables()
	if err != nil {
		t.Fatal(err)
	}
	for name := range tables {
		if !slices.Contains(drillNames, name) {
			t.Errorf("%s: %q is no drill that a test does", runbook, name)
		}
	}
	for _, name := range drillNames {
		var got []string
		for _, r := range tables[name] {
			got = append(got, r.place)
			for at := &r; at != nil; at = at.then {
				if len(at.quotes) == 0 {
					t.Errorf("%s, line %d: quotes nothing", runbook, r.line)
				}
			}
		}
		if !slices.Equal(got, places) {
			t.Errorf("%s, section %q: rows are %q, want %q", runbook, name, got, places)
		}
	}
}

func TestAQuoteIsFoundAsItStandsThere(t *testing.T) {
	const seen = "200 ok\nthe gateway has not answered for 12s: calls are held\n"
	for quotes, want := range map[string]int{
		"`200 ok`": 0,
		"`has not answered for …: calls are held`":                    0,
		"`ok … calls` goes over lines, `503` and `a.l` are not there": 3,
		"nothing is quoted": 0,
	} {
		if got := (row{quotes: quotesOf(quotes)}).missing(seen); len(got) != want {
			t.Errorf("%s: %q are missing, want %d", quotes, got, want)
		}
	}
}

func TestWhatIsToBeSeenLaterStandsBehindThen(t *testing.T) {
	r := rowOf(1, "`/readyz`", "`503`, `publishing fails`; then `no member`")
	if r.then == nil || r.then.then != nil || len(r.quotes) != 2 || len(r.then.quotes) != 1 {
		t.Fatalf("%+v", r)
	}
	const first, later = "503 publishing fails", "503 no member"
	if len(r.missing(first)) != 0 || len(r.missing(later)) == 0 || len(r.then.missing(first)) == 0 || len(r.then.missing(later)) != 0 {
		t.Error("what is seen first and what later is not told apart")
	}
}
