package consumer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestLedger(t *testing.T) {
	type step struct {
		do     string // open, done, skip
		offset int64
	}
	for _, c := range []struct {
		sentence  string
		committed int64
		above     []span
		steps     []step
		watermark int64
		want      []span
	}{
		{sentence: "nothing opened stays where it was committed", committed: 7, watermark: 7},
		{sentence: "an open offset holds the watermark", committed: 7,
			steps: []step{{"open", 7}}, watermark: 7},
		{sentence: "the first offset finished moves it by one", committed: 7,
			steps: []step{{"open", 7}, {"done", 7}}, watermark: 8},
		{sentence: "the highest finished offset is not the watermark while a lower one is open", committed: 7,
			steps: []step{{"open", 7}, {"open", 8}, {"open", 9}, {"done", 9}}, watermark: 7, want: []span{{9, 9}}},
		{sentence: "the lowest one finished takes all behind it along", committed: 7,
			steps: []step{{"open", 7}, {"open", 8}, {"open", 9}, {"done", 9}, {"done", 8}, {"done", 7}}, watermark: 10},
		{sentence: "a gap left by compaction counts as finished", committed: 7,
			steps: []step{{"open", 7}, {"open", 20}, {"done", 7}}, watermark: 20},
		{sentence: "a gap behind an open offset does not move the watermark", committed: 7,
			steps: []step{{"open", 7}, {"open", 20}, {"done", 20}}, watermark: 7, want: []span{{8, 20}}},
		{sentence: "a transaction marker at the end moves the watermark", committed: 7,
			steps: []step{{"skip", 9}}, watermark: 9},
		{sentence: "what the commit metadata remembers is not opened again", committed: 7, above: []span{{8, 9}},
			steps: []step{{"open", 7}, {"again", 8}, {"again", 9}, {"open", 10}, {"done", 7}}, watermark: 10},
		{sentence: "what the commit metadata remembers above all that was read stays remembered", committed: 7, above: []span{{9, 12}},
			steps: []step{{"open", 7}}, watermark: 7, want: []span{{9, 12}}},
		{sentence: "a jump over more than a window forgets what lies below", committed: 7, above: []span{{9, 12}},
			steps: []step{{"skip", 7 + 3*window}, {"open", 7 + 3*window}}, watermark: 7 + 3*window},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			l := newLedger(c.committed, c.above)
			for _, s := range c.steps {
				switch s.do {
				case "open":
					if !l.open(s.offset) {
						t.Errorf("offset %d counts as finished", s.offset)
					}
				case "again":
					if l.open(s.offset) {
						t.Errorf("offset %d is opened again", s.offset)
					}
				case "done":
					l.finish(s.offset)
				case "skip":
					l.skip(s.offset)
				}
			}
			if l.watermark != c.watermark {
				t.Errorf("watermark %d, want %d", l.watermark, c.watermark)
			}
			if got := l.above(); !slices.Equal(got, c.want) {
				t.Errorf("finished above: %v, want %v", got, c.want)
			}
		})
	}
}

// A ledger must agree with the plainest model there is: a set of unfinished
// offsets, whose lowest member is the watermark.
func TestLedgerAgreesWithASetOfOpenOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Int64Range(0, 3*window).Draw(t, "first")
		l := newLedger(first, nil)
		open := make(map[int64]bool)
		finished := make(map[int64]bool)
		next := first
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "read") {
				gap := rapid.SampledFrom([]int64{0, 0, 0, 1, 5, 63, 64, 65, window / 3}).Draw(t, "gap")
				if !l.room(next + gap) {
					continue
				}
				for o := next; o < next+gap; o++ {
					finished[o] = true
				}
				next += gap
				if !l.open(next) {
					t.Fatalf("offset %d counts as finished", next)
				}
				open[next] = true
				next++
			} else if len(open) > 0 {
				o := rapid.SampledFrom(sorted(open)).Draw(t, "done")
				l.finish(o)
				delete(open, o)
				finished[o] = true
			}
			want := next
			if len(open) > 0 {
				want = sorted(open)[0]
			}
			if l.watermark != want {
				t.Fatalf("watermark %d, want %d", l.watermark, want)
			}
		}
		// What a new owner makes of the commit must leave exactly the open ones.
		text := encodeMetadata("t", 1, l.watermark, l.above())
		if len(text) > maxMetadata {
			t.Fatalf("commit metadata has %d bytes", len(text))
		}
		above, err := decodeMetadata("t", 1, l.watermark, text)
		if err != nil {
			t.Fatal(err)
		}
		heir := newLedger(l.watermark, above)
		for o := l.watermark; o < next; o++ {
			if heir.open(o) != open[o] {
				t.Fatalf("offset %d: the next owner opens it: %v, it was unfinished: %v", o, !open[o], open[o])
			}
		}
	})
}

func sorted(set map[int64]bool) []int64 {
	keys := make([]int64, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func BenchmarkLedger(b *testing.B) {
	l := newLedger(0, nil)
	b.ReportAllocs()
	var o int64
	for b.Loop() {
		l.open(o)
		l.finish(o)
		o++
	}
}
