package consumer

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What a pipeline that is stuck looks like, which the real one must not be made to.
func TestSymptomsThatLastAreThoseOfAStuckWorker(t *testing.T) {
	at := time.Now()
	well := func() *State {
		return &State{
			Member: MemberState{Joined: true}, Breaker: BreakerState{State: "closed"}, Lanes: LaneState{Slots: 8},
			Partitions: []PartitionState{{Topic: "requests", Partition: 3, Heard: at}},
		}
	}
	for sentence, c := range map[string]struct {
		sick   func(s *State)
		reason func(s *State) // with which it is none
		want   string
	}{
		"orders are ready and nothing is under way": {
			func(s *State) { s.Lanes.Ready = 3 }, func(s *State) { s.Breaker.State = "open" }, "3 orders could be served, and nothing is under way",
		},
		"orders are ready, and too much is on its way to the topics": {
			func(s *State) { s.Lanes.Ready = 3 }, func(s *State) { s.Lanes.Full = true }, "3 orders could be served",
		},
		"decisions that nobody publishes": {
			func(s *State) { s.Lanes.Unpublished = 7 }, func(s *State) { s.Publishing.UnderWay = 1 }, "7 decisions wait to be published, and nobody does",
		},
		"decisions that cannot be published": {
			func(s *State) { s.Lanes.Unpublished = 7 }, func(s *State) { s.Publishing.Failing = at }, "7 decisions wait to be published, and nobody does",
		},
		"offsets that nobody commits": {
			func(s *State) { s.Committing.Pending = at }, func(s *State) { s.Committing.Failing = at }, "finished offsets wait to be committed, and nobody does",
		},
		"nothing is fetched": {
			func(*State) {}, func(s *State) { s.Partitions[0].FetchError = "no route to host" }, "nothing was fetched of requests[3], not even that there is nothing",
		},
		"nothing is fetched of what is stopped": {
			func(*State) {}, func(s *State) { s.Partitions[0].Stopped = "the CRC does not match" }, "nothing was fetched of requests[3]",
		},
		"nothing is fetched by a broker's quotas": {
			func(*State) {}, func(s *State) { s.Throttled = time.Minute }, "nothing was fetched of requests[3]",
		},
		"no member of the group": {
			func(s *State) { s.Lanes.Ready = 3 }, func(s *State) { s.Member.Joined = false }, "3 orders could be served",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			look := func(change ...func(*State)) (h *health, last []string) {
				h = newHealth(0)
				for i := range 12 { // looks, five seconds apart
					s := well()
					s.At = at.Add(time.Duration(i) * lookEvery)
					if !strings.Contains(c.want, "fetched") {
						s.Partitions[0].Heard = s.At
					}
					for _, do := range change {
						do(s)
					}
					last = h.sample(s)
					if len(last) > 0 && s.At.Sub(at) < patience {
						t.Fatalf("stuck after %v already: %v", s.At.Sub(at), last)
					}
				}
				return h, last
			}
			if h, last := look(c.sick); len(last) != 1 || !strings.Contains(last[0], c.want) {
				t.Errorf("after 55 s: %v, want %q", last, c.want)
			} else if is := h.of(well(), false); is.Live || len(is.Stuck) != 1 {
				t.Errorf("judged as %+v", is)
			}
			if _, last := look(c.sick, c.reason); len(last) > 0 {
				t.Errorf("with a reason: %v", last)
			}
			if _, last := look(c.sick, func(s *State) { s.progress = uint64(s.At.UnixNano()); s.Partitions[0].Heard = s.At }); len(last) > 0 {
				t.Errorf("with progress: %v", last)
			}
		})
	}
}

// A worker that has been idle for hours is not stuck a moment after work has come.
func TestASymptomIsCountedFromWhenItIsSeen(t *testing.T) {
	h := newHealth(0)
	at := time.Now()
	idle := State{At: at, Member: MemberState{Joined: true}, Breaker: BreakerState{State: "closed"}}
	h.sample(&idle)
	busy := idle
	busy.At, busy.Lanes.Ready = at.Add(10*time.Hour), 1 // it was suspended, say
	if stuck := h.sample(&busy); len(stuck) > 0 {
		t.Error(stuck)
	}
}

// A process that is stopped and goes on finds its calls and its timers late, all
// at one time: they are over a moment later.
func TestWhatWasStoppedIsNotStuckWhenItGoesOn(t *testing.T) {
	at := time.Now()
	for sentence, sick := range map[string]func(*State){
		"a call was under way":  func(s *State) { s.Lanes.LongestTurn, s.Lanes.InFlight = time.Hour, 1 },
		"an order was ready":    func(s *State) { s.Lanes.Ready = 1 },
		"an offset was pending": func(s *State) { s.Committing.Pending = at },
	} {
		t.Run(sentence, func(t *testing.T) {
			h := newHealth(0)
			look := func(after time.Duration) []string {
				s := &State{At: at.Add(after), Member: MemberState{Joined: true}, Breaker: BreakerState{State: "closed"}}
				if sick(s); after < time.Minute {
					s.Lanes.LongestTurn = 0
				}
				return h.sample(s)
			}
			look(0)
			look(lookEvery)
			if stuck := look(time.Hour); len(stuck) > 0 {
				t.Errorf("at the first look: %v", stuck)
			}
			var stuck []string
			for after := lookEvery; after <= patience; after += lookEvery {
				stuck = look(time.Hour + after)
			}
			if len(stuck) != 1 {
				t.Errorf("%v later: %v", patience, stuck)
			}
		})
	}
}

