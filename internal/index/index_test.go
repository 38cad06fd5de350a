package index_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/index"
)

// TestAnIndexIsTheSameHoweverItWasMade fills topics in pieces, and indexes them in one
// go, piece by piece, without lookups at first, in memory, and with a new start after
// each piece.
func TestAnIndexIsTheSameHoweverItWasMade(t *testing.T) {
	s := newShelf(t)
	r := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	live := s.opened("")
	for range 6 {
		s.anything(r, 40)
		turn(t, live)
		x := s.opened(dir)
		turn(t, x)
		s.closes(x)
	}
	want := dumped(t, live)
	if len(want) < 500 {
		t.Fatalf("only %d rows", len(want))
	}
	again := s.opened(dir)
	same(t, "started again after each piece", dumped(t, again), want)
	once := s.opened(t.TempDir())
	turn(t, once)
	same(t, "in one go", dumped(t, once), want)
	defer index.Much(10)()
	bulk := s.opened(t.TempDir())
	turn(t, bulk)
	same(t, "without lookups at first", dumped(t, bulk), want)
	once.Rebuild()
	turn(t, once)
	same(t, "begun anew", dumped(t, once), want)
}

// TestWhatBecameOfARequest is about one request of order T1 each.
func TestWhatBecameOfARequest(t *testing.T) {
	for what, tt := range map[string]struct {
		do   func(s *shelf) events.Source
		want index.Request
	}{
		"nothing so far": {
			func(s *shelf) events.Source { _, at := s.asks(1, order("T1", "19", "")); return at },
			index.Request{MchID: "19", OutTradeNo: "T1", RequestID: "order/19/T1"},
		},
		"closed for good": {
			func(s *shelf) events.Source {
				m, at := s.asks(1, order("T1", "19", `,"sub_mch_id":"15"`))
				s.answers(m, at, events.Closed, func(o *events.Outcome) { o.SafeToReissue, o.Code = true, "SUCCESS" })
				return at
			},
			index.Request{MchID: "19", SubMchID: "15", OutTradeNo: "T1", RequestID: "order/19/15/T1", Outcome: events.Closed, Code: "SUCCESS", SafeToReissue: true, CompletedAt: noon.Add(time.Second)},
		},
		"paid": {
			func(s *shelf) events.Source {
				m, at := s.asks(1, order("T1", "19", `,"request_id":"R"`), events.Header{Key: events.HeaderReplay, Value: []byte("2")})
				s.answers(m, at, events.Paid, func(o *events.Outcome) { o.Gateway = &events.Gateway{TransactionID: "42"} })
				return at
			},
			index.Request{MchID: "19", OutTradeNo: "T1", RequestID: "R", Replay: 2, Outcome: events.Paid, CompletedAt: noon.Add(time.Second), TransactionID: "42"},
		},
		"the first of two counts": {
			func(s *shelf) events.Source {
				m, at := s.asks(1, order("T1", "19", ""))
				s.answers(m, at, events.Failed, func(o *events.Outcome) { o.Code = "SYSTEMERROR" })
				s.answers(m, at, events.Closed)
				return at
			},
			index.Request{MchID: "19", OutTradeNo: "T1", RequestID: "order/19/T1", Outcome: events.Failed, Code: "SYSTEMERROR", CompletedAt: noon.Add(time.Second)},
		},
		"an outcome that names another request does not count": {
			func(s *shelf) events.Source {
				m, at := s.asks(1, order("T1", "19", ""))
				s.answers(m, at, events.Closed, func(o *events.Outcome) { o.OutTradeNo = "T2" })
				s.answers(m, at, events.Closed, func(o *events.Outcome) { o.Replay = 1 })
				s.answers(m, at, events.Closed, func(o *events.Outcome) { o.MchID = "20" })
				return at
			},
			index.Request{MchID: "19", OutTradeNo: "T1", RequestID: "order/19/T1"},
		},
		"a record that is no request": {
			func(s *shelf) events.Source {
				m, at := s.asks(1, "nonsense")
				s.answers(m, at, events.Failed, func(o *events.Outcome) { o.Code = events.CodeInvalidRequest })
				return at
			},
			index.Request{Outcome: events.Failed, Code: events.CodeInvalidRequest, CompletedAt: noon.Add(time.Second)},
		},
		"the record was deleted before it was indexed": {
			func(s *shelf) events.Source {
				m, at := s.asks(1, order("T1", "19", ""))
				s.answers(m, at, events.Closed)
				s.deletes(topics.Requests, 1, 1)
				return at
			},
			index.Request{Gone: true, MchID: "19", OutTradeNo: "T1", RequestID: "order/19/T1", Outcome: events.Closed, CompletedAt: noon.Add(time.Second)},
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t)
			at := tt.do(s)
			x := s.opened("")
			turn(t, x)
			all, err := x.At(t.Context(), []events.Source{at, {Topic: at.Topic, Partition: 2, Offset: 7}, {Topic: "elsewhere", Partition: at.Partition}, {Topic: at.Topic, Offset: -1}})
			if err != nil || len(all) != 1 {
				t.Fatalf("%v, %v", all, err)
			}
			if tt.want.Partition = at.Partition; !tt.want.Gone {
				tt.want.Requested = noon
			}
			if all[at] != tt.want {
				t.Errorf("%+v\nwant %+v", all[at], tt.want)
			}
		})
	}
}

