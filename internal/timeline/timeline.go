// Package timeline finds all records of one order in the topics of closeorder,
// puts them in their order, and says what became of the order and what to do
// next. It reads; it writes nothing, joins no group, and calls no gateway.
//
//	Take: starts, commits, ends --Snapshot--> Find: records of the order --Report--> lives, each with an answer
//
// A request is a record of the requests topic; its place is its name. What
// follows from it carries that place as its source, and stands in the partition
// with the number of its own.
package timeline

import (
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
)

// Scope says what to look for, and where.
type Scope struct {
	// Reader reads the topics. Its OnGap and OnUnreadable are not used.
	Reader *kafka.Reader
	Topics config.Topics
	// Group is the workers' consumer group.
	Group string
	// OutTradeNo is the number of the order, as its requests have it.
	OutTradeNo string
	// MchID and SubMchID, where they are set, leave out orders of others with
	// the same number.
	MchID, SubMchID string
	// Since and Until bound the timestamps of the requests: from Since on and
	// before Until. Zero is without bound, as far as the topic is retained.
	// What became of the requests is looked up to the end of the topics.
	Since, Until time.Time
	// Places, where set, are the records of the order as an index knows them: only they
	// are read, and what the index has not looked at yet.
	Places *Places
	// All: every partition is read, also where the order was found in those
	// that its number leads to.
	All bool
	// Zone is that of the times in sentences, nil for UTC.
	Zone *time.Location
}

// Places are where an index knows records of an order.
type Places struct {
	// At are their offsets, ascending. More than those of the order may be among them.
	At map[kafka.Place][]int64
	// From and To are how far the topics are indexed, by topic and partition: what
	// stands before From it does not know, what stands from To on it has not looked at,
	// nor at partitions that are not named.
	From, To map[string]kafka.Offsets
}

// clockSlack is by how much the clock of an order service may run ahead of a
// worker's: timestamps of requests come from the one, those of what follows from
// the other.
const clockSlack = time.Hour

// wants reports whether a request with that timestamp is looked for.
func (s *Scope) wants(t time.Time) bool {
	return !t.Before(s.Since) && (s.Until.IsZero() || t.Before(s.Until))
}
