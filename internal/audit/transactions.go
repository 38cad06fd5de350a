package audit

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
)

const (
	// settle is [Scope.Settle] by default: as long as a worker's transaction is
	// open at most, by kafka.transaction_timeout.
	settle = 10 * time.Second
	// settlePause is how long to wait between two looks.
	settlePause = 50 * time.Millisecond
)

// highWatermarks asks for the ends of a log, whatever transactions are open.
func (s *Snapshot) highWatermarks(ctx context.Context, topic string) (kafka.Offsets, error) {
	client, partitions := s.scope.Reader.Client, slices.Sorted(maps.Keys(s.first[topic]))
	var ends map[string]map[int]int64
	err := client.Persist(ctx, topic, -1, func(ctx context.Context) (err error) {
		ends, err = client.Offsets(ctx, map[string][]int{topic: partitions}, kafka.LogEnd)
		return err
	})
	return ends[topic], err
}

// settle says where the reading of topics ends: at their high watermarks, as soon
// as all transactions below have ended, else at the last stable offsets.
func (s *Snapshot) settle(ctx context.Context, topics []string) error {
	patience := time.NewTimer(cmp.Or(s.scope.Settle, settle))
	defer patience.Stop()
	for {
		var err error
		if topics, err = s.unsettled(ctx, topics); err != nil || len(topics) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-patience.C:
			return nil
		case <-time.After(settlePause):
		}
	}
}

// unsettled sets where the reading of topics ends for now, and returns those that
// open transactions hold back.
func (s *Snapshot) unsettled(ctx context.Context, topics []string) (held []string, err error) {
	for _, topic := range topics {
		stable, err := s.scope.Reader.End(ctx, topic)
		if err != nil {
			return nil, err
		}
		s.to[topic] = kafka.Offsets{}
		for partition, end := range s.end[topic] {
			s.to[topic][partition] = min(stable[partition], end)
		}
		if s.heldBack(topic) != nil {
			held = append(held, topic)
		}
	}
	return held, nil
}

// heldBack returns the partitions of which the end is not read, as transactions
// are open there.
func (s *Snapshot) heldBack(topic string) []int {
	var held []int
	for _, partition := range slices.Sorted(maps.Keys(s.end[topic])) {
		if s.to[topic][partition] < s.end[topic][partition] {
			held = append(held, partition)
		}
	}
	return held
}

// mayStandBehind reports whether the outcome of a request, or a retry record of
// it, may stand behind an open transaction: workers write them to the partition
// with the number of the request's.
func (s *Snapshot) mayStandBehind(request int) bool {
	t := s.scope.Topics
	for _, topic := range append([]string{t.Outcomes}, t.Retries()...) {
		if n := len(s.end[topic]); n > 0 && slices.Contains(s.heldBack(topic), request%n) {
			return true
		}
	}
	return false
}

// transactionNotes says what cannot be read yet.
func (a *auditor) transactionNotes() {
	t := a.scope.Topics
	for _, topic := range append([]string{t.Requests, t.Outcomes, t.DeadLetters}, t.Retries()...) {
		held := a.heldBack(topic)
		if held == nil {
			continue
		}
		records := int64(0)
		for _, partition := range held {
			records += a.end[topic][partition] - a.to[topic][partition]
		}
		where := fmt.Sprintf("%s: a transaction is open in %d of %d partitions (partition %d from offset %d on)", topic, len(held), len(a.end[topic]), held[0], a.to[topic][held[0]])
		if topic == t.Requests {
			a.note("%s: up to %d records that stand there are not counted, as workers do not read them either before it ends", where, records)
			continue
		}
		a.note("%s, for longer than a worker's ever is: up to %d records that stand there are hidden from all who read committed, order services too; find who left it open with: kafka-transactions.sh find-hanging", where, records)
	}
	if a.behind > 0 {
		a.note("%d requests are finished, and what became of them may stand behind an open transaction: audit again when it has ended", a.behind)
	}
}
