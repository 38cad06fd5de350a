package world

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Network is an in-memory network of named hosts. It has no goroutines of its
// own, and whoever waits in it waits on channels and timers, so that a
// testing/synctest bubble sees a waiting program as blocked and moves its
// clock. Make it inside of the bubble that uses it.
//
// It is safe for concurrent use.
type Network struct {
	mu      sync.Mutex
	hosts   map[string]*Host
	conns   map[*Conn]struct{}
	ways    map[way]quality
	held    map[*Requests]struct{}
	armed   map[*Requests]func() // what is done before the next of them is sent
	changed chan struct{}        // closed and renewed for dials that hang
	ports   int                  // the last ephemeral port given away
}

// NewNetwork makes an empty network.
func NewNetwork() *Network {
	return &Network{
		hosts:   make(map[string]*Host),
		conns:   make(map[*Conn]struct{}),
		ways:    make(map[way]quality),
		held:    make(map[*Requests]struct{}),
		armed:   make(map[*Requests]func()),
		changed: make(chan struct{}),
		ports:   firstEphemeralPort,
	}
}

const firstEphemeralPort = 32768

// Host is one run of a machine or of a process on it: [Host.Crash] ends it
// for good, and a Host booted later under the same name is another one.
type Host struct {
	network   *Network
	name      string
	listeners map[int]*listener // guarded by network.mu
	crashed   bool
	exempt    bool
}

// Boot starts a host. A running one of that name crashes first.
func (n *Network) Boot(name string) *Host {
	n.mu.Lock()
	old := n.hosts[name]
	n.mu.Unlock()
	if old != nil {
		old.Crash()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &Host{network: n, name: name, listeners: make(map[int]*listener)}
	n.hosts[name] = h
	return h
}

// Exempt keeps the faults of all paths away from the host: it watches.
func (h *Host) Exempt() {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	h.exempt = true
}

// Crash ends the host as SIGKILL ends a process: all of its connections are
// reset, its listeners are gone, and whatever of it still runs can neither
// dial nor listen any more. Bytes that had not arrived are lost. Other hosts
// that dial it are refused.
func (h *Host) Crash() {
	n := h.network
	n.mu.Lock()
	h.crashed = true
	listeners := h.listeners
	h.listeners = nil
	conns := n.matching(func(c *Conn) bool { return c.host == h })
	n.wakeDials()
	n.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	for _, c := range conns {
		c.reset()
	}
}

// Listen accepts connections to a port of the host; 0 is any free one.
func (h *Host) Listen(port int) (net.Listener, error) {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	at := Addr{h.name, port}
	switch {
	case h.crashed:
		return nil, opError("listen", nil, at, syscall.ENETDOWN)
	case port == 0:
		n.ports++
		at.Port = n.ports
	case h.listeners[port] != nil:
		return nil, opError("listen", nil, at, syscall.EADDRINUSE)
	}
	l := &listener{host: h, addr: at, queue: make(chan *Conn, backlog), closed: make(chan struct{})}
	h.listeners[at.Port] = l
	return l, nil
}

// DialContext opens a connection to "host:port". It fits into net/http's
// Transport, kafka-go's Transport and franz-go's Dialer. A name that nobody
// ever booted is a DNS error, a port that nobody listens to is refused, and a
// frozen way hangs until ctx ends or the way heals, for as long as the
// operating system would: dialTimeout.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	name, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, opError("dial", nil, nil, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, opError("dial", nil, nil, &net.AddrError{Err: "port is not a number", Addr: address})
	}
	to := Addr{name, port}
	if err := h.handshake(ctx, to); err != nil {
		return nil, opError("dial", nil, to, err)
	}
	c, err := h.connect(to)
	if err != nil {
		return nil, opError("dial", nil, to, err)
	}
	return c, nil
}

// dialTimeout is how long a dial without a deadline goes on, as in Linux with
// tcp_syn_retries at its default.
const dialTimeout = 127 * time.Second

// handshake waits for as long as a TCP handshake takes on the way to a host.
func (h *Host) handshake(ctx context.Context, to Addr) error {
	n := h.network
	giveUp := time.NewTimer(dialTimeout)
	defer giveUp.Stop()
	for {
		n.mu.Lock()
		there, back := n.between(h.name, to.Host), n.between(to.Host, h.name)
		changed := n.changed
		crashed := h.crashed
		n.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return dialError(err)
		}
		if crashed {
			return syscall.ENETDOWN
		}
		var arrived <-chan time.Time
		if !there.frozen && !back.frozen {
			delay := there.latency + back.latency
			if delay == 0 {
				return nil
			}
			t := time.NewTimer(delay)
			defer t.Stop()
			arrived = t.C
		}
		select {
		case <-arrived:
			return nil
		case <-changed:
		case <-ctx.Done():
			return dialError(ctx.Err())
		case <-giveUp.C:
			return syscall.ETIMEDOUT
		}
	}
}

// dialError is what the net package says where a context ended a dial.
func dialError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	return errors.New("operation was canceled")
}

// connect makes the two ends of a connection and hands one to the listener.
func (h *Host) connect(to Addr) (*Conn, error) {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	peer := n.hosts[to.Host]
	switch {
	case h.crashed:
		return nil, syscall.ENETDOWN
	case peer == nil:
		return nil, &net.DNSError{Err: "no such host", Name: to.Host, IsNotFound: true}
	}
	l := peer.listeners[to.Port]
	if l == nil || n.between(h.name, to.Host).refused || n.between(to.Host, h.name).refused {
		return nil, syscall.ECONNREFUSED
	}
	n.ports++
	near, far := n.pair(h, peer, Addr{h.name, n.ports}, to)
	select {
	case l.queue <- far:
	default: // as with a full backlog
		return nil, syscall.ECONNREFUSED
	}
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	return near, nil
}

// backlog bounds the connections that wait to be accepted.
const backlog = 1024

// openConns names the connections that somebody has not closed or reset, once
// for each open end: none when everybody has tidied up.
func (n *Network) openConns() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for c := range n.conns {
		names = append(names, c.local.String()+" -> "+c.remote.String())
	}
	slices.Sort(names)
	return names
}

// matching returns the open ends that f chooses. n.mu is held.
func (n *Network) matching(f func(*Conn) bool) []*Conn {
	var found []*Conn
	for c := range n.conns {
		if f(c) {
			found = append(found, c)
		}
	}
	return found
}

// wakeDials lets dials that hang look again. n.mu is held.
func (n *Network) wakeDials() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// Addr is a port of a host.
type Addr struct {
	Host string
	Port int
}

// Network is always "tcp".
func (a Addr) Network() string { return "tcp" }

func (a Addr) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// listener implements net.Listener.
type listener struct {
	host      *Host
	addr      Addr
	queue     chan *Conn
	closeOnce sync.Once
	closed    chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, opError("accept", nil, l.addr, net.ErrClosed)
	}
}

// Close lets nobody in any more; connections in the queue are reset.
func (l *listener) Close() error {
	err := opError("close", nil, l.addr, net.ErrClosed)
	l.closeOnce.Do(func() {
		err = nil
		n := l.host.network
		n.mu.Lock()
		if l.host.listeners[l.addr.Port] == l {
			delete(l.host.listeners, l.addr.Port)
		}
		n.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.queue:
				c.reset()
			default:
				return
			}
		}
	})
	return err
}

func (l *listener) Addr() net.Addr { return l.addr }

func opError(op string, local, remote net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: local, Addr: remote, Err: err}
}
