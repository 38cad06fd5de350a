package gatewaysim

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// book is the order book: one lock, held for short steps only. Nothing in it
// waits and nothing runs by itself: what is due (a buyer's payment, a late
// create) is done, with the time at which it was due, before anybody looks.
type book struct {
	cfg *Config

	mu     sync.Mutex
	orders map[Order]*order
	late   []*lateCreate // by time
	// payTwice has the numbers of each purchase whose buyer pays every one, in
	// the order of their creation. Its key has the attach as out_trade_no.
	payTwice map[Order][]*order
	agenda   agenda

	calls, inProgress, maxInProgress int
	answers                          map[string]int
	refusals                         map[string]int
}

// order is kept small: a long run has a million of them.
type order struct {
	events     []event
	plan       []event // what will happen, by time; state is not used
	calls      []callRecord
	behaviour  *Behaviour
	submission *submission // nil where no create call came
	fee        int64
	nonce      uint64 // a hash of the last nonce_str

	forgotten                        int32
	closes, queries, creates, repeat int32
	inProgress, maxInProgress        int32
	state                            State
}

type event struct {
	at    int64 // Unix time in ns
	what  What
	state State
}

type callRecord struct {
	start, end           int64 // Unix time in ns; end 0 while in progress
	op                   Op
	host, remote, answer string
	n                    int32
	gaveUp               bool
}

func (b *book) init(cfg *Config) {
	b.cfg = cfg
	b.orders = make(map[Order]*order)
	b.agenda = agenda{cfg: cfg, changed: make(chan struct{}, 1)}
	b.payTwice = make(map[Order][]*order)
	b.answers = make(map[string]int)
	b.refusals = make(map[string]int)
}

// open takes the lock and returns the time, up to which the late create calls
// have arrived. An order's own future is up to catchUp.
func (b *book) open() time.Time {
	b.mu.Lock()
	now := time.Now()
	b.arrive(now)
	return now
}

// get returns the order as it is now. One that the book does not have is
// added: made up after its number where find is set, else unknown.
func (b *book) get(key Order, now time.Time, find bool) *order {
	o := b.orders[key]
	if o == nil {
		o = &order{state: Unknown, behaviour: behaviourOf(key.OutTradeNo), fee: 1 + int64(newDraw(b.cfg.Seed, key, "fee", 0).below(10000))}
		b.orders[key] = o
		if find {
			b.makeUp(o, key, now)
		}
	}
	o.catchUp(now)
	return o
}

// makeUp gives an order that nobody created its state and its future.
func (b *book) makeUp(o *order, key Order, now time.Time) {
	o.state = NotPay
	if o.behaviour == &behaviours[0] && b.cfg.LateCreates > 0 {
		if d := newDraw(b.cfg.Seed, key, "late", 0); d.float() < b.cfg.LateCreates {
			o.behaviour = lateBehaviours[d.pcg.Uint64()%uint64(len(lateBehaviours))]
		}
	}
	if o.behaviour.open != nil {
		o.behaviour.open(o, now, b.cfg)
	}
	o.events = append(o.events, event{now.UnixNano(), Found, o.state})
	if b.hasBuyer(o) {
		b.buyer(o, key, now)
	}
}

// schedule makes something happen at a time, after what is due at the same
// time already.
func (o *order) schedule(at time.Time, what What) {
	e := event{at: at.UnixNano(), what: what}
	i, _ := slices.BinarySearchFunc(o.plan, e, func(a, b event) int {
		if a.at == b.at {
			return -1
		}
		return cmp.Compare(a.at, b.at)
	})
	o.plan = slices.Insert(o.plan, i, e)
	o.notice().planned(o, e.at)
}

// catchUp lets happen what is due.
func (o *order) catchUp(now time.Time) {
	for len(o.plan) > 0 && o.plan[0].at <= now.UnixNano() {
		due := o.plan[0]
		if o.plan = o.plan[1:]; len(o.plan) == 0 {
			o.plan = nil
		}
		o.happen(due.at, due.what)
	}
}

// happen is what the world outside does to an order: creates it, pays it.
func (o *order) happen(at int64, what What) {
	switch {
	case what == Created && o.state == Unknown:
		o.state = NotPay
	case what == Created:
		what = CreateRefused
	case what == PayStarted && o.state.Payable():
		o.state = UserPaying
	case what == PayGivenUp && o.state == UserPaying:
		o.state = NotPay
	case what == PaidByBuyer && o.state.Payable():
		o.state = Paid
	case what == PaidByBuyer || what == PayStarted:
		what = PayRefused
	case what == PayGivenUp:
		return
	}
	o.events = append(o.events, event{at, what, o.state})
	if what == PaidByBuyer {
		o.notice().paid(o, at)
	}
}

// set changes the state for a reason that lies in a call or in a hand.
func (o *order) set(now time.Time, state State, what What) {
	o.state = state
	o.events = append(o.events, event{now.UnixNano(), what, state})
}

func (o *order) createInFlight() bool {
	return o.state == Unknown && (o.submission != nil && o.submission.late > 0 ||
		slices.ContainsFunc(o.plan, func(e event) bool { return e.what == Created }))
}

// enter counts a call in progress, also one that will be refused. end ends it.
func (b *book) enter() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	b.inProgress++
	b.maxInProgress = max(b.maxInProgress, b.inProgress)
}

// begin notes that a call of an order is in progress, numbers it, and asks
// its behaviour what to do with it.
func (b *book) begin(req *request, c *Call) (*order, Fault) {
	now := b.open()
	defer b.mu.Unlock()
	o := b.get(req.order, now, c.Op != UnifiedOrder && !b.cfg.CreatedAlone)
	switch c.Op {
	case CloseOrder:
		o.closes++
	case OrderQuery:
		o.queries++
	case UnifiedOrder:
		o.creates++
	}
	c.Order = req.order
	c.N = int(o.closes + o.queries + o.creates)
	if o.nonce == req.nonce {
		o.repeat++
	}
	o.nonce = req.nonce
	o.inProgress++
	o.maxInProgress = max(o.maxInProgress, o.inProgress)
	if b.cfg.History > 0 {
		if len(o.calls) == b.cfg.History {
			o.calls = slices.Delete(o.calls, 0, 1)
			o.forgotten++
		}
		o.calls = append(o.calls, callRecord{start: c.Start.UnixNano(), op: c.Op, host: c.Host, remote: c.Remote, n: int32(c.N)})
	}
	if o.behaviour.script == nil {
		return o, Fault{}
	}
	return o, o.behaviour.script(o, c, now, b.cfg)
}

// end notes that a call is over; o is nil for one that was refused.
func (b *book) end(o *order, c *Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inProgress--
	if o == nil {
		b.refusals[c.Answer]++
		return
	}
	b.answers[c.Answer]++
	o.inProgress--
	for i := len(o.calls) - 1; i >= 0; i-- {
		if r := &o.calls[i]; r.n == int32(c.N) {
			r.end, r.answer, r.gaveUp = c.End.UnixNano(), c.Answer, c.GaveUp
			return
		}
	}
}
