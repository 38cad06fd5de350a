// Package shares divides slots among keys, so that whoever is slow, busy or in
// trouble takes up no more than others leave. It does not know what a slot is
// for: consumer divides calls among merchants by it, closer the calls to one
// host.
//
// A key that is alone gets all. While another one is about, a key may have one
// more only as long as it has less than [alpha] times what is free: the dynamic
// threshold of the buffers that ports of a switch share (A. Choudhury, E. Hahne:
// Dynamic Queue Length Thresholds for Shared-Memory Packet Switches, IEEE/ACM
// Transactions on Networking 6, 1998). So greedy keys leave some slots free, one
// of them an eighth, and whoever comes finds one at once. More than [enough] are
// not kept free: of many slots one comes back all the time, and goes to whoever
// has fewest. What is free goes to the key that has
// fewest, to each in turn among equals, and within a key in the order of arrival.
// Nothing is set aside for anybody: what one does not use others have.
package shares

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

const (
	// alpha is how many times what is free one key may have.
	alpha = 7
	// enough free slots are kept for those who may come.
	enough = 12
	// lately is for how long a key that neither has nor wants a slot still counts
	// as one that may come any moment.
	lately = time.Minute
	// lookEvery is how often those are forgotten whose time is over.
	lookEvery = time.Second
)

// Line is one of the two in which is waited for a slot.
type Line int

const (
	// Again is for those who had a slot and gave it away for a while.
	Again Line = iota
	// New is for all others.
	New
	lines = iota
)

// Pool divides slots among keys. How many there are is said anew whenever it
// matters, and may have become fewer than are taken. In the zero value none is.
// It is not safe for concurrent use: whoever has it guards it.
type Pool[T any] struct {
	keys    map[string]*key[T]
	taken   int
	idle    int       // keys that neither have nor want one
	wanting int       // keys for which somebody waits
	looked  time.Time // when those were forgotten whose time was over
	turns   uint64
	lines   [lines]line[T]
}

// key is one that has slots, or wants one, or did so lately.
type key[T any] struct {
	name    string
	taken   int
	turn    uint64 // when it came, had one or gave one back last: among equals the lowest is next
	held    bool   // nothing new of it, see Pool.Hold
	waiting [lines]queue[T]
	at      [lines]int // its place in Pool.lines, counted from 1; 0 for none
	wants   bool       // somebody waits
	idle    bool
	since   time.Time // when it became idle
}

// Waiter is one who waits for a slot. It can be part of a larger thing, and be
// used again when it does not wait any more.
type Waiter[T any] struct {
	// Value is for whoever grants the slot.
	Value T

	key        *key[T]
	line       Line
	waits      bool
	prev, next *Waiter[T]
}

// Waits says whether w waits for a slot.
func (w *Waiter[T]) Waits() bool { return w.waits }

// Taken is how many slots are taken.
func (p *Pool[T]) Taken() int { return p.taken }

// TakenBy is how many of them a key has.
func (p *Pool[T]) TakenBy(name string) int {
	if k := p.keys[name]; k != nil {
		return k.taken
	}
	return 0
}

// Waiting is how many keys wait in a line, those not counted that are held.
func (p *Pool[T]) Waiting(in Line) int { return len(p.lines[in].keys) }

// Wanting is how many keys wait in any line, and those that are held.
func (p *Pool[T]) Wanting() int { return p.wanting }

// Front is who waits first of what is new of a key, nil where nobody does.
func (p *Pool[T]) Front(name string) *Waiter[T] {
	if k := p.keys[name]; k != nil {
		return k.waiting[New].front
	}
	return nil
}

// Back is who waits last of what is new of a key, nil where nobody does.
func (p *Pool[T]) Back(name string) *Waiter[T] {
	if k := p.keys[name]; k != nil {
		return k.waiting[New].back
	}
	return nil
}

// Ahead is who waits just before w in the name of the same key, nil for nobody.
func (w *Waiter[T]) Ahead() *Waiter[T] { return w.prev }

// Content is how many keys have a slot, or had one lately, and want no more.
func (p *Pool[T]) Content() int {
	p.forget()
	return len(p.keys) - p.wanting
}

// Push lets w, who does not wait yet, wait in a line in the name of a key.
func (p *Pool[T]) Push(in Line, name string, w *Waiter[T]) {
	k := p.of(name)
	if k.waiting[Again].front == nil && k.waiting[New].front == nil {
		k.turn = p.nextTurn()
	}
	w.key, w.line, w.waits = k, in, true
	k.waiting[in].push(w)
	p.place(k)
}

// Remove ends the wait of w, if it waits.
func (p *Pool[T]) Remove(w *Waiter[T]) {
	if w.waits {
		w.waits = false
		w.key.waiting[w.line].remove(w)
		p.place(w.key)
	}
}

// First is who gets the next slot of a line when there are limit in all: nil
// where nobody waits, or none is free for who does.
func (p *Pool[T]) First(in Line, limit int) *Waiter[T] {
	keys := p.lines[in].keys
	if len(keys) == 0 || !p.may(keys[0], limit) {
		return nil // and who has more may even less
	}
	return keys[0].waiting[in].front
}

// Before says whether w, who comes again, goes before one who is new: its key has
// no more slots than the other's.
func (w *Waiter[T]) Before(other *Waiter[T]) bool { return w.key.taken <= other.key.taken }

// Grant gives w, who waits, a slot.
func (p *Pool[T]) Grant(w *Waiter[T]) {
	w.waits = false
	w.key.waiting[w.line].remove(w)
	p.take(w.key)
}

