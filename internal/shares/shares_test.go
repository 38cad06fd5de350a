package shares

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// pool is a Pool with its limit and what is expected of it beside it.
type pool struct {
	Pool[string]
	limit int
	has   map[string]int
	got   []string // who had a slot, in order
}

func newPool(limit int) *pool { return &pool{limit: limit, has: make(map[string]int)} }

// wait lets one more of a key wait in the line of what is new, and grants what
// can be.
func (p *pool) wait(name string, n int) {
	for range n {
		p.Push(New, name, &Waiter[string]{Value: name})
	}
	p.grant()
}

func (p *pool) grant() {
	for w := p.First(New, p.limit); w != nil; w = p.First(New, p.limit) {
		p.Grant(w)
		p.has[w.Value]++
		p.got = append(p.got, w.Value)
	}
}

// over ends n calls of a key.
func (p *pool) over(name string, n int) {
	for range n {
		p.Give(name)
		p.has[name]--
		p.grant()
	}
}

func TestShares(t *testing.T) {
	for sentence, test := range map[string]func(t *testing.T, p *pool){
		"a key that is alone gets all": func(t *testing.T, p *pool) {
			p.wait("A", 100)
			if p.has["A"] != 64 {
				t.Errorf("has %v", p.has)
			}
		},
		"one that was busy a minute ago is no reason to keep anything free": func(t *testing.T, p *pool) {
			p.wait("B", 1)
			p.over("B", 1)
			p.wait("A", 100)
			if p.has["A"] != 56 {
				t.Errorf("beside one that was here a moment ago: %v, want 7/8", p.has)
			}
			time.Sleep(time.Minute)
			p.grant()
			if p.has["A"] != 64 {
				t.Errorf("a minute later: %v", p.has)
			}
		},
		"of many slots a dozen is kept free": func(t *testing.T, p *pool) {
			p.limit = 256
			p.wait("B", 1)
			p.over("B", 1)
			p.wait("A", 1000)
			if p.has["A"] != 244 {
				t.Errorf("has %v", p.has)
			}
			p.wait("C", 1000) // greedy as well
			if p.has["C"] < 5 {
				t.Errorf("has %v", p.has)
			}
			p.over("A", 60)
			if p.has["C"] < 60 {
				t.Errorf("what comes free is not for who has fewest: %v", p.has)
			}
			p.wait("B", 1)
			if p.has["B"] != 1 {
				t.Errorf("waits beside two greedy ones: %v", p.has)
			}
		},
		"beside a greedy one whoever comes gets a slot at once": func(t *testing.T, p *pool) {
			p.wait("B", 1)
			p.over("B", 1)
			p.wait("A", 1000)
			for i := range 8 {
				name := fmt.Sprint("other ", i)
				p.wait(name, 1)
				if p.has[name] != 1 {
					t.Errorf("%s waits: %v", name, p.has)
				}
			}
		},
		"who came late has its half as slots come free": func(t *testing.T, p *pool) {
			p.wait("A", 1000)
			p.wait("B", 1000)
			p.over("A", 40)
			if p.has["B"] < 28 || p.has["A"]+p.has["B"] < 58 {
				t.Errorf("has %v", p.has)
			}
		},
		"what one does not want the other has": func(t *testing.T, p *pool) {
			p.wait("B", 2)
			p.wait("A", 1000)
			if p.has["A"] < 54 || p.has["B"] != 2 {
				t.Errorf("has %v", p.has)
			}
		},
		"among equals it goes round, and within a key in order": func(t *testing.T, p *pool) {
			p.limit = 1
			p.wait("A", 3)
			p.wait("B", 2)
			p.wait("C", 1)
			for range 5 {
				p.over(p.got[len(p.got)-1], 1)
			}
			if !slices.Equal(p.got, []string{"A", "B", "C", "A", "B", "A"}) {
				t.Errorf("in the order %v", p.got)
			}
		},
		"of two slots one is for who was here lately": func(t *testing.T, p *pool) {
			p.limit = 2
			p.wait("B", 1)
			p.over("B", 1)
			p.wait("A", 10)
			p.wait("B", 1)
			if p.has["A"] != 1 || p.has["B"] != 1 {
				t.Errorf("has %v", p.has)
			}
		},
		"two that are busy use both": func(t *testing.T, p *pool) {
			p.limit = 4
			p.wait("A", 10)
			p.wait("B", 10)
			p.over("A", 2)
			if p.Taken() != 4 || p.has["A"] != 2 || p.has["B"] != 2 {
				t.Errorf("has %v", p.has)
			}
		},
		"fewer slots than are taken are none": func(t *testing.T, p *pool) {
			p.wait("A", 100)
			p.limit = 2
			p.wait("B", 1)
			p.over("A", 62)
			if p.has["B"] != 0 {
				t.Errorf("has %v", p.has)
			}
			p.over("A", 1)
			if p.has["B"] != 1 {
				t.Errorf("has %v", p.has)
			}
		},
		"a key that is held gets nothing new, and all of it later": func(t *testing.T, p *pool) {
			p.Hold("A", true)
			p.wait("A", 3)
			p.wait("B", 1)
			if p.has["A"] != 0 || p.has["B"] != 1 {
				t.Errorf("held: %v", p.has)
			}
			p.Push(Again, "A", &Waiter[string]{Value: "again"})
			if w := p.First(Again, p.limit); w == nil || w.Value != "again" {
				t.Error("who comes again waits, too")
			}
			p.Hold("A", false)
			p.grant()
			if p.has["A"] != 3 {
				t.Errorf("held no more: %v", p.has)
			}
		},
		"who gives up waiting is passed over": func(t *testing.T, p *pool) {
			p.limit = 1
			p.wait("A", 1)
			gone, next := &Waiter[string]{Value: "A"}, &Waiter[string]{Value: "A"}
			p.Push(New, "A", gone)
			p.Push(New, "A", next)
			p.Remove(gone)
			p.Remove(gone)
			p.over("A", 1)
			p.Remove(next) // it has its slot
			if p.has["A"] != 1 || p.Taken() != 1 || p.Waiting(New) != 0 {
				t.Errorf("has %v, %d wait", p.has, p.Waiting(New))
			}
		},
		"nobody takes a slot past those of its own who wait": func(t *testing.T, p *pool) {
			p.limit = 1
			p.wait("A", 2)
			p.limit = 10
			if p.TryTake("A", p.limit) {
				t.Error("past one who waits")
			}
			if !p.TryTake("B", p.limit) {
				t.Error("another one waits, too")
			}
		},
		"a line is cleared in the order in which it would have been served": func(t *testing.T, p *pool) {
			p.limit = 0
			for _, name := range []string{"A", "A", "B"} {
				p.wait(name, 1)
			}
			if got := p.Clear(New); !slices.Equal(got, []string{"A", "A", "B"}) || p.Waiting(New) != 0 {
				t.Errorf("cleared %v, %d wait", got, p.Waiting(New))
			}
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newPool(64)) })
		})
	}
}

