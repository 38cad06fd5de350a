package worker

import (
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus"
)

// told tells of files of TLS and SASL that are refused, of each mistake once a
// minute. It is safe for concurrent use.
type told struct {
	log   logrus.FieldLogger
	kinds kafka.Told
}

func (t *told) file(err error) {
	if t.kinds.Due("", err) {
		t.log.WithError(err).Error("a file of kafka.tls or kafka.sasl is refused: no new connection is made with it; mend it, it is read again for the next one")
	}
}