// TryTake takes a slot for a key when there are limit in all, where one is free
// for it and nobody of it waits for one.
func (p *Pool[T]) TryTake(name string, limit int) bool {
	k := p.of(name)
	if k.waiting[Again].front != nil || k.waiting[New].front != nil || !p.may(k, limit) {
		p.place(k) // one that is about
		return false
	}
	p.take(k)
	return true
}

// Give returns a slot of a key.
func (p *Pool[T]) Give(name string) {
	k := p.keys[name]
	k.taken--
	p.taken--
	k.turn = p.nextTurn() // behind those that came meanwhile
	p.place(k)
}

// Hold keeps what is new of a key from getting a slot, or does so no more.
func (p *Pool[T]) Hold(name string, on bool) {
	k := p.of(name)
	k.held = on
	p.place(k)
}

// Clear ends the wait of all in a line and returns them: those first whose key is
// next, and those of one key in their order.
func (p *Pool[T]) Clear(in Line) (all []T) {
	var some []*key[T]
	for _, k := range p.keys {
		if k.waiting[in].front != nil {
			some = append(some, k)
		}
	}
	slices.SortFunc(some, compare[T])
	for _, k := range some {
		for w := k.waiting[in].front; w != nil; w = k.waiting[in].front {
			w.waits = false
			k.waiting[in].remove(w)
			all = append(all, w.Value)
		}
		p.place(k)
	}
	return all
}

// may says whether a key may have one more slot when there are limit in all.
func (p *Pool[T]) may(k *key[T], limit int) bool {
	free := limit - p.taken
	switch {
	case free <= 0:
		return false
	case k.taken == 0:
		return true
	}
	p.forget()
	if len(p.keys) == 1 {
		return true
	}
	// Where there are few, the last one is for who was here lately and has none.
	return (free > enough || k.taken < alpha*free) && (free > 1 || p.idle == 0)
}

// take counts one more slot of a key, which goes behind its equals.
func (p *Pool[T]) take(k *key[T]) {
	k.taken++
	p.taken++
	k.turn = p.nextTurn()
	p.place(k)
}

func (p *Pool[T]) nextTurn() uint64 {
	p.turns++
	return p.turns
}

// of is the key of a name. Whoever asks for it places it.
func (p *Pool[T]) of(name string) *key[T] {
	k := p.keys[name]
	if k == nil {
		if p.keys == nil {
			p.keys = make(map[string]*key[T])
			p.lines[New].in = New
		}
		k = &key[T]{name: name}
		p.keys[name] = k
	}
	return k
}

// place puts a key where it belongs after something about it has changed: in its
// lines or out of them, and among those that are idle.
func (p *Pool[T]) place(k *key[T]) {
	for in := range p.lines {
		l := &p.lines[in]
		wants := k.waiting[in].front != nil && !(Line(in) == New && k.held)
		switch at := k.at[in]; {
		case wants && at == 0:
			heap.Push(l, k)
		case wants:
			heap.Fix(l, at-1)
		case at != 0:
			heap.Remove(l, at-1)
		}
	}
	wants := k.waiting[Again].front != nil || k.waiting[New].front != nil
	switch {
	case wants && !k.wants:
		p.wanting++
	case !wants && k.wants:
		p.wanting--
	}
	k.wants = wants
	idle := k.taken == 0 && !k.held && !wants
	switch {
	case idle && !k.idle:
		k.since = time.Now()
		p.idle++
	case !idle && k.idle:
		p.idle--
	}
	k.idle = idle
}

// forget forgets keys that have been idle for too long to count.
func (p *Pool[T]) forget() {
	if p.idle == 0 {
		return
	}
	now := time.Now()
	if now.Sub(p.looked) < lookEvery {
		return
	}
	p.looked = now
	for name, k := range p.keys {
		if k.idle && now.Sub(k.since) >= lately {
			delete(p.keys, name)
			p.idle--
		}
	}
}

// line has the keys for which somebody waits in one of the lines, as a heap: the
// next one is the first.
type line[T any] struct {
	in   Line
	keys []*key[T]
}

func compare[T any](a, b *key[T]) int {
	return cmp.Or(cmp.Compare(a.taken, b.taken), cmp.Compare(a.turn, b.turn))
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (l *line[T]) Len() int           { return len(l.keys) }
func (l *line[T]) Less(i, j int) bool { return compare(l.keys[i], l.keys[j]) < 0 }

func (l *line[T]) Swap(i, j int) {
	l.keys[i], l.keys[j] = l.keys[j], l.keys[i]
	l.keys[i].at[l.in], l.keys[j].at[l.in] = i+1, j+1
}

func (l *line[T]) Push(x any) {
	k := x.(*key[T])
	l.keys = append(l.keys, k)
	k.at[l.in] = len(l.keys)
}

func (l *line[T]) Pop() any {
	n := len(l.keys) - 1
	k := l.keys[n]
	l.keys[n] = nil
	l.keys = l.keys[:n]
	k.at[l.in] = 0
	return k
}

// queue is those who wait in one line in the name of one key.
type queue[T any] struct{ front, back *Waiter[T] }

func (q *queue[T]) push(w *Waiter[T]) {
	w.prev, w.next = q.back, nil
	if q.back != nil {
		q.back.next = w
	} else {
		q.front = w
	}
	q.back = w
}

func (q *queue[T]) remove(w *Waiter[T]) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.front = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.back = w.prev
	}
	w.prev, w.next = nil, nil
}
