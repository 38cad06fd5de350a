package consumer

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMetadataIsBelievedOnlyWhereItWasWritten(t *testing.T) {
	text := encodeMetadata("requests", 3, 100, []span{{102, 110}, {120, 120}})
	for _, c := range []struct {
		sentence  string
		topic     string
		partition int
		committed int64
		text      string
		believed  bool
	}{
		{"at its own place", "requests", 3, 100, text, true},
		{"of another topic", "request", 3, 100, text, false},
		{"of another partition", "requests", 4, 100, text, false},
		{"of another offset", "requests", 3, 101, text, false},
		{"with a letter changed", "requests", 3, 100, flip(text, len(text)/2), false},
		{"with its end cut off", "requests", 3, 100, text[:len(text)-2], false},
		{"with something after it", "requests", 3, 100, text + "AAAA", false},
		{"with a line break in it", "requests", 3, 100, text[:8] + "\n" + text[8:], false},
		{"of a later version", "requests", 3, 100, "co2:" + text[4:], false},
		{"of another program", "requests", 3, 100, "committed by somebody", false},
		{"nothing but our name", "requests", 3, 100, metadataPrefix, false},
		{"a checksum and no encoding", "requests", 3, 100, forge("requests", 3, 100), false},
		{"a valid checksum over an unknown encoding", "requests", 3, 100, forge("requests", 3, 100, 'x', 1, 2), false},
		{"a run that ends in the middle of a number", "requests", 3, 100, forge("requests", 3, 100, 'r', 1, 0x80), false},
		{"a run that marks the committed offset itself", "requests", 3, 100, forge("requests", 3, 100, 'r', 0, 0), false},
		{"a bit set that marks the committed offset itself", "requests", 3, 100, forge("requests", 3, 100, 'b', 1), false},
		{"a run that reaches beyond the window", "requests", 3, 100, forge("requests", 3, 100, runs(window-1, 1)...), false},
		{"a run that ends at the end of the window", "requests", 3, 100, forge("requests", 3, 100, runs(1, window-2)...), true},
		{"a run so long that it wraps", "requests", 3, 100, forge("requests", 3, 100, runs(1, math.MaxUint64-1)...), false},
		{"a gap so long that it wraps", "requests", 3, 100, forge("requests", 3, 100, runs(math.MaxUint64-50, 1)...), false},
		{"a bit set longer than the window", "requests", 3, 100, forge("requests", 3, 100, append([]byte{'b'}, make([]byte, window/8+1)...)...), false},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			spans, err := decodeMetadata(c.topic, c.partition, c.committed, c.text)
			if (err == nil) != c.believed {
				t.Errorf("error %v, believed should be %v", err, c.believed)
			}
			if err != nil && spans != nil {
				t.Errorf("an error and spans: %v", spans)
			}
		})
	}
}

func TestNothingFinishedIsNoMetadata(t *testing.T) {
	if text := encodeMetadata("t", 0, 5, nil); text != "" {
		t.Errorf("got %q", text)
	}
	if spans, err := decodeMetadata("t", 0, 5, ""); err != nil || spans != nil {
		t.Errorf("got %v, %v", spans, err)
	}
}

// forge makes metadata with a valid checksum over any payload.
func forge(topic string, partition int, committed int64, payload ...byte) string {
	payload = binary.BigEndian.AppendUint32(payload, metadataSum(topic, partition, committed, payload))
	return metadataPrefix + base64.RawStdEncoding.EncodeToString(payload)
}

func runs(numbers ...uint64) []byte {
	b := []byte{encodingRuns}
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func flip(s string, i int) string {
	c := byte('A')
	if s[i] == c {
		c = 'B'
	}
	return s[:i] + string(c) + s[i+1:]
}

func TestMetadataComesBackAndFitsWhateverIsFinished(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		committed := rapid.Int64Range(0, math.MaxInt64-2*window).Draw(t, "committed")
		var spans []span
		for at := committed; ; {
			gap := rapid.Int64Range(1, 40).Draw(t, "gap")
			more := rapid.SampledFrom([]int64{0, 0, 1, 2, 100, 5000}).Draw(t, "more")
			s := span{at + gap, at + gap + more}
			if s.last >= committed+window || rapid.IntRange(0, 200).Draw(t, "stop") == 0 {
				break
			}
			spans = append(spans, s)
			at = s.last + 1
		}
		text := encodeMetadata("closeorder.requests", 11, committed, spans)
		if len(text) > maxMetadata {
			t.Fatalf("%d bytes for %d spans, the broker takes %d", len(text), len(spans), maxMetadata)
		}
		got, err := decodeMetadata("closeorder.requests", 11, committed, text)
		if err != nil || !slices.Equal(got, spans) {
			t.Fatalf("got %v, %v; want %v", got, err, spans)
		}
	})
}

func TestTheWorstMetadataFits(t *testing.T) {
	var spans []span
	for o := int64(1); o < window; o += 2 { // every other offset: the most runs there can be
		spans = append(spans, span{o, o})
	}
	if n := len(encodeMetadata(strings.Repeat("t", 249), 99999, 0, spans)); n > maxMetadata {
		t.Errorf("%d bytes, the broker takes %d", n, maxMetadata)
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add(int64(0), []byte(encodeMetadata("t", 0, 0, []span{{1, 1}})))
	f.Add(int64(100), []byte(encodeMetadata("t", 0, 100, []span{{102, 110}, {120, 120}})))
	f.Add(int64(5), runs(1, 2, 3, 4))
	f.Add(int64(5), []byte{'b', 0xfe, 0xff})
	f.Fuzz(func(t *testing.T, committed int64, b []byte) {
		if committed < 0 || committed > math.MaxInt64-2*window {
			return
		}
		// As text, and as a payload whose checksum is right.
		for _, text := range []string{string(b), forge("t", 0, committed, b...)} {
			spans, err := decodeMetadata("t", 0, committed, text)
			if err != nil {
				continue
			}
			at := committed
			for _, s := range spans {
				if s.first <= at && at != committed || s.first <= committed || s.last < s.first || s.last >= committed+window {
					t.Fatalf("impossible span %v after %d, committed %d", s, at, committed)
				}
				at = s.last
			}
		}
	})
}

func TestFinishedKnowsWhatACommitSays(t *testing.T) {
	finished, err := Finished("requests", 3, 100, encodeMetadata("requests", 3, 100, []span{{102, 110}, {120, 120}}))
	if err != nil {
		t.Fatal(err)
	}
	for offset, want := range map[int64]bool{0: true, 99: true, 100: false, 101: false, 102: true, 110: true, 111: false, 119: false, 120: true, 121: false} {
		if finished(offset) != want {
			t.Errorf("offset %d finished: %v, want %v", offset, !want, want)
		}
	}
	finished, err = Finished("requests", 3, 100, "somebody else's")
	if err == nil || !finished(99) || finished(102) {
		t.Errorf("foreign metadata: error %v", err)
	}
}
