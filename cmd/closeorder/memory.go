package main

import (
	"slices"
	"strings"
)

// limitMemory has the collector keep what the process takes near to what it
// needs: max_buffered, half as much again for what is written of it, and 40 MiB
// for the program and the calls and connections of the default max_in_flight, with
// 64 KiB for each call more. By itself it would let it grow to twice
// what lives, and more while it is at work. It is a soft limit: with more alive
// the collector works harder, and nothing fails. Where the operator has set
// GOMEMLIMIT or GOGC that holds.
func (a *app) limitMemory(maxBuffered int64, maxInFlight int) {
	set := slices.ContainsFunc(a.env, func(v string) bool {
		return strings.HasPrefix(v, "GOMEMLIMIT=") || strings.HasPrefix(v, "GOGC=")
	})
	if a.setMemoryLimit != nil && !set {
		a.setMemoryLimit(40<<20 + maxBuffered*3/2 + int64(max(0, maxInFlight-256))<<16)
	}
}
