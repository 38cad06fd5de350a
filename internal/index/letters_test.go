package index_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/records"
	"pgregory.net/rapid"
)

// TestLettersAreThoseOfTheCommand holds the list of the index, with every filter, to
// what deadletters list chooses of the topic, and groups to what is listed.
func TestLettersAreThoseOfTheCommand(t *testing.T) {
	s := newShelf(t)
	r := rand.New(rand.NewPCG(5, 6))
	s.anything(r, 60)
	// Codes that fold in odd ways, times that are no whole seconds, and bytes that are no text.
	codes := []string{"SYSTEMERROR", "systemerror", "ſYSTEMERROR", "K", "k", "\u212a", "E\xff", "E\ufffd", "Ä", "ä", "DŽ", "ǆ", "ß", "SS"}
	for i, code := range codes {
		m, at := s.asks(i, order(fmt.Sprintf("T%d", i%4), "1900000101", `,"sub_mch_id":"15"`))
		s.dies(m, at, code, func(d *records.DeadLetter) { d.FailedAt = s.now.Add(time.Duration(i) * time.Nanosecond) })
	}
	x := s.opened("")
	turn(t, x)
	open := openLetters(s)
	if n := len(s.letters(deadletters.Filter{})); n < 50 || len(open) == 0 || len(open) == n {
		t.Fatalf("%d letters, %d of them open", n, len(open))
	}
	all := s.letters(deadletters.Filter{})
	chosen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		f := index.LetterFilter{}
		moments := func(name string) time.Time {
			if rapid.Bool().Draw(t, "no "+name) {
				return time.Time{}
			}
			return noon.Add(time.Duration(rapid.IntRange(-10, int(s.now.Sub(noon)/time.Second)+10).Draw(t, name))*time.Second + time.Duration(rapid.IntRange(0, 20).Draw(t, "ns")))
		}
		f.Since, f.Until = moments("since"), moments("until")
		f.Codes = rapid.SliceOfN(rapid.SampledFrom(append([]string{"", "x", "UNKNOWN_merchant"}, codes...)), 0, 3).Draw(t, "codes")
		if rapid.IntRange(0, 2).Draw(t, "by merchant") == 0 {
			f.MchID = rapid.SampledFrom([]string{"1900000100", "1900000101", "2"}).Draw(t, "mch_id")
		}
		if rapid.IntRange(0, 2).Draw(t, "by number") == 0 {
			f.OutTradeNo = rapid.SampledFrom([]string{"T1", "T2", "T20", "T"}).Draw(t, "out_trade_no")
		}
		f.Open = rapid.IntRange(0, 2).Draw(t, "open") == 0
		var want []deadletters.Listed
		for i := range all {
			l := &all[i]
			if f.Matches(l) && (!f.Open || open[l.At]) {
				want = append(want, l.Listed())
			}
		}
		chosen[len(want) > 0]++
		slices.SortStableFunc(want, func(a, b deadletters.Listed) int { return b.FailedAt.Compare(a.FailedAt) })
		got, err := x.Letters(context.Background(), f, 1000, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got.Total != int64(len(want)) || len(got.Letters) != len(want) {
			t.Fatalf("%+v: %d of %d, want %d", f, len(got.Letters), got.Total, len(want))
		}
		for i, l := range got.Letters {
			at := events.Source{Topic: topics.DeadLetters, Partition: l.Partition, Offset: l.Offset}
			if (l.Since == "") != open[at] {
				t.Fatalf("%+v is open: %t", l, open[at])
			}
			if !l.FailedAt.Equal(want[i].FailedAt) {
				t.Fatalf("%d is of %s, want %s", i, l.FailedAt, want[i].FailedAt)
			}
			if !slices.ContainsFunc(want, func(w deadletters.Listed) bool { return asJSON(t, w) == asJSON(t, l.Listed) }) {
				t.Fatalf("%s is not listed by the command", asJSON(t, l.Listed))
			}
		}
		if len(want) > 3 {
			some, err := x.Letters(context.Background(), f, 2, 1)
			if err != nil || !reflect.DeepEqual(some.Letters, got.Letters[1:3]) || some.Total != got.Total {
				t.Fatalf("the second and third: %+v, %v", some, err)
			}
		}
		for _, by := range []index.By{index.ByCode, index.ByMerchant, index.ByBoth, index.ByDay} {
			groups, err := x.Groups(context.Background(), f, by, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprintf("%+v", groups), fmt.Sprintf("%+v", grouped(got.Letters, by, groups)); got != want {
				t.Fatalf("by %s: %s\nwant %s", by, got, want)
			}
		}
	})
	if chosen[true] < 20 || chosen[false] < 5 {
		t.Errorf("filters that chose something: %v", chosen)
	}
}

