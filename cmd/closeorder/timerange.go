package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// timeRange is the flags --since and --until.
type timeRange struct{ since, until string }

func (r *timeRange) add(flags *pflag.FlagSet, what string) {
	flags.StringVar(&r.since, "since", "", "only "+what+" from this `TIME` on (RFC 3339, or local as tables show it), or so long ago (90s, 24h, 7d)")
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
	if t, ok := parseMoment(s, now); ok {
		return t, nil
	}
	return time.Time{}, usagef("%s: %q is neither a time such as 2026-01-31T08:00:00Z, %q or 2026-01-31 (local) nor a duration such as 90s, 24h or 7d", flag, s, "2026-01-31 08:00:00")
}

// zonedTime is how tables print a time: people in two zones read one table.
const zonedTime = "2006-01-02 15:04:05 -07:00"

// zoned is a local time with its zone.
func zoned(t time.Time) string { return t.Local().Format(zonedTime) }

// parseMoment reads a time with its zone, a local one as the tables print it,
// a local day, or how long ago it is.
func parseMoment(s string, now time.Time) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, zonedTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	for _, layout := range []string{time.DateTime, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, true
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), true
	}
	// Days of the calendar: the same hour, also where clocks were changed.
	if number, isDays := strings.CutSuffix(s, "d"); isDays {
		if days, err := strconv.Atoi(number); err == nil && days >= 0 && days <= 36500 {
			return now.AddDate(0, 0, -days), true
		}
	}
	return time.Time{}, false
}
