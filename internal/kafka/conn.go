package kafka

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

const (
	// inFlight bounds the requests on a connection that are not answered.
	inFlight = 32
	// maxAnswer bounds what an answer may say of its size, in bytes. Nothing is
	// asked for that brings so much: what claims more is not Kafka.
	maxAnswer = 256 << 20
	// afterQuotas is the least time for a request that has spent its own on the
	// broker's quotas: that it is late says nothing of the connection.
	afterQuotas = 2 * time.Second
	// idleTimeout closes a connection that nobody uses, long before a broker
	// does (connections.max.idle.ms, 10 min by default).
	idleTimeout = 2 * time.Minute
)

// errUnsent says that a connection was over before any of a request was
// written: it can go over another one.
var errUnsent = errors.New("the connection is over")

// errIdle ends a connection that is not needed any more.
var errIdle = errors.New("not needed any more")

// conn is one connection to a broker, authenticated and ready. Requests are
// pipelined: written one behind the other, and answered in the same order. A
// broker works on the requests of a connection one at a time.
//
// The oldest request that is not answered has the connection: when its time is
// over the connection is closed, and all requests on it fail. A request that
// waited behind another one gets its whole time when its turn comes, so that
// one that was slow does not end those behind it. Who asked goes when its own
// context ends; the answer is thrown away when it comes.
type conn struct {
	net      net.Conn
	in       *bufio.Reader
	address  string
	tls      bool
	clientID string
	versions versions
	// parks says that requests wait at the broker for long: the connection is
	// closed when nobody waits for its answers any more.
	parks bool
	// session is when the broker ends what SASL has begun (KIP-368), a little
	// before; zero for never.
	session time.Time
	// answered is told of each answer and returns for how long the broker leaves
	// what comes behind it unread, by its quotas (KIP-219); ended is told once how
	// the connection ended.
	answered func(answer protocol.Message, version int16) time.Duration
	ended    func(c *conn, why error)

	room  chan struct{} // holds one for each request in flight
	write chan struct{} // holds one while a request is written
	over  chan struct{} // closed with err set

	mu      sync.Mutex
	id      int32     // of the last request: the correlation id
	queue   []*call   // written or being written, not answered; oldest first
	since   time.Time // when the oldest one came to be the oldest
	due     time.Time
	retired bool // no new requests; it closes when the queue is empty
	err     error
}

// call is a request on a connection.
type call struct {
	api      protocol.ApiKey
	version  int16
	id       int32
	deadline time.Time
	patience time.Duration
	left     bool // nobody waits for it
	done     chan reply
}

type reply struct {
	answer protocol.Message
	err    error
}

// frame is a request as it goes over the wire, but for its correlation id. It
// is written once: kafka-go reads the records of a request empty.
type frame struct {
	api      protocol.ApiKey
	version  int16
	buffer   *bytes.Buffer
	answered bool // some are not
}

// buffers are for frames, large ones for those with records.
var buffers, largeBuffers = sync.Pool{New: newBuffer}, sync.Pool{New: newBuffer}

func newBuffer() any { return new(bytes.Buffer) }

// keptBuffer is the size up to which a buffer is kept for other frames.
const keptBuffer = 1 << 20

// encode renders a request in a version. Who asks for a frame frees it.
func encode(req protocol.Message, version int16, clientID string) (*frame, error) {
	f := &frame{api: apiOf(req), version: version, answered: true}
	f.buffer = f.buffers().Get().(*bytes.Buffer)
	if silent, ok := req.(interface{ HasResponse() bool }); ok {
		f.answered = silent.HasResponse()
	}
	if err := f.render(req, clientID); err != nil {
		f.free()
		return nil, fmt.Errorf("%s: %w", f.api, err)
	}
	return f, nil
}

func (f *frame) render(req protocol.Message, clientID string) error {
	if p, ok := req.(*produceRequest); ok {
		f.buffer.Grow(p.size())
		out, err := p.appendTo(f.buffer.AvailableBuffer(), f.version, clientID)
		f.buffer.Write(out) // where it stands already, if there was room
		return err
	}
	if p, ok := req.(protocol.PreparedMessage); ok {
		p.Prepare(f.version)
	}
	if err := protocol.WriteRequest(f.buffer, f.version, 0, clientID, req); err != nil {
		return err
	}
	// It follows the size (Kafka's protocol guide, request header).
	binary.BigEndian.PutUint16(f.buffer.Bytes()[4:], uint16(f.api))
	return nil
}

// buffers are those that its buffer is of.
func (f *frame) buffers() *sync.Pool {
	if f.api == protocol.Produce {
		return &largeBuffers
	}
	return &buffers
}

func (f *frame) free() {
	if f.buffer.Cap() <= keptBuffer {
		f.buffer.Reset()
		f.buffers().Put(f.buffer)
	}
	f.buffer = nil
}

