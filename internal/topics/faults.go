package topics

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
)

// The checks of [Cluster.Faults], by which docs/operations.md lists them.
const (
	CheckExists      = "topic-exists"
	CheckPartitions  = "topic-partitions"
	CheckLeaders     = "topic-leaders"
	CheckReplication = "topic-replication"
	CheckMinInSync   = "topic-min-insync"
	CheckUnclean     = "topic-unclean-election"
	CheckCleanup     = "topic-cleanup"
	CheckRetention   = "topic-retention"
	CheckBytes       = "topic-retention-bytes"
	CheckSize        = "topic-record-size"
	CheckTimestamp   = "topic-timestamp"
	CheckFormat      = "topic-format"
)

const (
	retentionBytes = "retention.bytes"
	largestRecord  = "max.message.bytes"
	timestampType  = "message.timestamp.type"
	uncleanLeaders = "unclean.leader.election.enable"
)

// LookedClosely are the settings of a topic that [Cluster.Faults] judges.
func LookedClosely() []string {
	return append(Looked(), retentionBytes, minInSync, largestRecord, timestampType, uncleanLeaders)
}

// Grade is how bad a fault is.
type Grade int

const (
	// Noted: nothing is wrong, and somebody may be surprised by it.
	Noted Grade = iota
	// Doubtful: it works, until something else fails.
	Doubtful
	// Unsafe: requests or outcomes are lost, or nothing is served.
	Unsafe
)

// Fault is one thing about a topic that is there, or is not.
type Fault struct {
	Check    string
	Grade    Grade
	Topic    string
	Evidence string // what is
	Remedy   string // a command, or what else to do
}

// Cluster is what was seen of the worker's topics.
type Cluster struct {
	// Brokers is how many are up.
	Brokers int
	// Topics are those that exist.
	Topics map[string]kafka.TopicLayout
	// Settings are those of topics, by topic and name, as far as they were seen.
	// What is not there is not judged.
	Settings map[string]map[string]string
}

// Faults says what is to be said of the worker's topics, in their order.
func (c Cluster) Faults(names config.Topics) (all []Fault) {
	for _, name := range names.All() {
		t, exists := c.Topics[name]
		if !exists {
			all = append(all, Fault{CheckExists, Unsafe, name, "the topic does not exist", "closeorder topics create"})
			continue
		}
		if t.Hidden {
			continue // its ACLs say so
		}
		all = slices.Concat(all, c.partitions(names, name), c.replicas(name), c.retention(names, name), c.sizes(names, name))
		if c.Settings[name][timestampType] == "LogAppendTime" && name != names.Outcomes && name != names.DeadLetters {
			all = append(all, Fault{CheckTimestamp, Noted, name, timestampType + "=LogAppendTime: ages, and the time ranges of audit, go by when the broker took a record, not by its producer's clock",
				"nothing; retries keep when they are due in a header"})
		}
	}
	return all
}

func (c Cluster) partitions(names config.Topics, name string) (all []Fault) {
	t := c.Topics[name]
	if len(t.Leaderless) > 0 {
		all = append(all, Fault{CheckLeaders, Unsafe, name, fmt.Sprintf("%s without a leader (%s): nothing is read from or written to them", partitionsAre(len(t.Leaderless)), few(t.Leaderless)),
			"bring the brokers of their replicas back: kafka-topics.sh --describe --unavailable-partitions"})
	}
	if len(t.Lagging) > 0 {
		all = append(all, Fault{CheckLeaders, Doubtful, name, fmt.Sprintf("%s with replicas that are not in sync (%s)", partitionsAre(len(t.Lagging)), few(t.Lagging)),
			"see whether a broker is away or slow: kafka-topics.sh --describe --under-replicated-partitions"})
	}
	requests, there := c.Topics[names.Requests]
	if !there || requests.Hidden || !slices.Contains(names.Retries(), name) || t.Partitions == requests.Partitions {
		return all
	}
	remedy := fmt.Sprintf("kafka-topics.sh --alter --topic %s --partitions %d", name, requests.Partitions)
	if t.Partitions > requests.Partitions {
		remedy = "let this one run empty, stop the workers, delete it and create it again: closeorder topics create"
	}
	return append(all, Fault{CheckPartitions, Unsafe, name, fmt.Sprintf("%d partitions, and %s has %d: requests of one order can be with two workers, side by side", t.Partitions, names.Requests, requests.Partitions), remedy})
}

