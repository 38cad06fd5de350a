package world

import (
	"fmt"
	"testing"
	"time"
)

// The clocks of workers jump while requests wait for their time: nothing is
// lost, and nothing is earlier than the clock that decided it was ahead.
func TestClocksJump(t *testing.T) {
	for sentence, jumps := range map[string][]time.Duration{
		"one is set ahead, and right again":   {7 * time.Minute, 0},
		"one is set back, and right again":    {-7 * time.Minute, 0},
		"one jumps back and forth":            {time.Minute, -time.Minute, 20 * time.Minute, -20 * time.Minute, 0},
		"one stays wrong, and the other dies": {4 * time.Minute, 4 * time.Minute},
	} {
		t.Run(sentence, func(t *testing.T) {
			inVirtualTime(t, Config{Partitions: 2, Gateway: unhurried}, func(t *testing.T, s *stage) {
				all := s.workers(2)
				wait := s.asks(Traffic{Seed: 24, Requests: 400, Over: 20 * time.Minute, Timed: .8, Behaviours: []string{"", "", "FLAKY"}})
				for i, jump := range jumps {
					s.stays(3 * time.Minute)
					s.SetClock("worker-0", jump)
					if i > 0 && jump == jumps[i-1] {
						all[1].Kill()
					}
				}
				wait()
				s.answered(time.Hour)
				s.check(nil)
			})
		})
	}
}

// The checker lets a clock that is ahead be early by so much, and only then.
func TestAClockExcusesOnlyItself(t *testing.T) {
	for _, c := range []struct {
		sentence string
		ahead    []ClockAhead
		finds    bool
	}{
		{"no clock is wrong", nil, true},
		{"a clock is ahead by enough", []ClockAhead{{From: at(0), By: time.Minute}}, false},
		{"by too little", []ClockAhead{{From: at(0), By: time.Second}}, true},
		{"later", []ClockAhead{{From: at(60), By: time.Minute}}, true},
		{"long before", []ClockAhead{{From: at(-300), To: at(-120), By: time.Minute}}, true},
	} {
		e := goodEvidence()
		e.Requests[1].Value = []byte(`{"mch_id":"m","out_trade_no":"B","not_before":"2025-11-23T12:00:30Z"}`)
		e.Looks = append([]Look{{At: at(6), Ends: map[Place]int64{{"requests", 0}: 6}}}, e.Looks...)
		e.ClocksAhead = c.ahead
		if r := Check(*e); (r.Count(Early) > 0) != c.finds {
			t.Errorf("%s: %v", c.sentence, fmt.Sprint(r.Findings))
		}
	}
}

// SetClock lets the clock of a host jump: to so much ahead of the true time,
// or behind it when offset is negative.
func (w *World) SetClock(host string, offset time.Duration) {
	w.clock(host).offset.Store(int64(offset))
	for i := range w.ahead {
		if was := &w.ahead[i]; was.Host == host && was.To.IsZero() {
			was.To = time.Now()
		}
	}
	if offset > 0 {
		w.ahead = append(w.ahead, ClockAhead{Host: host, From: time.Now(), By: offset})
	}
}
