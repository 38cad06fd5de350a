package exchange

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// timeout is the end of a call.
const timeout = 10 * time.Second

// NetHTTP is net/http's client with connections enough.
func NetHTTP(t Target) (Poster, error) {
	secure, err := t.tls()
	if err != nil {
		return nil, err
	}
	c := &http.Client{Timeout: timeout, Transport: &http.Transport{
		MaxIdleConns: t.Conns, MaxIdleConnsPerHost: t.Conns, MaxConnsPerHost: t.Conns,
		IdleConnTimeout: time.Minute, DisableCompression: true, TLSClientConfig: secure,
		DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}}
	return func(ctx context.Context, body, dst []byte) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(body))
		if err != nil {
			return dst, err
		}
		req.Header.Set("Content-Type", "text/xml")
		resp, err := c.Do(req)
		if err != nil {
			return dst, err
		}
		defer resp.Body.Close()
		b := bytes.NewBuffer(dst)
		_, err = b.ReadFrom(io.LimitReader(resp.Body, 1<<20))
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d: %.200s", resp.StatusCode, b.Bytes())
		}
		return b.Bytes(), err
	}, nil
}

// Fasthttp is fasthttp's client with connections enough. It does not look at the
// context.
func Fasthttp(t Target) (Poster, error) {
	secure, err := t.tls()
	if err != nil {
		return nil, err
	}
	c := &fasthttp.Client{
		MaxConnsPerHost: t.Conns, ReadTimeout: timeout, WriteTimeout: timeout,
		NoDefaultUserAgentHeader: true, TLSConfig: secure,
	}
	return func(_ context.Context, body, dst []byte) ([]byte, error) {
		req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
		defer fasthttp.ReleaseRequest(req)
		defer fasthttp.ReleaseResponse(resp)
		req.SetRequestURI(t.URL)
		req.Header.SetMethod(fasthttp.MethodPost)
		req.Header.SetContentType("text/xml")
		req.SetBodyRaw(body)
		if err := c.DoTimeout(req, resp, timeout); err != nil {
			return dst, err
		}
		if resp.StatusCode() != fasthttp.StatusOK {
			return dst, fmt.Errorf("status %d: %.200s", resp.StatusCode(), resp.Body())
		}
		return append(dst, resp.Body()...), nil
	}, nil
}
