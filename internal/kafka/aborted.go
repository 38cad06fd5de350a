package kafka

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/segmentio/kafka-go/protocol/fetch"
)

// abortedTransactions are those that touch the batches of one answer to a fetch
// that reads committed, as the broker has told them (Kafka's protocol, Fetch,
// aborted_transactions; KIP-98, Aborted Transaction Index): whose they are and
// where they begin. That they begin before what was asked for is normal. Where
// one ends stands in the log alone, in the ABORT marker of its producer.
//
// Each answer has its own, all that its batches need: what was dropped and is
// fetched again comes with them anew. The reader owns it, and opens the batches
// in the order of their offsets; to open one twice changes nothing.
type abortedTransactions struct {
	// ahead are those that begin behind what was opened, the nearest first.
	ahead []fetch.ResponseTransaction
	// open are the producers of those that have begun and not ended.
	open map[int64]struct{}
}

// abortedOf makes them of what came with an answer, nil of none. The order of
// that is the broker's: Redpanda's is not that of the offsets.
func abortedOf(told []fetch.ResponseTransaction) *abortedTransactions {
	if len(told) == 0 {
		return nil
	}
	slices.SortFunc(told, func(a, b fetch.ResponseTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return &abortedTransactions{ahead: told, open: make(map[int64]struct{})}
}

// passesOver reports whether a batch belongs to an aborted transaction, and
// learns from it which have begun and ended. Its checksum is right: without that
// nothing that it says of its producer is believed. A marker that cannot be read
// has a reason; who went on behind it would take what comes next for aborted.
func (a *abortedTransactions) passesOver(b *batch) (over bool, reason string) {
	if a == nil || b.producer < 0 {
		return false, ""
	}
	for len(a.ahead) > 0 && a.ahead[0].FirstOffset <= b.last {
		a.open[a.ahead[0].ProducerID] = struct{}{}
		a.ahead = a.ahead[1:]
	}
	if _, open := a.open[b.producer]; !open {
		return false, ""
	}
	if !b.control {
		return b.transactional, ""
	}
	abort, reason := b.aborts()
	if abort {
		delete(a.open, b.producer)
	}
	return false, reason
}

// Keys of transaction markers: a version, then what they say, 16 bits each
// (KIP-98, Control Records).
const (
	markerTypeAt  = 2
	markerKey     = 4
	markerOfAbort = 0
)

// aborts reports whether a control batch is an ABORT marker. Compaction may have
// emptied it, and then has taken what it was about before.
func (b *batch) aborts() (abort bool, reason string) {
	if b.count == 0 {
		return false, ""
	}
	if b.codec != 0 {
		return false, "it is a transaction marker and compressed"
	}
	e, _, reason := b.at(b.packed)
	switch {
	case reason != "":
		return false, reason
	case len(e.key) < markerKey:
		return false, fmt.Sprintf("it is a transaction marker with a key of %d bytes", len(e.key))
	}
	return int16At(e.key, markerTypeAt) == markerOfAbort, ""
}
