package group

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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
	m.isTroubled(err)
	switch log := m.cfg.Log.WithError(err); {
	case !m.told.Due("", err):
		log.Debug("cannot join the group yet: trying again")
	case kafka.Lasting(err):
		log.Error("cannot join the group until this is mended: trying again")
	default:
		log.Warn("cannot join the group yet: trying again")
	}
}

// strangers explains why the coordinator does not let this member in: the others
// offer no assignor that it knows, or the group is not one of consumers. They are
// named where the group may be described.
func (t *tenure) strangers(why error) error {
	g, err := t.cfg.Client.DescribeGroup(t.alive, t.cfg.Group)
	if err != nil {
		t.cfg.Log.WithError(err).Debug("cannot describe the group that does not let this member in")
	}
	return inconsistent(t.cfg.Group, g, why)
}

// inconsistent is the error of a group that does not let this member in. Its
// text is the same for as long as the members are.
func inconsistent(name string, g kafka.Group, why error) error {
	var names []string
	for _, m := range g.Members {
		names = append(names, fmt.Sprintf("%s at %s", m.ClientID, strings.TrimPrefix(m.Host, "/")))
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		names = []string{fmt.Sprintf("kafka-consumer-groups.sh --describe --members --group %s says which", name)}
	}
	e := &kafka.ExplainedError{
		Operation: "JoinGroup", Resource: "group " + name, Err: why,
		Problem: fmt.Sprintf("members that are not closeorder (%s) offer none of the assignors %s", strings.Join(names, ", "), strings.Join(assignors, ", ")),
		Remedy:  "give them a group of their own, or closeorder, with kafka.group",
	}
	switch {
	case g.Protocol == kafka.Consumer:
		e.Problem = fmt.Sprintf("the coordinator runs it by the protocol of KIP-848, and lets no classic member in that offers the assignors %s (%s)", strings.Join(assignors, ", "), strings.Join(names, ", "))
	case g.Type != "" && g.Type != protocolType:
		e.Problem = fmt.Sprintf("it is no group of consumers, but of type %q (%s)", g.Type, strings.Join(names, ", "))
	case g.Assignor != "":
		e.Problem += fmt.Sprintf(", but %q", g.Assignor)
	}
	return e
}
