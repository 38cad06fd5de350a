package main

import (
	"context"
	"net/http"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/merchants"
	"github.com/closeorder/closeorder/internal/metrics"
	"github.com/closeorder/closeorder/internal/worker"
)

// measured are the metrics of a worker; none where nobody could ask for them.
type measured struct{ metrics *metrics.Metrics }

// measure has a worker that is yet to be made tell its metrics, where it has an
// admin listener. It goes by the merchants of deps, or of cfg without.
func measure(cfg config.Config, deps *worker.Deps) measured {
	if cfg.AdminAddr == "" {
		deps.ObserveBare = true // spans need no replies either
		return measured{}
	}
	served := deps.Merchants
	if served == nil {
		served = merchants.ByID(cfg.Merchants)
	}
	build := builtFrom()
	m := metrics.New(metrics.Config{
		Merchants: cfg.MetricsMerchants, Version: build.Version, Revision: build.Revision,
		Known: func(mchID string) bool { _, known := served.Merchant(mchID); return known },
	})
	deps.Observer, deps.ObserveBare = m, true
	deps.Observe = both(deps.Observe, m.Attempt)
	return measured{m}
}

// watch has them show the state of w, and returns what serves them; nil for none.
func (m measured) watch(w *worker.Worker) http.Handler {
	if m.metrics == nil {
		return nil
	}
	m.metrics.Watch(w.State, w.Hosts)
	return m.metrics.Handler()
}

// both tells two observers, of which the first may be nil.
func both(first, second closer.Observer) closer.Observer {
	if first == nil {
		return second
	}
	return func(ctx context.Context, a closer.Attempt) {
		first(ctx, a)
		second(ctx, a)
	}
}
