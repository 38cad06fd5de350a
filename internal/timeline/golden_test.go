package timeline

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/kafka"
)

const cases = "../../testdata/timeline/"

// story is one file of testdata: records, what was committed, and where logs begin.
// Partitions are named as closeorder.requests[3].
type story struct {
	Now        time.Time          `json:"now"`
	OutTradeNo string             `json:"out_trade_no"`
	MchID      string             `json:"mch_id"`
	Commits    map[string]int64   `json:"commits"`
	Finished   map[string][]int64 `json:"finished"` // above the commit
	NoCommits  bool               `json:"no_commits"`
	First      map[string]int64   `json:"first"`
	High       map[string]int64   `json:"high"`
	Records    []struct {
		Topic     string          `json:"topic"`
		Partition int             `json:"partition"`
		Offset    int64           `json:"offset"`
		Time      time.Time       `json:"time"`
		Key       string          `json:"key"`
		Headers   [][2]string     `json:"headers"`
		Value     json.RawMessage `json:"value"`
		Text      string          `json:"text"` // in the place of Value
	} `json:"records"`
}

// Finished makes a story a Progress.
func (p progressOfStory) Finished(topic string, partition int, offset int64) bool {
	at := fmt.Sprintf("%s[%d]", topic, partition)
	return offset < p.story.Commits[at] || slices.Contains(p.story.Finished[at], offset)
}

type progressOfStory struct{ story *story }

// tell finds the order of a story in its records, all partitions read.
func (s *story) tell(t *testing.T) *Report {
	t.Helper()
	topics := config.Default().Topics
	f := &finder{
		Snapshot: &Snapshot{
			At: s.Now, scope: Scope{Topics: topics, Group: "closeorder", OutTradeNo: s.OutTradeNo, MchID: s.MchID}, topics: topics.All(),
			first: map[string]kafka.Offsets{}, from: map[string]kafka.Offsets{}, to: map[string]kafka.Offsets{}, high: map[string]kafka.Offsets{},
		},
		match: newMatcher(s.OutTradeNo), requests: map[events.Source]bool{}, read: map[string]map[int]bool{},
		began: map[kafka.Place]time.Time{}, damaged: map[kafka.Place]bool{}, replaces: map[string]bool{}, kinds: map[Kind]int{},
	}
	if !s.NoCommits {
		f.progress = progressOfStory{s}
	}
	for _, topic := range topics.All() {
		f.first[topic], f.to[topic], f.high[topic], f.read[topic] = kafka.Offsets{}, kafka.Offsets{}, kafka.Offsets{}, map[int]bool{}
		for p := range 4 {
			at := fmt.Sprintf("%s[%d]", topic, p)
			f.first[topic][p], f.to[topic][p], f.read[topic][p] = s.First[at], s.First[at], true
			f.high[topic][p] = s.High[at]
		}
	}
	f.from = f.first
	for _, r := range s.Records {
		rec := kafka.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Time}
		rec.Key, rec.Value = []byte(r.Key), []byte(r.Text)
		if r.Text == "" {
			rec.Value = r.Value
		}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, events.Header{Key: h[0], Value: []byte(h[1])})
		}
		if place := (kafka.Place{Topic: r.Topic, Partition: r.Partition}); f.began[place].IsZero() {
			f.began[place] = r.Time
		}
		f.to[r.Topic][r.Partition] = max(f.to[r.Topic][r.Partition], r.Offset+1)
		f.look(r.Topic)(rec)
	}
	return f.report()
}

// TestTimelinesOfStories tells each story of testdata; the reports are printed by the
// tests of cmd/closeorder.
func TestTimelinesOfStories(t *testing.T) {
	files, err := filepath.Glob(cases + "*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d stories, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var s story
			if err := json.Unmarshal(data, &s); err != nil {
				t.Fatal(err)
			}
			report, err := json.MarshalIndent(s.tell(t), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, cases+"reports/"+name+".json", string(report)+"\n")
		})
	}
}

func TestARequestThatIsRepeatedWithoutEndIsBounded(t *testing.T) {
	s := story{Now: time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC), OutTradeNo: "T42", Commits: map[string]int64{"closeorder.requests[3]": 1 << 30}}
	data, err := os.ReadFile(cases + "an-order-that-is-lost.json")
	if err != nil {
		t.Fatal(err)
	}
	var one story
	if err := json.Unmarshal(data, &one); err != nil {
		t.Fatal(err)
	}
	for i := range mostOfAKind + 7 {
		rec := one.Records[0]
		rec.Offset = int64(i)
		s.Records = append(s.Records, rec)
	}
	r := s.tell(t)
	if len(r.Lives) != 1 || len(r.Lives[0].Entries) != mostOfAKind || r.Lives[0].State != Unproven || !strings.Contains(fmt.Sprint(r.Notes), "there are 5007 records of kind requested") {
		t.Errorf("%d entries, %s, %v", len(r.Lives[0].Entries), r.Lives[0].State, r.Notes)
	}
}

func TestWhatAnOpenTransactionHoldsBackIsSaidOfAnOrderThatIsNotThere(t *testing.T) {
	s := story{Now: time.Now(), OutTradeNo: "T42", High: map[string]int64{"closeorder.requests[2]": 9}}
	if r := s.tell(t); len(r.Lives) != 0 || !strings.Contains(fmt.Sprint(r.Notes), "holds back what stands in closeorder.requests[2] from offset 0 on") {
		t.Errorf("%v", r.Notes)
	}
}
