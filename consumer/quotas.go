package consumer

import (
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
)

// heldLong is from which wait on a broker's quotas is told: less shows nowhere.
const heldLong = 100 * time.Millisecond

// quotas tells of brokers that hold the worker back, of each and each kind of
// request once a minute. It is safe for concurrent use.
type quotas struct {
	news news
	log  logrus.FieldLogger
}

func newQuotas(log logrus.FieldLogger) *quotas {
	return &quotas{news: news{every: time.Minute}, log: log}
}

// throttled is told of each answer that says for how long to wait; see
// kafka.Config.OnThrottle.
func (q *quotas) throttled(broker int, api string, wait time.Duration) {
	if wait < heldLong || !q.news.due(fmt.Sprint(broker, " ", api), time.Now()) {
		return
	}
	q.log.WithFields(logrus.Fields{"broker": broker, "request": api, "wait": wait}).
		Warn("a broker's quotas hold this worker back: requests and outcomes come later; see the quotas of its user and of kafka.client_id (kafka-configs.sh --describe --entity-type users --entity-type clients)")
}
