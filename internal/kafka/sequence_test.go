package kafka

import "testing"

func TestBehindTheLastSequenceComesZero(t *testing.T) {
	for sentence, c := range map[string]struct {
		sequence int32
		n        int
		want     int32
	}{
		"the first batch":                    {0, 3, 3},
		"the last sequence is used":          {1<<31 - 3, 2, 1<<31 - 1},
		"and behind it comes 0":              {1<<31 - 1, 1, 0},
		"a batch reaches beyond it":          {1<<31 - 3, 5, 2},
		"a batch ends right at the last":     {1<<31 - 3, 3, 0},
		"as many as there can be in a batch": {1<<31 - 1, BatchRecords, BatchRecords - 1},
	} {
		if got := after(c.sequence, c.n); got != c.want {
			t.Errorf("%s: %d, want %d", sentence, got, c.want)
		}
	}
}
