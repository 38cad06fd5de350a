package kafka_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
)

// A connection notices its deadline before the context does: neither is news.
func TestTheEndOfAWaitIsNoTroubleWithKafka(t *testing.T) {
	stop := errors.New("stopped")
	for _, tt := range []struct {
		what string
		// fails is called in the ask, a second before the deadline.
		fails func(cancel func())
		told  int
	}{
		{"a failure before the end is told", func(func()) {}, 1},
		{"one at the deadline is not", func(func()) { time.Sleep(time.Second) }, 0}, // of the bubble
		{"one after a stop is not", func(cancel func()) { cancel() }, 0},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				ctx, end := context.WithTimeoutCause(ctx, time.Second, stop)
				defer end()
				told, asked := 0, 0
				client := kafka.Open(kafka.Config{OnRetry: func(string, int, error) { told++ }})
				defer client.Close()
				err := client.Persist(ctx, "t", -1, func(context.Context) error {
					if asked++; asked == 1 {
						tt.fails(func() { cancel(stop) })
						return errors.New("refused")
					}
					cancel(stop)
					return ctx.Err()
				})
				if told != tt.told || !errors.Is(err, stop) {
					t.Errorf("told %d times, %v", told, err)
				}
			})
		})
	}
}

func TestTheLastFailureIsKeptBesideTheCause(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	client := kafka.Open(kafka.Config{})
	defer client.Close()
	err := client.Persist(ctx, "t", -1, func(context.Context) error {
		cancel(errors.New("stopped"))
		return errors.New("refused")
	})
	if err == nil || err.Error() != "stopped (last failure: refused)" {
		t.Errorf("got %v", err)
	}
}
