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
	// gateway, not against its order. So does a shorter one that is as long
	// as the whole call.
	silence = 10 * time.Second
	// enough different orders without an answer need no further proof.
	enough = 3
)

// gate holds back all calls while the gateway as a whole does not answer (G5).
//
// A call that got no answer is suspicious when no other call has been
// answered for a while either. It shuts the gate when it is not the only order
// that this happens to, or when a probe, a query about no order at all, gets
// no answer: then it is not the order. The request keeps its place, no retry
// is burnt. Every few seconds one call goes through a shut gate; the first
// answer opens it, and calls ramp up from one, each answer making room for one
// more, so that a gateway that has just come back is not run over. It is safe
// for concurrent use.
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
	probing    chan struct{}         // closed when the probe under way is over; nil without one
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

// answered reports that the gateway answered, whatever it said.
func (p pass) answered() {
	p.gate.heard()
	p.done(nil)
}

// heard notes an answer, and makes room for one more call.
func (g *gate) heard() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lastAnswer = time.Now()
	g.limit = min(g.limit+1, g.slots)
	g.silent, g.deadAt = make(map[events.Order]bool), time.Time{}
}

// unanswered reports a call for an order without a usable answer and returns
// whether the gateway as a whole is to blame: then the request keeps its
// place. probe asks the gateway whether it is there.
func (p pass) unanswered(ctx context.Context, order events.Order, probe func(context.Context) bool) (outage bool) {
	outage = p.gate.suspects(ctx, p.began, order, probe)
	if ctx.Err() != nil { // cut off: it keeps its place, and says nothing
		p.done(errNoEvidence)
		return true
	}
	if outage {
		p.done(errSilent)
	} else {
		p.done(errNoEvidence)
	}
	return outage
}

func (g *gate) suspects(ctx context.Context, began time.Time, order events.Order, probe func(context.Context) bool) bool {
	for {
		g.mu.Lock()
		if g.lastAnswer.After(began) && time.Since(g.lastAnswer) < silence {
			g.mu.Unlock()
			return false // others are answered: it is the order
		}
		if len(g.silent) < enough {
			g.silent[order] = true
		}
		// What a probe has found is believed for as long as the gate stays
		// shut before the next call.
		dead := !g.deadAt.IsZero() && time.Since(g.deadAt) < probeEvery
		if dead || len(g.silent) >= enough || ctx.Err() != nil {
			g.mu.Unlock()
			return true
		}
		if under := g.probing; under != nil { // one probe serves all that ask
			g.mu.Unlock()
			select {
			case <-under:
			case <-ctx.Done():
			}
			continue
		}
		over := make(chan struct{})
		g.probing = over
		g.mu.Unlock()

		alive := probe(ctx)

		g.mu.Lock()
		g.probing = nil
		close(over)
		if !alive && ctx.Err() == nil {
			g.deadAt = time.Now()
		}
		g.mu.Unlock()
		if alive {
			return false
		}
	}
}

// unused reports that no call was made, or that it was cut off.
func (p pass) unused() { p.done(errNoEvidence) }