// Whatever comes and goes, whatever the limit: never more than the limit are
// granted, who has nothing gets the next slot that comes free, and an idle slot is
// there for whoever asks.
func TestSharesAtRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(50) {
			r := rand.New(rand.NewPCG(seed, 0))
			p := newPool(1 + r.IntN(20))
			since := make(map[string]int) // slots that others got since a key has none and waits
			waiting := make(map[string]int)
			for range 2000 {
				name := fmt.Sprint("key ", r.IntN(1+r.IntN(6)))
				before, granted := p.Taken(), len(p.got)
				switch r.IntN(5) {
				case 0, 1:
					waiting[name]++
					p.wait(name, 1)
				case 2, 3:
					if p.has[name] > 0 {
						p.over(name, 1)
						before--
					}
				default:
					p.limit = 1 + r.IntN(20)
					p.grant()
				}
				for _, got := range p.got[granted:] {
					waiting[got]--
				}
				if p.Taken() > max(before, p.limit) {
					t.Fatalf("seed %d: %d are taken of %d", seed, p.Taken(), p.limit)
				}
				total := 0
				for _, n := range p.has {
					total += n
				}
				if total != p.Taken() {
					t.Fatalf("seed %d: %d are taken, it says %d", seed, total, p.Taken())
				}
				for name, n := range waiting {
					if n == 0 || p.has[name] > 0 {
						delete(since, name)
						continue
					}
					if p.Taken() < p.limit {
						t.Fatalf("seed %d: %s has nothing and waits, and one is free", seed, name)
					}
					since[name] += len(p.got) - granted
					if since[name] > 6 { // keys
						t.Fatalf("seed %d: %d others got one, and %s has none", seed, since[name], name)
					}
				}
			}
		}
	})
}

func TestManyKeysAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(10)
		for i := range 1000 {
			name := fmt.Sprint(i)
			p.wait(name, 1)
			p.over(name, 1)
		}
		time.Sleep(2 * time.Minute)
		p.wait("A", 20)
		if len(p.keys) != 1 || p.has["A"] != 10 {
			t.Errorf("%d keys are kept, has %v", len(p.keys), p.has["A"])
		}
	})
}

// A merchant's call is counted twice each way: it must cost nothing.
func TestAKeyThatIsKnownCostsNoMemory(t *testing.T) {
	var p Pool[int]
	w := &Waiter[int]{}
	once := func() {
		p.Push(New, "A", w)
		p.Grant(p.First(New, 1))
		p.Give("A")
	}
	once()
	if n := testing.AllocsPerRun(100, once); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkShares(b *testing.B) {
	for _, keys := range []int{1, 3, 1000} {
		b.Run(fmt.Sprint(keys, " keys"), func(b *testing.B) {
			var p Pool[string]
			all := make([]*Waiter[string], keys)
			for i := range all {
				all[i] = &Waiter[string]{Value: fmt.Sprintf("19000%05d", i)}
			}
			for i := 0; b.Loop(); i++ {
				w := all[i%keys]
				p.Push(New, w.Value, w)
				next := p.First(New, 256)
				p.Grant(next)
				p.Give(next.Value)
			}
		})
	}
}
