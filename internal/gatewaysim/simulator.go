// Package gatewaysim is a gateway of WeChat Pay V2 to test against: an HTTP
// server for closing, querying and creating orders, with a real order book
// behind it. It checks requests as the real one does, signs its replies, and
// can be slow, down, lossy, wrong or hostile. It knows nothing of Kafka and
// nothing of the worker; the book is the truth that the worker's outcomes are
// checked against.
//
//	request -> outage? -> read, check, verify -> behaviour of the order -> act on the book -> reply, signed -> spoiled? -> client
//
// The official sandbox cannot exercise closeorder; that is why this exists.
//
// An order that nobody created is made up when it is first asked for. What it
// is and how it behaves follows from the beginning of its out_trade_no, see
// [Behaviours]. One that a shop created has a purchase, buyers who may pay it,
// and a shop that is told of that: see [Buyers] and [Notices]. All randomness
// comes from Config.Seed, drawn per order and call, so that the order of
// concurrent calls does not change it. All times come from package time, so that
// it runs in a testing/synctest bubble.
package gatewaysim

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// IdleTimeout is how long the real gateway keeps an idle connection open.
const IdleTimeout = 8 * time.Second

// Config says how the gateway behaves. The zero value is a quick and honest
// one with [DefaultMerchants].
type Config struct {
	// Merchants that may call; nil for [DefaultMerchants].
	Merchants []Merchant
	// Seed of all randomness.
	Seed uint64

	// Latency of every call.
	Latency Latency
	// Failures are shares of calls that fail, whatever the order.
	Failures Failures
	// Rate is the number of calls per second that one merchant may make
	// before it is told to slow down (return_code=FAIL, unsigned); 0 for no
	// limit.
	Rate float64
	// CreatedAlone makes no order up: one that nobody has created is unknown.
	CreatedAlone bool
	// Buyers who pay made-up and created orders at random times.
	Buyers Buyers
	// Notices of their payments.
	Notices Notices

	// FlakyCalls is the number of calls that fail where [Behaviours] says
	// "the first two calls"; 0 for 2.
	FlakyCalls int
	// Slow is the time that a slow order takes; 0 for 3 s.
	Slow time.Duration
	// BuyerTime is how long a buyer who is paying takes; 0 for 6 s.
	BuyerTime time.Duration
	// LateCreate is how long after the first call a late create arrives; 0
	// for 20 s. LateCreates is the share of ordinary made-up orders that are
	// late, and of create calls that arrive so late after they were sent, 0..1.
	LateCreate  time.Duration
	LateCreates float64

	// ClockAhead is how far its clock is ahead of the machine's, as the Date
	// header of its replies tells it; negative where it is behind. Nothing else
	// goes by it.
	ClockAhead time.Duration

	// History is the number of calls kept per order, the newest; 0 for 64,
	// negative for none. States and counters are always kept, about 350 bytes
	// per order.
	History int

	// Observe is told of every call when it has ended, refused ones included.
	// It is called concurrently, before the client has the reply.
	Observe func(Call)
}

// Simulator is the gateway. It is an [http.Handler] for
//
//	POST /pay/closeorder    POST /pay/orderquery    POST /pay/unifiedorder
//
// under any prefix, such as /sandboxnew/pay/closeorder, and may be served on
// several addresses at once: hosts of one gateway. All its methods are safe
// for concurrent use.
type Simulator struct {
	cfg Config

	mu        sync.RWMutex // guards what can be changed at run time
	merchants map[string]*merchant
	latency   Latency

	outages   outages
	book      book
	notifying chan struct{} // has one while Notify sends
}

