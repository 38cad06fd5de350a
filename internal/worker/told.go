package worker

import (
	"errors"
	"github.com/closeorder/closeorder/internal/config"
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
		if renewal, is := errors.AsType[*config.RenewalError](err); is {
			t.log.WithError(renewal).Error("no new token to authenticate with: the one from before goes on until it ends")
			return
		}
		t.log.WithError(err).Error("a file of kafka.tls or kafka.sasl is refused: no new connection is made with it; mend it, it is read again for the next one")
	}
}
