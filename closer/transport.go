package closer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// idleTimeout is below the 8 s after which the gateway closes idle
// connections. Go's default of 90 s gives an EOF now and then.
const idleTimeout = 7 * time.Second

// maxHead is the most that the heads of one reply may have, the informational
// ones before it included, in bytes.
const maxHead = 64 << 10

// transport takes documents to the gateway and brings back what it answers.
//
// HTTP/1.1 goes over connections of its own (wire.go), which the goroutine of
// the call writes and reads itself: that is a third of what net/http's client
// costs. All else is net/http's (nethttp.go): a proxy, a host that speaks
// HTTP/2, a URL with something unusual in it, an operating system that does not
// say what has come over a connection.
//
// It is safe for concurrent use.
type transport struct {
	dial                           func(ctx context.Context, network, addr string) (net.Conn, error)
	virtual                        bool                                  // the network is not the kernel's
	proxy                          func(*http.Request) (*url.URL, error) // nil: none
	tls                            *tls.Config
	attemptTimeout, connectTimeout time.Duration
	mostIdle                       int // connections of one origin

	kept  *http.Client // keeps connections
	fresh *http.Client // makes a new one for each call

	mu      sync.RWMutex
	targets map[targetKey]*target
	origins map[string]*origin // by scheme and address
}

func newTransport(cfg Config) *transport {
	t := &transport{
		dial:           cfg.DialContext,
		virtual:        cfg.DialContext != nil,
		proxy:          http.ProxyFromEnvironment,
		attemptTimeout: cfg.AttemptTimeout,
		connectTimeout: cfg.ConnectTimeout,
		// As many idle connections as there may be calls: fewer would mean a
		// TLS handshake for most calls under load.
		mostIdle: cfg.MaxConcurrency,
		targets:  make(map[targetKey]*target),
		origins:  make(map[string]*origin),
	}
	if t.virtual {
		t.proxy = nil
	} else {
		t.dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	if cfg.Proxy != nil {
		t.proxy = http.ProxyURL(cfg.Proxy)
	}
	t.tls = &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	if len(cfg.CAPEM) > 0 {
		t.tls.RootCAs = x509.NewCertPool()
		t.tls.RootCAs.AppendCertsFromPEM(cfg.CAPEM)
	}
	t.kept, t.fresh = t.newHTTPClient(true), t.newHTTPClient(false)
	return t
}

// delivery is what came back from one POST.
type delivery struct {
	status  int
	body    []byte // valid until the next use of its buffer
	reused  bool   // over a connection that had been idle
	failure Failure
	err     error
}

// post sends one document to the call of a host, base being its URL, and reads
// the whole reply into buf. It does not look into the reply. When it returns,
// nobody reads doc any more. fresh: over a new connection that is not kept.
//
// It sends the document at most once: a call that may have left the process is
// repeated by the run alone, signed anew, counted, and with the doubt that it
// leaves. Only where nothing was written to a connection that had been idle it
// takes another one.
//
// The attempt's time-out bounds all of it from dialling to the last byte. When
// ctx ends it returns at once, and the error is that of ctx.
func (t *transport) post(ctx context.Context, base string, call Call, doc []byte, buf *bytes.Buffer, fresh bool) delivery {
	deadline := time.Now().Add(t.attemptTimeout)
	to := t.target(base, call)
	if to.origin == nil || to.origin.http2.Load() {
		return t.postOverNetHTTP(ctx, deadline, to, doc, buf, fresh)
	}
	for {
		if err := ctx.Err(); err != nil {
			return to.failed(ctx, err, false)
		}
		w, err := to.origin.wire(ctx, deadline, fresh)
		switch {
		case errors.Is(err, errHTTP2):
			return t.postOverNetHTTP(ctx, deadline, to, doc, buf, fresh)
		case err != nil:
			return to.failed(ctx, err, false)
		case ctx.Err() != nil: // while it waited
			w.abort()
			return to.failed(ctx, ctx.Err(), false)
		}
		d, fate := w.exchange(ctx, deadline, to, doc, buf, fresh)
		switch fate {
		case keepWire:
			to.origin.keep(w)
			return d
		case unusedWire:
			w.abort()
			if w.used && time.Now().Before(deadline) {
				continue
			}
		default:
			w.abort()
		}
		return d
	}
}

// closeIdle closes connections that are not in use now, and those that are
// when their call is over, unless another one begins before.
func (t *transport) closeIdle() {
	t.kept.CloseIdleConnections()
	t.fresh.CloseIdleConnections()
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, o := range t.origins {
		o.closeIdle()
	}
}

// classify says how a call failed that brought no whole reply.
func classify(err error, connected bool) Failure {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, new(*net.DNSError)):
		return FailDNS
	case !connected:
		return FailConnect
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return FailTimeout
	}
	return FailLost
}
