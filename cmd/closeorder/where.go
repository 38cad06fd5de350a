package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/moments"
)

// where is a place to begin reading.
type where struct {
	end, beginning bool
	time           time.Time
}

func parseWhere(s string, now time.Time) (where, error) {
	switch strings.ToLower(s) {
	case "end":
		return where{end: true}, nil
	case "beginning", "start":
		return where{beginning: true}, nil
	}
	if t, ok := moments.Parse(s, now); ok {
		return where{time: t}, nil
	}
	return where{}, usagef("--from: %q is neither end, beginning, a time such as 2026-01-31T08:00:00Z, %q or 2026-01-31 (local), nor a duration such as 90s, 1h or 7d", s, "2026-01-31 08:00:00")
}

// offsets asks the cluster, and not for ever.
func (w where) offsets(ctx context.Context, r *kafka.Reader, topic string) (kafka.Offsets, error) {
	ctx, cancel := reach(ctx)
	defer cancel()
	switch {
	case w.end:
		return r.End(ctx, topic)
	case w.beginning:
		return r.First(ctx, topic)
	}
	return r.At(ctx, topic, w.time)
}

// errUnreached ends a wait for brokers. One of them that expects TLS or SASL, or
// expects none, says nothing to those who talk otherwise, or hangs up.
var errUnreached = errors.New("no answer from Kafka; check --kafka-brokers, that the brokers run, and that kafka.tls and kafka.sasl are what that listener expects")

// reach bounds a question to the cluster by reachTimeout.
func reach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, reachTimeout, errUnreached)
}
