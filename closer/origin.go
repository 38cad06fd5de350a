package closer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// http2Stays is how long a host that spoke HTTP/2 is left to net/http at
// least, whatever it speaks then: hosts behind one name may not all speak the same.
const http2Stays = time.Minute

// errHTTP2: the host wants to speak HTTP/2.
var errHTTP2 = errors.New("the host speaks HTTP/2")

// origin is a scheme and an address, with the connections to it that are kept.
// The one that was used last is taken first, so that no more are kept than
// there were calls at once within the last seconds. No goroutine waits for
// them: what has ended meanwhile is found when it is taken.
type origin struct {
	t    *transport
	addr string
	tls  *tls.Config // nil: plain HTTP

	// http2: its calls go over net/http, since spokeHTTP2 (in Unix nanoseconds).
	http2      atomic.Bool
	spokeHTTP2 atomic.Int64

	mu      sync.Mutex
	idle    []*wire       // oldest first
	dialers []*connecting // calls that wait for a connection, first come first served
	dialing int           // connections that are being made, for them or for others before
	reaper  *time.Timer
	reaping bool // the reaper will come
	closing bool // what is given back is closed
}

// originOf returns the origin of a URL. t.mu is held.
func (t *transport) originOf(scheme, host, addr string) *origin {
	key := scheme + "://" + addr
	o := t.origins[key]
	if o == nil {
		o = &origin{t: t, addr: addr}
		if scheme == "https" {
			o.tls = t.tls.Clone()
			o.tls.ServerName = host
			o.tls.NextProtos = []string{"h2", "http/1.1"}
		}
		t.origins[key] = o
	}
	return o
}

// wire returns a connection for a call; fresh: one that no other call had. The
// error is errHTTP2 where the host speaks that; nothing has been sent then.
func (o *origin) wire(ctx context.Context, deadline time.Time, fresh bool) (*wire, error) {
	if fresh {
		return o.dial(ctx, deadline)
	}
	w, c := o.take(ctx, deadline)
	if w != nil {
		return w, nil
	}
	return o.connect(c)
}

// connecting is a call that waits for a connection.
type connecting struct {
	ctx      context.Context
	deadline time.Time
	got      chan connected // has room for one

	// guarded by origin.mu
	dials  bool // one has been begun for it
	served bool // it has got one, or why there is none, or waits no more
}

type connected struct {
	wire *wire
	err  error
}

