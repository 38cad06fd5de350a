package moments_test

import (
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/moments"
)

func TestATimeIsOneThatJSONCanHold(t *testing.T) {
	shanghai := time.FixedZone("", 8*60*60)
	last := time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
	first := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	for sentence, c := range map[string]struct{ at, want time.Time }{
		"a year like ours": {time.Date(2026, 3, 1, 12, 0, 0, 0, shanghai), time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)},
		"no time":          {},
		"the last one":     {last, last},
		"the last one, in the year 10000 further east": {last.In(shanghai), last},
		"after the last one":                           {last.Add(1), time.Time{}},
		"after it, though not further west":            {last.Add(1).In(time.FixedZone("", -8*60*60)), time.Time{}},
		"the first one":                                {first, first},
		"before the first one":                         {first.Add(-1), time.Time{}},
		"the last that a record can have":              {time.UnixMilli(1<<63 - 1), time.Time{}},
		"the first that a record can have":             {time.UnixMilli(-1 << 63), time.Time{}},
	} {
		got := moments.WritableTime(c.at)
		if _, err := got.MarshalJSON(); err != nil || got != c.want {
			t.Errorf("%s: %s, %v; want %s", sentence, got, err, c.want)
		}
	}
}
