package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus"
)

const (
	// probeEvery is how long the breaker stays open before one call may try
	// whether the gateway answers again.
	probeEvery = 5 * time.Second
	// silence is how recent an answer to others must be to say that the gateway
	// answers; and it must be more recent than the call that got none.
	silence = 3 * time.Second
	// enough different orders without an answer are more than bad luck, also
	// when a probe is answered; then so many calls may go on at a time.
	enough, careful = 3, 8
)

// gatewayBreaker holds back all calls while the gateway as a whole does not
// answer (G5). Who has a permit may make one call, and returns it with the
// evidence that the call has brought.
//
// When a call got no answer, a probe, a call of the same merchant about no order
// at all, says what that speaks against. Others are those who are answered
// meanwhile; where nobody was asked, so is a merchant that was answered before.
//
//	probe      others            it is
//	no answer  not answered      the gateway: the breaker opens
//	no answer  answered          the merchant, see merchantHolds
//	an answer  answered, or few  the order: it loses a try
//	an answer  many, none of     nobody knows: a few calls at a time go on
//	           them answered     until one is answered
//
// In all cases but that of the order the request keeps its place or its tries.
// Every few seconds an open breaker lets one call through; the first answer
// closes it, and calls ramp up from one, each answer making room for one more,
// so that a gateway that has just come back is not run over. It is safe for
// concurrent use.
type gatewayBreaker struct {
	slots int
	probe func(context.Context, events.Request) bool // in the name of a request's merchant
	poke  func()                                     // starts what may start now; not under mu
	log   logrus.FieldLogger

	// mu guards what is below. It may be taken under lanes.mu; nothing is called
	// and no other lock taken under it.
	mu    sync.Mutex
	state state
	// changes counts the changes of state: the answer to a call of another one is
	// old news.
	changes  int
	openedAt time.Time   // when it was closed last
	trialAt  time.Time   // when the next call may go through an open one
	onTrial  bool        // that call is under way
	timer    *time.Timer // pokes then; stop ends it

	limit      int // calls in flight at the most, at present
	lastAnswer time.Time
	// witnesses are requests that were answered, of the last two merchants, the
	// later one first: in their names is asked who else is answered.
	witnesses [2]events.Request
	silent    map[events.Order]bool // orders without an answer since then, at most enough
	deadAt    time.Time             // when a probe got no answer; zero since an answer
	probes    map[string]*probing   // under way, by mch_id
}

// state of a breaker.
type state int

const (
	closed   state = iota // calls go through
	open                  // none does
	halfOpen              // one does, on trial
)

func newGatewayBreaker(slots int, poke func(), probe func(context.Context, events.Request) bool, log logrus.FieldLogger) *gatewayBreaker {
	return &gatewayBreaker{slots: slots, limit: slots, poke: poke, probe: probe, log: log, silent: make(map[events.Order]bool), probes: make(map[string]*probing)}
}

// stop ends the breaker's timer.
func (b *gatewayBreaker) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
	}
}

// permit allows one call. It is returned exactly once.
type permit struct {
	breaker *gatewayBreaker
	began   time.Time
	changes int
}

// room is how many calls may be in flight at present.
func (b *gatewayBreaker) room() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limit
}

// admit gives a permit for one more call, when there are inFlight already.
func (b *gatewayBreaker) admit(inFlight int) (permit, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.state == open && !now.Before(b.trialAt) {
		b.change(halfOpen)
	}
	if inFlight >= b.limit || b.state == open || b.onTrial {
		return permit{}, false
	}
	b.onTrial = b.state == halfOpen
	return permit{b, now, b.changes}, true
}

// giveBack returns the permit of a call for r with what it is evidence of, and
// says what a call without an answer speaks against. since is when the last call
// for r began. It takes as long as a probe.
func (p permit) giveBack(ctx context.Context, r events.Request, e evidence, since time.Time) finding {
	found := foundNothing
	switch e {
	case answered:
		p.breaker.heardFrom(r)
	case unanswered:
		if since.IsZero() {
			since = p.began
		}
		found = p.breaker.find(ctx, since, r)
		switch found {
		case itIsTheOrder, nobodyKnows:
			e = answered
		case foundNothing, itIsTheMerchant:
			e = unused
		}
	}
	p.over(e)
	return found
}

