package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/kafka/group"
)

// The checks of the group.
const (
	CheckMembers   = "group-members"
	CheckForeign   = "group-foreign-member"
	CheckProtocol  = "group-protocol"
	CheckStatic    = "group-static-ids"
	CheckMigration = "group-migration-policy"
	CheckRetained  = "group-offsets-retention"
)

// group looks at who is in the group.
func (p *patient) group(ctx context.Context) []Finding {
	name := p.cfg.Kafka.Group
	is, err := group.Describe(ctx, p.client, name)
	if err != nil {
		return []Finding{unseen(ctx, CheckMembers, "group "+name, err)}
	}
	return aboutGroup(name, p.cfg.Kafka.ClientID, p.cfg.Kafka.InstanceID, is)
}

// aboutGroup judges a group, seen by who would join it with these ids.
func aboutGroup(name, clientID, instanceID string, is group.Described) (found []Finding) {
	subject := "group " + name
	add := func(s Severity, check, remedy, format string, args ...any) {
		found = append(found, Finding{s, check, subject, fmt.Sprintf(format, args...), remedy})
	}
	if is.Protocol == kafka.Consumer {
		add(Danger, CheckProtocol, "give the client that brought it (group.protocol=consumer) a group of its own: it is no closeorder",
			"run by the protocol of KIP-848: a worker may be without the retries of its requests, and requests of one order side by side; members: %s", fellows(is.Members))
		return found
	}
	if len(is.Members) == 0 {
		add(Note, CheckMembers, "nothing before the first start; else see whether workers run, and with this kafka.group", "it has no member: nobody serves")
		return found
	}
	if !is.Told {
		add(Note, CheckMembers, "run this again in a moment; a group that stays so has a member that does not come back: see the workers' logs", "%s, with %s", is.State, count(len(is.Members), "member"))
		return found
	}
	var ours, foreign, older []group.Fellow
	static := make(map[string]int)
	for _, m := range is.Members {
		switch {
		case m.Ours:
			ours = append(ours, m)
		case m.ClientID == clientID:
			older = append(older, m)
		default:
			foreign = append(foreign, m)
		}
		if m.InstanceID != "" {
			static[m.InstanceID]++
		}
	}
	switch {
	case foreign != nil:
		add(Danger, CheckForeign, "give it a group of its own", "a member is no closeorder: what it is given of the requests nobody answers: %s", fellows(foreign))
	case older != nil:
		add(Warning, CheckForeign, "end the upgrade; if it is no closeorder, give it a group of its own", "a member does not rebalance as this version does (an older closeorder?): %s", fellows(older))
	default:
		add(OK, CheckMembers, "", "%s, %s: %s", is.State, count(len(ours), "member"), fellows(ours))
	}
	for id, n := range static {
		if n > 1 {
			add(Warning, CheckStatic, "give each instance a kafka.instance_id of its own", "kafka.instance_id %s is that of %d members: they fence each other", id, n)
		}
	}
	if n := len(static); n > 0 && n < len(is.Members) {
		add(Note, CheckStatic, "set kafka.instance_id on all instances, or on none", "%d of %d members have a kafka.instance_id", n, len(is.Members))
	}
	if instanceID != "" && static[instanceID] > 0 {
		add(Note, CheckStatic, "start no second instance with it: the one that runs would be fenced", "kafka.instance_id %s, that of these settings, is in the group now", instanceID)
	}
	return found
}

// fellows names some members.
func fellows(all []group.Fellow) string {
	const most = 5
	var texts []string
	for _, m := range all {
		text := m.ClientID
		if m.InstanceID != "" {
			text = m.InstanceID
		}
		texts = append(texts, text+" at "+strings.TrimPrefix(m.Host, "/"))
	}
	slices.Sort(texts)
	if more := len(texts) - most; more > 0 {
		texts = append(texts[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, ", ")
}

const (
	migrationPolicy = "group.consumer.migration.policy"
	offsetsKept     = "offsets.retention.minutes"
)

// coordinator looks at the brokers' settings that are about groups.
func (p *patient) coordinator(ctx context.Context) []Finding {
	settings, err := p.client.BrokerSettings(ctx, []string{migrationPolicy, offsetsKept})
	if err != nil {
		return []Finding{unseen(ctx, CheckRetained, "brokers", err)}
	}
	return aboutCoordinator(settings)
}

func aboutCoordinator(settings map[string]string) (found []Finding) {
	if policy := settings[migrationPolicy]; strings.EqualFold(policy, "upgrade") {
		found = append(found, Finding{Warning, CheckMigration, "brokers", migrationPolicy + "=" + policy + ": partitions of a client with group.protocol=consumer can stay without an owner after it has left the group",
			"kafka-configs.sh --alter --entity-type brokers --entity-default --add-config " + migrationPolicy + "=bidirectional"})
	}
	minutes, err := strconv.Atoi(settings[offsetsKept])
	if err != nil {
		return found
	}
	kept := time.Duration(minutes) * time.Minute
	text := fmt.Sprintf("%s=%d: positions of a group without members are forgotten after %s", offsetsKept, minutes, roughly(kept))
	if kept < 24*time.Hour {
		return append(found, Finding{Warning, CheckRetained, "brokers", text + ", and then kafka.start decides", "set it to 10080 (7 days) in server.properties of each broker"})
	}
	return append(found, Finding{OK, CheckRetained, "brokers", text, ""})
}
