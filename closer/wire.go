package closer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"time"
)

// wire is one HTTP/1.1 connection. It belongs to one call at a time, whose
// goroutine writes and reads it, or to its origin while it is idle.
type wire struct {
	conn net.Conn // raw, or TLS over it
	raw  net.Conn
	tls  *records // nil: plain
	// quiet reports that the other side has sent nothing and not ended, as far
	// as the kernel knows; nil where it cannot be asked.
	quiet func() bool
	cut   func() // ends what is being written or read

	in    *bufio.Reader // over the wire itself, see Read
	left  int64         // bytes that may still be read
	full  bool          // the last Read got all that it had room for
	out   []byte        // the last request
	used  bool          // a call has been over it, or it was idle: it may have ended
	since time.Time     // when it became idle
}

// newWire makes a wire of a connection; tls is what lies between it and raw,
// nil where they are the same.
func newWire(conn, raw net.Conn, tls *records) *wire {
	w := &wire{conn: conn, raw: raw, tls: tls, quiet: quietness(raw)}
	w.cut = func() {
		raw.SetDeadline(time.Unix(1, 0)) //nolint:errcheck // what is closed needs no cutting
	}
	// Its size is also the most that a trailer may have.
	w.in = bufio.NewReaderSize(w, 4<<10)
	return w
}

// fate is what becomes of a wire after a call.
type fate int

const (
	abortWire  fate = iota // it is not for another call
	keepWire               // it is
	unusedWire             // it had ended: nothing was sent over it
)

var (
	errNothingSent = errors.New("the connection had ended")
	errHungUp      = errors.New("the gateway ended the connection without a reply")
)

// exchange writes one request and reads its whole reply into buf.
func (w *wire) exchange(ctx context.Context, deadline time.Time, to *target, doc []byte, buf *bytes.Buffer, fresh bool) (delivery, fate) {
	w.conn.SetDeadline(deadline) //nolint:errcheck // where it fails, so does the write
	if w.used && w.quiet != nil && !w.quiet() {
		err := errNothingSent
		if !time.Now().Before(deadline) { // then nobody is told what the kernel has
			err = os.ErrDeadlineExceeded
		}
		return to.failed(ctx, err, true), unusedWire
	}
	var stop func() bool
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, w.cut)
	}
	d, f := w.send(ctx, to, doc, buf, fresh)
	d.reused = w.used
	if f == keepWire {
		w.used = true
	}
	if stop != nil && !stop() && f == keepWire {
		f = abortWire // its deadline is about to be set
	}
	return d, f
}

func (w *wire) send(ctx context.Context, to *target, doc []byte, buf *bytes.Buffer, fresh bool) (delivery, fate) {
	w.out = to.appendRequest(w.out[:0], doc, fresh)
	// Of TLS, what is not a whole record has not been sent: the other side
	// cannot read it.
	if n, err := w.conn.Write(w.out); err != nil {
		f := abortWire
		if n == 0 {
			f = unusedWire
		}
		return to.failed(ctx, err, true), f
	}
	buf.Reset()
	status, whole, err := w.receive(buf)
	if err != nil {
		d := to.failed(ctx, err, true)
		d.status = status
		return d, abortWire
	}
	d := delivery{status: status, body: buf.Bytes()}
	if status != http.StatusOK {
		d.failure, d.err = FailStatus, fmt.Errorf("HTTP status %d", status)
	}
	if !whole || fresh || !w.empty() {
		return d, abortWire
	}
	return d, keepWire
}

// receive reads a reply, and its body into buf, as far as one byte more than
// is allowed, to tell one that is too long. whole: the body has been read to
// its end, and another request may follow.
func (w *wire) receive(buf *bytes.Buffer) (status int, whole bool, err error) {
	w.left = maxHead
	if _, err := w.in.Peek(1); err != nil {
		if err == io.EOF {
			err = errHungUp
		}
		return 0, false, err
	}
	there, _ := w.in.Peek(w.in.Buffered())
	if head, length, ok := plainHead(there); ok && length <= MaxDocument {
		w.in.Discard(head) //nolint:errcheck // it is there
		w.left = math.MaxInt64
		buf.Grow(length)
		body := buf.AvailableBuffer()[:length]
		if _, err := io.ReadFull(w.in, body); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return http.StatusOK, false, err
		}
		buf.Write(body)
		return http.StatusOK, true, nil
	}
	for {
		resp, err := http.ReadResponse(w.in, nil) //nolint:bodyclose // closing would read to its end
		if err != nil {
			return 0, false, err
		}
		status = resp.StatusCode
		if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
			continue // informational; the reply is still to come
		}
		w.left = math.MaxInt64
		n, err := buf.ReadFrom(io.LimitReader(resp.Body, MaxDocument+1))
		if err != nil {
			return status, false, err
		}
		return status, n <= MaxDocument && !resp.Close && status >= 200, nil
	}
}

// Read reads from the connection as much as may still be read. It is there for w.in.
func (w *wire) Read(b []byte) (int, error) {
	if w.left <= 0 {
		return 0, fmt.Errorf("the head of the reply has more than %d bytes", maxHead)
	}
	b = b[:min(int64(len(b)), w.left)]
	n, err := w.conn.Read(b)
	w.left -= int64(n)
	w.full = n == len(b)
	return n, err
}

// empty reports whether nothing is known to have come behind the reply. What
// does is no reply to anything, and must not be read as one to the next
// request. It may stand in each of the buffers: that of the wire, that of the
// records, and the rest of a record within crypto/tls, which shows by a read
// that had no room for more. What the kernel has, quiet finds.
func (w *wire) empty() bool {
	return w.in.Buffered() == 0 && (w.tls == nil || w.tls.between() && !w.full)
}

// close ends an idle connection in the way of its protocol.
func (w *wire) close() { w.conn.Close() }

// abort ends a connection at once: that of TLS would wait to say goodbye.
func (w *wire) abort() { w.raw.Close() }
