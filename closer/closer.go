// Package closer takes one order from request to verdict: the signed call,
// the checked reply, the decision, and the query that ends a doubt. It knows
// WeChat Pay V2, XML and HTTP, and nothing of Kafka. It does not log: it
// returns, and lets an [Observer] see each attempt.
//
//	Order -> identify -> [rate, host, call slot] -> POST -> read -> check -> decide -> weigh -> Verdict
//	              ^------------------------ again, after a pause ------------------'
//
// read (strict XML), check (signature, identity), decide (the code's class)
// and weigh (what close and query say together) are pure; docs/verdicts.md
// is their table in words.
package closer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Closer closes orders. It is safe for concurrent use.
type Closer struct {
	cfg       Config
	transport *transport

	mu       sync.Mutex
	hosts    map[string]*host    // by URL
	accounts map[string]*account // by mch_id
}

// New checks cfg; the error names every mistake in it.
func New(cfg Config) (*Closer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("closer: %w", err)
	}
	return &Closer{
		cfg:       cfg,
		transport: newTransport(cfg),
		hosts:     make(map[string]*host),
		accounts:  make(map[string]*account),
	}, nil
}

// Close closes the order, or finds out why that cannot be. It always returns
// a verdict; the class says what to do with it. No call is started after
// Config.Budget, counted from the first one; before that one it waits for as
// long as the merchant's rate makes it. When ctx ends it returns at once,
// with Interrupted unless it just got to know better.
//
// Closing is idempotent: it may be repeated, at any time, by anybody.
func (c *Closer) Close(ctx context.Context, o Order) Verdict {
	return c.do(ctx, o, (*run).closeRound)
}

// Query finds out what became of an order and closes nothing: the verdict of a
// request that is not to be carried out any more. Closed and Paid rest on the
// same proof as those of Close; Failed says that the order is still open, or
// why it cannot be asked about, with CodeNotAsked when Config.Confirm is
// ConfirmNever. It is never MerchantRefused; the other classes, the budget and
// ctx are as they are for Close.
func (c *Closer) Query(ctx context.Context, o Order) Verdict {
	if c.cfg.Confirm == ConfirmNever {
		return Verdict{Class: Failed, Code: CodeNotAsked, Message: "the gateway was not asked: confirm is never"}
	}
	return c.do(ctx, o, (*run).queryRound)
}

// Refuse returns the verdict about an order for which no call can be made: its
// merchant is not known, or one of its fields cannot be sent. ok is false for
// every other order. It calls nobody, so that it need not wait for a gateway
// that is away; the merchants are those of this moment.
func (c *Closer) Refuse(o Order) (v Verdict, ok bool) {
	_, _, v, ok = c.identify(&o)
	return v, !ok
}

// identify returns the order's merchant and identity; for an order about which
// no call can be made ok is false, and v says why.
func (c *Closer) identify(o *Order) (m Merchant, id identity, v Verdict, ok bool) {
	m, known := c.cfg.Merchants.Merchant(o.MchID)
	if !known {
		return m, id, Verdict{Class: Failed, Code: CodeUnknownMerchant, Message: fmt.Sprintf("no merchant %q is configured", o.MchID)}, false
	}
	id, err := identify(o, &m)
	if err != nil {
		return m, id, Verdict{Class: Failed, Code: CodeInvalidRequest, Message: strings.ReplaceAll(err.Error(), "\n", "; ")}, false
	}
	return m, id, v, true
}

// begin prepares a run, which ends with end; where there can be none it returns
// nil, and why.
func (c *Closer) begin(ctx context.Context, o Order) (*run, Verdict) {
	m, id, v, ok := c.identify(&o)
	if !ok {
		return nil, v
	}
	r := runs.Get().(*run)
	r.c, r.ctx, r.order, r.place, r.m, r.id, r.lost = c, ctx, o, o.Place, m, id, o.Tried
	r.order.Place = nil // observers keep orders
	now := time.Now()
	r.created, r.pace = onOurClock(o.CreatedAt, now), newPace(&c.cfg, now)
	r.hosts, r.account = c.hostsOf(r.hosts, &m), c.accountOf(m)
	if len(r.hosts) == 0 || len(m.Keys) == 0 {
		r.end()
		return nil, Verdict{
			Class: MerchantRefused, Code: CodeMerchantIncomplete,
			Message: fmt.Sprintf("merchant %q has no key, or there is no host for it", o.MchID),
			Scope:   Scope{MchID: o.MchID},
		}
	}
	return r, Verdict{}
}

// hostsOf appends the hosts for a merchant, in order.
func (c *Closer) hostsOf(hosts []*host, m *Merchant) []*host {
	urls := m.Hosts
	if len(urls) == 0 {
		urls = c.cfg.Hosts
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range urls {
		u = strings.TrimRight(u, "/")
		h := c.hosts[u]
		if h == nil {
			h = &host{url: u, slots: newSlots(c.cfg.MaxConcurrency)}
			c.hosts[u] = h
		}
		hosts = append(hosts, h)
	}
	return hosts
}

// Hosts returns the health of each host called so far, sorted by URL.
func (c *Closer) Hosts() []HostHealth {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]HostHealth, 0, len(c.hosts))
	for _, h := range c.hosts {
		all = append(all, h.health())
	}
	slices.SortFunc(all, func(a, b HostHealth) int { return strings.Compare(a.URL, b.URL) })
	return all
}

// CloseIdleConnections closes connections that are not in use now. Call it
// when the Closer is not needed any more.
func (c *Closer) CloseIdleConnections() { c.transport.closeIdle() }
