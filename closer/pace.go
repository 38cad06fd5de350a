package closer

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// pace is the BackOff of one Close: exponential with jitter, never shorter
// than what the last answer asked for, and Stop once the pause would end
// after the deadline. It must not be shared.
//
// The pauses after errors that the gateway calls its own are shorter: they begin
// at soonest, and grow as the others do. Nearly all of them are over by then.
type pace struct {
	shortest, longest time.Duration
	growing           *backoff.ExponentialBackOff // from the first pause on: most have none
	jitter            func() float64
	deadline          time.Time // no call is started after it
	// least is the shortest next pause, soon that it follows such an error; they
	// hold for one.
	least time.Duration
	soon  bool
	short time.Duration // the last pause of those, before jitter
}

// soonest is the first pause after an error of the gateway's own.
const soonest = 100 * time.Millisecond

func newPace(cfg *Config, now time.Time) pace {
	return pace{shortest: cfg.MinBackoff, longest: cfg.MaxBackoff, jitter: cfg.Jitter, deadline: now.Add(cfg.Budget)}
}

// NextBackOff is the next pause, or [backoff.Stop].
func (p *pace) NextBackOff() time.Duration {
	if p.growing == nil {
		p.growing = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(p.shortest),
			backoff.WithMaxInterval(p.longest),
			backoff.WithMultiplier(2),
			backoff.WithMaxElapsedTime(0), // the deadline says when
			// Its own randomness cannot be repeated from a seed.
			backoff.WithRandomizationFactor(0),
		)
	}
	d := p.growing.NextBackOff()
	if p.soon {
		p.short = min(max(2*p.short, soonest), d)
		d = p.short
	}
	d = time.Duration(float64(d) * (0.5 + p.jitter()))
	if d < p.least {
		d = p.least + time.Duration(float64(p.least)*0.2*p.jitter())
	}
	p.least, p.soon = 0, false
	if time.Now().Add(d).After(p.deadline) {
		return backoff.Stop
	}
	return d
}
