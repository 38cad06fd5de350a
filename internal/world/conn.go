package world

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is one end of a connection. net.Pipe would not do: it has no buffer, so
// that a writer waits for its reader, and a frozen peer would block what a
// real network lets a program write.
//
// It is safe for concurrent use, as a net.Conn is.
type Conn struct {
	network       *Network
	host          *Host // whose end this is
	local, remote Addr
	dialled       bool
	apis          uint64 // of the requests to a broker so far, a bit for each; guarded by network.mu
	stranded      bool   // guarded by network.mu
	peer          *Conn
	in, out       *stream
	abort         atomic.Bool // closing takes back what has not arrived
	closeOnce     sync.Once
	goneOnce      sync.Once
	gone          chan struct{} // closed when this end is closed or the connection is reset
}

// bufferSize is what a way holds of bytes that nobody has read: about what
// the two kernels of a TCP connection do.
const bufferSize = 256 << 10

// pair makes the two ends of a connection. n.mu is held.
func (n *Network) pair(from, to *Host, local, remote Addr) (near, far *Conn) {
	there, back := &stream{quality: n.between(from.name, to.name)}, &stream{quality: n.between(to.name, from.name)}
	near = &Conn{network: n, host: from, local: local, remote: remote, dialled: true, in: back, out: there, gone: make(chan struct{})}
	far = &Conn{network: n, host: to, local: remote, remote: local, in: there, out: back, gone: make(chan struct{})}
	near.peer, far.peer = far, near
	return near, far
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = opError("read", c.local, c.remote, err)
	}
	return n, err
}

// Write implements net.Conn. As with TCP, bytes that were written need not
// arrive.
func (c *Conn) Write(b []byte) (int, error) {
	c.carries(b)
	n, err := c.out.write(b)
	if err != nil {
		err = opError("write", c.local, c.remote, err)
	}
	return n, err
}

// SetLinger does what that of net.TCPConn does: with 0, closing takes back what
// has not arrived. Other values change nothing.
func (c *Conn) SetLinger(seconds int) error {
	c.abort.Store(seconds == 0)
	return nil
}

// Close closes this end: the other one reads what is on its way, then EOF.
func (c *Conn) Close() error {
	err := opError("close", c.local, c.remote, net.ErrClosed)
	c.closeOnce.Do(func() {
		err = nil
		c.out.change(func(s *stream) {
			s.writerClosed = true
			if c.abort.Load() && !s.quality.received {
				s.segments, s.bytes = nil, 0
			}
			s.segments = append(s.segments, segment{eof: true, due: s.arrival(0)})
		})
		c.in.change(func(s *stream) { s.readerClosed = true })
		c.depart()
	})
	return err
}

// reset breaks both ends.
func (c *Conn) reset() {
	for _, way := range []*stream{c.in, c.out} {
		way.change(func(s *stream) { s.broken, s.segments, s.bytes = true, nil, 0 })
	}
	c.depart()
	c.peer.depart()
}

// depart takes this end off the network's list.
func (c *Conn) depart() {
	c.goneOnce.Do(func() {
		c.network.mu.Lock()
		delete(c.network.conns, c)
		c.network.mu.Unlock()
		close(c.gone)
	})
}

// PeerGone is closed when the other end was closed or the connection was
// reset, at once, also where the network would not let this end know.
func (c *Conn) PeerGone() <-chan struct{} { return c.peer.gone }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.change(func(s *stream) { s.readDeadline = t })
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.change(func(s *stream) { s.writeDeadline = t })
	return nil
}

// stream is one direction of a connection.
type stream struct {
	mu       sync.Mutex
	quality  quality
	segments []segment // on their way or arrived, oldest first
	bytes    int       // in segments
	lineFree time.Time // when the last byte is through the bottleneck
	lastDue  time.Time // when the last segment arrives: bytes do not overtake

	writerClosed bool // after the segments comes EOF
	readerClosed bool
	broken       bool

	readDeadline, writeDeadline time.Time
	changed                     chan struct{} // closed when anything changes; nil while nobody waits
}

// segment is what one write sent. The last one may be empty: EOF.
type segment struct {
	data []byte
	due  time.Time // when it arrives
	eof  bool
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readerClosed:
			return 0, net.ErrClosed
		case s.broken:
			return 0, syscall.ECONNRESET
		case expired(s.readDeadline):
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		}
		var due time.Time
		if len(s.segments) > 0 && !s.quality.frozen {
			first := &s.segments[0]
			if !first.due.After(time.Now()) {
				if first.eof {
					return 0, io.EOF
				}
				return s.take(b), nil
			}
			due = first.due
		}
		s.wait(s.readDeadline, due)
	}
}

// take copies out what has arrived.
func (s *stream) take(b []byte) int {
	n := 0
	for n < len(b) && len(s.segments) > 0 {
		first := &s.segments[0]
		if first.eof || first.due.After(time.Now()) {
			break
		}
		m := copy(b[n:], first.data)
		n += m
		if first.data = first.data[m:]; len(first.data) == 0 {
			s.segments[0] = segment{}
			s.segments = s.segments[1:]
		}
	}
	s.bytes -= n
	s.broadcast()
	return n
}

func (s *stream) write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for {
		switch {
		case s.writerClosed:
			return n, net.ErrClosed
		case s.broken:
			return n, syscall.ECONNRESET
		case s.readerClosed && !s.quality.frozen:
			return n, syscall.EPIPE
		case expired(s.writeDeadline):
			return n, os.ErrDeadlineExceeded
		case n == len(b):
			return n, nil
		}
		if room := bufferSize - s.bytes; room > 0 {
			part := b[n:min(n+room, len(b))]
			s.segments = append(s.segments, segment{data: append([]byte(nil), part...), due: s.arrival(len(part))})
			s.bytes += len(part)
			n += len(part)
			s.broadcast()
			continue
		}
		s.wait(s.writeDeadline, time.Time{})
	}
}

// arrival is when bytes that are sent now come out at the other end.
func (s *stream) arrival(n int) time.Time {
	due := time.Now()
	if s.quality.bytesPerSecond > 0 {
		if s.lineFree.After(due) {
			due = s.lineFree
		}
		due = due.Add(time.Duration(n) * time.Second / time.Duration(s.quality.bytesPerSecond))
		s.lineFree = due
	}
	if due = due.Add(s.quality.latency); due.Before(s.lastDue) {
		due = s.lastDue
	}
	s.lastDue = due
	return due
}

// change changes the stream and lets those who wait look again.
func (s *stream) change(do func(*stream)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(s)
	s.broadcast()
}

func expired(deadline time.Time) bool {
	return !deadline.IsZero() && !deadline.After(time.Now())
}

// wait waits, without the lock, until anything changes or the earlier of two
// times has come; zero times never come.
func (s *stream) wait(deadline, due time.Time) {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	changed := s.changed
	at := deadline
	if at.IsZero() || !due.IsZero() && due.Before(at) {
		at = due
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	if at.IsZero() {
		<-changed
		return
	}
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	}
}

func (s *stream) broadcast() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