// replicas judges how many there are, and how many must have a record before it is
// acknowledged.
func (c Cluster) replicas(name string) (all []Fault) {
	t, wanted := c.Topics[name], Shape{}.On(c.Brokers)
	settings := c.Settings[name]
	inSync, err := strconv.Atoi(settings[minInSync])
	known := err == nil
	add := func(check string, grade Grade, remedy, format string, args ...any) {
		all = append(all, Fault{check, grade, name, fmt.Sprintf(format, args...), remedy})
	}
	reassign := fmt.Sprintf("give it %d replicas with kafka-reassign-partitions.sh --execute, then: %s", wanted.Replication, alter(name, fmt.Sprintf("%s=%d", minInSync, wanted.MinInSync)))
	switch {
	case t.Replication == 1 && c.Brokers > 1:
		add(CheckReplication, Unsafe, reassign, "1 replica on %d brokers: while its broker is away nothing of it is served, and with its disk all of it is lost", c.Brokers)
	case t.Replication == 1:
		add(CheckReplication, Noted, "start more brokers where requests matter", "1 replica, on the only broker: with its disk all of it is lost")
	}
	if known && inSync > t.Replication {
		add(CheckMinInSync, Unsafe, alter(name, fmt.Sprintf("%s=%d", minInSync, max(1, t.Replication-1))), "%s=%d of %d replicas: nothing can be written", minInSync, inSync, t.Replication)
	} else if known && t.Replication > 1 {
		fewer := alter(name, fmt.Sprintf("%s=%d", minInSync, t.Replication-1))
		switch {
		case inSync == t.Replication:
			add(CheckMinInSync, Doubtful, fewer, "%s=%d of %d replicas: while one of their brokers is away nothing can be written", minInSync, inSync, t.Replication)
		case inSync == 1 && t.Replication > 2:
			add(CheckMinInSync, Unsafe, fewer, "%s=1 of %d replicas: a record is acknowledged that one broker alone has, and lost with that", minInSync, t.Replication)
		case inSync == 1:
			add(CheckMinInSync, Noted, "a third broker, and 3 replicas of which 2 must be in sync", "%s=1 of 2 replicas: while one broker is away a record is acknowledged that the other alone has", minInSync)
		}
		if t.InSync < inSync && t.InSync > 0 {
			add(CheckMinInSync, Unsafe, "bring the brokers of its replicas back: kafka-topics.sh --describe --under-min-isr-partitions", "a partition has %d in sync, and %s=%d: it cannot be written", t.InSync, minInSync, inSync)
		}
	}
	if settings[uncleanLeaders] == "true" && t.Replication > 1 {
		add(CheckUnclean, Unsafe, alter(name, uncleanLeaders+"=false"), "%s=true: a replica that lacks records may lead, and they are lost", uncleanLeaders)
	}
	return all
}

// dayOff is the retention below which a bad day is too long.
const dayOff = 24 * time.Hour

func (c Cluster) retention(names config.Topics, name string) (all []Fault) {
	settings := c.Settings[name]
	found := risks(names, name, settings)
	for _, r := range found {
		all = append(all, Fault{r.check, Unsafe, name, r.problem, alter(name, r.set)})
	}
	_, longest := contents(names, name)
	unsafe := slices.ContainsFunc(found, func(r risk) bool { return r.check == CheckRetention })
	if ms, known := kept(settings); known && !unsafe && ms < (dayOff+longest).Milliseconds() {
		text := config.ShortDuration(time.Duration(ms) * time.Millisecond)
		if longest > 0 {
			text += ", and requests wait here for " + config.ShortDuration(longest)
		}
		all = append(all, Fault{CheckRetention, Doubtful, name, fmt.Sprintf("%s=%d (%s): what is not read when workers or the gateway are away for a day is lost", retention, ms, text), alter(name, setRetention(longest))})
	}
	if bytes, err := strconv.ParseInt(settings[retentionBytes], 10, 64); err == nil && bytes >= 0 {
		all = append(all, Fault{CheckBytes, Doubtful, name, fmt.Sprintf("%s=%d: a partition that grows beyond that loses its oldest records, read or not", retentionBytes, bytes), alter(name, retentionBytes+"=-1")})
	}
	return all
}

// carriesMore is what a retry record or a dead letter has beside the original, in
// bytes: about 1.5 KiB of headers (docs/decisions/0014).
const carriesMore = 2 << 10

func (c Cluster) sizes(names config.Topics, name string) []Fault {
	most, err := strconv.ParseInt(c.Settings[name][largestRecord], 10, 64)
	requests, failed := strconv.ParseInt(c.Settings[names.Requests][largestRecord], 10, 64)
	if err != nil || failed != nil || name == names.Requests {
		return nil
	}
	set := alter(name, fmt.Sprintf("%s=%d", largestRecord, max(largeRecord, 2*requests)))
	evidence := fmt.Sprintf("%s=%d, and requests may have %d: ", largestRecord, most, requests)
	switch {
	case name == names.Outcomes:
		if most < min(requests, 64<<10) {
			return []Fault{{CheckSize, Doubtful, name, evidence + "an outcome, which has fields of its request, may not fit, and its partition stops", set}}
		}
	case most >= requests+carriesMore:
	case name == names.DeadLetters:
		return []Fault{{CheckSize, Doubtful, name, evidence + "the dead letter of a large request goes without its value, and is replayed from the requests topic or not at all", set}}
	default:
		return []Fault{{CheckSize, Doubtful, name, evidence + "a large request that should wait fails instead (RECORD_TOO_LARGE)", set}}
	}
	return nil
}

func partitionsAre(n int) string {
	if n == 1 {
		return "1 partition"
	}
	return strconv.Itoa(n) + " partitions"
}

// few names some numbers.
func few(all []int) string {
	const most = 8
	var texts []string
	for _, n := range all[:min(len(all), most)] {
		texts = append(texts, strconv.Itoa(n))
	}
	if more := len(all) - most; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, ", ")
}
