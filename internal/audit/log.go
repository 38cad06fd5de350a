package audit

import (
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// logs knows what is no longer in the logs: from when on the outcomes are
// whole, and what was deleted while it was to be read. It is safe for
// concurrent use.
type logs struct {
	snapshot *Snapshot
	mu       sync.Mutex
	outcomes map[int]*remains // partitions whose beginning is gone
	gaps     []kafka.Gap
	damaged  []*kafka.UnreadableError
}

// remains is what is left of a partition.
type remains struct {
	offset int64     // where it begins
	time   time.Time // of its first record; zero if none was seen
}

func newLogs(s *Snapshot) *logs {
	l := &logs{snapshot: s, outcomes: map[int]*remains{}}
	topic := s.scope.Topics.Outcomes
	for partition, first := range s.first[topic] {
		// Where reading begins behind the start, everything that is asked for
		// is there.
		if s.from[topic][partition] == first {
			l.beginning(partition)
		}
	}
	return l
}

// beginning says that a partition of the outcomes is read from its beginning.
func (l *logs) beginning(partition int) {
	first := l.snapshot.first[l.snapshot.scope.Topics.Outcomes][partition]
	l.mu.Lock()
	defer l.mu.Unlock()
	if first > 0 && l.outcomes[partition] == nil {
		l.outcomes[partition] = &remains{offset: first}
	}
}

// gap is told of offsets that were to be read and are gone.
func (l *logs) gap(g kafka.Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gaps = append(l.gaps, g)
	if g.Topic == l.snapshot.scope.Topics.Outcomes {
		l.outcomes[g.Partition] = &remains{offset: g.To}
	}
}

// unreadable is told of offsets that were to be read and cannot be; of some
// twice, as they are read twice.
func (l *logs) unreadable(e *kafka.UnreadableError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.ContainsFunc(l.damaged, func(d *kafka.UnreadableError) bool {
		return d.Topic == e.Topic && d.Partition == e.Partition && d.First <= e.First && e.Last <= d.Last
	}) {
		l.damaged = append(l.damaged, e)
	}
}

// lost reports whether a place was to be read and is gone, or cannot be read.
func (l *logs) lost(at events.Source) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.gaps, func(g kafka.Gap) bool {
		return g.Topic == at.Topic && g.Partition == at.Partition && g.From <= at.Offset && at.Offset < g.To
	}) || slices.ContainsFunc(l.damaged, func(d *kafka.UnreadableError) bool {
		return d.Topic == at.Topic && d.Partition == at.Partition && d.First <= at.Offset && at.Offset <= d.Last
	})
}

// seen is told of each outcome record.
func (l *logs) seen(rec kafka.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if left := l.outcomes[rec.Partition]; left != nil && left.time.IsZero() && rec.Offset >= left.offset {
		left.time = rec.Time
	}
}

// mayBeGone reports whether the outcome of a request may have been deleted: it
// was asked for before the first outcome that is left in the partition where
// its outcome belongs.
func (l *logs) mayBeGone(rec kafka.Record, req events.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for partition, left := range l.outcomes {
		begins := left.time
		if begins.IsZero() {
			begins = l.snapshot.At
		}
		if rec.Time.Before(begins.Add(clockSlack)) && l.isHome(partition, rec, req) {
			return true
		}
	}
	return false
}

// isHome reports whether the outcome of a request can stand in a partition: the
// one with the number of the request's, as workers write it, and those of its
// key, or of out_trade_no where it has none, as earlier ones did; any of them
// where it had neither. Both go by how many partitions the topic has, and it may
// have had any number up to today's when the outcome was written.
func (l *logs) isHome(partition int, rec kafka.Record, req events.Request) bool {
	key := rec.Key
	if len(key) == 0 {
		key = []byte(req.OutTradeNo)
	}
	for n := range len(l.snapshot.to[l.snapshot.scope.Topics.Outcomes]) {
		if len(key) == 0 || partition == rec.Partition%(n+1) || partition == kafka.PartitionOf(key, n+1) {
			return true
		}
	}
	return false
}
