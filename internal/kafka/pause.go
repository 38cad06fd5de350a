package kafka

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Pause is the growing wait between tries that never give up. It is not safe
// for concurrent use.
type Pause struct{ b *backoff.ExponentialBackOff }

// NewPause makes one that grows from about first to about longest.
func NewPause(first, longest time.Duration) Pause {
	return Pause{backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first),
		backoff.WithMaxInterval(longest),
		backoff.WithMaxElapsedTime(0), // the default gives up after 15 minutes
	)}
}

// Wait waits for the next, longer while; it returns an error when ctx ends.
func (p Pause) Wait(ctx context.Context) error { return Sleep(ctx, p.b.NextBackOff()) }

// Reset begins again with the shortest wait.
func (p Pause) Reset() { p.b.Reset() }

// Sleep waits for d and returns nil, or at once with the cause when ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
