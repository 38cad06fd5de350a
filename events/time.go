package events

import (
	"fmt"
	"strings"
	"time"
)

// formatTime writes t as RFC 3339 in UTC, to the nanosecond where it has any.
func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// isWritable reports whether RFC 3339 can write t: it knows four digits of a
// year. Timestamps of Kafka records and sums of times can lie beyond.
func isWritable(t time.Time) bool {
	y := t.UTC().Year()
	return 1 <= y && y <= 9999
}

// checkYears refuses a time that RFC 3339 cannot write.
func checkYears(field string, t time.Time, p *problems) {
	if !isWritable(t) && !p.has(field) {
		p.add(field, "is in the year %d, outside 1 to 9999", t.UTC().Year())
	}
}

// Times are read by two policies. A time that decides about the close
// (order_created_at, not_before, expires_at) is read strictly, by parseTime:
// whoever writes it otherwise is told what is wrong and what to write. An
// attribute that a close does not need (ce_time) never costs one: readTime
// takes it where its meaning is certain, and else does without.

// parseTime reads an RFC 3339 time and returns it in UTC; zero where s is
// empty. All of RFC 3339 is read: lower-case t and z, the blank in place of T
// (section 5.6), any number of digits of a second of which nine count, the
// offset -00:00, and the leap second, which is the second after it.
func parseTime(name, s string, p *problems) time.Time {
	if s == "" {
		return time.Time{}
	}
	m := readMoment(s)
	if m.flaw != "" {
		p.add(name, "is %s%s", quote(s), withFlaw(m.flaw))
		return time.Time{}
	}
	if !isWritable(m.at) {
		p.add(name, "is %s, outside the years 1 to 9999", quote(s))
		return time.Time{}
	}
	return m.at
}

// readTime reads a time that may be missing, as far as its meaning is certain,
// and returns it in UTC; else zero. Beside RFC 3339 it takes an offset without
// colon or minutes, UTC and GMT, a zone name in brackets behind an offset, a
// time without seconds, and a comma before the fraction. What CST is, or a time
// without any zone, nobody knows.
func readTime(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	m := readMoment(trimSpace(s))
	if !isWritable(m.at) {
		return time.Time{}
	}
	return m.at
}

// withFlaw joins a flaw to the value that has it.
func withFlaw(flaw string) string {
	if strings.HasPrefix(flaw, "has ") || strings.HasPrefix(flaw, "is ") {
		return " and " + flaw
	}
	return ", " + flaw
}

const wantTime = "want an RFC 3339 time such as 2025-11-23T20:00:00+08:00"

// problemNoTime says what is wrong with a JSON value that is no text in place
// of a time.
func problemNoTime(raw []byte) string {
	switch kind := kindOf(raw); kind {
	case "number":
		text := cut(string(raw), 40)
		if flaw := numberFlaw(string(raw)); flaw != "" {
			return "is " + text + ", " + flaw
		}
		return "is the number " + text + ", " + wantTime
	case "array":
		return "is an array, as Jackson writes java.time by default; " + wantTime
	case "object":
		return "is an object, " + wantTime
	default:
		return fmt.Sprintf("is %s, want a string", article(kind))
	}
}
