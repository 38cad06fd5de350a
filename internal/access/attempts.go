package access

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// How many log-ins may fail. One address uses up what is its own long before it uses
// up what a name has: a flood of one address locks nobody out elsewhere. NIST SP
// 800-63B-4, 3.2.2, wants waits like these well before a hundred failures in a row.
const (
	addressBurst, addressEvery = 10, time.Minute
	nameBurst, nameEvery       = 20, 30 * time.Second
	// mostBuckets is of how many addresses, and of how many names, failures are
	// remembered: under 2 MiB.
	mostBuckets = 10_000
	// mostKnown is of how many names with their addresses a log-in is remembered.
	mostKnown = 1_000

	// sideBySide is how many passwords of strangers are hashed at one time, one more
	// being of somebody who has logged in from the same address before: each may
	// take the memory of its hash, 64 MiB with ours.
	sideBySide = 2
	// mostOfOne are those of one address, and mostWaiting those of all.
	mostOfOne   = 2
	mostWaiting = 32
)

// buckets let through burst failures, and one more each so often. They are not safe
// for concurrent use.
type buckets struct {
	burst int
	every time.Duration
	of    map[string]*bucket
}

type bucket struct {
	full time.Time // when nothing will be remembered of it any more
	told bool      // somebody was told that it is empty
}

// take takes one, or says for how long there is none; first is true once for each
// time that there is none.
func (b *buckets) take(key string, now time.Time) (wait time.Duration, first bool) {
	one := b.of[key]
	if one == nil {
		b.sweep(now)
		one = &bucket{}
		b.of[key] = one
	}
	if one.full.Before(now) {
		one.full = now
	}
	if wait = one.full.Add(b.every).Sub(now) - time.Duration(b.burst)*b.every; wait > 0 {
		first = !one.told
		one.told = true
		return wait, first
	}
	one.full, one.told = one.full.Add(b.every), false
	return 0, false
}

// giveBack undoes a take.
func (b *buckets) giveBack(key string) {
	if one := b.of[key]; one != nil {
		one.full = one.full.Add(-b.every)
	}
}

// sweep makes room: those that are full go, and where that is not enough some others.
func (b *buckets) sweep(now time.Time) {
	if len(b.of) < mostBuckets {
		return
	}
	for key, one := range b.of {
		if !one.full.After(now) {
			delete(b.of, key)
		}
	}
	for key := range b.of {
		if len(b.of) < mostBuckets*9/10 {
			return
		}
		delete(b.of, key)
	}
}

// attempts decides which passwords are looked at. It is safe for concurrent use.
type attempts struct {
	strangers, known chan struct{} // passwords that are being hashed

	mu            sync.Mutex
	address, name buckets
	under         map[string]int // way, by address
	all           int
	seen          map[place]time.Time // logged in last
}

// place is where somebody has logged in.
type place struct{ name, address string }

func newAttempts() *attempts {
	return &attempts{
		strangers: make(chan struct{}, sideBySide), known: make(chan struct{}, 1),
		address: buckets{addressBurst, addressEvery, map[string]*bucket{}},
		name:    buckets{nameBurst, nameEvery, map[string]*bucket{}},
		under:   map[string]int{}, seen: map[place]time.Time{},
	}
}

// begin waits until a password may be hashed, and returns what is to be called when
// that is done. Failures are counted before they are known, and taken back: else many
// at once would all be let through. A *RefusedError is why it may not; first says
// that this is the first one in a row.
func (a *attempts) begin(ctx context.Context, name, remote string) (done func(ok bool), first bool, err error) {
	at := place{name, addressKey(remote)}
	known, first, err := a.enter(at)
	if err != nil {
		return nil, first, err
	}
	slots := a.strangers
	if known {
		slots = a.known
	}
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		a.leave(at, known, false)
		return nil, false, context.Cause(ctx)
	}
	return func(ok bool) {
		<-slots
		a.leave(at, known, ok)
	}, false, nil
}

func (a *attempts) enter(at place) (known, first bool, err error) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	_, known = a.seen[at]
	if a.under[at.address] >= mostOfOne || a.all >= mostWaiting && !known {
		return known, false, &RefusedError{Wait: time.Second}
	}
	if wait, first := a.address.take(at.address, now); wait > 0 {
		return known, first, &RefusedError{Wait: wait}
	}
	if !known {
		if wait, first := a.name.take(at.name, now); wait > 0 {
			a.address.giveBack(at.address)
			return known, first, &RefusedError{Wait: wait}
		}
	}
	a.under[at.address]++
	a.all++
	return known, false, nil
}

func (a *attempts) leave(at place, known, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.under[at.address]--; a.under[at.address] == 0 {
		delete(a.under, at.address)
	}
	a.all--
	if !ok {
		return
	}
	a.address.giveBack(at.address)
	if !known {
		a.name.giveBack(at.name)
	}
	if _, there := a.seen[at]; !there && len(a.seen) >= mostKnown {
		var oldest place
		for one, when := range a.seen {
			if oldest == (place{}) || when.Before(a.seen[oldest]) {
				oldest = one
			}
		}
		delete(a.seen, oldest)
	}
	a.seen[at] = time.Now()
}

// addressKey is what counts as one address: of IPv6 a network of 64 bits, as whoever
// has one address there has all of them.
func addressKey(remote string) string {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		return ""
	}
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
