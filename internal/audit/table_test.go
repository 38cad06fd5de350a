package audit

import (
	"math"
	"slices"
	"testing"
)

// What an outcome gives as its source may be any number.
func TestTheTableKnowsWhatWasAddedAndNothingElse(t *testing.T) {
	table := newTable()
	type place struct {
		partition int
		offset    int64
	}
	added := []place{{0, 0}, {0, 4095}, {0, 4096}, {2, 1 << 40}, {11, 7}}
	for _, at := range []int{3, 0, 4, 2, 1} {
		table.add(added[at].partition, added[at].offset)
	}
	var all []place
	table.each(func(partition int, offset int64, e *entry) {
		all = append(all, place{partition, offset})
		if table.at(partition, offset) != e {
			t.Errorf("partition %d, offset %d: another entry", partition, offset)
		}
	})
	if !slices.Equal(all, added) {
		t.Errorf("got %v, want %v", all, added)
	}
	for _, no := range []place{{0, -1}, {0, -4096}, {0, 1}, {0, math.MaxInt64}, {0, math.MinInt64}, {1, 0}, {-1, 0}, {2, 0}} {
		if table.at(no.partition, no.offset) != nil {
			t.Errorf("there is an entry at %v", no)
		}
	}
}
