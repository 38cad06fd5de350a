// Package moments reads the times that people give to commands and pages: a time, a
// day, or how long ago. It makes times of the kind that JSON can hold.
package moments

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Zoned is how tables print a time: people in two zones read one table.
const Zoned = "2006-01-02 15:04:05 -07:00"

// Parse reads a time with its zone, a local one as tables print it, a local day, or
// how long ago it is. Local is the zone of now.
func Parse(s string, now time.Time) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, Zoned} {
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

// Error is a text that is no time.
type Error struct {
	// Name is what was to be a time, Local the name of the zone of times without one.
	Name, Text, Local string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %q is neither a time such as 2026-01-31T08:00:00Z, %q or 2026-01-31 (%s) nor a duration such as 90s, 24h or 7d", e.Name, e.Text, "2026-01-31 08:00:00", e.Local)
}
