package closer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
)

func TestPace(t *testing.T) {
	cfg := Config{Budget: 30 * time.Second, MinBackoff: 500 * time.Millisecond, MaxBackoff: 10 * time.Second}
	for sentence, tt := range map[string]struct {
		jitter  float64
		elapsed time.Duration
		least   time.Duration
		soon    bool
		want    time.Duration
	}{
		"the first pause is around half a second":             {jitter: 0.5, want: 500 * time.Millisecond},
		"with the least jitter it is half of that":            {jitter: 0, want: 250 * time.Millisecond},
		"an answer can ask for a longer one":                  {jitter: 0, least: 5 * time.Second, want: 5 * time.Second},
		"which is never shortened by jitter":                  {jitter: 0.5, least: 5 * time.Second, want: 5500 * time.Millisecond},
		"it is short after an error of the gateway's own":     {jitter: 0.5, soon: true, want: 100 * time.Millisecond},
		"which can ask for a longer one as well":              {jitter: 0, soon: true, least: 5 * time.Second, want: 5 * time.Second},
		"a shorter one changes nothing":                       {jitter: 0.5, least: time.Millisecond, want: 500 * time.Millisecond},
		"the budget ends it":                                  {jitter: 0.5, elapsed: 29700 * time.Millisecond, want: backoff.Stop},
		"also when only jitter carries the pause past it":     {jitter: 0.9, elapsed: 29400 * time.Millisecond, want: backoff.Stop},
		"also when only the answer's wish carries it past it": {jitter: 0, elapsed: 26 * time.Second, least: 5 * time.Second, want: backoff.Stop},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := cfg
				c.Jitter = func() float64 { return tt.jitter }
				p := newPace(&c, time.Now())
				time.Sleep(tt.elapsed)
				p.least, p.soon = tt.least, tt.soon
				if got := p.NextBackOff(); got != tt.want {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestPaceGrowsToItsBound(t *testing.T) {
	p := newPace(&Config{
		Budget: time.Hour, MinBackoff: time.Second, MaxBackoff: 10 * time.Second,
		Jitter: func() float64 { return 0.5 },
	}, time.Now())
	p.least = 3 * time.Second // for one pause
	for i, want := range []time.Duration{3300, 2000, 4000, 8000, 10000, 10000} {
		if got := p.NextBackOff(); got != want*time.Millisecond {
			t.Errorf("pause %d: %v, want %v", i+1, got, want*time.Millisecond)
		}
	}
}

// Errors of the gateway's own that go on are tried again as seldom as anything else.
func TestShortPausesGrowAsWell(t *testing.T) {
	p := newPace(&Config{
		Budget: time.Hour, MinBackoff: 500 * time.Millisecond, MaxBackoff: 2 * time.Second,
		Jitter: func() float64 { return 0.5 },
	}, time.Now())
	for i, next := range []struct {
		soon bool
		want time.Duration
	}{{true, 100}, {true, 200}, {false, 2000}, {true, 400}, {true, 800}, {true, 1600}, {true, 2000}, {true, 2000}} {
		p.soon = next.soon
		if got := p.NextBackOff(); got != next.want*time.Millisecond {
			t.Errorf("pause %d: %v, want %v", i+1, got, next.want*time.Millisecond)
		}
		if p.soon {
			t.Errorf("pause %d: the next one is short as well", i+1)
		}
	}
}
