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

// newHTTPClient is made for many calls at once to few hosts. keep: connections
// are used again.
func newHTTPClient(cfg Config, keep bool) *http.Client {
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
			DisableKeepAlives:      !keep,
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

// errLeft ends a call that net/http would send once more by itself.
var errLeft = errors.New("the connection gave the call up after it had been sent")

// post sends one document and reads the whole reply into buf. It does not
// look into the reply.
//
// It sends the document at most once: a call that may have left the process is
// repeated by the run alone, signed anew, counted, and with the doubt that it
// leaves. On HTTP/1 net/http repeats a POST only where it has written nothing
// of it to the connection. On HTTP/2 it repeats whatever the server says that it
// has not handled (GOAWAY, REFUSED_STREAM): that is stopped here.
func post(ctx context.Context, client *http.Client, url string, doc []byte, buf *bytes.Buffer) delivery {
	var (
		d  delivery
		mu sync.Mutex // the hooks may still run when Do has returned early
		// connected: a connection was there, so that a failure is not one to
		// connect. left: the call was written to an HTTP/2 connection.
		connected, reused, http2, left bool
	)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			mu.Lock()
			defer mu.Unlock()
			connected, reused = true, i.Reused
			c, secure := i.Conn.(*tls.Conn)
			http2 = secure && c.ConnectionState().NegotiatedProtocol == "h2"
		},
		// On HTTP/1 the headers are then in a buffer, and nothing has been sent.
		WroteHeaders: func() {
			mu.Lock()
			defer mu.Unlock()
			left = left || http2
		},
	})
	fail := func(err error) delivery {
		mu.Lock()
		defer mu.Unlock()
		d.reused = reused
		d.failure, d.err = classify(err, connected), err
		return d
	}

	// The transport may still be reading the document when Do has returned an
	// error, and the caller writes the next one over this one.
	doc = bytes.Clone(doc)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(doc))
	if err != nil {
		return fail(err)
	}
	// What is asked for the document once more is about to be sent once more.
	req.GetBody = func() (io.ReadCloser, error) {
		mu.Lock()
		defer mu.Unlock()
		if left {
			return nil, errLeft
		}
		return io.NopCloser(bytes.NewReader(doc)), nil
	}
	req.Header["Content-Type"] = []string{"text/xml; charset=utf-8"}
	req.Header["User-Agent"] = []string{"closeorder"}

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
