package slips

import "strings"

// Near returns the candidate that was most likely meant by name: one that
// differs in case and separators alone, else the closest of those at most limit
// edits away, else nothing. It is what is worth a "did you mean".
func Near(name string, candidates []string, limit int) string {
	for _, c := range candidates {
		if fold(c) == fold(name) {
			return c
		}
	}
	best, least := "", limit+1
	for _, c := range candidates {
		if d := distance(name, c); d < least {
			best, least = c, d
		}
	}
	return best
}

var separators = strings.NewReplacer("_", "", "-", "", ".", "", " ", "")

func fold(s string) string { return separators.Replace(strings.ToLower(s)) }

// distance counts the insertions, deletions and substitutions between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitution := diagonal
			if a[i] != b[j] {
				substitution++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitution, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
