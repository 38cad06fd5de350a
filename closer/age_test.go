package closer

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAge(t *testing.T) {
	const settle = time.Minute
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		for sentence, tt := range map[string]struct {
			created time.Time     // as the order has it
			call    time.Duration // after began
			want    age
		}{
			"an old order is settled":                          {began.Add(-time.Hour), 0, settled},
			"one of the settle age is":                         {began.Add(-settle), 0, settled},
			"one that is a moment younger is not":              {began.Add(-settle + 1), 0, young},
			"a young one settles while it is closed":           {began.Add(-50 * time.Second), 10 * time.Second, settled},
			"and not before":                                   {began.Add(-50 * time.Second), 10*time.Second - 1, young},
			"one of this moment is young":                      {began, 0, young},
			"one of the next hour is young":                    {began.Add(time.Hour), 0, young},
			"it is no older for the calls that were made":      {began.Add(time.Hour), 30 * time.Minute, young},
			"it settles when its own time has come":            {began.Add(time.Hour), time.Hour + settle, settled},
			"one of the next century is young":                 {began.AddDate(100, 0, 0), time.Hour, young},
			"one further ahead than a duration can say is":     {began.AddDate(5000, 0, 0), time.Hour, young},
			"the last moment of all is":                        {time.Unix(math.MaxInt64-62135596801, 999999999), time.Hour, young},
			"the time of a field that nobody has set is none":  {time.Unix(0, 0), 0, ageUnknown},
			"nor is one of a calendar that begins in 1980":     {time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), 0, ageUnknown},
			"nor one before the calendar":                      {time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), 0, ageUnknown},
			"without a reading of our clock it is the same":    {began.Round(0).Add(time.Hour), 0, young},
			"in another zone too":                              {began.Add(time.Hour).In(time.FixedZone("", -12*3600)), 0, young},
			"in a zone that makes it look older by the digits": {began.In(time.FixedZone("", -12*3600)), 0, young},
			"no time is an unknown age":                        {time.Time{}, 0, ageUnknown},
		} {
			r := &run{c: &Closer{cfg: Config{SettleAge: settle}}, created: onOurClock(tt.created, began)}
			if got := r.age(began.Add(tt.call)); got != tt.want {
				t.Errorf("%s: got %v, want %v", sentence, got, tt.want)
			}
		}
	})
}

// What another clock has written down is compared with ours once. After that
// only the clock counts that no administrator and no time server sets.
func TestAJumpOfTheWallClockMakesNoOrderOlder(t *testing.T) {
	now := time.Now()
	if !strings.Contains(now.String(), "m=") {
		t.Skip("no monotonic clock here")
	}
	for sentence, created := range map[string]time.Time{
		"as it is read from a request": now.Round(0).Add(-10 * time.Second), // Round strips our clock's reading
		"as a time of this process":    now.Add(-10 * time.Second),
		"of a clock that runs ahead":   now.Round(0).Add(time.Hour),
	} {
		got := onOurClock(created, now)
		if !strings.Contains(got.String(), "m=") || !got.Round(0).Equal(created.Round(0)) {
			t.Errorf("%s: %v became %v", sentence, created, got)
		}
	}
}

// An order whose clock runs ahead is waited for, whatever the gateway says.
func TestAnOrderOfTheFutureIsNotCalledSafe(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Second, time.Hour, 24 * time.Hour, 1 << 62} {
		for _, closes := range [][]reply{replies(closeSuccess()), replies(code("ORDERNOTEXIST"))} {
			inBubble(t, closesAndQueries(closes, replies(code("ORDERNOTEXIST"))), nil, func(t *testing.T, c *Closer, _ *gateway) {
				o := order()
				o.CreatedAt = time.Now().Add(ahead)
				for _, v := range []Verdict{c.Close(t.Context(), o), c.Query(t.Context(), o)} {
					if v.Class != Temporary || v.SafeToReissue || v.RetryAfter <= 0 {
						t.Errorf("%v ahead: %+v", ahead, v)
					}
				}
			})
		}
	}
}
