package events

import (
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

// parseTime reads an RFC 3339 time and returns it in UTC; zero where s is empty.
func parseTime(name, s string, p *problems) time.Time {
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || !isRFC3339(s) {
		p.add(name, "is %s, want an RFC 3339 time such as 2025-11-23T20:00:00+08:00", quote(s))
		return time.Time{}
	}
	t = t.UTC()
	if !isWritable(t) {
		p.add(name, "is %s, outside the years 1 to 9999", quote(s))
		return time.Time{}
	}
	return t
}

// isRFC3339 refuses what time.Parse lets pass (go.dev/issue/54580): an hour of
// one digit, a comma before the fraction, a zone beyond 23:59.
func isRFC3339(s string) bool {
	if len(s) < len("2006-01-02T15:04:05Z") || s[len("2006-01-02T15")] != ':' || strings.Contains(s, ",") {
		return false
	}
	if strings.HasSuffix(s, "Z") {
		return true
	}
	zone := s[len(s)-len("15:04"):]
	return zone[:2] <= "23" && zone[3:] <= "59"
}
