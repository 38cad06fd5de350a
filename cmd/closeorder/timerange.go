package main

import (
	"errors"
	"time"

	"github.com/closeorder/closeorder/internal/moments"
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
	if t, ok := moments.Parse(s, now); ok {
		return t, nil
	}
	return time.Time{}, usagef("%v", &moments.Error{Name: flag, Text: s, Local: "local"})
}

// zoned is a local time with its zone.
func zoned(t time.Time) string { return t.Local().Format(moments.Zoned) }
