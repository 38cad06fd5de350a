package index_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/timeline"
	"github.com/twmb/franz-go/pkg/kadm"
)

const group = "closeorder"

// commits says for some requests and retries that the workers have finished them, for
// all of them without r.
func (s *shelf) commits(r *rand.Rand) {
	s.t.Helper()
	var all kadm.Offsets
	for _, topic := range append([]string{topics.Requests}, topics.Retries()...) {
		ends, err := s.reader().End(context.Background(), topic)
		if err != nil {
			s.t.Fatal(err)
		}
		for p := range len(ends) {
			at := ends[p]
			if r != nil {
				at = r.Int64N(at + 1)
			}
			all.AddOffset(topic, int32(p), at, -1)
		}
	}
	if err := kadm.NewClient(s.producer).CommitAllOffsets(context.Background(), group, all); err != nil {
		s.t.Fatal(err)
	}
}

// told is the report of an order as JSON, without what was read of the topics: by the
// places of an index, or by reading all.
func (s *shelf) told(number, mch string, at time.Time, x *index.Index) (string, *timeline.Report) {
	s.t.Helper()
	ctx := context.Background()
	scope := timeline.Scope{Reader: s.reader(), Topics: topics, Group: group, OutTradeNo: number, MchID: mch, All: x == nil}
	var err error
	if x != nil {
		if scope.Places, err = x.Places(ctx, events.Order{OutTradeNo: number}); err != nil {
			s.t.Fatal(err)
		}
	}
	taken, err := timeline.Take(ctx, scope)
	if err != nil {
		s.t.Fatal(err)
	}
	taken.At = at
	report, err := taken.Find(ctx, timeline.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	bare := *report
	bare.Read = nil
	bare.Notes = slices.Sorted(slices.Values(bare.Notes))
	text, err := json.MarshalIndent(bare, "", " ")
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text), report
}

// TestAReportByPlacesIsTheReport compares the reports that are made by what an index
// knows, up to date and far behind, with those that are made by reading all, over
// everything that can stand in topics, before and after some of it was deleted.
func TestAReportByPlacesIsTheReport(t *testing.T) {
	s := newShelf(t)
	r := rand.New(rand.NewPCG(11, 12))
	live, behind := s.opened(""), s.opened("")
	s.anything(r, 30)
	turn(t, behind)
	states := map[timeline.State]int{}
	compare := func(what string, r *rand.Rand) {
		t.Helper()
		turn(t, live)
		s.commits(r)
		at := time.Now()
		var read int64
		for i := range 24 {
			number, mch := fmt.Sprintf("T%d", i), ""
			switch i {
			case 5:
				number = "N1" // the replacement of others
			case 6:
				number = "NEVER"
			case 7, 8, 9:
				mch = "1900000101"
			}
			want, report := s.told(number, mch, at, nil)
			for _, l := range report.Lives {
				for _, q := range l.Requests {
					states[q.State]++
				}
			}
			for name, x := range map[string]*index.Index{"by the index": live, "by an index that is behind": behind} {
				if got, _ := s.told(number, mch, at, x); got != want {
					t.Fatalf("%s: %s of %s:\n%s", what, name, number, differ(got, want))
				}
			}
			read += report.Read[0].Offsets
		}
		if read == 0 {
			t.Error("nothing was read")
		}
	}
	s.anything(r, 30)
	compare("as it was written", r)
	s.deletes(topics.Requests, 1, 7)
	s.deletes(topics.Outcomes, 2, 9)
	s.deletes(topics.DeadLetters, 0, 5)
	compare("with what was deleted, and all of it finished", nil)
	for _, state := range []timeline.State{timeline.Closed, timeline.Paid, timeline.Failed, timeline.Waiting, timeline.InFlight, timeline.Lost, timeline.Unproven} {
		if states[state] == 0 {
			t.Errorf("no request was %s: %v", state, states)
		}
	}
}

// differ is the first lines in which two texts differ.
func differ(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			from := max(i-12, 0)
			return strings.Join(a[from:min(i+6, len(a))], "\n") + "\nwant\n" + strings.Join(b[from:min(i+6, len(b))], "\n")
		}
	}
	return got + "\nwant\n" + want
}

// TestWhatAnIndexHasNotSeenIsNotLost is about an order that is answered after the index
// has looked, and before the report.
func TestWhatAnIndexHasNotSeenIsNotLost(t *testing.T) {
	s := newShelf(t)
	m, at := s.asks(1, order("T1", "19", ""))
	x := s.opened("")
	turn(t, x)
	s.answers(m, at, events.Closed)
	var all kadm.Offsets
	all.AddOffset(topics.Requests, 1, 1, -1)
	if err := kadm.NewClient(s.producer).CommitAllOffsets(t.Context(), group, all); err != nil {
		t.Fatal(err)
	}
	if _, report := s.told("T1", "", noon, x); len(report.Lives) != 1 || report.Lives[0].State != timeline.Closed {
		t.Errorf("%+v", report)
	}
}

// TestAReportByPlacesReadsLittle counts the records that are read for one order of many.
func TestAReportByPlacesReadsLittle(t *testing.T) {
	s := newShelf(t)
	s.fill(1000)
	x := s.opened("")
	turn(t, x)
	places, err := x.Places(t.Context(), events.Order{OutTradeNo: numberOf(500)})
	if err != nil {
		t.Fatal(err)
	}
	taken, err := timeline.Take(t.Context(), timeline.Scope{Reader: s.reader(), Topics: topics, Group: group, OutTradeNo: numberOf(500), Places: places})
	if err != nil {
		t.Fatal(err)
	}
	var read atomic.Int64
	report, err := taken.Find(t.Context(), timeline.Options{OnRead: func(n int) { read.Add(int64(n)) }})
	if err != nil || len(report.Lives) != 1 || report.Lives[0].State != timeline.Closed {
		t.Fatalf("%+v, %v", report, err)
	}
	if n := read.Load(); n != 2 {
		t.Errorf("%d records were read for a request and its outcome", n)
	}
}
