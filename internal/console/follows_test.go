package console

import (
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/timeline"
)

func landedAt(offset int) *events.Source {
	return &events.Source{Topic: "closeorder.requests", Partition: 1, Offset: int64(offset)}
}

// TestWhatBecameOfAReplayIsCountedOnce follows a replay of 2,500 letters while it is
// sent, not quite in its order, and answered.
func TestWhatBecameOfAReplayIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const chosen = 2500
		d, x, f := &fakeDesk{}, &fakeIndex{at: map[events.Source]index.Request{}}, newFollows()
		d.steps = make([]desk.Step, chosen+3)
		for i := chosen; i < len(d.steps); i++ {
			d.steps[i].Skip = deadletters.Answered
		}
		r := desk.Replay{ID: "r", State: desk.Running, Chosen: chosen}
		look := func(what string, want became) {
			t.Helper()
			time.Sleep(followAgain)
			got, err := f.of(t.Context(), Config{Desk: d, Index: x}, r)
			if err != nil || got != want {
				t.Errorf("%s: %+v, %v, want %+v", what, got, err, want)
			}
		}
		send := func(from, to int, result events.Result) {
			for i := from; i < to; i++ {
				d.steps[i].Sent = landedAt(i)
				if r.Sent++; result != "" {
					x.at[*landedAt(i)] = index.Request{Outcome: result}
				}
			}
		}
		look("nothing is sent", became{})
		send(0, 700, events.Closed)
		send(701, 710, "")
		look("one is late", became{Closed: 700, Open: 9})
		send(700, 701, events.Paid)
		look("it has come", became{Closed: 700, Paid: 1, Open: 9})
		for i := 701; i < 710; i++ {
			x.at[*landedAt(i)] = index.Request{Outcome: events.Failed}
		}
		send(710, 2400, events.Closed)
		look("many at once", became{Closed: 2390, Paid: 1, Failed: 9})
		for i := 2400; i < chosen; i++ {
			d.steps[i].Left = deadletters.Expired
		}
		d.steps[2450].Left = ""
		d.steps[2450].Sent = landedAt(2450)
		r.Sent, r.State = r.Sent+1, desk.Done
		look("done", became{Closed: 2390, Paid: 1, Failed: 9, Open: 1})
		x.at[*landedAt(2450)] = index.Request{Outcome: events.Closed}
		if got, err := f.of(t.Context(), Config{Desk: d, Index: x}, r); err != nil || got.Open != 1 {
			t.Errorf("within a second it is counted again: %+v, %v", got, err)
		}
		d.read = 0
		look("all", became{Closed: 2391, Paid: 1, Failed: 9})
		if one := f.ids["r"]; one.next != 2400 || len(one.beyond) != 1 || len(one.open) > 0 || d.read > 0 {
			t.Errorf("next %d, %d beyond, %d open, read %d times", one.next, len(one.beyond), len(one.open), d.read)
		}
	})
}

// A replay that is paused, stopped or done may have many steps that were not sent.
func TestStepsAreReadUntilAllThatWereSentAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, f := &fakeDesk{steps: make([]desk.Step, 100_000)}, newFollows()
		r := desk.Replay{ID: "r", Chosen: len(d.steps)}
		for _, step := range []struct {
			what  string
			state desk.State
			sent  []int
			reads int
		}{
			{"nothing is sent", desk.Paused, nil, 0},
			{"two chunks of it are", desk.Running, []int{0, 1, 2, 1500}, 2},
			{"it is paused", desk.Paused, nil, 0},
			{"it is stopped", desk.Stopped, nil, 0},
			{"what was on its way stands far behind", desk.Stopped, []int{2600}, 3},
			{"all is found", desk.Stopped, nil, 0},
		} {
			time.Sleep(followAgain)
			for _, i := range step.sent {
				d.steps[i].Sent = landedAt(i)
			}
			r.State, r.Sent, d.read = step.state, r.Sent+len(step.sent), 0
			got, err := f.of(t.Context(), Config{Desk: d, Index: &fakeIndex{}}, r)
			if err != nil || d.read != step.reads || got.Open != r.Sent || len(f.ids["r"].open) != r.Sent {
				t.Errorf("%s: %d reads, want %d; %+v, %d found, %v", step.what, d.read, step.reads, got, len(f.ids["r"].open), err)
			}
		}
	})
}

// brokenIndex answers once, and then no more until it is mended.
type brokenIndex struct {
	fakeIndex
	asked int
}

func (x *brokenIndex) At(ctx context.Context, places []events.Source) (map[events.Source]index.Request, error) {
	if x.asked++; x.asked == 2 {
		return nil, context.Canceled
	}
	return x.fakeIndex.At(ctx, places)
}