// grouped makes groups of the letters themselves, in the order of those given.
func grouped(letters []index.Letter, by index.By, order []index.Group) []index.Group {
	alike := func(a, b index.Group) bool {
		return strings.EqualFold(a.Code, b.Code) && a.MchID == b.MchID && a.Day == b.Day
	}
	var groups []index.Group
	for _, l := range letters { // the newest first
		g := index.Group{Latest: l.FailedAt, Message: l.Message}
		if by == index.ByCode || by == index.ByBoth {
			g.Code = l.Code
		}
		if by == index.ByMerchant || by == index.ByBoth {
			g.MchID = l.MchID
		}
		if by == index.ByDay {
			g.Day = l.FailedAt.Format(time.DateOnly)
		}
		i := slices.IndexFunc(groups, func(one index.Group) bool { return alike(one, g) })
		if i < 0 {
			i = len(groups)
			groups = append(groups, g)
		}
		groups[i].Count++
		groups[i].First = l.FailedAt
		if l.Since == "" {
			groups[i].Open++
		}
	}
	slices.SortStableFunc(groups, func(a, b index.Group) int {
		at := func(g index.Group) int {
			return slices.IndexFunc(order, func(one index.Group) bool { return alike(one, g) })
		}
		return at(a) - at(b)
	})
	sorted := func(a, b index.Group) int {
		if by == index.ByDay {
			return strings.Compare(b.Day, a.Day)
		}
		return int(b.Count - a.Count)
	}
	if !slices.IsSortedFunc(order, sorted) {
		return nil
	}
	return groups
}

// openLetters are the letters whose request has no final outcome, as
// events.SameRequest has it, of those that count.
func openLetters(s *shelf) map[events.Source]bool {
	requests := map[events.Source]events.Request{}
	answered := map[events.Source]bool{}
	var finals []events.Outcome
	for _, rec := range s.written {
		switch rec.Topic {
		case topics.Requests:
			requests[rec.Source()], _ = events.DecodeRequest(rec.Message)
		case topics.Outcomes:
			o, err := events.DecodeOutcome(rec.Message)
			q, known := requests[o.Source]
			if err != nil || !known || answered[o.Source] || q.Order() != o.Order() || q.RequestID != o.RequestID || q.Replay != o.Replay {
				continue
			}
			if answered[o.Source] = true; o.Final() {
				finals = append(finals, o)
			}
		}
	}
	open := map[events.Source]bool{}
	for _, l := range s.letters(deadletters.Filter{}) {
		like := events.NewOutcome(l.Request, l.Original.Key, l.Source)
		if !slices.ContainsFunc(finals, func(o events.Outcome) bool { return events.SameRequest(like, o) }) {
			open[l.At] = true
		}
	}
	return open
}

// asJSON is what whoever reads v as JSON gets: bytes that are no text are replaced.
func asJSON(t rapid.TB, v any) string {
	text, err := json.Marshal(v)
	var read any
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err == nil {
		text, err = json.Marshal(read)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestALetterIsAnsweredBy is about the letter of a request of order T1, and what is
// written before it and behind it.
func TestALetterIsAnsweredBy(t *testing.T) {
	replayed := func(n string) events.Header { return events.Header{Key: events.HeaderReplay, Value: []byte(n)} }
	closes := func(value string, headers ...events.Header) func(s *shelf) {
		return func(s *shelf) {
			m, at := s.asks(2, value, headers...)
			s.answers(m, at, events.Closed)
		}
	}
	for what, tt := range map[string]struct {
		before, behind func(s *shelf)
		since          events.Result
		replay         int
	}{
		"nothing":                           {},
		"its replay":                        {behind: closes(order("T1", "19", ""), replayed("1")), since: events.Closed, replay: 1},
		"the same request, asked before":    {before: closes(order("T1", "19", "")), since: events.Closed},
		"the first of two":                  {before: closes(order("T1", "19", ""), replayed("7")), behind: closes(order("T1", "19", ""), replayed("1")), since: events.Closed, replay: 7},
		"another request of the order":      {behind: closes(order("T1", "19", `,"request_id":"R"`))},
		"a request of another merchant":     {behind: closes(order("T1", "20", ""))},
		"a request of another sub merchant": {behind: closes(order("T1", "19", `,"sub_mch_id":"15"`))},
		"a replay that failed": {behind: func(s *shelf) {
			m, at := s.asks(2, order("T1", "19", ""), replayed("1"))
			s.answers(m, at, events.Failed)
		}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t)
			live := s.opened("")
			if tt.before != nil {
				tt.before(s)
			}
			m, at := s.asks(1, order("T1", "19", ""))
			s.answers(m, at, events.Failed)
			s.dies(m, at, "X")
			turn(t, live)
			if tt.behind != nil {
				tt.behind(s)
			}
			turn(t, live)
			late := s.opened("")
			turn(t, late)
			for _, x := range []*index.Index{live, late} {
				all, err := x.Letters(t.Context(), index.LetterFilter{}, 10, 0)
				if err != nil || all.Total != 1 || all.Letters[0].Since != tt.since || all.Letters[0].SinceReplay != tt.replay {
					t.Errorf("%+v, %v", all, err)
				}
				open, err := x.Letters(t.Context(), index.LetterFilter{Open: true}, 10, 0)
				if err != nil || (open.Total == 1) != (tt.since == "") {
					t.Errorf("open: %+v, %v", open, err)
				}
			}
		})
	}
}