// number writes the correlation id into a frame: it follows the size, the API
// and the version (Kafka's protocol guide, request header).
func (f *frame) number(id int32) { binary.BigEndian.PutUint32(f.buffer.Bytes()[8:], uint32(id)) }

// roundTrip sends a request and waits for its answer. The context should have
// a deadline: without one the broker gets requestTimeout, and the caller waits
// for what comes of that. The broker gets least in any case. The error is
// errUnsent where nothing was written.
func (c *conn) roundTrip(ctx context.Context, f *frame, least time.Duration) (protocol.Message, error) {
	if err := c.take(ctx, c.room, f.api); err != nil {
		return nil, err
	}
	if err := c.take(ctx, c.write, f.api); err != nil {
		<-c.room
		return nil, err
	}
	k, err := c.send(ctx, f, least)
	<-c.write
	if errors.Is(err, errUnsent) || !f.answered {
		<-c.room // read does it for what is answered; of what has ended nobody needs it
	}
	if err != nil || !f.answered {
		return nil, err
	}
	select {
	case r := <-k.done:
		return r.answer, r.err
	case <-ctx.Done():
		c.leave(ctx, k)
		return nil, c.late(ctx, k.api, k.patience)
	}
}

// take takes a place, or fails when ctx ends or the connection does.
func (c *conn) take(ctx context.Context, place chan struct{}, api protocol.ApiKey) error {
	since := time.Now()
	select {
	case place <- struct{}{}:
		return nil
	case <-c.over:
		return errUnsent
	case <-ctx.Done():
		return c.late(ctx, api, time.Since(since))
	}
}

// late is the error of a request whose context has ended.
func (c *conn) late(ctx context.Context, api protocol.ApiKey, waited time.Duration) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	return noAnswer(c.address, api, waited)
}

// noAnswer is the error of a request whose time is over. It is a time-out of
// the network, not of a context: the context of who asks may have much time.
func noAnswer(address string, api protocol.ApiKey, waited time.Duration) error {
	return fmt.Errorf("broker %s has not answered %s within %v: %w", address, api, waited.Round(time.Millisecond), os.ErrDeadlineExceeded)
}

// send writes a request. c.write is held.
func (c *conn) send(ctx context.Context, f *frame, least time.Duration) (*call, error) {
	now := time.Now()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = now.Add(requestTimeout)
	}
	deadline = later(deadline, now.Add(least))
	k := &call{api: f.api, version: f.version, deadline: deadline, patience: deadline.Sub(now), done: make(chan reply, 1)}
	c.mu.Lock()
	if c.err != nil || c.retired {
		c.mu.Unlock()
		return nil, errUnsent
	}
	c.id++
	k.id = c.id
	f.number(k.id)
	if f.answered {
		if c.queue = append(c.queue, k); len(c.queue) == 1 {
			c.since = now
			c.expect(deadline)
		}
	}
	c.mu.Unlock()
	c.net.SetWriteDeadline(deadline) //nolint:errcheck // what is closed fails to write
	if _, err := c.net.Write(f.buffer.Bytes()); err != nil {
		c.end(fmt.Errorf("broker %s: %w", c.address, err))
		return k, fmt.Errorf("broker %s: %s: %w", c.address, f.api, err)
	}
	return k, nil
}

// expect says until when the next answer must have come. c.mu is held.
func (c *conn) expect(due time.Time) {
	c.due = due
	c.net.SetReadDeadline(due) //nolint:errcheck // what is closed fails to read
}

// rest says until when a connection without requests is kept. c.mu is held.
func (c *conn) rest(now time.Time) {
	due := now.Add(idleTimeout)
	if !c.session.IsZero() && c.session.Before(due) {
		due = c.session
	}
	c.expect(due)
}

// leave takes note that nobody waits for an answer any more. Where nobody waits
// for any, and the time of the last one was over or requests are parked here,
// the connection is no use: the next request would wait behind all of them.
func (c *conn) leave(ctx context.Context, k *call) {
	late := errors.Is(ctx.Err(), context.DeadlineExceeded) && !time.Now().Before(k.deadline)
	c.mu.Lock()
	k.left = true
	// One that is not in the queue was answered at the same moment.
	wanted := !c.parks && !late || !slices.Contains(c.queue, k)
	for _, k := range c.queue {
		wanted = wanted || !k.left
	}
	c.retired = c.retired || !wanted // nobody may come in between
	c.mu.Unlock()
	switch {
	case wanted:
	case late:
		c.end(noAnswer(c.address, k.api, k.patience))
	default:
		c.end(errIdle)
	}
}

