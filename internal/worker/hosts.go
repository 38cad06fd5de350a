package worker

import (
	"context"
	"slices"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/sirupsen/logrus"
)

// watchEvery is how soon the log says that a gateway host was left.
const watchEvery = 5 * time.Second

// watchHosts tells when a gateway host is left for the next one, and when it
// is in use again, until ctx ends.
func (w *Worker) watchHosts(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	left := make(map[string]bool)
	for {
		select {
		case <-ticker.C:
			w.tellHosts(left)
		case <-ctx.Done():
			return
		}
	}
}

// tellHosts logs what has changed since left was written.
func (w *Worker) tellHosts(left map[string]bool) {
	hosts := w.closer.Hosts()
	for _, h := range hosts {
		if h.InUse != left[h.URL] {
			continue
		}
		left[h.URL] = !h.InUse
		log := w.log.WithFields(logrus.Fields{"host": h.URL, "answered": h.Answered, "failed": h.Failed})
		if h.InUse {
			log.Info("gateway host in use again")
			continue
		}
		log.WithFields(logrus.Fields{"last_failure": h.LastFailure, "until": h.LeftUntil.UTC().Format(time.RFC3339)}).
			Warn(whereCallsGo(hosts))
	}
}

// whereCallsGo says what becomes of the calls when a host was left. Merchants
// can have hosts of their own, so that not all of them go the same way.
func whereCallsGo(hosts []closer.HostHealth) string {
	switch {
	case len(hosts) == 1:
		return "gateway host cannot be reached: there is no other one, so that calls still go to it"
	case slices.ContainsFunc(hosts, func(h closer.HostHealth) bool { return h.InUse }):
		return "gateway host left: calls go to the next one"
	}
	return "gateway host left, and so is every other one: calls go to the one that failed least"
}
