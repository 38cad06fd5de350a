package audit_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
)

const goldens = "../../testdata/audit/"

// TestPlantedWorlds fills the topics by hand and compares the whole report
// with a file.
func TestPlantedWorlds(t *testing.T) {
	cases := []struct {
		what  string
		plant func(p *planted)
	}{
		{"each request is answered", func(p *planted) {
			p.answers(p.request(0, "A"), "A", events.Closed)
			p.answers(p.request(1, "B"), "B", events.Paid)
			c := p.request(1, "C")
			p.answers(c, "C", events.Failed)
			p.dies(c, "C")
			p.commits("requests", 0, 1)
			p.commits("requests", 1, 2)
		}},
		{"an answer that is not committed yet is an answer", func(p *planted) {
			p.answers(p.request(0, "A"), "A", events.Closed)
		}},
		{"finished below the commit without an answer is a hole", func(p *planted) {
			p.answers(p.request(0, "A"), "A", events.Closed)
			p.request(0, "B")
			p.answers(p.request(0, "C"), "C", events.Closed)
			p.commits("requests", 0, 3)
		}},
		{"finished above the commit without an answer is a hole", func(p *planted) {
			p.request(0, "A")
			p.request(0, "B")
			p.request(0, "C")
			p.answers(p.request(0, "D"), "D", events.Closed)
			p.commits("requests", 0, 0, 1, 3)
		}},
		{"a hole that was sent again is mended when that is answered", func(p *planted) {
			p.request(0, "A")
			p.request(0, "B")
			again := p.replay(0, "A", 1)
			p.replay(0, "B", 1)
			p.answers(again, "A", events.Closed, numbered(1))
			p.commits("requests", 0, 3)
		}},
		{"all holes are mended and all replays are answered", func(p *planted) {
			p.scope.Until = noon.Add(time.Minute) // what mends is outside of the range
			p.request(0, "A")
			p.answers(p.replay(0, "A", 1), "A", events.Failed, numbered(1))
			p.commits("requests", 0, 2)
		}},
		{"a hole that nothing names is mended by a replay with its bytes", func(p *planted) {
			m := events.Message{Key: []byte("k"), Value: []byte("{}")}
			p.write("requests", 0, m)
			p.write("requests", 0, events.Message{Key: []byte("k"), Value: []byte("{ }")})
			m.Headers = []events.Header{{Key: events.HeaderReplay, Value: []byte("1")}, {Key: events.HeaderReplayBy, Value: []byte("me")}}
			p.write("requests", 0, m)
			p.commits("requests", 0, 2)
		}},
		{"a replay that came before, or to another partition, mends no hole", func(p *planted) {
			p.answers(p.replay(0, "A", 1), "A", events.Closed, numbered(1))
			p.answers(p.replay(1, "A", 1), "A", events.Closed, numbered(1))
			p.request(0, "A")
			p.commits("requests", 0, 2)
			p.commits("requests", 1, 1)
		}},
		{"damaged metadata of a commit counts for nothing", func(p *planted) {
			p.request(0, "A")
			p.request(0, "B")
			p.commitAs("requests", 0, 0, metadata("requests", 1, 0, 1)) // of another partition
		}},
		{"without a commit everything is in flight", func(p *planted) {
			p.request(0, "A")
			p.request(1, "B")
		}},
		{"a retry record that is not finished makes a request wait", func(p *planted) {
			a := p.request(0, "A")
			p.waits("retries.10s", a, "A")
			p.waits("retries.1m", a, "A")
			b := p.request(0, "B")
			p.waits("retries.10s", b, "B")
			p.commits("requests", 0, 2)
			p.commits("retries.10s", 0, 1) // of A the second hop waits, of B the first
		}},
		{"a request that waits though it is not committed", func(p *planted) {
			p.waits("retries.10s", p.request(0, "A"), "A")
		}},
		{"finished retry records without an answer are a hole", func(p *planted) {
			a := p.request(0, "A")
			p.waits("retries.10s", a, "A")
			p.waits("retries.1m", a, "A")
			p.commits("requests", 0, 1)
			p.commits("retries.10s", 0, 1)
			p.commits("retries.1m", 0, 0)
			b := p.request(0, "B")
			p.waits("retries.1m", b, "B")
			c := p.request(0, "C")
			p.waits("retries.1m", c, "C")
			p.commits("requests", 0, 3)
			p.commits("retries.1m", 0, 1, 2) // A's and C's are finished, B's is not
		}},
		{"an answer after waiting", func(p *planted) {
			a := p.request(0, "A")
			p.waits("retries.10s", a, "A")
			p.answers(a, "A", events.Closed)
			p.commits("requests", 0, 1)
		}},
		{"the same outcome again is a duplicate", func(p *planted) {
			a := p.request(0, "A")
			p.answers(a, "A", events.Closed)
			p.answers(a, "A", events.Closed, func(o *events.Outcome) { o.Code = "ORDERCLOSED" }) // as after a crash
			p.answers(a, "A", events.Closed)
			p.commits("requests", 0, 1)
		}},
		{"with exactly once what came again is a finding", func(p *planted) {
			a, b, c, d := p.request(0, "A"), p.request(0, "B"), p.request(0, "C"), p.request(0, "D")
			p.answers(a, "A", events.Closed)
			p.answers(a, "A", events.Closed)
			p.answers(b, "B", events.Failed)
			p.answers(b, "B", events.Closed)
			p.answers(c, "C", events.Failed)
			p.dies(c, "C")
			p.dies(c, "C")
			p.answers(d, "D", events.Paid)
			p.answers(p.request(0, "D"), "D", events.Paid) // another request
			p.commits("requests", 0, 5)
			p.once = true
		}},
		{"with exactly once nothing came again", func(p *planted) {
			a := p.request(0, "A")
			p.answers(a, "A", events.Failed)
			p.dies(a, "A")
			again := p.replay(0, "A", 1)
			p.answers(again, "A", events.Failed, numbered(1))
			p.dies(again, "A")
			p.commits("requests", 0, 2)
			p.once = true
		}},
		{"repeats that differ: the first counts", func(p *planted) {
			a, b, c := p.request(0, "A"), p.request(0, "B"), p.request(0, "C")
			p.answers(a, "A", events.Failed)
			p.answers(a, "A", events.Closed)
			p.answers(b, "B", events.Closed, unsafe)
			p.answers(b, "B", events.Closed)
			p.answers(c, "C", events.Paid)
			p.answers(c, "C", events.Paid, func(o *events.Outcome) { o.ID = "another" })
			p.commits("requests", 0, 3)
		}},
		{"closed and paid for one request contradict each other", func(p *planted) {
			a, b := p.request(0, "A"), p.request(1, "B")
			p.answers(a, "A", events.Closed, unsafe)
			p.answers(a, "A", events.Paid)
			p.answers(b, "B", events.Paid)
			p.answers(b, "B", events.Closed, unsafe, func(o *events.Outcome) { o.ID = "another" })
			p.commits("requests", 0, 1)
			p.commits("requests", 1, 1)
		}},
		{"requests of one order contradict each other", func(p *planted) {
			first, second := p.request(0, "A"), p.request(1, "A")
			p.answers(first, "A", events.Closed)
			p.answers(second, "A", events.Paid)
			p.answers(p.request(0, "B"), "B", events.Paid)
			p.commits("requests", 0, 2)
			p.commits("requests", 1, 1)
		}},
		{"a doubtful closed and a later paid do not contradict each other", func(p *planted) {
			p.answers(p.request(0, "A"), "A", events.Closed, unsafe)
			p.answers(p.request(0, "A"), "A", events.Paid)
			p.commits("requests", 0, 2)
		}},
		{"an outcome that names another order answers nothing", func(p *planted) {
			a, b := p.request(0, "A"), p.request(0, "B")
			p.answers(a, "other", events.Closed)
			p.answers(b, "B", events.Closed, numbered(1)) // nobody replayed it
			p.commits("requests", 0, 1)
		}},
		{"dead letters and their outcomes", func(p *planted) {
			hole := p.request(0, "A")
			p.dies(hole, "A")
			answered := p.request(0, "B") // a crash between dead letter and outcome
			p.dies(answered, "B")
			p.dies(answered, "B")
			p.answers(answered, "B", events.Closed)
			expired := p.request(0, "C")
			p.answers(expired, "C", events.Failed, func(o *events.Outcome) { o.Code = events.CodeExpired })
			flight := p.request(0, "D")
			p.dies(flight, "D")
			p.commits("requests", 0, 3)
		}},
		{"a replay is a request of its own and supersedes what failed", func(p *planted) {
			a := p.request(0, "A")
			p.answers(a, "A", events.Failed)
			p.dies(a, "A")
			again := p.replay(0, "A", 1)
			p.answers(again, "A", events.Failed, numbered(1))
			p.answers(p.replay(0, "A", 2), "A", events.Closed, numbered(2))
			b := p.request(0, "B")
			p.answers(b, "B", events.Failed)
			p.replay(0, "B", 1) // under way
			p.answers(p.request(1, "C"), "C", events.Failed)
			p.answers(p.request(1, "C"), "C", events.Paid) // asked again plainly
			p.commits("requests", 0, 4)
		}},
		{"outcomes without a request", func(p *planted) {
			p.answers(p.request(0, "A"), "A", events.Closed)
			p.answers(events.Source{Topic: "elsewhere", Partition: 0, Offset: 0}, "B", events.Closed)
			p.answers(events.Source{Topic: "requests", Partition: 9, Offset: 0}, "C", events.Closed)
			p.commits("requests", 0, 1)
		}},
		{"records that nobody can read", func(p *planted) {
			garbage := events.Message{Value: []byte("<xml>")}
			at := p.write("requests", 0, garbage)
			o := outcomeOf(garbage, at, events.Failed, p.now)
			o.Code = events.CodeInvalidRequest
			p.outcome(o)
			tombstone := p.write("requests", 0, events.Message{Key: []byte("K")})
			o = outcomeOf(events.Message{Key: []byte("K")}, tombstone, events.Failed, p.now)
			o.Code = events.CodeInvalidRequest
			p.outcome(o)
			for _, topic := range []string{"outcomes", "dead", "retries.10s"} {
				p.write(topic, 0, garbage)
			}
			p.commits("requests", 0, 2)
		}},
		{"a commit beyond the end says nothing about this log", func(p *planted) {
			p.answers(p.request(0, "A"), "A", events.Closed)
			p.request(0, "B")
			p.now = noon.Add(-time.Hour)
			p.answers(events.Source{Topic: "requests", Partition: 0, Offset: 40}, "X", events.Closed)
			p.answers(events.Source{Topic: "requests", Partition: 0, Offset: 1}, "Y", events.Closed)
			p.commits("requests", 0, 41)
		}},
		{"what retention took of the outcomes leaves requests unproven, not holes", func(p *planted) {
			for range 3 { // in one partition of the outcomes
				p.answers(p.request(0, "A"), "A", events.Failed)
			}
			p.now = p.now.Add(24 * time.Hour)
			p.answers(p.request(0, "A"), "A", events.Failed)
			p.now = p.now.Add(24 * time.Hour)
			p.request(0, "A")                   // a hole: nothing of this age is gone
			p.request(0, otherHome("A", 2))     // its partition is whole
			p.now = noon.Add(30 * time.Second)  // long ago
			p.request(0, otherHome("A", 2)+"x") // wherever it belongs
			p.commits("requests", 0, 7)
			p.deletes("outcomes", home([]byte("A"), 2), 3)
		}},
		{"requests that were deleted before they were read are reported", func(p *planted) {
			for _, order := range []string{"A", "B", "C"} {
				p.request(0, order)
			}
			p.answers(events.Source{Topic: "requests", Partition: 0, Offset: 0}, "A", events.Closed)
			p.request(1, "D")
			p.deletes("requests", 1, 1)
			p.commits("requests", 0, 1)
			p.deletes("requests", 0, 2)
		}},
		{"of what was deleted only the unfinished is lost", func(p *planted) {
			for i := range 6 {
				order := fmt.Sprint("A", i)
				if at := p.request(0, order); i != 2 {
					p.answers(at, order, events.Closed)
				}
			}
			p.commits("requests", 0, 2, 3, 4)
			p.deletes("requests", 0, 5)
		}},
		{"one outcome of elsewhere forgives only what is older than the record in its place", func(p *planted) {
			p.now = noon.Add(-time.Hour) // of a log that was deleted
			p.answers(events.Source{Topic: "requests", Partition: 0, Offset: 0}, "OLD", events.Closed)
			p.now = noon
			a := p.request(0, "A")
			p.answers(a, "A", events.Closed)
			p.answers(a, "B", events.Paid)
			p.answers(events.Source{Topic: "requests", Partition: 0, Offset: 99}, "Z", events.Closed)
			p.commits("requests", 0, 1)
		}},
		{"an outcome that is older than its record is misnamed where nothing speaks of another log", func(p *planted) {
			p.now = noon.Add(-time.Hour)
			p.answers(events.Source{Topic: "requests", Partition: 0, Offset: 0}, "OLD", events.Closed)
			p.now = noon
			p.answers(p.request(0, "A"), "A", events.Closed)
			p.commits("requests", 0, 1)
		}},
		{"outcomes from before there were more partitions may be gone", func(p *planted) {
			for i := range 20 {
				order := fmt.Sprint("A", i)
				p.answers(p.request(0, order), order, events.Closed)
			}
			p.commits("requests", 0, 20)
			ends, err := p.admin.ListEndOffsets(p.ctx, "outcomes")
			if err != nil {
				p.t.Fatal(err)
			}
			if _, err := p.admin.UpdatePartitions(p.ctx, 8, "outcomes"); err != nil {
				p.t.Fatal(err)
			}
			for part := range 2 {
				end, _ := ends.Lookup("outcomes", int32(part))
				p.deletes("outcomes", part, end.Offset)
			}
		}},
		{"an outcome stands where its request does, and may be gone there", func(p *planted) {
			order, here := "A", 1 // its key belongs to partition 0, of one and of two
			if home([]byte(order), 2) == 1 {
				order = otherHome(order, 2)
			}
			p.write("outcomes", here, p.encode(outcomeOf(message(order, 0), p.request(here, order), events.Closed, p.now)))
			p.now = p.now.Add(24 * time.Hour)
			p.request(here, order+"x") // a hole: nothing of this age is gone
			p.commits("requests", here, 2)
			p.deletes("outcomes", here, 1)
			p.now = p.now.Add(-20 * time.Hour)
			p.write("outcomes", here, p.encode(outcomeOf(message("later", 0), events.Source{Topic: "elsewhere"}, events.Closed, p.now)))
		}},
		{"outcomes that stand by their key and those that stand by their request answer alike", func(p *planted) {
			for i := range 8 {
				order := fmt.Sprint("A", i)
				at := p.request(i%2, order)
				if i < 4 {
					p.answers(at, order, events.Closed)
				} else {
					p.write("outcomes", at.Partition, p.encode(outcomeOf(message(order, 0), at, events.Closed, p.now)))
				}
			}
			p.commits("requests", 0, 4)
			p.commits("requests", 1, 4)
		}},
		{"a range finds the outcomes that a clock far ahead has put before it", func(p *planted) {
			a, both, late, dead := p.request(0, "A"), p.request(0, "both"), p.request(0, "late"), p.request(0, "dead")
			p.request(0, "hole")
			p.now = noon.Add(-3 * time.Hour)
			p.answers(a, "A", events.Closed)
			p.answers(both, "both", events.Paid)
			p.answers(both, "both", events.Closed)
			p.waits("retries.10s", late, "late")
			p.dies(dead, "dead")
			p.answers(dead, "dead", events.Failed)
			p.now = noon.Add(10 * time.Minute)
			for _, order := range []string{"D", otherHome("D", 2)} { // reading begins behind the others
				at := p.request(0, order)
				p.answers(at, order, events.Closed)
				p.waits("retries.10s", at, order)
				p.dies(at, order)
			}
			p.commits("requests", 0, 7)
			p.scope.Since = noon.Add(-time.Minute)
		}},
		{"a hole in a compacted topic may be an outcome that compaction took", func(p *planted) {
			p.request(0, "A")
			p.commits("requests", 0, 1)
			policy := "compact,delete"
			if _, err := p.admin.AlterTopicConfigs(p.ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &policy}}, "outcomes"); err != nil {
				p.t.Fatal(err)
			}
		}},
		{"a range holds the requests of its time and looks up what became of them", func(p *planted) {
			before := p.request(0, "A")
			p.now = noon.Add(3 * time.Hour)
			p.answers(p.request(0, "B"), "B", events.Closed)
			p.answers(p.request(1, "C"), "C", events.Paid)
			p.now = noon.Add(3*time.Hour + 30*time.Minute)
			p.request(1, "hole")
			p.now = noon.Add(5 * time.Hour)
			p.answers(before, "A", events.Closed) // late
			after := p.request(1, "D")
			p.answers(after, "D", events.Closed)
			p.now = noon.Add(3*time.Hour + 40*time.Minute)
			p.answers(p.request(1, "E"), "E", events.Closed) // by a clock that is behind
			p.commits("requests", 0, 2)
			p.commits("requests", 1, 4)
			p.scope.Since, p.scope.Until = noon.Add(3*time.Hour), noon.Add(4*time.Hour)
		}},
		{"what begins before the log does", func(p *planted) {
			p.answers(p.request(0, "A"), "A", events.Closed)
			p.answers(p.request(0, "B"), "B", events.Closed)
			p.commits("requests", 0, 2)
			p.deletes("requests", 0, 1)
			p.scope.Since = noon.Add(-time.Hour)
		}},
		{"no more than so many are listed, all are counted", func(p *planted) {
			p.limit = 2
			for i := range 5 {
				p.request(i%2, fmt.Sprint("hole", i))
				order := fmt.Sprint("both", i)
				at := p.request(0, order)
				p.answers(at, order, events.Closed)
				p.answers(at, order, events.Paid)
			}
			p.commits("requests", 0, 8)
			p.commits("requests", 1, 2)
		}},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			p := plant(t)
			c.plant(p)
			name := strings.ReplaceAll(strings.NewReplacer(":", "", ",", "").Replace(c.what), " ", "-")
			golden.Check(t, goldens+name+".json", text(t, p.audit()))
		})
	}
	files, err := os.ReadDir(goldens)
	if err != nil || len(files) != len(cases) {
		t.Errorf("%d files in %s, %d cases with one: %v", len(files), goldens, len(cases), err)
	}
}