// retire lets the connection go: it takes no more requests and closes when the
// last one is answered.
func (c *conn) retire() {
	c.mu.Lock()
	c.retired = true
	free := len(c.queue) == 0
	c.mu.Unlock()
	if free {
		c.end(errIdle)
	}
}

// usable reports whether new requests may be sent.
func (c *conn) usable() bool {
	c.mu.Lock()
	usable := c.err == nil && !c.retired
	worn := usable && !c.session.IsZero() && !time.Now().Before(c.session)
	c.mu.Unlock()
	if worn {
		c.retire()
	}
	return usable && !worn
}

// busy reports whether a request is not answered yet.
func (c *conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0
}

// slow reports whether the oldest request has had the connection for longer than
// slowAfter.
func (c *conn) slow(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && len(c.queue) > 0 && now.Sub(c.since) > slowAfter
}

// end closes the connection, and all requests on it fail. Only the first
// reason counts.
func (c *conn) end(why error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = why
	queue := c.queue
	c.queue = nil
	c.mu.Unlock()
	close(c.over)
	if len(queue) > 0 {
		abandon(c.net)
	}
	c.net.Close()
	for _, k := range queue {
		k.done <- reply{err: fmt.Errorf("%w (under way: %s)", why, k.api)}
	}
	c.ended(c, why)
}

// abandon lets the kernel forget what it has not delivered when a connection is
// closed (RFC 9293, section 3.10.4, abort): otherwise a request that was given up
// could still arrive minutes later, behind the one that was sent in its place.
func abandon(c net.Conn) {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = over.NetConn()
	}
	if tcp, ok := c.(interface{ SetLinger(seconds int) error }); ok {
		tcp.SetLinger(0) //nolint:errcheck // what is closed has nothing to deliver
	}
}

// read reads answers until the connection ends.
func (c *conn) read() {
	for {
		first, err := c.in.Peek(8)
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			if err = c.overdue(); err == nil {
				continue
			}
		}
		if err != nil {
			c.end(c.broken(err))
			return
		}
		k, err := c.oldest(first)
		if err != nil {
			c.end(err)
			return
		}
		answer, err := decode(c.in, k.api, k.version)
		if err != nil {
			c.end(c.broken(fmt.Errorf("read the answer to %s: %w", k.api, err)))
			return
		}
		if !c.finish(k, answer, c.answered(answer, k.version)) {
			return
		}
	}
}

// broken is the error of a connection that err has ended.
func (c *conn) broken(err error) error {
	if _, foreign := errors.AsType[*ListenerError](err); foreign || errors.Is(err, errIdle) {
		return err
	}
	return fmt.Errorf("broker %s: connection lost: %w", c.address, err)
}

// overdue is called when a deadline has passed; it returns an error where that
// is the end.
func (c *conn) overdue() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case time.Now().Before(c.due): // a request has come in the meantime
		return nil
	case len(c.queue) == 0:
		c.retired = true // nobody may come in between
		return errIdle
	}
	return noAnswer(c.address, c.queue[0].api, c.queue[0].patience)
}

// oldest is the request that an answer belongs to, by its first bytes.
func (c *conn) oldest(first []byte) (*call, error) {
	size, id := int64(int32(binary.BigEndian.Uint32(first))), int32(binary.BigEndian.Uint32(first[4:]))
	if err := foreign(c.address, c.tls, first, size); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.queue) == 0:
		return nil, fmt.Errorf("broker %s answers what nobody has asked", c.address)
	case c.queue[0].id != id:
		return nil, fmt.Errorf("broker %s answers request %d instead of %d (%s)", c.address, id, c.queue[0].id, c.queue[0].api)
	}
	return c.queue[0], nil
}

// finish hands over an answer; the next request has the connection, as soon as the
// broker reads it. It reports whether there is more to read.
func (c *conn) finish(k *call, answer protocol.Message, unread time.Duration) bool {
	now := time.Now()
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return false
	}
	c.queue[0] = nil
	c.queue = c.queue[1:]
	free := c.retired && len(c.queue) == 0
	if len(c.queue) > 0 {
		next := c.queue[0]
		c.since = now
		c.expect(later(next.deadline, now.Add(unread+next.patience)))
	} else {
		c.rest(now)
	}
	c.mu.Unlock()
	<-c.room
	k.done <- reply{answer: answer}
	if free {
		c.end(errIdle)
	}
	return !free
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// decode reads an answer. What kafka-go cannot read must not end the process.
func decode(in *bufio.Reader, api protocol.ApiKey, version int16) (answer protocol.Message, err error) {
	defer func() {
		if r := recover(); r != nil {
			answer, err = nil, fmt.Errorf("kafka-go cannot read it: %v", r)
		}
	}()
	_, answer, err = protocol.ReadResponse(in, placeOf(api), version)
	return answer, err
}
