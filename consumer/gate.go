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
	// silence is how recent an answer to others must be to say that the gateway
	// answers; and it must be more recent than the call that got none.
	silence = 3 * time.Second
	// enough different orders without an answer are more than bad luck, also
	// when a probe is answered; then so many calls may go on at a time.
	enough, careful = 3, 8
)

// gate holds back all calls while the gateway as a whole does not answer (G5).
//
// When a call got no answer, a probe, a call of the same merchant about no order
// at all, says what that speaks against. Others are those who are answered
// meanwhile; where nobody was asked, so is a merchant that was answered before.
//
//	probe      others            it is
//	no answer  not answered      the gateway: the gate is shut
//	no answer  answered          the merchant, see holds
//	an answer  answered, or few  the order: it loses a try
//	an answer  many, none of     nobody knows: a few calls at a time go on
//	           them answered     until one is answered
//
// In all cases but that of the order the request keeps its place or its tries.
// Every few seconds one call goes through a shut gate; the first answer opens
// it, and calls ramp up from one, each answer making room for one more, so
// that a gateway that has just come back is not run over. It is safe for
// concurrent use.
type gate struct {
	slots   int
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	ask     func(context.Context, events.Request) bool // a probe in the name of a request's merchant
	poke    func()                                     // starts what may start now
	log     logrus.FieldLogger

	mu         sync.Mutex
	limit      int // calls in flight at the most, at present
	lastAnswer time.Time
	// witnesses are the last requests that were answered, of two merchants, the
	// later one first: in their names is asked who else is answered.
	witnesses [2]events.Request
	silent    map[events.Order]bool // orders without an answer since then, at most enough
	deadAt    time.Time             // when a probe got no answer; zero since an answer
	probing   map[string]*probe     // under way, by mch_id
	shutAt    time.Time             // zero while open
	timer     *time.Timer
}

var (
	errSilent     = errors.New("the gateway does not answer")
	errNoEvidence = errors.New("says nothing about the gateway")
)

func newGate(slots int, poke func(), ask func(context.Context, events.Request) bool, log logrus.FieldLogger) *gate {
	g := &gate{slots: slots, limit: slots, poke: poke, ask: ask, log: log, silent: make(map[events.Order]bool), probing: make(map[string]*probe)}
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

// answered reports that the gateway answered a request, whatever it said: that
// makes room for one more call.
func (p pass) answered(r events.Request) {
	g := p.gate
	g.mu.Lock()
	if g.witnesses[0].MchID != r.MchID {
		g.witnesses[1] = g.witnesses[0]
	}
	g.witnesses[0] = r
	g.lastAnswer = time.Now()
	g.limit = min(g.limit+1, g.slots)
	g.silent, g.deadAt = make(map[events.Order]bool), time.Time{}
	g.mu.Unlock()
	p.done(nil)
}

// unanswered reports that a request whose last call was made at since got no
// usable answer, and returns what that speaks against.
func (p pass) unanswered(ctx context.Context, r events.Request, since time.Time) suspicion {
	if since.IsZero() {
		since = p.began
	}
	found := p.gate.suspects(ctx, since, r)
	switch found {
	case itIsTheGateway:
		p.done(errSilent)
	case itIsTheOrder, nobodyKnows:
		p.done(nil)
	default:
		p.done(errNoEvidence)
	}
	return found
}

// suspicion is what an unanswered call speaks against.
type suspicion int

const (
	cutOff suspicion = iota // nothing: the context ended
	itIsTheOrder
	itIsTheMerchant
	itIsTheGateway
	nobodyKnows
)

// probe is a question whether the gateway is there; one serves all that ask.
type probe struct {
	over  chan struct{}
	found suspicion // after over
}

func (g *gate) suspects(ctx context.Context, since time.Time, r events.Request) suspicion {
	g.mu.Lock()
	switch {
	case ctx.Err() != nil:
		g.mu.Unlock()
		return cutOff
	case !g.deadAt.IsZero() && time.Since(g.deadAt) < probeEvery:
		// What a probe has found is believed for as long as the gate stays
		// shut before the next call.
		g.mu.Unlock()
		return itIsTheGateway
	}
	if len(g.silent) < enough {
		g.silent[r.Order()] = true
	}
	if p := g.probing[r.MchID]; p != nil {
		g.mu.Unlock()
		select {
		case <-p.over:
			if p.found == cutOff {
				return g.suspects(ctx, since, r)
			}
			return p.found
		case <-ctx.Done():
			return cutOff
		}
	}
	p := &probe{over: make(chan struct{})}
	g.probing[r.MchID] = p
	ask := g.ask
	g.mu.Unlock()

	alive, others := ask(ctx, r), g.answersOthers(since)
	if !alive && others {
		alive = ask(ctx, r) // one lost call must not hold a whole merchant
	}
	if witness, ok := g.witness(r.MchID); ok && !alive && !others {
		others = ask(ctx, witness)
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.probing, r.MchID)
	defer close(p.over)
	switch {
	case ctx.Err() != nil:
		p.found = cutOff
	case !alive && others:
		p.found = itIsTheMerchant
	case !alive:
		p.found, g.deadAt = itIsTheGateway, time.Now()
	case others || len(g.silent) < enough:
		p.found, g.deadAt = itIsTheOrder, time.Time{}
		g.limit = min(g.limit+1, g.slots)
	default:
		p.found, g.deadAt = nobodyKnows, time.Time{}
		g.limit = min(g.limit+1, g.slots, careful)
	}
	return p.found
}

// witness is the last request of another merchant that was answered.
func (g *gate) witness(mchID string) (r events.Request, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.witnesses {
		if r.MchID != "" && r.MchID != mchID {
			return r, true
		}
	}
	return events.Request{}, false
}

// answersOthers reports whether a call was answered since then, and lately.
func (g *gate) answersOthers(since time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lastAnswer.After(since) && time.Since(g.lastAnswer) < silence
}

// unused reports that no call was made, or that it was cut off.
func (p pass) unused() { p.done(errNoEvidence) }
