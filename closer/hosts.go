package closer

import (
	"context"
	"slices"
	"sync"
	"time"
)

// The policy of the official Java SDK, for any number of hosts: a host is
// left after more than leaveAfter failures to connect or to resolve its name
// in a row, and tried again leaveFor later. Read errors and bad answers do
// not move the traffic, they only make the next attempt of the same Close go
// elsewhere. Two things differ. A refused connection counts like a connect
// time-out. And the return is tried with one call at a time, where the SDK
// sends everything back at once: a host that is still dead then costs one
// call its connect time-out, and a host that just came up meets no herd.
const (
	leaveAfter = 2
	leaveFor   = 3 * time.Minute
)

// host is one base URL, its health and its call slots. It is shared by all
// merchants that use the URL.
type host struct {
	url   string
	slots *slots

	mu            sync.Mutex
	connectErrors int       // in a row
	dnsErrors     int       // in a row
	leftUntil     time.Time // zero: in use
	trial         bool      // one call tries whether it is back, see try
	answered      uint64
	failed        uint64
	lastFailure   Failure
}

// try reports whether calls go to the host when it is their turn, and else, to
// a caller that would try, whether it may find out if the host is back: the
// host's time is up, and nobody else is trying.
func (h *host) try(would bool, now time.Time) (inUse, trial bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	inUse = h.leftUntil.IsZero()
	trial = would && !inUse && !now.Before(h.leftUntil) && !h.trial
	h.trial = h.trial || trial
	return inUse, trial
}

// tried ends a trial.
func (h *host) tried() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trial = false
}

// report takes in how a call to the host ended.
func (h *host) report(f Failure, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.hostDown() {
		h.failed++
		h.lastFailure = f
	} else {
		h.answered++
	}
	switch f {
	case FailConnect:
		h.connectErrors++
	case FailDNS:
		h.dnsErrors++
	case FailTimeout, FailLost:
		// Read errors do not move the traffic, away or back: the connection
		// may be an old one that hangs since before the host was left.
		return
	default: // something came back
		h.connectErrors, h.dnsErrors = 0, 0
		h.leftUntil = time.Time{}
		return
	}
	if h.connectErrors > leaveAfter || h.dnsErrors > leaveAfter {
		h.leftUntil = now.Add(leaveFor)
	}
}

// badness orders hosts that are all left: the weights are the SDK's.
func (h *host) badness() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.connectErrors + 5*h.dnsErrors
}

// take chooses the host for the next call and waits for one of its call slots
// for a merchant, until ctx ends or the deadline is over. moves is the number of
// times that this Close was let down by a host: the first call goes to the first
// host in use, each move to the next one, round and round.
//
// A host in use at which most calls fail has few slots. Calls do not queue up
// for them while another host is well.
//
// When all hosts were left, the least bad one is called: some host must be,
// or nobody learns that one is back. A host that was left and whose time is up
// is tried by the first call where no host before it is in use, and by any
// call that a host has let down.
//
// The caller gives the slot back with [hostSlot.giveBack].
func take(ctx context.Context, mchID string, deadline time.Time, hosts []*host, moves int, now time.Time) (hostSlot, error) {
	var few [4]*host
	inUse := few[:0]
	for _, h := range hosts {
		switch used, trial := h.try(moves > 0 || len(inUse) == 0, now); {
		case used:
			inUse = append(inUse, h)
		case trial:
			return h.take(ctx, mchID, deadline, true)
		}
	}
	if len(inUse) == 0 {
		if moves > 0 {
			return hosts[moves%len(hosts)].take(ctx, mchID, deadline, false)
		}
		best := slices.MinFunc(hosts, func(a, b *host) int { return a.badness() - b.badness() })
		return best.take(ctx, mchID, deadline, false)
	}
	first := moves % len(inUse)
	for i := range inUse {
		h := inUse[(first+i)%len(inUse)]
		if !h.slots.isFailing() {
			return h.take(ctx, mchID, deadline, false)
		}
		if h.slots.tryAcquire(mchID) {
			return hostSlot{host: h, mchID: mchID}, nil
		}
	}
	return inUse[first].take(ctx, mchID, deadline, false)
}

// hostSlot is the call slot of one call at a host.
type hostSlot struct {
	*host
	mchID string // whose call it is
	trial bool   // the call tries whether the host is back
}

func (h *host) take(ctx context.Context, mchID string, deadline time.Time, trial bool) (hostSlot, error) {
	err := h.slots.acquire(ctx, mchID, deadline)
	if err != nil && trial {
		h.tried()
	}
	return hostSlot{h, mchID, trial}, err
}

// giveBack returns the slot and takes in how the call ended; interrupted
// where that says nothing of the host.
func (s hostSlot) giveBack(f Failure, interrupted bool, took time.Duration, now time.Time) {
	if s.trial {
		s.tried()
	}
	if interrupted {
		s.slots.giveBack(s.mchID)
		return
	}
	s.report(f, now)
	s.slots.finish(s.mchID, f.hostDown(), took, now)
}

// HostHealth is how a host does at this moment.
type HostHealth struct {
	// URL is the base URL.
	URL string
	// InUse: new calls go there when it is their turn.
	InUse bool
	// Failing: most calls fail at present, so that it gets few at a time.
	Failing bool
	// LeftUntil is when a host that was left is tried again; zero when InUse.
	LeftUntil time.Time
	// Answered and Failed count calls since the start; Failed those that could
	// not reach it, or got nothing that a payment gateway gives.
	Answered, Failed uint64
	// LastFailure is why the latest of them failed.
	LastFailure Failure
	// Limit is the most calls at once that there may be at present.
	Limit int
}

func (h *host) health() HostHealth {
	h.mu.Lock()
	defer h.mu.Unlock()
	limit, failing := h.slots.state()
	return HostHealth{
		URL: h.url, InUse: h.leftUntil.IsZero(), Failing: failing, LeftUntil: h.leftUntil,
		Answered: h.answered, Failed: h.failed, LastFailure: h.lastFailure, Limit: limit,
	}
}
