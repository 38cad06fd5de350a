package group

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
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
		"members that are strangers":        {inconsistent("g", kafka.Group{}, kafkago.InconsistentGroupProtocol), logrus.ErrorLevel, logrus.DebugLevel, logrus.ErrorLevel},
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

func TestWhoDoesNotLetAWorkerInIsNamed(t *testing.T) {
	java := kafka.GroupMember{ID: "java-1", ClientID: "java", Host: "/10.0.0.7"}
	other := kafka.GroupMember{ID: "x-2", ClientID: "billing", Host: "/10.0.0.9"}
	for sentence, c := range map[string]struct {
		group kafka.Group
		want  string
	}{
		"members with an assignor of their own": {kafka.Group{Type: "consumer", Assignor: "sticky", Members: []kafka.GroupMember{java, other, java}},
			`JoinGroup, group g: members that are not closeorder (billing at 10.0.0.9, java at 10.0.0.7) offer none of the assignors closeorder-rows, range, cooperative-sticky, roundrobin, but "sticky"; give them a group of their own, or closeorder, with kafka.group`},
		"a group of Kafka Connect": {kafka.Group{Type: "connect", Assignor: "sessioned", Members: []kafka.GroupMember{other}},
			`JoinGroup, group g: it is no group of consumers, but of type "connect" (billing at 10.0.0.9); give them a group of their own, or closeorder, with kafka.group`},
		"a group of KIP-848": {kafka.Group{Protocol: kafka.Consumer, Members: []kafka.GroupMember{java}},
			`JoinGroup, group g: the coordinator runs it by the protocol of KIP-848, and lets no classic member in that offers the assignors closeorder-rows, range, cooperative-sticky, roundrobin (java at 10.0.0.7); give them a group of their own, or closeorder, with kafka.group`},
		"nobody may say who it is": {kafka.Group{},
			`JoinGroup, group g: members that are not closeorder (kafka-consumer-groups.sh --describe --members --group g says which) offer none of the assignors closeorder-rows, range, cooperative-sticky, roundrobin; give them a group of their own, or closeorder, with kafka.group`},
	} {
		if got := inconsistent("g", c.group, kafkago.InconsistentGroupProtocol); got.Error() != c.want || !errors.Is(got, kafkago.InconsistentGroupProtocol) {
			t.Errorf("%s: %v", sentence, got)
		}
	}
}
