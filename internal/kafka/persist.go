package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// askTimeout bounds one try; without a deadline a frozen broker holds it for
	// ever. A produce request with acks=all may take as long.
	askTimeout = 15 * time.Second
	// firstPause and longestPause lie between tries.
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// Persist calls ask until it succeeds, fails for good (see [Lasting]), or ctx
// ends. The error is then the last failure, which says more than "deadline
// exceeded", and wraps the cause of ctx. topic and partition are for
// Config.OnRetry.
func (c *Client) Persist(ctx context.Context, topic string, partition int, ask func(context.Context) error) error {
	pause := NewPause(firstPause, longestPause)
	for {
		once, cancel := context.WithTimeout(ctx, askTimeout)
		err := Explain(ask(once), "", "topic "+topic)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ended(ctx, err)
		case lasting(err):
			return err
		}
		c.retrying(ctx, topic, partition, err)
		if pause.Wait(ctx) != nil {
			return ended(ctx, err)
		}
	}
}

// ended is the error of what failed when ctx had ended.
func ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, cause) {
		return cause
	}
	return fmt.Errorf("%w (last failure: %w)", cause, err)
}

// retrying tells of a failure, but not at the end of ctx: what fails then fails
// because the time is over, and connections notice their deadline a moment
// before ctx does.
func (c *Client) retrying(ctx context.Context, topic string, partition int, err error) {
	deadline, ends := ctx.Deadline()
	if c.onRetry != nil && ctx.Err() == nil && !(ends && !time.Now().Before(deadline)) {
		c.onRetry(topic, partition, err)
	}
}

// lasting reports whether no other try can mend what Persist asks for.
func lasting(err error) bool {
	var stalled *stalledError
	return Lasting(err) || errors.As(err, &stalled) || errors.Is(err, errGone)
}

// failed is the error of what ends, with the topic that it is about.
func failed(ctx context.Context, topic string, err error) error {
	var missing *MissingTopicsError
	var stalled *stalledError
	var unreadable *UnreadableError
	if err == nil || err == context.Cause(ctx) || errors.As(err, &missing) || errors.As(err, &stalled) || errors.As(err, &unreadable) { //nolint:errorlint // what wraps the cause tells of a failure
		return err // those three name it themselves
	}
	return fmt.Errorf("topic %s: %w", topic, err)
}
