package topics

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/config"
)

// Looked are the settings of a topic that [Risk] judges.
func Looked() []string { return []string{cleanupPolicy, retention} }

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
	what, longest := "records", time.Duration(0)
	switch retry := slices.Index(names.Retries(), name); {
	case name == names.Requests:
		what = "requests"
	case name == names.Outcomes:
		what = "outcomes"
	case name == names.DeadLetters:
		what = "dead letters"
	case retry >= 0:
		what, longest = "requests that wait", names.RetryDelays[retry]
	}
	var problems, remedy []string
	policy := strings.Split(strings.ReplaceAll(settings[cleanupPolicy], " ", ""), ",")
	_, known := settings[cleanupPolicy]
	compacted, deletes := slices.Contains(policy, "compact"), !known || slices.Contains(policy, "delete")
	if compacted && name != names.Outcomes {
		problems = append(problems, fmt.Sprintf("%s=%s: of several %s with one key only the last is kept, the others are lost", cleanupPolicy, settings[cleanupPolicy], what))
		remedy = append(remedy, cleanupPolicy+"=delete")
	}
	ms, err := strconv.ParseInt(settings[retention], 10, 64)
	if need := shortest + longest; deletes && err == nil && ms >= 0 && ms < need.Milliseconds() {
		lost := "are deleted, read or not"
		switch {
		case name == names.Requests:
			lost = "are lost that no worker has answered by then"
		case name == names.Outcomes:
			lost = "are deleted that the order service has not read by then: for it those requests are lost"
		case longest > 0:
			lost = fmt.Sprintf("for %s are lost that no worker has answered by then", config.ShortDuration(longest))
		}
		problems = append(problems, fmt.Sprintf("%s=%d: %s %s", retention, ms, what, lost))
		remedy = append(remedy, fmt.Sprintf("%s=%d", retention, max(14*24*time.Hour, 2*need).Milliseconds()))
	}
	if problems == nil {
		return ""
	}
	return fmt.Sprintf("%s; set it right with: kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config %s",
		strings.Join(problems, "; "), name, strings.Join(remedy, ","))
}
