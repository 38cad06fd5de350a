package rebalances

import (
	"cmp"
	"fmt"
	"strings"
)

var columns = [...]string{
	"", "member ids", "requests",
	"p50", "p99", "p99 in quiet times", "p99 beside", "lowest second", "longest silence",
	"moved, have to", "for at most",
	"left by others", "for at most", "their p99",
	"lost", "side by side", "load late by",
}

// Table renders results for people, as Markdown: a row for each scene. Columns
// 4 to 9 are those of the partitions that stay with their owner, but for p99 beside,
// which is that of the worker that nobody disturbed.
func Table(results []Result) string {
	var b strings.Builder
	b.WriteString("|")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c)
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(columns)) + "\n")
	programs := make(map[string]bool)
	for _, r := range results {
		programs[r.Program] = true
	}
	for _, r := range results {
		for _, f := range r.Scenes {
			name := f.Name
			if len(programs) > 1 {
				name = r.Program + ": " + name
			}
			s := f.Summary
			row := []string{
				name, r.IDs, fmt.Sprint(s.Requests),
				millis(s.Stays.P50), millis(s.Stays.P99), millis(s.QuietP99), count(s.Beside.Requests, millis(s.Beside.P99)), percent(s.Lowest), seconds(s.Silence),
				count(s.Moved, fmt.Sprint(s.Moved, ", ", s.MayMove)), count(s.Moved, seconds(s.MovedFor)),
				count(s.Left, fmt.Sprint(s.Left)), count(s.Left, seconds(s.LeftFor)), count(s.Left, millis(s.Orphaned.P99)),
				fmt.Sprint(s.Lost), fmt.Sprint(s.SideBySide), millis(s.Late),
			}
			b.WriteString("|")
			for _, cell := range row {
				fmt.Fprintf(&b, " %s |", cell)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// count leaves a cell out where there is nothing of its kind.
func count(n int, cell string) string {
	if n == 0 {
		cell = ""
	}
	return cmp.Or(cell, "-")
}

func percent(p float64) string {
	if p < 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", p)
}

func millis(ms float64) string {
	if ms < 1000 {
		return fmt.Sprintf("%.0f ms", ms)
	}
	return seconds(ms / 1000)
}

func seconds(s float64) string { return fmt.Sprintf("%.1f s", s) }
