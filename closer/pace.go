package closer

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// pace is the BackOff of one Close: exponential with jitter, never shorter
// than what the last answer asked for, and Stop once the pause would end
// after the budget. It must not be shared.
type pace struct {
	*backoff.ExponentialBackOff
	jitter func() float64
	// least is the shortest next pause; it holds for one.
	least time.Duration
}

func newPace(cfg Config) *pace {
	return &pace{
		ExponentialBackOff: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(cfg.MinBackoff),
			backoff.WithMaxInterval(cfg.MaxBackoff),
			backoff.WithMultiplier(2),
			backoff.WithMaxElapsedTime(cfg.Budget),
			// Its own randomness cannot be repeated from a seed.
			backoff.WithRandomizationFactor(0),
		),
		jitter: cfg.Jitter,
	}
}

// NextBackOff implements backoff.BackOff.
func (p *pace) NextBackOff() time.Duration {
	d := p.ExponentialBackOff.NextBackOff()
	if d == backoff.Stop {
		return backoff.Stop
	}
	d = time.Duration(float64(d) * (0.5 + p.jitter()))
	if d < p.least {
		d = p.least + time.Duration(float64(p.least)*0.2*p.jitter())
	}
	p.least = 0
	if p.GetElapsedTime()+d > p.MaxElapsedTime {
		return backoff.Stop
	}
	return d
}
