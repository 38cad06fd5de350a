package consumer

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// pause is the growing wait between tries that never give up. It is not safe
// for concurrent use.
type pause struct{ b *backoff.ExponentialBackOff }

func newPause(first, longest time.Duration) pause {
	return pause{backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first),
		backoff.WithMaxInterval(longest),
		backoff.WithMaxElapsedTime(0), // the default gives up after 15 minutes
	)}
}

// wait waits for the next, longer while; it returns an error when ctx ends.
func (p pause) wait(ctx context.Context) error { return sleep(ctx, p.b.NextBackOff()) }

// reset begins again with the shortest wait.
func (p pause) reset() { p.b.Reset() }
