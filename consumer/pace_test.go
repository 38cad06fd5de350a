package consumer

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	const us = time.Microsecond
	for sentence, c := range map[string]struct {
		every  time.Duration // a record comes
		n      int           // so many at a time
		answer time.Duration // the broker answers within that
		waits  bool
		fills  int // records of a request in the mean, at least
		swarm  int // so many times, and then nothing for 50 ms
	}{
		"500 a second wait for nothing": {every: 2000 * us, n: 1, answer: 300 * us, fills: 1},
		"nor do 1,500":                  {every: 666 * us, n: 1, answer: 300 * us, fills: 1},
		"nor does what comes in swarms, ten milliseconds apart":   {every: 10000 * us, n: 5, answer: 300 * us, fills: 1},
		"8,000 a second fill a request before a quick broker":     {every: 125 * us, n: 1, answer: 300 * us, waits: true, fills: 14},
		"a slow broker fills its requests by itself":              {every: 125 * us, n: 1, answer: 5000 * us, fills: 40},
		"a few at a time fill a request as well":                  {every: 500 * us, n: 4, answer: 300 * us, waits: true, fills: 14},
		"2,500 a second are worth the wait":                       {every: 400 * us, n: 1, answer: 300 * us, waits: true, fills: 4},
		"many answers at one time, and then none, fill requests":  {every: 40 * us, n: 1, swarm: 256, answer: 300 * us, waits: true, fills: 50},
		"50,000 a second are written as often as 8,000, and more": {every: 20 * us, n: 1, answer: 300 * us, waits: true, fills: 90},
	} {
		t.Run(sentence, func(t *testing.T) {
			start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			p := pace{gap: gather}
			queued, next, free := 0, start, start
			waited, records, requests, swarm := false, 0, 0, 0
			for now := start; now.Before(start.Add(time.Second)); now = now.Add(10 * us) {
				for !next.After(now) {
					queued += c.n
					next = next.Add(c.every)
					if swarm++; swarm == c.swarm {
						next, swarm = next.Add(50*time.Millisecond), 0
					}
				}
				if queued == 0 || now.Before(free) {
					continue
				}
				wait := p.wait(now)
				if wait > gather {
					t.Fatalf("waits %v", wait)
				}
				if wait > 0 {
					waited = waited || now.After(start.Add(100*time.Millisecond))
					continue
				}
				p.begins(now, queued)
				if now.After(start.Add(100 * time.Millisecond)) {
					records, requests = records+queued, requests+1
				}
				queued, free = 0, now.Add(c.answer)
			}
			if waited != c.waits || records < requests*c.fills {
				t.Errorf("waits: %v, want %v; %d records in %d requests, want %d in each", waited, c.waits, records, requests, c.fills)
			}
		})
	}
}

// What was idle begins at once, and is soon as quick as before.
func TestPaceAfterARest(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := pace{gap: gather}
	for range 100 {
		now = now.Add(gather)
		p.begins(now, 16)
	}
	if p.wait(now) == 0 {
		t.Fatal("does not wait under load")
	}
	now = now.Add(time.Hour)
	if wait := p.wait(now); wait > 0 {
		t.Errorf("waits %v for more although nothing has come for an hour", wait)
	}
	p.begins(now, 1)
	requests := 0
	for ; p.wait(now) <= 0; requests++ {
		now = now.Add(300 * time.Microsecond)
		p.begins(now, 3)
	}
	if requests > 10 {
		t.Errorf("%d requests until load is known", requests)
	}
}
