package moments

import (
	"testing"
	"time"
)

func TestTimesAreTakenAsTheTablesPrintThem(t *testing.T) {
	shanghai := time.FixedZone("CST", 8*60*60)
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, shanghai)
	for _, tt := range []struct{ what, text, want string }{
		{"with a zone", "2026-01-31T08:00:00Z", "2026-01-31T16:00:00+08:00"},
		{"as a table prints it, local", "2026-01-31 08:00:00", "2026-01-31T08:00:00+08:00"},
		{"without a zone, local", "2026-01-31T08:00:00", "2026-01-31T08:00:00+08:00"},
		{"a day begins at its midnight", "2026-01-30", "2026-01-30T00:00:00+08:00"},
		{"so long ago", "90m", "2026-01-31T10:30:00+08:00"},
		{"days ago", "7d", "2026-01-24T12:00:00+08:00"},
		{"no days at all", "0d", "2026-01-31T12:00:00+08:00"},
		{"days to come are no time", "-1d", ""},
		{"a part of a day is no number of days", "1.5d", ""},
		{"too many days", "99999999d", ""},
		{"a word", "yesterday", ""},
		{"nothing before the unit", "d", ""},
	} {
		at, ok := Parse(tt.text, now)
		got := ""
		if ok {
			got = at.In(shanghai).Format(time.RFC3339)
		}
		if got != tt.want {
			t.Errorf("%s: %s is %s, want %s", tt.what, tt.text, got, tt.want)
		}
	}
}
