//go:build !race

package kafka

import (
	"context"
	"slices"
	"testing"
)

// Where no transaction was aborted, to read committed takes no more memory than
// to read uncommitted, for records of transactions and for others.
func TestReadingCommittedAllocatesNothingMore(t *testing.T) {
	raw := slices.Concat(valuesAt(10, "a", "b"), transactionalAt(7, 12, "c"), valuesAt(13, "d"), commitAt(7, 14))
	read := func(committed bool) float64 {
		s := sourceOf(nil, 10, 10, nil)
		defer s.fetcher.end()
		r := &round{req: &fetchRequest{}, asked: []asked{{source: s, offset: 10, first: true}}, committed: committed}
		res := &fetchResponse{Topics: []fetchTopic{{Topic: s.topic, Partitions: []fetchPartition{{
			Partition: int32(s.partition), HighWatermark: 15, LastStableOffset: 15, Records: packedRecords{raw},
		}}}}}
		return testing.AllocsPerRun(100, func() {
			s.fetcher.mu.Lock()
			s.restart(10)
			r.asked[0].answered = false
			if err := r.read(res); err != nil {
				t.Fatal(err)
			}
			s.deliver(&r.asked[0])
			s.fetcher.mu.Unlock()
			if records, next, err := s.Next(context.Background()); len(records) != 4 || next != 15 || err != nil {
				t.Fatalf("%v, go on at %d, %v", records, next, err)
			}
		})
	}
	if committed, uncommitted := read(true), read(false); committed > uncommitted || uncommitted == 0 {
		t.Errorf("%v allocations to read committed, %v uncommitted", committed, uncommitted)
	}
}
