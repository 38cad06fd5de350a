package consumer

import (
	"errors"
	"fmt"
	"testing"

	"github.com/closeorder/closeorder/internal/kafka"
)

func TestStartDecidesAboutTopicsThatTheGroupBeginsWith(t *testing.T) {
	for _, tt := range []struct {
		what       string
		start      Start
		positions  int
		generation int32
		want       bool
	}{
		{"no position at all, first generation", StartLatest, 0, 1, true},
		{"no position at all, later: the offsets were deleted", StartLatest, 0, 7, true},
		{"another member was quicker to begin at the end", StartLatest, 2, 1, true},
		{"a partition was added", StartLatest, 2, 2, false},
		{"a partition was added, and the worker must not guess", StartError, 2, 2, false},
		{"another member has seen that all was empty", StartError, 2, 1, false},
		{"no position at all, and the worker must not guess", StartError, 0, 1, true},
		{"no position at all, earliest", StartEarliest, 0, 1, true},
		{"a partition was added, earliest", StartEarliest, 2, 2, false},
	} {
		if got := tt.start.decides(tt.positions, tt.generation); got != tt.want {
			t.Errorf("%s (%s): %v, want %v", tt.what, tt.start, got, tt.want)
		}
	}
}

// Under load a transaction of some other worker is always about to commit a
// position: who begins with a partition waits for that of its own.
func TestPositionsOfOthersThatAreUnstableAreNotWaitedFor(t *testing.T) {
	unstable := func(ids ...int) error {
		e := &kafka.UnstableError{}
		for _, id := range ids {
			e.Places = append(e.Places, kafka.Place{Topic: "t", Partition: id})
		}
		return fmt.Errorf("fetch: %w", e)
	}
	for sentence, c := range map[string]struct {
		err  error
		want bool
	}{
		"those of others":           {unstable(2, 3), true},
		"one of them is to be read": {unstable(2, 1), false},
		"the coordinator is away":   {errors.New("away"), false},
	} {
		t.Run(sentence, func(t *testing.T) {
			fresh := []*partition{{topicPartition: topicPartition{"t", 0}}, {topicPartition: topicPartition{"t", 1}}}
			positions := map[string]map[int]kafka.Committed{"t": {}}
			if got := onlyOthersUnstable(c.err, fresh, positions); got != c.want {
				t.Errorf("%v", got)
			}
			if c.want && len(positions["t"]) != 2 { // the group has read the topic before
				t.Errorf("positions %v", positions)
			}
		})
	}
}
