package closer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
	idle    []*wire // oldest first
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

// dial makes a connection. The error is errHTTP2 where it is not for a wire;
// nothing has been sent then.
func (o *origin) dial(ctx context.Context, deadline time.Time) (*wire, error) {
	connecting, cancel := o.connecting(ctx, deadline)
	raw, err := o.t.dial(connecting, "tcp", o.addr)
	cancel()
	if err != nil {
		return nil, err
	}
	if o.tls == nil {
		return newWire(raw, raw, nil), nil
	}
	beneath := newRecords(raw)
	c := tls.Client(beneath, o.tls)
	connecting, cancel = o.connecting(ctx, deadline)
	defer cancel()
	if err := c.HandshakeContext(connecting); err != nil {
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

// connecting bounds a step of making a connection.
func (o *origin) connecting(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
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

// take returns the connection that was used last, nil where there is none. It
// may have ended.
func (o *origin) take() *wire {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing = false
	last := len(o.idle) - 1
	if last < 0 || now.Sub(o.idle[last].since) >= idleTimeout {
		return nil // all of them are for the reaper
	}
	w := o.idle[last]
	o.idle[last] = nil
	o.idle = o.idle[:last]
	return w
}

// keep takes a connection back whose reply has been read to its end.
func (o *origin) keep(w *wire) {
	o.mu.Lock()
	if o.closing || len(o.idle) >= o.t.mostIdle {
		o.mu.Unlock()
		w.close()
		return
	}
	defer o.mu.Unlock()
	w.since = time.Now()
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
