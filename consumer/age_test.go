package consumer

import (
	"fmt"
	"testing"
	"time"
)

func TestAgeOf(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	at := now.Add
	const m, h = time.Minute, time.Hour
	for sentence, c := range map[string]struct {
		created, requested time.Time
		held, want         time.Duration
	}{
		"all clocks are right, the request comes ten minutes after its order": {at(-10 * m), at(0), 0, 10 * m},
		"it has been in hand for a while since":                               {at(-13 * m), at(-3 * m), 3 * m, 13 * m},
		"it lay unread for an hour, which nobody has measured":                {at(-70 * m), at(-h), 0, 10 * m},
		"an order that is closed in the moment of its creation":               {at(0), at(0), 0, 0},
		"the shop's clock is slow: by it the request came five seconds later": {at(-2 * h), at(-2*h + 5*time.Second), 0, 5 * time.Second},
		"slow, and held for two minutes":                                      {at(-2*h - 2*m), at(-2*h - 2*m), 2 * m, 2 * m},
		"the shop's clock is fast":                                            {at(2 * h), at(2*h + 5*time.Second), 0, 0},
		"fast, and its order is ten minutes old: younger than it is":          {at(2*h - 10*m), at(2 * h), m, m},
		"the worker's clock is fast":                                          {at(-2 * h), at(-2 * h), m, m},
		"the worker's clock is slow: younger than it is":                      {at(h), at(h + 10*m), 10 * m, 10 * m},
		"the worker's clock was set back while it held the request":           {at(-m), at(0), 10 * m, 10 * m},
		"no ce_time, and the record's timestamp is older than the order":      {at(-10 * m), at(-30 * 24 * h), 90 * time.Second, 90 * time.Second},
		"no ce_time, and a record from before timestamps":                     {at(-10 * m), time.UnixMilli(-1), 90 * time.Second, 90 * time.Second},
		"no ce_time, and the record's timestamp is ahead":                     {at(-5 * time.Second), at(24 * h), 0, 5 * time.Second},
		"no ce_time, the shop's clock is fast, the record's is right":         {at(h), at(0), 30 * m, 30 * m},
		"ce_time alone is ahead: the worker's clock knows better":             {at(-5 * time.Second), at(2 * h), 0, 5 * time.Second},
		"ce_time before the order, of another clock or of an outbox":          {at(-10 * m), at(-20 * m), 30 * time.Second, 30 * time.Second},
		"an order of last year":                                               {at(-365 * 24 * h), at(0), 0, 365 * 24 * h},
		"an order of the year 1, and a request of the year 9999: no overflow": {time.Time{}.Add(1), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), 366 * 24 * h, 100 * 365 * 24 * h},
		"an order of the year 9999 counts as just created":                    {time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), at(0), h, h},
	} {
		if got := ageOf(c.created, c.requested, now, c.held); got != c.want {
			t.Errorf("%s: %v, want %v", sentence, got, c.want)
		}
	}
}

// Whatever the clocks say: never older than by the worker's clock, never older
// than by the shop's own and what was measured.
func TestNoClockAloneMakesAnOrderOld(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	wrong := []time.Duration{-1000 * time.Hour, -8 * time.Hour, -time.Hour, -time.Minute, 0, time.Minute, time.Hour, 8 * time.Hour, 1000 * time.Hour}
	const truth = 20 * time.Second // how old the order is: 5s at the request, then 15s in hand
	for _, shop := range wrong {
		for _, worker := range wrong {
			created := now.Add(-truth + shop)
			for _, requested := range []time.Time{created.Add(5 * time.Second), created.Add(-time.Hour), time.UnixMilli(0)} {
				if got := ageOf(created, requested, now.Add(worker), 15*time.Second); got < 0 || got > truth {
					t.Errorf("shop's clock off by %v, worker's by %v: an age of %v, the order is %v old", shop, worker, got, truth)
				}
			}
		}
	}
}

func TestAheadIsToldAsSeenAtFirst(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		sentence string
		created  time.Time
		held     time.Duration
		want     time.Duration
	}{
		{"no order_created_at", time.Time{}, 0, 0},
		{"an order of the past", now.Add(-time.Hour), 0, 0},
		{"a little ahead, as clocks are", now.Add(5 * time.Minute), 0, 0},
		{"two hours ahead", now.Add(2 * time.Hour), 0, 2 * time.Hour},
		{"two hours ahead when it came, an hour ago", now.Add(time.Hour), time.Hour, 2 * time.Hour},
		{"two hours ahead when it came, three hours ago", now.Add(-time.Hour), 3 * time.Hour, 2 * time.Hour},
	} {
		if got := ahead(c.created, now, c.held); got != c.want {
			t.Errorf("%s: %v, want %v", c.sentence, got, c.want)
		}
	}
}

func TestNewsOfAMerchantIsToldOnceAMinute(t *testing.T) {
	n := news{every: time.Minute}
	now := time.Now()
	for _, c := range []struct {
		after time.Duration
		mchID string
		want  bool
	}{{0, "a", true}, {time.Second, "a", false}, {time.Second, "b", true}, {59 * time.Second, "a", false}, {time.Minute, "a", true}} {
		if got := n.due(c.mchID, now.Add(c.after)); got != c.want {
			t.Errorf("after %v of %s: %v", c.after, c.mchID, got)
		}
	}
	now = now.Add(time.Hour)
	told := 0
	for i := range 3 * mostNews {
		if n.due(fmt.Sprint(i), now) {
			told++
		}
	}
	if told != mostNews || len(n.last) != mostNews {
		t.Errorf("told of %d merchants and remembers %d, at most %d", told, len(n.last), mostNews)
	}
	if !n.due("later", now.Add(time.Minute)) || len(n.last) != 1 {
		t.Errorf("a minute later %d are remembered, want the new one alone", len(n.last))
	}
}
