package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
)

// script is a log of which some batches cannot be read.
type script struct {
	end    int64
	at     int64
	tries  int // at what cannot be read
	closed bool

	mu     sync.Mutex
	broken []kafka.UnreadableError
}

func (s *script) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = nil
}

func (s *script) Next(ctx context.Context) ([]kafka.Record, int64, error) {
	s.mu.Lock()
	broken := s.broken
	s.mu.Unlock()
	for _, b := range broken {
		if first, last := b.First, max(b.Last, b.First); first <= s.at && s.at <= last {
			s.tries++
			b.First = s.at
			return nil, s.at, &b
		}
	}
	if s.at >= s.end {
		<-ctx.Done()
		return nil, s.at, context.Cause(ctx)
	}
	s.at++
	return []kafka.Record{{Topic: "requests", Partition: 3, Offset: s.at - 1}}, s.at, nil
}

func (s *script) SeekTo(offset int64) { s.at = offset }
func (s *script) Close()              { s.closed = true }

// reads runs a fetcher over a script for a time, and returns the offsets that
// were taken, the watermark when all of them are finished, and the log.
func reads(t *testing.T, s *script, skips string, during func()) (taken []int64, watermark int64, hook *test.Hook) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	hook = test.NewLocal(log)
	p := newPartition(t.Context(), topicPartition{"requests", 3})
	p.begin(s.at, nil)
	f := &fetcher{
		source: s, partition: p, trouble: new(trouble), log: log,
		offset: func(_ context.Context, at int64) (int64, error) {
			if at == kafka.LogEnd {
				return s.end, nil
			}
			return 0, errors.New("nobody asks for the start")
		},
		take:  func(r *request) { taken = append(taken, r.offset); p.finish(r) },
		moved: func(*partition) {},
	}
	for text := range strings.FieldsSeq(skips) {
		span, err := kafka.ParseSpan(text)
		if err != nil {
			t.Fatal(err)
		}
		f.skips = append(f.skips, span)
	}
	done := make(chan struct{})
	go func() { defer close(done); f.run(s.at) }()
	during()
	synctest.Wait()
	p.stopIntake()
	<-done
	if !s.closed {
		t.Error("the source is left open")
	}
	watermark, _, _ = p.position()
	return taken, watermark, hook
}

func alarms(hook *test.Hook) (found []string) {
	for _, e := range hook.AllEntries() {
		if e.Level == logrus.ErrorLevel {
			found = append(found, fmt.Sprintf("%s first=%v last=%v reason=%v", e.Message, e.Data["first"], e.Data["last"], e.Data["reason"]))
		}
	}
	return found
}

