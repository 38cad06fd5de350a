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

// condition is how a gateway host does.
type condition int

const (
	well condition = iota
	failing
	left
)

func conditionOf(h closer.HostHealth) condition {
	switch {
	case !h.InUse:
		return left
	case h.Failing:
		return failing
	}
	return well
}

// watchHosts tells when a gateway host is left for the next one, or most of
// its calls fail, and when it is well again, until ctx ends.
func (w *Worker) watchHosts(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	told := make(map[string]condition)
	for {
		select {
		case <-ticker.C:
			w.tellHosts(w.closer.Hosts(), told)
		case <-ctx.Done():
			return
		}
	}
}

// tellHosts logs what has changed since told was written.
func (w *Worker) tellHosts(hosts []closer.HostHealth, told map[string]condition) {
	for _, h := range hosts {
		now, before := conditionOf(h), told[h.URL]
		if now == before {
			continue
		}
		told[h.URL] = now
		log := w.log.WithFields(logrus.Fields{"host": h.URL, "answered": h.Answered, "failed": h.Failed})
		switch now {
		case well:
			log.Info("gateway host in use again, as before")
		case failing:
			log.WithFields(logrus.Fields{"last_failure": h.LastFailure, "limit": h.Limit}).
				Warn("most calls to the gateway host fail: it gets few at a time, and another one, if there is one, goes first")
		case left:
			log.WithFields(logrus.Fields{"last_failure": h.LastFailure, "until": h.LeftUntil.UTC().Format(time.RFC3339)}).
				Warn(whereCallsGo(hosts))
		}
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