func TestWhoLeavesInTheMiddleOfACountChangesNoNumber(t *testing.T) {
	d, x, f := &fakeDesk{steps: make([]desk.Step, 2*chunkOfFollow)}, &brokenIndex{fakeIndex: fakeIndex{at: map[events.Source]index.Request{}}}, newFollows()
	for i := range d.steps {
		d.steps[i].Sent = landedAt(i)
		x.at[*landedAt(i)] = index.Request{Outcome: events.Closed}
	}
	r := desk.Replay{ID: "r", State: desk.Done, Chosen: len(d.steps), Sent: len(d.steps)}
	if _, err := f.of(t.Context(), Config{Desk: d, Index: x}, r); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got, err := f.of(t.Context(), Config{Desk: d, Index: x}, r); err != nil || got != (became{Closed: len(d.steps)}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAnOrderIsSearchedForOnceForAllWhoWantIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n := newSearches(searchAgain, searchesAbreast), atomic.Int32{}
		search := func(context.Context) (*timeline.Report, error) {
			n.Add(1)
			time.Sleep(3 * time.Second)
			return &timeline.Report{OutTradeNo: "T1"}, nil
		}
		order := wanted{Order: events.Order{OutTradeNo: "T1"}}
		leaves, cancel := context.WithCancel(t.Context())
		go func() { _, _ = c.do(leaves, order, search) }()
		synctest.Wait()
		cancel()
		for range 5 {
			if r, err := c.do(t.Context(), order, search); err != nil || r.OutTradeNo != "T1" {
				t.Error(r, err)
			}
		}
		if n.Load() != 1 {
			t.Errorf("%d searches", n.Load())
		}
		time.Sleep(searchAgain + time.Second)
		if _, err := c.do(t.Context(), order, search); err != nil || n.Load() != 2 {
			t.Errorf("after a while: %d searches, %v", n.Load(), err)
		}
	})
}

func TestASearchThatFailedIsTriedAgainAndManyAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, broken := newSearches(searchAgain, searchesAbreast), errors.New("broken")
		fails := func(context.Context) (*timeline.Report, error) { return nil, broken }
		for range 2 {
			if _, err := c.do(t.Context(), wanted{Order: events.Order{OutTradeNo: "T1"}}, fails); !errors.Is(err, broken) {
				t.Error(err)
			}
		}
		if len(c.known) != 0 {
			t.Errorf("%d are kept", len(c.known))
		}
		wait := make(chan struct{})
		for i := range mostSearches {
			go func() {
				_, _ = c.do(t.Context(), wanted{Order: events.Order{OutTradeNo: strings.Repeat("T", i)}}, func(context.Context) (*timeline.Report, error) {
					<-wait
					return &timeline.Report{}, nil
				})
			}()
		}
		synctest.Wait()
		if _, err := c.do(t.Context(), wanted{Order: events.Order{OutTradeNo: "X"}}, fails); statusOf(err) != http.StatusServiceUnavailable || !strings.HasPrefix(err.Error(), "64 other orders") || strings.Contains(err.Error(), "took") {
			t.Error(err)
		}
		close(wait)
		synctest.Wait()
		if _, err := c.do(t.Context(), wanted{Order: events.Order{OutTradeNo: "X"}}, fails); !errors.Is(err, broken) {
			t.Error(err)
		}
	})
}

// slowTopics never answer.
type slowTopics struct{}

func (slowTopics) order(ctx context.Context, _ timeline.Scope) (*timeline.Report, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func (slowTopics) at(ctx context.Context, _ events.Source) (deadletters.Letter, error) {
	<-ctx.Done()
	return deadletters.Letter{}, context.Cause(ctx)
}

func TestKafkaThatDoesNotAnswerIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{cfg: Config{Index: &fakeIndex{}, Desk: &fakeDesk{}}, topics: slowTopics{}, searches: newSearches(searchAgain, searchesAbreast), follows: newFollows()}
		for _, path := range []string{"/order?out_trade_no=T1", "/dead-letter?at=1:2"} {
			r, err := http.NewRequest(http.MethodGet, path, nil)
			if err != nil {
				t.Fatal(err)
			}
			load, began := s.order, time.Now()
			if strings.HasPrefix(path, "/dead-letter") {
				load = s.letter
			}
			_, err = load(t.Context(), r)
			if statusOf(err) != http.StatusServiceUnavailable || time.Since(began) != orderWithin || !strings.Contains(err.Error(), "took more than 10 s") {
				t.Errorf("%s: %v after %s", path, err, time.Since(began))
			}
		}
	})
}

// countingTopics count how often an order is read.
type countingTopics struct{ reads int }

func (c *countingTopics) order(context.Context, timeline.Scope) (*timeline.Report, error) {
	c.reads++
	return &timeline.Report{}, nil
}

func (*countingTopics) at(context.Context, events.Source) (deadletters.Letter, error) {
	return deadletters.Letter{}, nil
}

func TestAnOrderThatIsFollowedIsReadWhenItsRecordsChangeOrTheClockHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := kafka.Place{Topic: "closeorder.requests", Partition: 1}
		x, c := &fakeIndex{places: &timeline.Places{At: map[kafka.Place][]int64{at: {1}}}}, &countingTopics{}
		s := &Server{cfg: Config{Index: x, Desk: &fakeDesk{}}, topics: c, followed: newSearches(lookEvery, readsAbreast), seed: maphash.MakeSeed()}
		for _, step := range []struct {
			what   string
			after  time.Duration
			place  int64
			accept string
			reads  int
		}{
			{"the first time", 0, 1, "text/event-stream", 1},
			{"nothing has changed", time.Second, 1, "text/event-stream", 1},
			{"it has another record", time.Second, 2, "text/event-stream", 2},
			{"somebody loads the page", 0, 2, "text/html", 3},
			{"time has passed", lookEvery + time.Second, 2, "text/event-stream", 4},
		} {
			time.Sleep(step.after)
			x.places.At[at] = []int64{step.place}
			r, err := http.NewRequest(http.MethodGet, "/order?out_trade_no=T1", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", step.accept)
			if _, err := s.order(t.Context(), r); err != nil || c.reads != step.reads {
				t.Errorf("%s: %d reads, want %d, %v", step.what, c.reads, step.reads, err)
			}
		}
	})
}
