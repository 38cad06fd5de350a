package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// purpose is what a connection is for. A broker works on the requests of a
// connection one at a time, so those that wait there for long have their own.
type purpose int

const (
	// asking is for all that is answered at once.
	asking purpose = iota
	// fetching is for fetches that wait for records.
	fetching
	// beating is for heartbeats alone: nothing may delay them.
	beating
	// joining is for JoinGroup and SyncGroup, which wait for all members, and
	// while nobody joins for commits and for what must not wait behind something
	// slow.
	joining
)

// purposeOf is the purpose of a request.
func purposeOf(req protocol.Message) purpose {
	switch req.ApiKey() {
	case protocol.Fetch:
		if waits(req) {
			return fetching
		}
	case protocol.Heartbeat:
		return beating
	case protocol.JoinGroup, protocol.SyncGroup:
		return joining
	}
	return asking
}

// waits reports whether a fetch request, of whatever type, waits for records.
func waits(req protocol.Message) bool {
	v := reflect.ValueOf(req)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return false
	}
	wait := v.Elem().FieldByName("MaxWaitTime")
	return wait.IsValid() && wait.CanInt() && wait.Int() > 0
}

const (
	// redialAfter is how soon a connection is tried again that could not be made;
	// it doubles up to redialAtMost. Dozens of partitions may ask for it, each in
	// its own time, and a refused password costs the broker a look-up each time.
	redialAfter  = 50 * time.Millisecond
	redialAtMost = 500 * time.Millisecond
)

// link is the way to one broker for one purpose: one connection at most, made
// when it is needed and again when it was lost.
type link struct {
	transport *transport
	address   string
	purpose   purpose

	mu        sync.Mutex
	conn      *conn
	dialling  *dialling
	failed    error         // of the last dial, nil if it was none
	again     time.Time     // until then a dial fails as the last one did
	pause     time.Duration // before again
	heldUntil time.Time     // by the broker's quotas
	parked    int           // JoinGroup and SyncGroup that are under way
}

// dialling is a connection on its way, which several requests may wait for.
type dialling struct {
	done chan struct{}
	conn *conn
	err  error
}

// open returns the connection, if need be a new one; of one that could not be
// made a moment ago it returns the error. A dial goes on when ctx ends: others
// wait for it too, or will.
func (l *link) open(ctx context.Context) (*conn, error) {
	l.mu.Lock()
	if c := l.conn; c != nil && c.usable() {
		l.mu.Unlock()
		return c, nil
	}
	d := l.dialling
	if d == nil && l.failed != nil && time.Now().Before(l.again) {
		err := l.failed
		l.mu.Unlock()
		return nil, err
	}
	if d == nil {
		d = &dialling{done: make(chan struct{})}
		if err := l.transport.spawn(func() { l.dial(d) }); err != nil {
			l.mu.Unlock()
			return nil, err
		}
		l.dialling = d
	}
	l.mu.Unlock()
	since := time.Now()
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, notConnected(l.address, time.Since(since))
		}
		return nil, ctx.Err()
	}
}

// dial connects, and then reads from the connection until it ends.
func (l *link) dial(d *dialling) {
	ctx, cancel := context.WithTimeout(l.transport.ctx, dialTimeout)
	c, err := l.transport.connect(ctx, l.address)
	var listener *ListenerError
	switch {
	case err == nil || errors.As(err, &listener):
	case l.transport.ctx.Err() != nil:
		err = errClosed
	case ctx.Err() != nil:
		err = fmt.Errorf("%w (%w)", notConnected(l.address, dialTimeout), err)
	}
	cancel()
	if err == nil {
		c.parks = l.purpose == joining
		c.answered = l.heard
		c.ended = l.transport.lost
		c.mu.Lock()
		c.rest(time.Now())
		c.mu.Unlock()
		err = l.transport.add(c)
	}
	l.mu.Lock()
	l.dialling = nil
	if err == nil {
		l.conn, d.conn, l.failed, l.pause = c, c, nil, 0
	} else {
		d.err, l.failed, l.pause = err, err, min(max(redialAfter, 2*l.pause), redialAtMost)
		l.again = time.Now().Add(l.pause)
	}
	l.mu.Unlock()
	close(d.done)
	if err != nil {
		l.transport.unreachable(l.address)
		return
	}
	c.read()
}

// heard is told of every answer and returns for how long the broker leaves what
// comes behind it unread.
func (l *link) heard(answer protocol.Message, version int16) time.Duration {
	wait := throttled(answer, version)
	if wait <= 0 || l.purpose == beating {
		return wait
	}
	l.mu.Lock()
	if until := time.Now().Add(wait); until.After(l.heldUntil) {
		l.heldUntil = until
	}
	l.mu.Unlock()
	if tell := l.transport.cfg.OnThrottle; tell != nil {
		tell(int(l.transport.brokerID(l.address)), apiOf(answer).String(), wait)
	}
	return wait
}

// holds is for how long the broker's quotas let no request through (KIP-219).
func (l *link) holds() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.heldUntil)
}

// held waits until they let one through, and reports whether that took time.
func (l *link) held(ctx context.Context, api protocol.ApiKey) (waited bool, err error) {
	for {
		wait := l.holds()
		if wait <= 0 {
			return waited, nil
		}
		waited = true
		if err := Sleep(ctx, wait); err != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return true, fmt.Errorf("broker %s throttles this client for %v more, by its quotas: %w", l.address, wait.Round(time.Millisecond), noAnswer(l.address, api, 0))
			}
			return true, ctx.Err()
		}
	}
}

// slow reports whether the broker has worked on one request for so long that
// others should go round it.
func (l *link) slow(now time.Time) bool {
	l.mu.Lock()
	c := l.conn
	l.mu.Unlock()
	return c != nil && c.slow(now)
}

// joins reports whether a JoinGroup or a SyncGroup is under way, behind which all
// else would wait.
func (l *link) joins() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parked > 0
}

// ask sends a request and returns its answer.
func (l *link) ask(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	if purposeOf(req) == joining {
		l.mu.Lock()
		l.parked++
		l.mu.Unlock()
		defer func() {
			l.mu.Lock()
			l.parked--
			l.mu.Unlock()
		}()
	}
	var f *frame
	for {
		c, err := l.open(ctx)
		if err != nil {
			return nil, err
		}
		waited, err := l.held(ctx, apiOf(req))
		if err != nil {
			return nil, err
		}
		least := time.Duration(0)
		if waited {
			least = afterQuotas
		}
		version, err := c.versions.both(l.address, apiOf(req))
		if err != nil {
			return nil, err
		}
		switch {
		case f == nil:
			if f, err = encode(req, version, c.clientID); err != nil {
				return nil, err
			}
			defer f.free()
		case f.version != version:
			return nil, fmt.Errorf("broker %s speaks another version of %s now: %w", l.address, f.api, errUnsent)
		}
		answer, err := c.roundTrip(ctx, f, least)
		if !errors.Is(err, errUnsent) {
			return answer, err
		}
	}
}

// notConnected is the error of a connection that has taken too long.
func notConnected(address string, waited time.Duration) error {
	return fmt.Errorf("broker %s: no connection within %v: %w", address, waited.Round(time.Millisecond), os.ErrDeadlineExceeded)
}