// over ends a call, and opens or closes the breaker by what it says of the
// gateway.
func (p permit) over(e evidence) {
	b := p.breaker
	b.mu.Lock()
	before, openedAt := b.state, b.openedAt
	if p.changes == b.changes {
		b.onTrial = false
		switch {
		case e == unanswered:
			b.change(open)
		case e == answered && b.state == halfOpen:
			b.change(closed)
		}
	}
	after := b.state
	b.mu.Unlock()
	switch {
	case before == closed && after == open:
		b.log.Warn("the gateway does not answer: calls are held, requests keep their place; probing")
	case before == halfOpen && after == closed:
		b.log.WithField("held", time.Since(openedAt).Round(time.Second)).Info("the gateway answers again: calls resume")
	}
}

// change changes the state. b.mu is held.
func (b *gatewayBreaker) change(to state) {
	if to == open {
		if b.state == closed {
			b.openedAt = time.Now()
		}
		b.limit, b.trialAt = 1, time.Now().Add(probeEvery)
		if b.timer != nil {
			b.timer.Stop()
		}
		b.timer = time.AfterFunc(probeEvery, b.poke)
	}
	b.state = to
	b.changes++
}

// heardFrom notes an answer to r, which makes room for one more call.
func (b *gatewayBreaker) heardFrom(r events.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch w := &b.witnesses[0]; {
	case w.MchID != r.MchID:
		b.witnesses[1], b.witnesses[0] = *w, r
	case w.AppID != r.AppID || w.SubMchID != r.SubMchID || w.SubAppID != r.SubAppID:
		*w = r
	}
	b.lastAnswer = time.Now()
	b.limit = min(b.limit+1, b.slots)
	clear(b.silent)
	b.deadAt = time.Time{}
}

// probing is a probe under way; one serves all calls of its merchant.
type probing struct {
	over  chan struct{}
	found finding // after over
}

// find probes what a call for r without an answer speaks against.
func (b *gatewayBreaker) find(ctx context.Context, since time.Time, r events.Request) finding {
	b.mu.Lock()
	switch {
	case ctx.Err() != nil:
		b.mu.Unlock()
		return foundNothing
	case !b.deadAt.IsZero() && time.Since(b.deadAt) < probeEvery:
		// What a probe has found is believed for as long as the breaker stays
		// open before the next call.
		b.mu.Unlock()
		return itIsTheGateway
	}
	if len(b.silent) < enough {
		b.silent[r.Order()] = true
	}
	if other := b.probes[r.MchID]; other != nil {
		b.mu.Unlock()
		select {
		case <-other.over:
			if other.found == foundNothing {
				return b.find(ctx, since, r)
			}
			return other.found
		case <-ctx.Done():
			return foundNothing
		}
	}
	p := &probing{over: make(chan struct{})}
	b.probes[r.MchID] = p
	probe := b.probe
	b.mu.Unlock()

	alive, others := probe(ctx, r), b.answersOthers(since)
	if !alive && others {
		alive = probe(ctx, r) // one lost call must not hold a whole merchant
	}
	if witness, ok := b.witness(r.MchID); ok && !alive && !others {
		others = probe(ctx, witness)
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.probes, r.MchID)
	defer close(p.over)
	p.found = findingOf(alive, others, len(b.silent) >= enough)
	if ctx.Err() != nil {
		p.found = foundNothing
	}
	switch p.found {
	case itIsTheGateway:
		b.deadAt = time.Now()
	case itIsTheOrder:
		b.deadAt, b.limit = time.Time{}, min(b.limit+1, b.slots)
	case nobodyKnows:
		b.deadAt, b.limit = time.Time{}, min(b.limit+1, b.slots, careful)
	}
	return p.found
}

// witness is a request of another merchant, the last one that was answered.
func (b *gatewayBreaker) witness(mchID string) (r events.Request, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.witnesses {
		if r.MchID != "" && r.MchID != mchID {
			return r, true
		}
	}
	return events.Request{}, false
}

// answersOthers says whether a call was answered since then, and lately.
func (b *gatewayBreaker) answersOthers(since time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lastAnswer.After(since) && time.Since(b.lastAnswer) < silence
}