func TestWhatCannotBeReadStopsItsPartitionUnlessAnOperatorGivesItUp(t *testing.T) {
	const stopped, skipped = "ALARM: offsets cannot be read: this partition is stopped", "cannot be read and are skipped, as kafka.skip says"
	damaged := func(first, last int64) kafka.UnreadableError {
		return kafka.UnreadableError{Topic: "requests", Partition: 3, First: first, Last: last, Reason: "the CRC does not match"}
	}
	for name, tt := range map[string]struct {
		begin  int64
		broken []kafka.UnreadableError
		skips  string
		taken  []int64
		mark   int64
		alarms []string
	}{
		"without a word the partition stops": {
			broken: []kafka.UnreadableError{damaged(3, 5)}, taken: []int64{0, 1, 2}, mark: 3,
			alarms: []string{stopped + "|kafka.skip requests[3]@3-5|An unreadable batch|first=3 last=5 reason=the CRC does not match"},
		},
		"given up, exactly": {
			broken: []kafka.UnreadableError{damaged(3, 5)}, skips: "requests[3]@3-5", taken: []int64{0, 1, 2, 6, 7, 8, 9}, mark: 10,
			alarms: []string{"ALARM: 3 offsets " + skipped + "|first=3 last=5"},
		},
		"what can be read in the range is served": {
			broken: []kafka.UnreadableError{damaged(3, 5)}, skips: "requests[3]@0-9", taken: []int64{0, 1, 2, 6, 7, 8, 9}, mark: 10,
			alarms: []string{skipped},
		},
		"two batches in one range are two alarms": {
			broken: []kafka.UnreadableError{damaged(1, 2), damaged(6, 8)}, skips: "requests[3]@1-8", taken: []int64{0, 3, 4, 5, 9}, mark: 10,
			alarms: []string{"ALARM: 2 offsets " + skipped, "ALARM: 3 offsets " + skipped},
		},
		"a range that ends within the batch gives nothing up": {
			broken: []kafka.UnreadableError{damaged(3, 5)}, skips: "requests[3]@3-4", taken: []int64{0, 1, 2}, mark: 3,
			alarms: []string{stopped + "|kafka.skip requests[3]@3-4 does not cover them"},
		},
		"a range that begins within the batch gives nothing up": {
			broken: []kafka.UnreadableError{damaged(3, 5)}, skips: "requests[3]@4-9", taken: []int64{0, 1, 2}, mark: 3,
			alarms: []string{stopped + "|kafka.skip requests[3]@4-9 does not cover them"},
		},
		"a range of other offsets": {
			broken: []kafka.UnreadableError{damaged(3, 5)}, skips: "requests[3]@0-2 requests[3]@6-9", taken: []int64{0, 1, 2}, mark: 3,
			alarms: []string{stopped + "|" + "An unreadable batch"},
		},
		"a position within the batch": {
			begin: 4, broken: []kafka.UnreadableError{damaged(3, 5)}, skips: "requests[3]@4-5", taken: []int64{6, 7, 8, 9}, mark: 10,
			alarms: []string{"ALARM: 2 offsets " + skipped},
		},
		"the last batch of the log": {
			broken: []kafka.UnreadableError{damaged(8, 9)}, skips: "requests[3]@8-9", taken: []int64{0, 1, 2, 3, 4, 5, 6, 7}, mark: 10,
			alarms: []string{skipped},
		},
		"nobody knows how long, and it is not given up": {
			broken: []kafka.UnreadableError{damaged(3, -1)}, taken: []int64{0, 1, 2}, mark: 3,
			alarms: []string{"ALARM: offsets (nobody knows how many) cannot be read|kafka.skip requests[3]@3-LAST"},
		},
		"nobody knows how long: the range says so": {
			broken: []kafka.UnreadableError{damaged(3, -1)}, skips: "requests[3]@3-6", taken: []int64{0, 1, 2, 7, 8, 9}, mark: 10,
			alarms: []string{"ALARM: 4 offsets " + skipped},
		},
		"nobody knows how long, and the range ends beyond the log": {
			broken: []kafka.UnreadableError{damaged(8, -1)}, skips: "requests[3]@8-1000", taken: []int64{0, 1, 2, 3, 4, 5, 6, 7}, mark: 10,
			alarms: []string{"ALARM: 2 offsets " + skipped},
		},
		"all can be read": {skips: "requests[3]@0-9", taken: []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, mark: 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{end: 10, at: tt.begin, broken: tt.broken}
				taken, watermark, hook := reads(t, s, tt.skips, func() { time.Sleep(time.Hour) })
				if !slices.Equal(taken, tt.taken) || watermark != tt.mark {
					t.Errorf("taken %v, watermark %d; want %v, %d", taken, watermark, tt.taken, tt.mark)
				}
				got := alarms(hook)
				if len(got) != len(tt.alarms) {
					t.Fatalf("alarms %q, want %d", got, len(tt.alarms))
				}
				for i, want := range tt.alarms {
					for part := range strings.SplitSeq(want, "|") {
						if !strings.Contains(got[i], part) {
							t.Errorf("alarm %q lacks %q", got[i], part)
						}
					}
				}
				if s.tries > 61 {
					t.Errorf("looked at %d times in an hour", s.tries)
				}
			})
		})
	}
}

func TestAPartitionGoesOnWhenWhatCouldNotBeReadIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{end: 5, broken: []kafka.UnreadableError{{Topic: "requests", Partition: 3, First: 2, Last: 3, Reason: "the CRC does not match"}}}
		taken, watermark, hook := reads(t, s, "", func() {
			time.Sleep(10*time.Minute + time.Second)
			s.mend()
			time.Sleep(2 * time.Minute)
		})
		if !slices.Equal(taken, []int64{0, 1, 2, 3, 4}) || watermark != 5 {
			t.Errorf("taken %v, watermark %d", taken, watermark)
		}
		if n := len(alarms(hook)); n != 1 {
			t.Errorf("%d alarms", n)
		}
		told := 0
		for _, e := range hook.AllEntries() {
			if e.Level == logrus.InfoLevel && strings.Contains(e.Message, "can be read now") {
				told++
			}
		}
		if told != 1 {
			t.Errorf("told %d times that it can be read again", told)
		}
	})
}
