package worker

import (
	"context"
	"time"

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
	for _, h := range w.closer.Hosts() {
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
			Warn("gateway host left: calls go to the next one")
	}
}
