package kafka_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// lossy is a network that loses answers: the broker has done what it was asked.
type lossy struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	mu   sync.Mutex
	lose map[int16]int // how many answers, by API
	says error         // what is read in place of them, nil for the end
}

// Lose lets the next n answers to an API be lost, and their connections with
// them.
func (l *lossy) Lose(api int16, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lose == nil {
		l.lose = make(map[int16]int)
	}
	l.lose[api] = n
}

func (l *lossy) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := l.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &lossyConn{Conn: c, lossy: l}, nil
}

type lossyConn struct {
	net.Conn
	lossy *lossy
	hit   atomic.Bool
}

// Write sees whole requests: a connection writes each at once.
func (c *lossyConn) Write(b []byte) (int, error) {
	api := int16(binary.BigEndian.Uint16(b[4:]))
	c.lossy.mu.Lock()
	if c.lossy.lose[api] > 0 {
		c.lossy.lose[api]--
		c.hit.Store(true)
	}
	c.lossy.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *lossyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.hit.Load() {
		c.Close()
		return 0, cmp.Or[error](c.lossy.says, io.ErrUnexpectedEOF)
	}
	return n, err
}
