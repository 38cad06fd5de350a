package main

import (
	"fmt"
	"slices"
)

// spread is a median with the least and the most. The zero value is of nothing.
type spread struct {
	Median, Least, Most float64
	N                   int
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return spread{(sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[0], sorted[n-1], n}
}

// text has so many digits after the point: the median, and the range where there
// is one.
func (s spread) text(digits int) string {
	if s.N == 0 {
		return "-"
	}
	median := fmt.Sprintf("%.*f", digits, s.Median)
	least, most := fmt.Sprintf("%.*f", digits, s.Least), fmt.Sprintf("%.*f", digits, s.Most)
	if s.N == 1 || least == most {
		return median
	}
	return fmt.Sprintf("%s (%s-%s)", median, least, most)
}
