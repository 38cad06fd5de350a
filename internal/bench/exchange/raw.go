package exchange

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// rawConn is a kept connection with its buffers.
type rawConn struct {
	net.Conn
	out []byte
	in  [4096]byte
}

// Raw is the least: the whole request in one write, reads until Content-Length
// is there, no other header looked at, no deadline, no second try.
func Raw(t Target) (Poster, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, err
	}
	secure, err := t.tls()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	dial := dialer.DialContext
	if u.Scheme == "https" {
		dial = (&tls.Dialer{NetDialer: dialer, Config: secure}).DialContext
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/xml\r\nContent-Length: ", u.RequestURI(), u.Host)
	var mu sync.Mutex
	var idle []*rawConn
	return func(ctx context.Context, body, dst []byte) ([]byte, error) {
		mu.Lock()
		var c *rawConn
		if n := len(idle); n > 0 {
			c, idle = idle[n-1], idle[:n-1]
		}
		mu.Unlock()
		if c == nil {
			conn, err := dial(ctx, "tcp", u.Host)
			if err != nil {
				return dst, err
			}
			c = &rawConn{Conn: conn}
		}
		dst, err := c.post(head, body, dst)
		if err != nil {
			c.Close()
			return dst, err
		}
		mu.Lock()
		idle = append(idle, c)
		mu.Unlock()
		return dst, nil
	}, nil
}

func (c *rawConn) post(head string, body, dst []byte) ([]byte, error) {
	c.out = append(strconv.AppendInt(append(c.out[:0], head...), int64(len(body)), 10), "\r\n\r\n"...)
	c.out = append(c.out, body...)
	if _, err := c.Write(c.out); err != nil {
		return dst, err
	}
	for n := 0; ; {
		if n == len(c.in) {
			return dst, fmt.Errorf("a reply of more than %d bytes", n)
		}
		m, err := c.Read(c.in[n:])
		if err != nil {
			return dst, err
		}
		n += m
		header, rest, whole := bytes.Cut(c.in[:n], []byte("\r\n\r\n"))
		if !whole {
			continue
		}
		if !bytes.HasPrefix(header, []byte("HTTP/1.1 200 ")) {
			return dst, fmt.Errorf("status %.12q", header)
		}
		_, length, ok := bytes.Cut(header, []byte("\r\nContent-Length: "))
		if !ok {
			return dst, fmt.Errorf("no Content-Length in %q", header)
		}
		length, _, _ = bytes.Cut(length, []byte("\r\n"))
		size, err := strconv.Atoi(string(length))
		if err != nil {
			return dst, err
		}
		if len(rest) >= size {
			return append(dst, rest[:size]...), nil
		}
	}
}
