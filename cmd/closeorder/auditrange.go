package main

import (
	"errors"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/spf13/pflag"
)

// timeRange is the flags --since and --until.
type timeRange struct{ since, until string }

func (r *timeRange) add(flags *pflag.FlagSet, what string) {
	flags.StringVar(&r.since, "since", "", "only "+what+" from this `TIME` on (RFC 3339), or so long ago (90s, 24h)")
	flags.StringVar(&r.until, "until", "", "only "+what+" before this `TIME`, or so long ago")
}

// parse returns the bounds, zero for none.
func (r *timeRange) parse(now time.Time) (since, until time.Time, err error) {
	since, err = parseTime("--since", r.since, now)
	until, errUntil := parseTime("--until", r.until, now)
	if err = errors.Join(err, errUntil); err != nil {
		return since, until, err
	}
	if !until.IsZero() && !since.Before(until) {
		err = usagef("--since is not before --until: nothing lies between %s and %s", r.since, r.until)
	}
	return since, until, err
}

func parseTime(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, usagef("%s: %q is neither a time such as 2026-01-31T08:00:00Z nor a duration such as 90s or 24h", flag, s)
}

// allBut names the settings of a section that a command does not need.
func allBut(section config.Section, wanted string) []string {
	var rest []string
	for _, s := range config.Settings(section) {
		if s.Name != wanted {
			rest = append(rest, s.Name)
		}
	}
	return rest
}