// A start that goes on with older topics is audited from where they ended.
func TestWhatStandsBeforeTheBeginningIsNotAudited(t *testing.T) {
	p := plant(t)
	old := p.request(0, "OLD")
	p.request(1, "LOST")
	p.answers(old, "OLD", events.Closed)
	p.commits("requests", 0, 1)
	p.commits("requests", 1, 1)
	p.scope.From = map[string]kafka.Offsets{}
	for _, topic := range p.scope.Topics.All() {
		end, err := p.scope.Reader.End(p.ctx, topic)
		must(t, err)
		p.scope.From[topic] = end
	}
	p.answers(p.request(0, "NEW"), "NEW", events.Paid)
	p.commits("requests", 0, 2)
	p.answers(old, "OLD", events.Closed) // again
	r := p.audit()
	if !r.Balanced || r.Requests != 1 || r.Paid != 1 || r.Holes != 0 || r.Duplicates != 0 || r.OutcomesWithoutRequest != (audit.WithoutRequest{OutsideRange: 1}) {
		t.Errorf("%+v", *r)
	}
	p.scope.From = nil
	if r := p.audit(); r.Balanced || r.Requests != 3 || r.Holes != 1 {
		t.Errorf("from the beginning: %+v", *r)
	}
}

// TestTheSameFindingsAreListedEachTime, though the partitions are read in an
// order left to chance.
func TestTheSameFindingsAreListedEachTime(t *testing.T) {
	p := plant(t)
	p.limit = 2
	for i := range 12 {
		order := fmt.Sprint("A", i)
		at := p.request(i%2, order)
		p.answers(at, order, events.Failed)
		p.answers(at, order, events.Closed) // differs
		p.answers(at, "other"+order, events.Closed)
		again := p.request(i%2, order+"x")
		p.answers(again, order+"x", events.Closed)
		p.answers(again, order+"x", events.Paid)
	}
	first := text(t, p.audit())
	for range 5 {
		if again := text(t, p.audit()); again != first {
			t.Fatalf("first\n%s\nthen\n%s", first, again)
		}
	}
}

