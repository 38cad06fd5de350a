package group

import (
	"errors"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	kafkago "github.com/segmentio/kafka-go"
)

// settling is how long a coordinator may say that it is not one yet before
// that is told: the first group of a cluster has Kafka make the topic of the
// coordinators first.
const settling = 10 * time.Second

// cannotJoin tells why the group cannot be joined: each kind of trouble once and
// then each minute, as an error where somebody has to do something about it.
func (m *Member) cannotJoin(err error) {
	if errors.Is(err, kafkago.NotCoordinatorForGroup) || errors.Is(err, kafkago.GroupCoordinatorNotAvailable) || errors.Is(err, kafkago.GroupLoadInProgress) {
		if m.unsettled.IsZero() {
			m.unsettled = time.Now()
		}
		if time.Since(m.unsettled) < settling {
			m.cfg.Log.WithError(err).Debug("the group's coordinator is not ready yet: trying again")
			return
		}
	}
	err = kafka.Explain(err, "JoinGroup", "group "+m.cfg.Group)
	switch log := m.cfg.Log.WithError(err); {
	case !m.told.Due("", err):
		log.Debug("cannot join the group yet: trying again")
	case kafka.Lasting(err):
		log.Error("cannot join the group until this is mended: trying again")
	default:
		log.Warn("cannot join the group yet: trying again")
	}
}
