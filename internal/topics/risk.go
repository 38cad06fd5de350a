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

// Looked are the settings of a topic that [Risk] judges.
func Looked() []string { return []string{cleanupPolicy, retention, kafka.FormatSetting} }

const (
	cleanupPolicy = "cleanup.policy"
	retention     = "retention.ms"
)

// shortest is the retention that leaves nobody time: a worker that is down for
// so long, or a gateway, is nothing rare.
const shortest = time.Hour

// Risk says how the settings of a topic that exists lose what is in it, and what
// to set; empty where they do not. Settings that are not given are not judged.
//
// A compacted outcomes topic is none: the last outcome of an order stays.
func Risk(names config.Topics, name string, settings map[string]string) string {
	var problems, sets []string
	for _, r := range risks(names, name, settings) {
		problems = append(problems, r.problem)
		sets = append(sets, r.set)
	}
	if problems == nil {
		return ""
	}
	return strings.Join(problems, "; ") + "; set it right with: " + alter(name, sets...)
}

// risk is one setting that loses what is in a topic.
type risk struct {
	check   string // of [Fault]
	problem string
	set     string // name=value that mends it
}

// alter is the command that sets settings of a topic.
func alter(name string, sets ...string) string {
	return "kafka-configs.sh --alter --entity-type topics --entity-name " + name + " --add-config " + strings.Join(sets, ",")
}

func risks(names config.Topics, name string, settings map[string]string) (all []risk) {
	what, longest := contents(names, name)
	policy := strings.Split(strings.ReplaceAll(settings[cleanupPolicy], " ", ""), ",")
	if slices.Contains(policy, "compact") && name != names.Outcomes {
		all = append(all, risk{CheckCleanup, fmt.Sprintf("%s=%s: of several %s with one key only the last is kept, the others are lost", cleanupPolicy, settings[cleanupPolicy], what), cleanupPolicy + "=delete"})
	}
	if format := settings[kafka.FormatSetting]; kafka.DropsHeaders(format) {
		refused := what + " are refused by the brokers, as they have headers, and the partition they come from stops"
		if name == names.Requests {
			refused = "requests that are CloudEvents in binary mode, or of an idempotent producer, are refused by the brokers, and so are replays"
		}
		all = append(all, risk{CheckFormat, fmt.Sprintf("%s=%s, which knows no headers: %s", kafka.FormatSetting, format, refused), kafka.FormatSetting + "=" + kafka.FormatWithHeaders})
	}
	ms, known := kept(settings)
	if need := shortest + longest; known && ms < need.Milliseconds() {
		lost := "are deleted, read or not"
		switch {
		case name == names.Requests:
			lost = "are lost that no worker has answered by then"
		case name == names.Outcomes:
			lost = "are deleted that the order service has not read by then: for it those requests are lost"
		case longest > 0:
			lost = fmt.Sprintf("for %s are lost that no worker has answered by then", config.ShortDuration(longest))
		}
		all = append(all, risk{CheckRetention, fmt.Sprintf("%s=%d: %s %s", retention, ms, what, lost), setRetention(longest)})
	}
	return all
}

// contents says what a topic of the worker holds, and for how long it waits there.
func contents(names config.Topics, name string) (what string, longest time.Duration) {
	switch retry := slices.Index(names.Retries(), name); {
	case name == names.Requests:
		return "requests", 0
	case name == names.Outcomes:
		return "outcomes", 0
	case name == names.DeadLetters:
		return "dead letters", 0
	case retry >= 0:
		return "requests that wait", names.RetryDelays[retry]
	}
	return "records", 0
}

// kept is the retention in milliseconds; false where it is not known or records
// are kept for ever.
func kept(settings map[string]string) (ms int64, known bool) {
	policy, told := settings[cleanupPolicy]
	deletes := !told || slices.Contains(strings.Split(strings.ReplaceAll(policy, " ", ""), ","), "delete")
	ms, err := strconv.ParseInt(settings[retention], 10, 64)
	return ms, deletes && err == nil && ms >= 0
}

// setRetention is what to set for what waits so long.
func setRetention(longest time.Duration) string {
	return fmt.Sprintf("%s=%d", retention, max(14*24*time.Hour, 2*(shortest+longest)).Milliseconds())
}