// The clock of this process is in another zone: see TestMain.
func TestAllTimesAreInUTC(t *testing.T) {
	if _, offset := time.Now().Zone(); offset == 0 {
		t.Fatal("the times of this process are in UTC: nothing can be seen of them")
	}
	p := plant(t)
	p.request(0, "hole")
	a := p.request(0, "A")
	p.now = p.now.In(time.Local)
	p.answers(a, "A", events.Closed)
	p.answers(a, "A", events.Paid)
	p.answers(a, "B", events.Paid)
	p.request(0, "flight")
	p.waits("retries.10s", p.request(0, "waits"), "waits")
	p.commits("requests", 0, 2)
	p.scope.Since = noon.Add(-time.Hour).In(time.Local)
	p.scope.Until = noon.Add(time.Hour).In(time.Local)
	r := p.audit()
	if r.Holes != 1 || r.Contradictions != 1 || r.Misnamed != 1 || r.OldestInFlight.IsZero() || r.OldestWaiting.IsZero() {
		t.Errorf("%+v", *r)
	}
	out, err := json.Marshal(r)
	if err != nil || strings.Contains(string(out), "+08:00") {
		t.Errorf("%s, %v", out, err)
	}
}

// otherHome is an order that belongs to another partition than this one.
func otherHome(order string, partitions int) string {
	for i := 0; ; i++ {
		if other := fmt.Sprint("other", i); home([]byte(other), partitions) != home([]byte(order), partitions) {
			return other
		}
	}
}
