package consumer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/kafka"
)

func TestKeysAreJudgedFromOutside(t *testing.T) {
	place := func(at func(i int, key []byte) int) (all []KeyPlace) {
		for i := range 500 {
			key := fmt.Appendf(nil, "1900000109:T%d", i)
			all = append(all, KeyPlace{key, at(i, key)})
		}
		return all
	}
	byJava := func(_ int, key []byte) int { return kafka.PartitionOf(key, 12) }
	for _, tt := range []struct {
		sentence string
		keys     []KeyPlace
		mixed    bool
		seen     string
	}{
		{"none", nil, false, ""},
		{"keys that are empty say nothing", slices.Repeat([]KeyPlace{{Partition: 3}}, 500), false, ""},
		{"one partitioner", place(byJava), false, ""},
		{"one key many times is one key", append(place(byJava), slices.Repeat([]KeyPlace{{[]byte("hot"), (kafka.PartitionOf([]byte("hot"), 12) + 1) % 12}}, 500)...), false, ""},
		{"keys anywhere", place(func(i int, _ []byte) int { return i % 12 }), true, "no known partitioner"},
	} {
		got := JudgeKeys(tt.keys, 12)
		if got.Mixed != tt.mixed || !strings.Contains(got.Seen, tt.seen) || (got.Remedy == "") == tt.mixed {
			t.Errorf("%s: %+v", tt.sentence, got)
		}
	}
}