func TestSearch(t *testing.T) {
	s := newShelf(t)
	x := s.opened("")
	for i, value := range []string{
		order("T1", "19", ""), order("T10", "19", `,"request_id":"T1"`), order("T2", "19", `,"request_id":"R"`), order("T1", "20", `,"sub_mch_id":"15"`),
		order("t1", "19", ""), "nonsense", order("T_", "19", ""),
	} {
		m, at := s.asks(i%3, value)
		if i == 2 {
			s.answers(m, at, events.Paid, func(o *events.Outcome) { o.Gateway = &events.Gateway{TransactionID: "4200"} })
		}
	}
	turn(t, x)
	for text, want := range map[string][]string{
		"T1":             {"20/T1", "19/T10", "19/T1"}, // by number and by request_id, the newest first
		"R":              {"19/T2"},
		"4200":           {"19/T2"},
		"order/19/T1":    {"19/T1"},
		"order/20/15/T1": {"20/T1"},
		"order/20/T1":    nil,
		"order/":         nil,
		"T":              {"19/T_", "19/T2", "19/T10", "20/T1", "19/T1"}, // by the beginning, the highest first
		"T%":             nil,
		"":               {"19/T_", "/", "19/t1", "20/T1", "19/T2", "19/T10", "19/T1"},
		"T'; DROP TABLE": nil,
		"T\x00\xff":      nil,
	} {
		for _, limit := range []int{100, 2, 0} {
			found, err := x.Search(t.Context(), text, limit)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, q := range found {
				got = append(got, q.MchID+"/"+q.OutTradeNo)
			}
			if cut := want[:min(limit, len(want))]; !slices.Equal(got, cut) {
				t.Errorf("%q, %d: %q, want %q", text, limit, got, cut)
			}
		}
	}
}

// TestMinutes holds quantiles to those of the latencies themselves, and sees that
// nothing is counted twice.
func TestMinutes(t *testing.T) {
	s := newShelf(t)
	x := s.opened("")
	r := rand.New(rand.NewPCG(3, 4))
	var took []int64
	for i := range 200 {
		m, at := s.asks(i%3, order(fmt.Sprintf("T%d", i), "19", ""))
		asked := s.now.Add(-time.Second)
		ms := int64(1) << r.IntN(20) * int64(1+r.IntN(9)) / 8
		took = append(took, ms)
		done := func(o *events.Outcome) { o.CompletedAt = asked.Add(time.Duration(ms) * time.Millisecond) }
		s.now = asked
		s.answers(m, at, events.Closed, done)
		s.now = asked
		s.answers(m, at, events.Closed, done)
		s.answers(m, at, events.Paid, done)
		s.now = noon
	}
	m, at := s.asks(0, order("T", "19", ""))
	s.answers(m, at, events.Failed, func(o *events.Outcome) { o.CompletedAt = noon.Add(-90 * time.Second) })
	m, at = s.asks(0, order("T", "19", ""))
	s.answers(m, at, events.Paid, func(o *events.Outcome) { o.CompletedAt = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) })
	turn(t, x)
	all, err := x.Minutes(t.Context(), noon.Add(-3*time.Minute), noon.Add(24*time.Hour))
	if err != nil || len(all) != 3+24*60 || !all[0].At.Equal(noon.Add(-3*time.Minute)) {
		t.Fatalf("%d minutes, %v", len(all), err)
	}
	byMinute := map[int][]int64{}
	for _, ms := range took {
		byMinute[int(ms/60_000)] = append(byMinute[int(ms/60_000)], ms)
	}
	within := func(what string, i int, got, want int64) {
		t.Helper()
		if diff := float64(got - want); max(diff, -diff) > float64(want)/10+1 {
			t.Errorf("%s of minute %d is %d ms, want %d", what, i, got, want)
		}
	}
	var closed int64
	for i, m := range all {
		closed += m.Closed
		wait := byMinute[i-3]
		slices.Sort(wait)
		if int(m.Closed) != len(wait) || m.Paid != 0 || m.Failed != 0 && i != 1 {
			t.Fatalf("minute %d: %+v, want %d", i, m, len(wait))
		}
		if n := len(wait); n > 0 {
			within("the half", i, m.Half, wait[(n+1)/2-1])
			within("the most", i, m.Most, wait[(n*99+99)/100-1])
		}
	}
	if closed != 200 || all[1].Failed != 1 || all[1].Half != 1 {
		t.Errorf("%d closed, %+v", closed, all[1])
	}
	if _, err := x.Minutes(t.Context(), noon, noon.Add(32*24*time.Hour)); err == nil {
		t.Error("more than 31 days")
	}
}

func TestProgressAndChanged(t *testing.T) {
	s := newShelf(t)
	x := s.opened("")
	version, err := x.Changed(t.Context(), 0)
	if err != nil || version == 0 {
		t.Fatalf("version %d, %v", version, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Changed(ended, version); err == nil {
		t.Error("it has changed of itself")
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- x.Run(ctx) }()
	m, at := s.asks(1, order("T1", "19", ""))
	s.dies(m, at, "X")
	for {
		p, err := x.Progress(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.Requests == 1 && p.DeadLetters == 1 {
			if p.Trouble != "" || p.Bytes == 0 || !p.Oldest.Equal(noon) {
				t.Errorf("%+v", p)
			}
			break
		}
		if version, err = x.Changed(t.Context(), version); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := json.Marshal(index.Progress{}); err != nil {
		t.Error(err)
	}
}