// New checks the configuration; the error names every mistake.
func New(cfg Config) (*Simulator, error) {
	cfg = withDefaults(cfg)
	s := &Simulator{
		cfg:       cfg,
		merchants: make(map[string]*merchant, len(cfg.Merchants)),
		latency:   cfg.Latency,
		outages:   outages{down: make(map[string]Outage), changed: make(chan struct{})},
		notifying: make(chan struct{}, 1),
	}
	s.book.init(&s.cfg)

	errs := []error{cfg.Latency.check(), cfg.Failures.check()}
	for _, share := range []struct {
		name  string
		value float64
	}{
		{"buyers who pay", cfg.Buyers.Share}, {"buyers who pay in the gap", cfg.Buyers.Gap}, {"buyers who pay twice", cfg.Buyers.Twice},
		{"late creates", cfg.LateCreates}, {"lost notices", cfg.Notices.Lost}, {"notices that come again", cfg.Notices.Again},
	} {
		if !isShare(share.value) {
			errs = append(errs, fmt.Errorf("gateway simulator: share of %s is %v, want 0 to 1", share.name, share.value))
		}
	}
	for _, pause := range append([]time.Duration{cfg.Notices.Delay}, cfg.Notices.Pauses...) {
		if pause < 0 {
			errs = append(errs, fmt.Errorf("gateway simulator: a notice comes after %v, want 0 or more", pause))
		}
	}
	if cfg.Buyers.Within < 0 {
		errs = append(errs, fmt.Errorf("gateway simulator: buyers pay within %v, want 0 or more", cfg.Buyers.Within))
	}
	if !(cfg.Rate >= 0) { // NaN too
		errs = append(errs, fmt.Errorf("gateway simulator: rate is %v, want calls per second, 0 or more", cfg.Rate))
	}
	for _, m := range cfg.Merchants {
		if err := m.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		if s.merchants[m.MchID] != nil {
			errs = append(errs, fmt.Errorf("gateway simulator: merchant %s is given twice", m.MchID))
		}
		s.merchants[m.MchID] = newMerchant(m, cfg.Rate)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

func withDefaults(cfg Config) Config {
	if cfg.Merchants == nil {
		cfg.Merchants = DefaultMerchants()
	}
	cfg.FlakyCalls = cmp.Or(cfg.FlakyCalls, 2)
	cfg.Slow = cmp.Or(cfg.Slow, 3*time.Second)
	cfg.BuyerTime = cmp.Or(cfg.BuyerTime, 6*time.Second)
	cfg.LateCreate = cmp.Or(cfg.LateCreate, 20*time.Second)
	if cfg.Notices.Pauses == nil {
		cfg.Notices.Pauses = realPauses
	}
	cfg.History = max(cmp.Or(cfg.History, 64), 0)
	return cfg
}

// ServeHTTP answers one call. The steps are the line in the package comment.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.cfg.ClockAhead != 0 {
		w.Header().Set("Date", time.Now().Add(s.cfg.ClockAhead).UTC().Format(http.TimeFormat))
	}
	op, ok := operationOf(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	c := &conversation{s: s, w: w, r: r, call: Call{Op: op, Host: r.Host, Remote: r.RemoteAddr, Start: time.Now()}}
	c.kept = servedBefore(r.Context())
	s.book.enter()
	defer c.finish() // the latest moment; usually it has finished before the reply went out

	// The body first, whatever comes: the server notices that a client went
	// away only when it has read all that the client sent.
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil {
		c.gaveUp()
		return
	}
	switch s.outages.wait(r) {
	case OutageRefuse:
		c.hangUp("outage: refused")
		return
	case Outage5xx:
		c.badGateway("outage: 502")
		return
	case OutageFreeze: // and the client gave up
		c.gaveUp()
		return
	}

	req, refusal := s.read(r.Method, op, body)
	if refusal != nil {
		c.refuse(refusal)
		return
	}
	c.begin(req)

	early, late := s.currentLatency().draw(s.draw(req.order, "latency", c.call.N))
	if c.late != nil {
		early = time.Until(time.Unix(0, c.late.at))
	}
	if !c.wait(c.fault.Delay + early) {
		if c.late == nil && !c.fault.before() && s.draw(req.order, "gave up", c.call.N).coin() {
			c.act() // the gateway does not notice that nobody waits
		}
		c.gaveUp()
		return
	}
	if c.fault.before() {
		c.spoilConnection(nil)
		return
	}
	rep := c.act()
	if !c.wait(late) {
		c.gaveUp()
		return
	}
	c.send(rep)
}
