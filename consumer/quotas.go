package consumer

import (
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// heldLong is from which wait on a broker's quotas is told: less shows nowhere.
const heldLong = 100 * time.Millisecond

// quotas tells of brokers that hold the worker back, of each and each kind of
// request once a minute. It is safe for concurrent use.
type quotas struct {
	news     news
	log      logrus.FieldLogger
	observer Observer // nil: nobody
	lately   *recent
}

func newQuotas(log logrus.FieldLogger, observer Observer, sum *recent) *quotas {
	return &quotas{news: news{every: time.Minute}, log: log, observer: observer, lately: sum}
}

// throttled is told of each answer that says for how long to wait; see
// kafka.Config.OnThrottle.
func (q *quotas) throttled(broker int, api string, wait time.Duration) {
	q.lately.add(wait, time.Now())
	if q.observer != nil {
		q.observer.Throttled(broker, api, wait)
	}
	if wait < heldLong || !q.news.due(fmt.Sprint(broker, " ", api), time.Now()) {
		return
	}
	q.log.WithFields(logrus.Fields{"broker": broker, "request": api, "wait": wait}).
		Warn("a broker's quotas hold this worker back: requests and outcomes come later; see the quotas of its user and of kafka.client_id (kafka-configs.sh --describe --entity-type users --entity-type clients)")
}

// recent sums up durations of the last half minute, and of up to as much before.
// It is safe for concurrent use.
type recent struct {
	mu          sync.Mutex
	since       time.Time
	sum, before time.Duration
}

const recentIs = 30 * time.Second

func (l *recent) add(d time.Duration, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	l.sum += d
}

func (l *recent) of(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	return l.sum + l.before
}

// turn lets go of what is too long ago. l.mu is held.
func (l *recent) turn(now time.Time) {
	switch past := now.Sub(l.since); {
	case past >= 2*recentIs:
		l.before, l.sum, l.since = 0, 0, now
	case past >= recentIs:
		l.before, l.sum, l.since = l.sum, 0, now
	}
}
