package consumer

import "testing"

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
