package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus"
	"github.com/sony/gobreaker/v2"
)

const (
	// probeEvery is how long the gate stays shut before one call may try
	// whether the gateway answers again.
	probeEvery = 5 * time.Second
	// silence without any answer makes an unanswered call speak against the
	// gateway, not against its order. So does a shorter one that began with
	// the call.
	silence = 3 * time.Second
	// enough different orders without an answer are more than bad luck, also
	// when a probe is answered; then so many calls may go on at a time.
	enough, careful = 3, 8
)

// gate holds back all calls while the gateway as a whole does not answer (G5).
//
// A call that got no answer is suspicious when no other call has been
// answered for a while either. Then a probe, a call about no order at all, says
// whether it is the gateway:
//
//	no answer              it is: the gate is shut, the request keeps its place
//	an answer, few orders  it is the order: it loses a try, the others go on
//	an answer, many orders nobody knows: the request keeps its place, a few
//	                       calls at a time go on until one is answered
//
// Every few seconds one call goes through a shut gate; the first answer opens
// it, and calls ramp up from one, each answer making room for one more, so
// that a gateway that has just come back is not run over. It is safe for
// concurrent use.
type gate struct {
	slots   int
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	poke    func() // starts what may start now
	log     logrus.FieldLogger

	mu         sync.Mutex
	limit      int // calls in flight at the most, at present
	lastAnswer time.Time
	silent     map[events.Order]bool // orders without an answer since then, at most enough
	deadAt     time.Time             // when a probe got no answer; zero since an answer
	probing    *probe                // under way; nil without one
	shutAt     time.Time             // zero while open
	timer      *time.Timer
}

var (
	errSilent     = errors.New("the gateway does not answer")
	errNoEvidence = errors.New("says nothing about the gateway")
)

func newGate(slots int, poke func(), log logrus.FieldLogger) *gate {
	g := &gate{slots: slots, limit: slots, poke: poke, log: log, silent: make(map[events.Order]bool)}
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   1, // one probe at a time
		Timeout:       probeEvery,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures > 0 },
		IsExcluded:    func(err error) bool { return errors.Is(err, errNoEvidence) },
		OnStateChange: g.changed,
	})
	return g
}

// changed is called by the breaker under its lock.
func (g *gate) changed(_ string, from, to gobreaker.State) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch to {
	case gobreaker.StateOpen:
		if from == gobreaker.StateClosed {
			g.shutAt = time.Now()
			g.log.Warn("the gateway does not answer: calls are held, requests keep their place; probing")
		}
		g.limit = 1
		if g.timer != nil {
			g.timer.Stop()
		}
		// The breaker lets a probe through strictly after its time-out.
		g.timer = time.AfterFunc(probeEvery+time.Millisecond, g.poke)
	case gobreaker.StateClosed:
		g.log.WithField("held", time.Since(g.shutAt).Round(time.Second)).Info("the gateway answers again: calls resume")
		g.shutAt = time.Time{}
	}
}

// stop ends the gate's timer.
func (g *gate) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer != nil {
		g.timer.Stop()
	}
}

// pass is the leave to make one call. Exactly one of its methods is called.
type pass struct {
	gate  *gate
	began time.Time
	done  func(error)
}

// admit gives leave for one more call, when there are inFlight already.
func (g *gate) admit(inFlight int) (pass, bool) {
	g.mu.Lock()
	full := inFlight >= g.limit
	g.mu.Unlock()
	if full {
		return pass{}, false
	}
	done, err := g.breaker.Allow()
	return pass{g, time.Now(), done}, err == nil
}

// answered reports that the gateway answered, whatever it said: that makes
// room for one more call.
func (p pass) answered() {
	g := p.gate
	g.mu.Lock()
	g.lastAnswer = time.Now()
	g.limit = min(g.limit+1, g.slots)
	g.silent, g.deadAt = make(map[events.Order]bool), time.Time{}
	g.mu.Unlock()
	p.done(nil)
}

// unanswered reports that a call for an order, made at since, got no usable
// answer, and returns whether the request keeps its place, because the order is
// not known to be to blame. ask asks the gateway whether it is there.
func (p pass) unanswered(ctx context.Context, order events.Order, since time.Time, ask func(context.Context) bool) (keeps bool) {
	if since.IsZero() {
		since = p.began
	}
	switch p.gate.suspects(ctx, since, order, ask) {
	case itIsTheGateway:
		p.done(errSilent)
		return true
	case nobodyKnows:
		p.done(nil)
		return true
	case itIsTheOrder:
		p.done(nil)
		return false
	case othersAreAnswered:
		p.done(errNoEvidence)
		return false
	}
	p.done(errNoEvidence)
	return true
}

// suspicion is what an unanswered call speaks against.
type suspicion int

const (
	cutOff            suspicion = iota // the context ended: nothing
	othersAreAnswered                  // the order: other calls were answered
	itIsTheOrder                       // the order: a probe was answered
	itIsTheGateway                     // the gateway: a probe was not answered
	nobodyKnows                        // many orders, or the gateway for all but a probe
)

// probe is a question whether the gateway is there; one serves all that ask.
type probe struct {
	over  chan struct{}
	found suspicion // after over
}

func (g *gate) suspects(ctx context.Context, since time.Time, order events.Order, ask func(context.Context) bool) suspicion {
	g.mu.Lock()
	switch {
	case ctx.Err() != nil:
		g.mu.Unlock()
		return cutOff
	case g.lastAnswer.After(since) && time.Since(g.lastAnswer) < silence:
		g.mu.Unlock()
		return othersAreAnswered
	case !g.deadAt.IsZero() && time.Since(g.deadAt) < probeEvery:
		// What a probe has found is believed for as long as the gate stays
		// shut before the next call.
		g.mu.Unlock()
		return itIsTheGateway
	}
	if len(g.silent) < enough {
		g.silent[order] = true
	}
	if p := g.probing; p != nil {
		g.mu.Unlock()
		select {
		case <-p.over:
			if p.found == cutOff {
				return g.suspects(ctx, since, order, ask)
			}
			return p.found
		case <-ctx.Done():
			return cutOff
		}
	}
	p := &probe{over: make(chan struct{})}
	g.probing = p
	g.mu.Unlock()

	alive := ask(ctx)

	g.mu.Lock()
	defer g.mu.Unlock()
	g.probing = nil
	defer close(p.over)
	switch {
	case ctx.Err() != nil:
		p.found = cutOff
	case !alive:
		p.found, g.deadAt = itIsTheGateway, time.Now()
	case len(g.silent) < enough:
		p.found, g.deadAt = itIsTheOrder, time.Time{}
		g.limit = min(g.limit+1, g.slots)
	default:
		p.found, g.deadAt = nobodyKnows, time.Time{}
		g.limit = min(g.limit+1, g.slots, careful)
	}
	return p.found
}

// unused reports that no call was made, or that it was cut off.
func (p pass) unused() { p.done(errNoEvidence) }
