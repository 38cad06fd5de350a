package config

import "github.com/closeorder/closeorder/internal/slips"

// Nearest is slips.Near, for names of settings, variables and flags.
func Nearest(name string, candidates []string, limit int) string {
	return slips.Near(name, candidates, limit)
}
