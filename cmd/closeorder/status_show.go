package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/backlog"
	"github.com/closeorder/closeorder/internal/remedies"
	"github.com/closeorder/closeorder/internal/status"
)

// printStatus prints a look at all: how it is in words first, then tables, of what
// there is.
func (a *app) printStatus(r *status.Report) {
	p, out := a.paint(a.stdout), a.stdout
	verdict := p.in(green, "serving")
	if len(r.Wrong) > 0 {
		verdict = p.in(red, "NOT WELL")
	}
	fmt.Fprintf(out, "%s%s\n", verdict, statusSentence(r))
	for _, why := range r.Wrong {
		fmt.Fprintf(out, "%s %s\n", p.in(red, "wrong:"), cell(why))
	}
	for _, why := range r.Unseen {
		fmt.Fprintf(out, "%s %s\n", p.in(yellow, "not seen:"), cell(why))
	}
	fmt.Fprintf(out, "%s\n", p.in(bold, fmt.Sprintf("group %s, %s, as of %s", r.Group, orDash(r.State), zoned(r.At))))
	part := func(rows [][]string) {
		if len(rows) > 1 {
			fmt.Fprintln(out)
			whole(out, rows)
		}
	}
	part(memberRows(r))
	for _, m := range r.Members {
		for _, why := range reasons(m) {
			fmt.Fprintf(out, "  %s: %s\n", cell(m.Name()), cell(why))
		}
	}
	part(topicRows(r))
	part(pileRows(r))
	part(holdRows(r))
	part(hostRows(r))
	part(failureRows(r))
}

// statusSentence says what is going on, behind the verdict.
func statusSentence(r *status.Report) string {
	partitions, held := 0, 0
	for _, m := range r.Members {
		partitions += m.Partitions()
		if m.Says != nil {
			held += len(m.Says.State.Holds)
		}
	}
	text := fmt.Sprintf(": %s with %s", count(len(r.Members), "member"), count(partitions, "partition"))
	if n := r.Waiting.Count; n > 0 {
		text += fmt.Sprintf("; %d wait, oldest %s", n, age(r.At.Sub(r.Waiting.Oldest)))
	}
	if n := r.InFlight.Count; n > 0 {
		text += fmt.Sprintf("; %d in flight, oldest %s", n, age(r.At.Sub(r.InFlight.Oldest)))
	}
	if r.Waiting.Count+r.InFlight.Count == 0 {
		text += "; nothing waits"
	}
	if held > 0 {
		text += "; " + count(held, "held merchant")
	}
	return text + fmt.Sprintf("; since %s %d closed, %d paid, %d failed", zoned(r.Since), r.Closed, r.Paid, r.Failed)
}

func memberRows(r *status.Report) [][]string {
	rows := [][]string{{"MEMBER", "HOST", "PARTITIONS", "IN FLIGHT", "OPEN", "DUE NOW", "BREAKER", "ASK"}}
	for _, m := range r.Members {
		row := []string{orDash(m.Name()), orDash(m.Host), strconv.Itoa(m.Partitions()), "-", "-", "-", "-", orDash(m.Admin)}
		if is := m.Says; is != nil && is.Stuck == "" {
			open := 0
			for _, p := range is.State.Partitions {
				open += p.Open
			}
			row[2] = strconv.Itoa(cmp.Or(m.Partitions(), len(is.State.Partitions)))
			row[3], row[4], row[5], row[6] = strconv.Itoa(is.State.Lanes.InFlight), strconv.Itoa(open), strconv.FormatInt(is.State.DueNow, 10), orDash(is.State.Breaker.State)
		}
		rows = append(rows, row)
	}
	return rows
}

// reasons are what a member waits for, or why it says nothing.
func reasons(m status.Member) []string {
	if m.Says == nil {
		return []string{m.Silent}
	}
	return m.Says.State.Health.Waits
}

func topicRows(r *status.Report) [][]string {
	rows := [][]string{{"TOPIC", "PARTITIONS", "LAG", "WITHOUT AN OWNER"}}
	for _, t := range r.Topics {
		unowned := "-"
		if n := len(t.Unowned); n > 0 {
			unowned = oneLine(strings.Trim(fmt.Sprint(t.Unowned), "[]"), 40)
		}
		rows = append(rows, []string{t.Topic, strconv.Itoa(t.Partitions), strconv.FormatInt(t.Lag, 10), unowned})
	}
	return rows
}

func pileRows(r *status.Report) [][]string {
	rows := [][]string{{"WAITS", "MCH_ID", "REQUESTS", "OLDEST", "DUE"}}
	row := func(code, mchID string, p backlog.Pile) {
		due := "-"
		if !p.DueFirst.IsZero() {
			due = "from " + zoned(p.DueFirst)
		}
		rows = append(rows, []string{code, mchID, strconv.FormatInt(p.Count, 10), age(r.At.Sub(p.Oldest)), due})
	}
	for _, p := range r.By {
		row(orDash(oneLine(p.Code, 40)), orDash(oneLine(p.MchID, 40)), p)
	}
	if r.Rest.Count > 0 {
		row("others", "others", r.Rest)
	}
	return rows
}

func holdRows(r *status.Report) [][]string {
	rows := [][]string{{"HELD", "SINCE", "NEXT TRY", "WHY"}}
	seen := make(map[consumer.Scope]bool) // each member finds out for itself
	for _, m := range r.Members {
		if m.Says == nil {
			continue
		}
		for _, h := range m.Says.State.Holds {
			scope := consumer.Scope{MchID: h.MchID, AppID: h.AppID, SubMchID: h.SubMchID}
			if seen[scope] {
				continue
			}
			seen[scope] = true
			parts := slices.DeleteFunc([]string{h.MchID, h.AppID, h.SubMchID}, func(part string) bool { return part == "" })
			rows = append(rows, []string{oneLine(strings.Join(parts, "/"), 60), age(r.At.Sub(h.Since)), untilOf(r.At, h.NextProbe), oneLine(h.Why, 100)})
		}
	}
	return rows
}

// untilOf is how long something still takes.
func untilOf(now, t time.Time) string {
	if !t.After(now) {
		return "now"
	}
	return "in " + age(t.Sub(now))
}

func hostRows(r *status.Report) [][]string {
	rows := [][]string{{"HOST", "MEMBER", "IS", "ANSWERED", "FAILED", "LAST FAILURE"}}
	for _, m := range r.Members {
		if m.Says == nil {
			continue
		}
		for _, h := range m.Says.Hosts {
			is := "in use"
			switch {
			case !h.InUse:
				is = "left, tried again " + untilOf(r.At, h.LeftUntil)
			case h.Failing:
				is = "failing"
			}
			rows = append(rows, []string{h.URL, orDash(m.Name()), is, strconv.FormatUint(h.Answered, 10), strconv.FormatUint(h.Failed, 10), orDash(h.LastFailure)})
		}
	}
	return rows
}

func failureRows(r *status.Report) [][]string {
	rows := [][]string{{"FAILED", "REQUESTS", "MERCHANTS", "LATEST", "FOR EXAMPLE", "WHAT TO DO"}}
	for _, f := range r.Failures {
		rows = append(rows, []string{
			orDash(oneLine(f.Code, 40)), strconv.FormatInt(f.Count, 10), strconv.Itoa(f.Merchants), age(r.At.Sub(f.Latest)) + " ago",
			orDash(oneLine(f.OutTradeNo, 40)) + " of " + orDash(oneLine(f.MchID, 20)), remedies.For(f.Code),
		})
	}
	return rows
}
