package closer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// newHTTPClient is made for many calls at once to few hosts. keep: connections
// are used again.
func (t *transport) newHTTPClient(keep bool) *http.Client {
	return &http.Client{
		// The gateway does not redirect. Whoever does is not the gateway.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: t.proxy,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, t.connectTimeout)
				defer cancel()
				return t.dial(ctx, network, addr)
			},
			TLSClientConfig:     t.tls.Clone(),
			TLSHandshakeTimeout: t.connectTimeout,
			ForceAttemptHTTP2:   true,
			// An HTTP/2 connection outlives the time-outs of its calls: without
			// pings one that hangs would be kept until the kernel gives it up.
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: t.attemptTimeout / 2, PingTimeout: t.attemptTimeout / 2},
			MaxIdleConnsPerHost:    t.mostIdle,
			DisableKeepAlives:      !keep,
			IdleConnTimeout:        idleTimeout,
			DisableCompression:     true, // replies are below 2 KiB
			MaxResponseHeaderBytes: maxHead,
		},
	}
}

// errLeft ends a call that net/http would send once more by itself.
var errLeft = errors.New("the connection gave the call up after it had been sent")

// postOverNetHTTP is post by net/http's client. On HTTP/1 that repeats a POST
// only where it has written nothing of it to the connection. On HTTP/2 it
// repeats whatever the server says that it has not handled (GOAWAY,
// REFUSED_STREAM): that is stopped here.
func (t *transport) postOverNetHTTP(ctx context.Context, deadline time.Time, to *target, doc []byte, buf *bytes.Buffer, fresh bool) delivery {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	client := t.kept
	if fresh {
		client = t.fresh
	}
	// net/http may still be reading it when Do has returned an error.
	doc = bytes.Clone(doc)
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

	req, err := newRequest(ctx, to.url, bytes.NewReader(doc))
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

	resp, err := client.Do(req)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	if to.origin != nil && resp.ProtoMajor == 1 {
		to.origin.spokeHTTP1()
	}
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

// newRequest is a call as net/http knows it.
func newRequest(ctx context.Context, url string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return nil, err
	}
	req.Header["Content-Type"] = []string{"text/xml; charset=utf-8"}
	req.Header["User-Agent"] = []string{"closeorder"}
	return req, nil
}
