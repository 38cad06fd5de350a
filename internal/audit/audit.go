// Package audit proves from the topics alone that no close request was lost
// and that none was answered twice: every record of the requests topic is
// closed, paid or failed, waits in a retry topic, or is still in flight. What
// is left over is a hole. It reads; it writes nothing, joins no group, and
// knows nothing of the workers but their protocol: publish, then commit.
//
//	Take: starts, commits, ends --Snapshot--> Audit: requests, outcomes, retries, dead letters --> Report
//
// A request is a record of the requests topic; its place is its name. The
// outcomes, retry records and dead letters of it carry that place as their
// source.
package audit

import (
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
)

// Scope says what to audit.
type Scope struct {
	// Reader reads the topics. Its OnGap and OnUnreadable are not used.
	Reader *kafka.Reader
	// Group is the workers' consumer group.
	Group  string
	Topics config.Topics
	// Since and Until bound the timestamps of the requests: from Since on and
	// before Until. Zero is without bound, as far as the topic is retained.
	// What became of the requests is looked up to the end of the topics.
	Since, Until time.Time
	// From, if set, is where to begin in each topic, in the place of Since: what
	// stands before it is of an earlier life of the topics.
	From map[string]kafka.Offsets
	// Settle is how long [Take] waits for transactions that are open to end, 0
	// for 10 s: those of workers end within a moment, unless one has died.
	Settle time.Duration
}

// clockSlack is by how much the clock of an order service may run ahead of a
// worker's: timestamps of requests come from the one, those of outcomes from
// the other.
const clockSlack = time.Hour

func (s Scope) ranged() bool { return !s.Since.IsZero() || !s.Until.IsZero() || s.From != nil }

// holds reports whether a request with that timestamp is audited.
func (s Scope) holds(t time.Time) bool {
	return !t.Before(s.Since) && (s.Until.IsZero() || t.Before(s.Until))
}
