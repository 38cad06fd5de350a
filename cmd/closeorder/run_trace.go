package main

import (
	"context"
	"time"

	"github.com/closeorder/closeorder/internal/tracing"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/sirupsen/logrus"
)

// flushSpans bounds how long the end of a process waits for spans to be exported.
const flushSpans = 3 * time.Second

// trace has a worker make spans where the OTEL_ variables of the environment ask
// for it. end exports what is left of them.
func (a *app) trace(ctx context.Context, log logrus.FieldLogger, deps *worker.Deps) (end func(), err error) {
	spans, err := tracing.Open(context.WithoutCancel(ctx), tracing.Config{Getenv: a.getenv, Version: builtFrom().Version, Log: log})
	if err != nil {
		return nil, usagef("%v", err)
	}
	if spans == nil {
		return func() {}, nil
	}
	log.WithField("endpoint", spans.Endpoint()).Info("spans are exported by OTLP")
	deps.Tracer = spans.Tracer()
	deps.Observe = spans.Observe
	return func() {
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushSpans)
		defer cancel()
		spans.Close(soon)
	}, nil
}