func TestWhatIsNotTriedAnyMoreDoesNotFail(t *testing.T) {
	var d doing
	d.end(d.begin(), false, errDoubted)
	if _, _, failing, why := d.look(time.Now()); failing.IsZero() || why != errDoubted.Error() {
		t.Error("it does not fail")
	}
	under := d.begin()
	d.idle()
	if _, _, failing, _ := d.look(time.Now()); failing.IsZero() {
		t.Error("one is under way")
	}
	d.end(under, false, nil) // given up: its partition was taken away
	d.idle()
	if _, _, failing, why := d.look(time.Now()); !failing.IsZero() || why != "" {
		t.Errorf("fails since %v: %s", failing, why)
	}
}

// More workers could not serve what rests for the rate of its merchant.
func TestWhatRestsIsNotDue(t *testing.T) {
	p := newPartition(t.Context(), topicPartition{"requests", 0})
	p.begin(0, nil)
	now := time.Now()
	for offset, rests := range []*note{nil, {until: now.Add(time.Second)}, {until: now}} {
		r := &request{partition: p, offset: int64(offset), time: now}
		if fresh, err := p.open(r); !fresh || err != nil {
			t.Fatal(fresh, err)
		}
		r.is(queued, rests)
	}
	var oldest oldest
	if is := p.look(&oldest, now); is.Open != 3 || is.resting != 1 || is.Waiting != 0 || len(oldest) != 3 {
		t.Errorf("%+v", is)
	}
}

// Where too many rest, a turn keeps its slot over its rest: that is not a call that
// takes long.
func TestARestWithASlotIsNoLongTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1, func(time.Time) bool { return true }, nil, silent())
		l.mostResting = 0
		ln := &lane{lanes: l, seated: true, seatedAt: time.Now()}
		if err := ln.Rest(t.Context(), patience, true); err != nil || !ln.seated {
			t.Fatal(err, ln.seated)
		}
		if has := time.Since(ln.seatedAt); has != 0 {
			t.Errorf("its turn goes on for %v", has)
		}
	})
}

func TestWhichCountOfWhatIsDueIsBelieved(t *testing.T) {
	type look struct {
		at, answered float64 // seconds since the worker began; answered 0: never
		count, want  int64
		broken       bool // something else holds all up
	}
	for sentence, looks := range map[string][]look{
		"while answers come it is the count": {
			{at: 10, answered: 9, count: 100, want: 100}, {at: 15, answered: 14.5, count: 5000, want: 5000}, {at: 20, answered: 19.9, count: 80, want: 80},
		},
		"what comes when the gateway has fallen silent does not count, before that is known": {
			{at: 10, answered: 9.9, count: 100, want: 100}, {at: 15, answered: 14.9, count: 110, want: 110},
			{at: 20, answered: 15.2, count: 2000, want: 110}, {at: 60, answered: 15.2, count: 9000, want: 110},
		},
		"a count that no answer follows is not proven": {
			{at: 10, answered: 9.9, count: 100, want: 100}, {at: 15, answered: 14.9, count: 110, want: 110},
			{at: 17, answered: 15.5, count: 700, want: 700}, {at: 19, answered: 15.5, count: 1500, want: 110}, {at: 600, answered: 15.5, count: 1500, want: 110},
		},
		"the first answer after it proves all": {
			{at: 10, answered: 9.9, count: 100, want: 100}, {at: 15, answered: 11, count: 2000, want: 100}, {at: 600, answered: 599.9, count: 9000, want: 9000},
		},
		"a worker that was never answered says nothing, whatever it was given": {
			{at: 1, count: 5000}, {at: 6, count: 5000}, {at: 11, answered: 10.5, count: 4000, want: 4000},
		},
		"nor does one that has nothing to do any more, and is given something in silence": {
			{at: 10, answered: 9.9, count: 100, want: 100}, {at: 15, answered: 10.5, count: 100, want: 100}, {at: 20, answered: 10.5, count: 0},
			{at: 25, answered: 10.5, count: 700},
		},
		"while nothing is acknowledged it is that of before": {
			{at: 10, answered: 9.9, count: 100, want: 100}, {at: 15, answered: 14.9, count: 900, want: 100, broken: true},
			{at: 20, answered: 19.9, count: 1700, want: 100, broken: true}, {at: 25, answered: 24.9, count: 1800, want: 1800},
		},
		"an idle worker that is asked has had no answer yet": {
			{at: 10, answered: 9.9, count: 1, want: 1}, {at: 15, answered: 10}, {at: 600, answered: 10, count: 300}, {at: 601, answered: 600.2, count: 200, want: 200},
		},
	} {
		var d dueNow
		began := time.Unix(1_800_000_000, 0)
		after := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
		for _, l := range looks {
			answered := time.Time{}
			if l.answered > 0 {
				answered = after(l.answered)
			}
			if got := d.of(after(l.at), l.count, answered, !l.broken); got != l.want {
				t.Errorf("%s: at %v of %d are %d due, want %d", sentence, l.at, l.count, got, l.want)
			}
		}
	}
}