// connect makes a connection for c, which waits for one, or takes one that
// another call gives back before it is made: where new ones hang, calls go on
// with those there are. What is made too late is kept.
func (o *origin) connect(c *connecting) (*wire, error) {
	o.mu.Lock()
	o.dialMore()
	o.mu.Unlock()
	select {
	case got := <-c.got:
		return got.wire, got.err
	case <-c.ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.served { // at the same moment
		got := <-c.got
		return got.wire, got.err
	}
	o.serve(slices.Index(o.dialers, c), connected{})
	return nil, c.ctx.Err()
}

// dialMore begins connections for those that wait, but no more at once than there
// may be calls: those that were begun for calls that have got another one
// meanwhile may all hang. o.mu is held.
func (o *origin) dialMore() {
	for _, c := range o.dialers {
		if o.dialing >= max(o.t.mostIdle, len(o.dialers)) {
			return
		}
		if !c.dials {
			c.dials = true
			o.dialing++
			go o.dialFor(c)
		}
	}
}

// dialFor makes a connection for c. It ends with its context, and when the
// time-outs of the connection are over.
func (o *origin) dialFor(c *connecting) {
	w, err := o.dial(c.ctx, c.deadline)
	o.mu.Lock()
	o.dialing--
	served := c.served
	if !served {
		o.serve(slices.Index(o.dialers, c), connected{w, err})
	}
	o.mu.Unlock()
	if served && w != nil {
		o.keep(w)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dialMore()
}

// serve gives a connection, or an error, to the i-th of those that wait. o.mu is held.
func (o *origin) serve(i int, got connected) {
	c := o.dialers[i]
	o.dialers = slices.Delete(o.dialers, i, i+1)
	c.served = true
	c.got <- got
}

// dial makes a connection. Where the host chooses HTTP/2 there is none for us.
func (o *origin) dial(ctx context.Context, deadline time.Time) (*wire, error) {
	bounded, cancel := o.bounded(ctx, deadline)
	raw, err := o.t.dial(bounded, "tcp", o.addr)
	cancel()
	if err != nil {
		return nil, err
	}
	if o.tls == nil {
		return newWire(raw, raw, nil), nil
	}
	beneath := newRecords(raw)
	c := tls.Client(beneath, o.tls)
	bounded, cancel = o.bounded(ctx, deadline)
	defer cancel()
	if err := c.HandshakeContext(bounded); err != nil {
		raw.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	if c.ConnectionState().NegotiatedProtocol == "h2" {
		c.Close()
		o.spokeHTTP2.Store(time.Now().UnixNano())
		o.http2.Store(true)
		return nil, errHTTP2
	}
	return newWire(c, raw, beneath), nil
}

// bounded bounds a step of making a connection.
func (o *origin) bounded(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if d := time.Now().Add(o.t.connectTimeout); d.Before(deadline) {
		deadline = d
	}
	return context.WithDeadline(ctx, deadline)
}

// spokeHTTP1 takes in that the host has answered net/http over HTTP/1.
func (o *origin) spokeHTTP1() {
	if time.Now().UnixNano()-o.spokeHTTP2.Load() > int64(http2Stays) {
		o.http2.Store(false)
	}
}

// take returns the connection that was used last, which may have ended. Where
// there is none it returns who waits for one from then on.
func (o *origin) take(ctx context.Context, deadline time.Time) (*wire, *connecting) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing = false
	last := len(o.idle) - 1
	if last < 0 || now.Sub(o.idle[last].since) >= idleTimeout {
		c := &connecting{ctx: ctx, deadline: deadline, got: make(chan connected, 1)}
		o.dialers = append(o.dialers, c)
		return nil, c // all that there are are for the reaper
	}
	w := o.idle[last]
	o.idle[last] = nil
	o.idle = o.idle[:last]
	return w, nil
}

// keep takes a connection back whose reply has been read to its end, or one
// that was made in vain.
func (o *origin) keep(w *wire) {
	o.mu.Lock()
	if len(o.dialers) > 0 {
		o.serve(0, connected{wire: w})
		o.mu.Unlock()
		return
	}
	if o.closing || len(o.idle) >= o.t.mostIdle {
		o.mu.Unlock()
		w.close()
		return
	}
	defer o.mu.Unlock()
	w.used, w.since = true, time.Now()
	o.idle = append(o.idle, w)
	if !o.reaping {
		o.reap(idleTimeout)
	}
}

// reap has the reaper come. o.mu is held.
func (o *origin) reap(in time.Duration) {
	o.reaping = true
	if o.reaper == nil {
		o.reaper = time.AfterFunc(in, o.reapIdle)
	} else {
		o.reaper.Reset(in)
	}
}

// reapIdle closes what has been idle for too long.
func (o *origin) reapIdle() {
	now := time.Now()
	o.mu.Lock()
	n := 0
	for n < len(o.idle) && now.Sub(o.idle[n].since) >= idleTimeout {
		n++
	}
	old := append([]*wire(nil), o.idle[:n]...)
	left := copy(o.idle, o.idle[n:])
	clear(o.idle[left:])
	o.idle = o.idle[:left]
	o.reaping = false
	if left > 0 {
		o.reap(o.idle[0].since.Add(idleTimeout).Sub(now))
	}
	o.mu.Unlock()
	closeAll(old)
}

// closeIdle closes what is kept, and what is given back until the next take.
func (o *origin) closeIdle() {
	o.mu.Lock()
	all := o.idle
	o.idle, o.closing, o.reaping = nil, true, false
	if o.reaper != nil {
		o.reaper.Stop()
	}
	o.mu.Unlock()
	closeAll(all)
}

func closeAll(wires []*wire) {
	for _, w := range wires {
		w.close()
	}
}
