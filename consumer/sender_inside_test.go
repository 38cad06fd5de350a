package consumer

import (
	"testing"
	"time"
)

// One request is under way, and a second while that is slow: never a third, and
// one again when the slow one is over.
func TestCouriersRelieveEachOther(t *testing.T) {
	p := newPublisher(nil, always, silent())
	p.cancel() // those that are hired go at once
	s := &sender{publisher: p, couriers: 1}
	a, b := &courier{sender: s}, &courier{sender: s}
	for _, step := range []struct {
		sentence        string
		do              func() (goes bool)
		goes            bool
		couriers, stuck int
	}{
		{"a request that was quick changes nothing", func() bool { a.left = time.Now(); return a.end() }, false, 1, 0},
		{"a timer that comes behind it is late", func() bool { a.relieve(); return false }, false, 1, 0},
		{"or early for the next", func() bool { a.left = time.Now(); a.relieve(); return false }, false, 1, 0},
		{"a slow one is relieved", func() bool { a.left = time.Now().Add(-slowRequest); a.relieve(); return false }, false, 2, 1},
		{"who relieves is quick", func() bool { b.left = time.Now(); return b.end() }, false, 2, 1},
		{"and then slow too: there are two", func() bool { b.left = time.Now().Add(-slowRequest); b.relieve(); return false }, false, 2, 2},
		{"the first goes on while the second is slow", func() bool { return a.end() }, false, 2, 1},
		{"one is enough when neither is", func() bool { return b.end() }, true, 1, 0},
	} {
		if goes := step.do(); goes != step.goes || s.couriers != step.couriers || s.stuck != step.stuck {
			t.Fatalf("%s: goes %v, %d couriers, %d stuck; want %v, %d, %d", step.sentence, goes, s.couriers, s.stuck, step.goes, step.couriers, step.stuck)
		}
	}
	p.wg.Wait()
}
