package main

import (
	"slices"
	"strings"
)

// collectAt is how much the heap of a worker grows by, in percent of what lives,
// until it is collected. What lives is bounded, by max_buffered and max_in_flight,
// and most of what is made for a request is soon dead: Go's own 100 would make the
// process a tenth larger, for one or two percent of its CPU time.
const collectAt = 75

// collect says when memory is collected. Where the operator has set GOMEMLIMIT or
// GOGC that holds.
func (a *app) collect() {
	set := slices.ContainsFunc(a.env, func(v string) bool {
		return strings.HasPrefix(v, "GOMEMLIMIT=") || strings.HasPrefix(v, "GOGC=")
	})
	if a.setGCPercent != nil && !set {
		a.setGCPercent(collectAt)
	}
}
