package closer

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"time"
)

// Config is the wiring of a [Closer]. Merchants is required, and so are Hosts
// unless every merchant has its own. All other zero values mean the default.
type Config struct {
	// Merchants knows in whose name the gateway may be called.
	Merchants Merchants
	// Hosts are the gateway's base URLs in order, the main host first, such as
	// https://api.mch.weixin.qq.com. A path is kept as a prefix.
	Hosts []string

	// Confirm says when an orderquery must stand behind a verdict; default doubt.
	Confirm Confirm
	// SettleAge is the age from which on a create call can no longer be on
	// its way to the gateway; default 1 minute. Below it, or when the age is
	// unknown, SUCCESS and ORDERNOTEXIST leave doubt. Negative: no such doubt.
	SettleAge time.Duration

	// Budget is the time within which a call may still be started, counted
	// from the first one; default 30 s. The last one then has its own time-out.
	Budget time.Duration
	// AttemptTimeout bounds one call from dialling to the last byte; default 10 s.
	AttemptTimeout time.Duration
	// ConnectTimeout bounds dialling and the TLS handshake, each; default 5 s.
	ConnectTimeout time.Duration
	// MinBackoff and MaxBackoff are the first and the longest pause between
	// closes, before jitter; default 500 ms and 10 s.
	MinBackoff, MaxBackoff time.Duration

	// Rate is the most calls per second for one merchant; default 300, half
	// of the lowest published limit of V2. Negative: no limit.
	Rate float64
	// MaxConcurrency is the most calls at once to one host; default 512. The
	// limit adapts below it.
	MaxConcurrency int

	// CAPEM holds certificates to trust instead of the system's; empty: the system's.
	CAPEM []byte
	// Proxy is an HTTP proxy; nil: HTTPS_PROXY and NO_PROXY of the
	// environment, unless DialContext is set.
	Proxy *url.URL
	// DialContext replaces the network, for tests.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// UserAgent is sent with each call; default "closeorder".
	UserAgent string

	// Observe sees each attempt; nil: nobody does.
	Observe Observer
	// Jitter returns a number in [0,1) and must be safe for concurrent use;
	// nil: math/rand/v2. Tests that repeat from a seed replace it.
	Jitter func() float64
}

// Confirm says when an orderquery must stand behind a verdict.
type Confirm string

const (
	// ConfirmDoubt asks when the close leaves doubt: docs/verdicts.md lists when.
	ConfirmDoubt Confirm = "doubt"
	// ConfirmNever takes the close's signed answers as they are. Fewer calls,
	// and fewer outcomes that are safe to reissue.
	ConfirmNever Confirm = "never"
	// ConfirmAlways asks before each Closed and Paid; without an answer to the
	// query nothing is concluded.
	ConfirmAlways Confirm = "always"
)

// ParseConfirm reads never, doubt or always; "" is doubt.
func ParseConfirm(s string) (Confirm, error) {
	switch c := Confirm(s); c {
	case "":
		return ConfirmDoubt, nil
	case ConfirmDoubt, ConfirmNever, ConfirmAlways:
		return c, nil
	}
	return "", fmt.Errorf("unknown confirm mode %q, want never, doubt or always", s)
}

// withDefaults returns c with defaults filled in, or every mistake in it.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Merchants == nil {
		errs = append(errs, errors.New("merchants are missing"))
	}
	for _, h := range c.Hosts {
		if _, err := parseHost(h); err != nil {
			errs = append(errs, err)
		}
	}
	confirm, err := ParseConfirm(string(c.Confirm))
	if err != nil {
		errs = append(errs, err)
	}
	c.Confirm = confirm
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"budget", &c.Budget, 30 * time.Second},
		{"attempt time-out", &c.AttemptTimeout, 10 * time.Second},
		{"connect time-out", &c.ConnectTimeout, 5 * time.Second},
		{"shortest backoff", &c.MinBackoff, 500 * time.Millisecond},
		{"longest backoff", &c.MaxBackoff, 10 * time.Second},
	} {
		if *d.value < 0 {
			errs = append(errs, fmt.Errorf("%s is negative: %v", d.name, *d.value))
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	c.MaxBackoff = max(c.MaxBackoff, c.MinBackoff)
	if c.SettleAge == 0 {
		c.SettleAge = time.Minute
	}
	if math.IsNaN(c.Rate) || math.IsInf(c.Rate, 0) {
		errs = append(errs, fmt.Errorf("rate is not a number of calls per second: %v", c.Rate))
	}
	if c.Rate == 0 {
		c.Rate = 300
	}
	if c.MaxConcurrency < 0 {
		errs = append(errs, fmt.Errorf("concurrency per host is negative: %d", c.MaxConcurrency))
	}
	if c.MaxConcurrency == 0 {
		c.MaxConcurrency = 512
	}
	if len(c.CAPEM) > 0 && !x509.NewCertPool().AppendCertsFromPEM(c.CAPEM) {
		errs = append(errs, errors.New("the CA file has no PEM certificate"))
	}
	if c.UserAgent == "" {
		c.UserAgent = "closeorder"
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	return c, errors.Join(errs...)
}

// parseHost reads a base URL and returns it without a slash at the end.
func parseHost(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("host %q is not a URL", s)
	case u.Scheme != "https" && u.Scheme != "http":
		return "", fmt.Errorf("host %q must begin with https:// (or http:// for a simulator)", s)
	case u.Hostname() == "":
		return "", fmt.Errorf("host %q has no host name", s)
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return "", fmt.Errorf("host %q must be a plain base URL, without user, query or fragment", u.Redacted())
	}
	return strings.TrimRight(s, "/"), nil
}
