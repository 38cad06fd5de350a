package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/spf13/pflag"
)

// outcomeFilter is the flags that choose outcomes, and counts those that it was
// shown.
type outcomeFilter struct {
	outTradeNo, mchID string
	results, codes    []string
	notSafe           bool

	seen        int
	first, last time.Time // completed_at of those seen
}

func (f *outcomeFilter) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.outTradeNo, "out-trade-no", "", "only the outcomes of this order `NUMBER`")
	flags.StringVar(&f.mchID, "mch-id", "", "only the outcomes of this `MERCHANT`")
	flags.StringSliceVar(&f.results, "outcome", nil, "only these `OUTCOMES`: closed, paid, failed")
	flags.StringSliceVar(&f.codes, "code", nil, "only these `CODES`, whatever their case and underscores")
	flags.BoolVar(&f.notSafe, "not-safe", false, "only closed outcomes that are not safe to reissue")
}

func (f *outcomeFilter) check() error {
	var wrong misuse
	for _, r := range f.results {
		wrong.must(slices.Contains([]events.Result{events.Closed, events.Paid, events.Failed}, events.Result(r)), "--outcome: %q is none of closed, paid and failed", r)
	}
	wrong.must(!f.notSafe || len(f.results) == 0 || slices.Contains(f.results, string(events.Closed)), "--not-safe is of closed outcomes alone; leave --outcome out")
	return wrong.err()
}

// matches reports whether an outcome is chosen.
func (f *outcomeFilter) matches(o events.Outcome) bool {
	f.seen++
	if f.first.IsZero() || o.CompletedAt.Before(f.first) {
		f.first = o.CompletedAt
	}
	if o.CompletedAt.After(f.last) {
		f.last = o.CompletedAt
	}
	return (f.outTradeNo == "" || f.outTradeNo == o.OutTradeNo) &&
		(f.mchID == "" || f.mchID == o.MchID) &&
		(len(f.results) == 0 || slices.Contains(f.results, string(o.Result))) &&
		(len(f.codes) == 0 || slices.ContainsFunc(f.codes, func(code string) bool { return plainCode(code) == plainCode(o.Code) })) &&
		(!f.notSafe || closedNotSafe(o))
}

// plainCode is a code as it is to be compared: the gateway spells them both ways.
func plainCode(code string) string { return strings.ToUpper(strings.ReplaceAll(code, "_", "")) }

func closedNotSafe(o events.Outcome) bool { return o.Result == events.Closed && !o.SafeToReissue }

// String says what was asked for, empty for all.
func (f *outcomeFilter) String() string {
	var parts []string
	add := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(f.outTradeNo != "", " of %s", cell(f.outTradeNo))
	add(f.mchID != "", " of merchant %s", cell(f.mchID))
	add(len(f.results) > 0, " that says %s", strings.Join(f.results, " or "))
	add(len(f.codes) > 0, " with the code %s", cell(strings.Join(f.codes, " or ")))
	add(f.notSafe, " that is closed and not safe to reissue")
	return strings.Join(parts, "")
}

// none says that nothing was printed, what was looked at, and what else to try.
func (f *outcomeFilter) none(topic, from string) string {
	text := "no outcome" + f.String() + " in " + topic
	switch from = strings.ToLower(from); {
	case f.seen > 0:
		return text + fmt.Sprintf("; %s were looked at, completed from %s to %s", count(f.seen, "outcome"), zoned(f.first), zoned(f.last))
	case from == "end":
		return text + " from its end on; look further back with --from 1h or --from beginning"
	case from == "beginning" || from == "start":
		if f.String() != "" {
			text += ": there is none at all"
		}
		return text
	}
	return text + " since " + from
}
