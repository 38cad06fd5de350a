package consumer

import (
	"testing"
	"time"
)

// One request is under way, and another one while all of them are slow: five at
// the most, and one again when the slow ones are over.
func TestCouriersRelieveEachOther(t *testing.T) {
	p := newPublisher(nil, always, silent())
	p.cancel() // those that are hired go at once
	s := &sender{publisher: p, couriers: 1}
	a, b, c, d, e := &courier{sender: s}, &courier{sender: s}, &courier{sender: s}, &courier{sender: s}, &courier{sender: s}
	slow := func(c *courier) func() bool {
		return func() bool { c.left = time.Now().Add(-slowRequest); c.relieve(); return false }
	}
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
		{"and then slow too: there are three", slow(b), false, 3, 2},
		{"four", slow(c), false, 4, 3},
		{"five", slow(d), false, 5, 4},
		{"never a sixth", slow(e), false, 5, 5},
		{"the first goes on while the others are slow", a.end, false, 5, 4},
		{"one beside it is enough when another is not slow any more", b.end, true, 4, 3},
		{"and another", c.end, true, 3, 2},
		{"and another", d.end, true, 2, 1},
		{"one is enough when none is", e.end, true, 1, 0},
	} {
		if goes := step.do(); goes != step.goes || s.couriers != step.couriers || s.stuck != step.stuck {
			t.Fatalf("%s: goes %v, %d couriers, %d stuck; want %v, %d, %d", step.sentence, goes, s.couriers, s.stuck, step.goes, step.couriers, step.stuck)
		}
	}
	p.wg.Wait()
}
