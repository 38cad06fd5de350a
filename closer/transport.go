package closer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// idleTimeout is below the 8 s after which the gateway closes idle
// connections. Go's default of 90 s gives an EOF now and then.
const idleTimeout = 7 * time.Second

// newHTTPClient is made for many calls at once to few hosts.
func newHTTPClient(cfg Config) *http.Client {
	dial := cfg.DialContext
	proxy := http.ProxyFromEnvironment
	if dial != nil {
		proxy = nil
	} else {
		dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	if cfg.Proxy != nil {
		proxy = http.ProxyURL(cfg.Proxy)
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(cfg.CAPEM) > 0 {
		tlsConfig.RootCAs = x509.NewCertPool()
		tlsConfig.RootCAs.AppendCertsFromPEM(cfg.CAPEM)
	}
	return &http.Client{
		// The gateway does not redirect. Whoever does is not the gateway.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: proxy,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
				defer cancel()
				return dial(ctx, network, addr)
			},
			TLSClientConfig:     tlsConfig,
			TLSHandshakeTimeout: cfg.ConnectTimeout,
			ForceAttemptHTTP2:   true,
			// An HTTP/2 connection outlives the time-outs of its calls: without
			// pings one that hangs would be kept until the kernel gives it up.
			HTTP2: &http.HTTP2Config{SendPingTimeout: cfg.AttemptTimeout / 2, PingTimeout: cfg.AttemptTimeout / 2},
			// As many idle connections as there may be calls: fewer would
			// mean a TLS handshake for most calls under load.
			MaxIdleConnsPerHost:    cfg.MaxConcurrency,
			IdleConnTimeout:        idleTimeout,
			DisableCompression:     true, // replies are below 2 KiB
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// delivery is what came back from one POST.
type delivery struct {
	status  int
	body    []byte // valid until the next use of its buffer
	reused  bool
	failure Failure
	err     error
}

// post sends one document and reads the whole reply into buf. It does not
// look into the reply.
func post(ctx context.Context, client *http.Client, url, userAgent string, doc []byte, buf *bytes.Buffer) delivery {
	var (
		d  delivery
		mu sync.Mutex // the hook may still run when Do has returned early
		// connected: a connection was there, so that a failure is not one to connect.
		connected, reused bool
	)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		mu.Lock()
		connected, reused = true, i.Reused
		mu.Unlock()
	}})
	fail := func(err error) delivery {
		mu.Lock()
		defer mu.Unlock()
		d.reused = reused
		d.failure, d.err = classify(err, connected), err
		return d
	}

	// doc is not from a pool: the transport may still be reading it when Do
	// has returned an error.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(doc))
	if err != nil {
		return fail(err)
	}
	req.Header["Content-Type"] = []string{"text/xml; charset=utf-8"}
	req.Header["User-Agent"] = []string{userAgent}
	// With this key present the transport sends the call again when a
	// kept-alive connection turns out to be dead before the first byte of a
	// reply, as it does for a GET: closing and asking are idempotent. An empty
	// slice is not put on the wire.
	req.Header["X-Idempotency-Key"] = []string{}

	resp, err := client.Do(req)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	d.status = resp.StatusCode
	// One byte more than is allowed, to tell a reply that is too long. Reading
	// to the end lets the connection be used again.
	buf.Reset()
	if _, err := buf.ReadFrom(io.LimitReader(resp.Body, MaxDocument+1)); err != nil {
		return fail(err)
	}
	mu.Lock()
	d.reused = reused
	mu.Unlock()
	d.body = buf.Bytes()
	if resp.StatusCode != http.StatusOK {
		d.failure, d.err = FailStatus, fmt.Errorf("HTTP status %d", resp.StatusCode)
	}
	return d
}

// classify says how a call failed that brought no whole reply.
func classify(err error, connected bool) Failure {
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &dns):
		return FailDNS
	case !connected:
		return FailConnect
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return FailTimeout
	}
	return FailLost
}
