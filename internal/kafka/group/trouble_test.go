package group

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

func TestWhyAGroupCannotBeJoinedIsToldOnce(t *testing.T) {
	for sentence, c := range map[string]struct {
		err                   error
		atOnce, soon, lasting logrus.Level // the loudest line of that time
	}{
		"a coordinator that is made first":  {fmt.Errorf("join group g: %w", kafkago.GroupCoordinatorNotAvailable), logrus.DebugLevel, logrus.WarnLevel, logrus.WarnLevel},
		"one that is not it yet":            {kafkago.NotCoordinatorForGroup, logrus.DebugLevel, logrus.WarnLevel, logrus.WarnLevel},
		"one that loads":                    {kafkago.GroupLoadInProgress, logrus.DebugLevel, logrus.WarnLevel, logrus.WarnLevel},
		"brokers that are away":             {errors.New("dial tcp: connection refused"), logrus.WarnLevel, logrus.DebugLevel, logrus.WarnLevel},
		"what somebody has to do something": {kafkago.TopicAuthorizationFailed, logrus.ErrorLevel, logrus.DebugLevel, logrus.ErrorLevel},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, lines := logtest.NewNullLogger()
				log.SetLevel(logrus.DebugLevel)
				m := New(Config{Group: "g", Log: log})
				m.cannotJoin(c.err)
				if got := lines.LastEntry().Level; got != c.atOnce {
					t.Errorf("at once: %v, want %v", got, c.atOnce)
				}
				loudest := func(tries int) logrus.Level {
					lines.Reset()
					level := logrus.TraceLevel
					for range tries {
						time.Sleep(time.Second)
						m.cannotJoin(c.err)
						level = min(level, lines.LastEntry().Level)
					}
					return level
				}
				if got := loudest(15); got != c.soon {
					t.Errorf("in the next 15 s: %v, want %v", got, c.soon)
				}
				if got := loudest(60); got != c.lasting {
					t.Errorf("in the minute behind that: %v, want %v", got, c.lasting)
				}
				loud := 0
				for _, e := range lines.AllEntries() {
					if e.Level < logrus.DebugLevel {
						loud++
					}
				}
				if loud != 1 {
					t.Errorf("told %d times in that minute", loud)
				}
			})
		})
	}
}
