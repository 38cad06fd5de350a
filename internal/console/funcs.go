package console

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/closeorder/closeorder/internal/timeline"
)

// more are functions of the templates that need no language.
func more() template.FuncMap {
	return template.FuncMap{
		"class":    class,
		"nameable": nameable,
		"head":     head,
		"share":    share,
		"balance":  balance,
		"beside":   beside,
		"quoted":   timeline.Quoted,
		"span":     timeline.Span,
		"sign":     sign,
		"upto":     upto,
		"join":     func(all []string) string { return strings.Join(all, ", ") },
	}
}

// class is the colour of a state, beside its sign and its word.
func class(state any) string {
	switch fmt.Sprint(state) {
	case "closed", "done":
		return "good"
	case "paid":
		return "paid"
	case "failed", "lost", "contradictory", "unplanned":
		return "bad"
	case "unproven", "paused", "waiting", "stopped":
		return "warn"
	}
	return ""
}

// head is the colour of what stands at the head of a page: none where all is well.
func head(state any) string {
	if is := class(state); is == "bad" || is == "warn" {
		return is
	}
	return ""
}

// sign is the class of an entry of a timeline.
func sign(e timeline.Entry) string {
	switch {
	case e.Kind == timeline.Answered && !e.Repeat:
		return class(e.Outcome)
	case e.Kind == timeline.DeadLetter || e.Problem != "":
		return "bad"
	case e.Kind == timeline.PutOff && !e.Finished:
		return "warn"
	}
	return ""
}

// share is how much n is of all, in hundredths, at least one where n is something.
func share(n, all int64) int64 {
	if n <= 0 || all <= 0 {
		return 0
	}
	return max(1, min(100, n*100/all))
}

// mostEntriesShown is how many entries of a timeline a page shows.
const mostEntriesShown = 500

// upto are the first entries that a page shows.
func upto(entries []timeline.Entry) []timeline.Entry {
	return entries[:min(len(entries), mostEntriesShown)]
}
