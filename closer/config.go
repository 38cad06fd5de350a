package closer

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a zero in a [Config] means, where zero is not itself a meaning. These
// are the only defaults there are: those of the settings are made from them.
const (
	DefaultConfirm        = ConfirmDoubt
	DefaultSettleAge      = time.Minute
	DefaultBudget         = 20 * time.Second
	DefaultAttemptTimeout = 8 * time.Second
	// defaultConnectTimeout, or the attempt time-out where that is shorter: no
	// connect may outlive the attempt that it is made for.
	defaultConnectTimeout = 5 * time.Second
	defaultMinBackoff     = 500 * time.Millisecond
	defaultMaxBackoff     = 10 * time.Second
	// DefaultRate is half of the lowest published limit of V2, that of Unified Order.
	DefaultRate           = 300
	DefaultMaxConcurrency = 512
)

// Config is the wiring of a [Closer]. Merchants is required, and so are Hosts
// unless every merchant has its own. All other zero values mean the default.
type Config struct {
	// Merchants knows in whose name the gateway may be called.
	Merchants Merchants
	// Hosts are the gateway's base URLs in order, the main host first, such as
	// https://api.mch.weixin.qq.com, each once.
	Hosts []string

	// Confirm says when an orderquery must stand behind a verdict.
	Confirm Confirm
	// SettleAge is the age from which on a create call can no longer be on
	// its way to the gateway. Below it, or when the age is
	// unknown, SUCCESS and ORDERNOTEXIST leave doubt. Negative: no such doubt.
	SettleAge time.Duration

	// Budget is the time within which a call may still be started, counted
	// from the first one. The last one then has its own time-out.
	Budget time.Duration
	// AttemptTimeout bounds one call from dialling to the last byte.
	AttemptTimeout time.Duration
	// ConnectTimeout bounds dialling and the TLS handshake, each.
	ConnectTimeout time.Duration
	// MinBackoff and MaxBackoff are the first and the longest pause between
	// closes, before jitter.
	MinBackoff, MaxBackoff time.Duration

	// Rate is the most calls per second for one merchant, see [CheckRate].
	// Negative: no limit.
	Rate float64
	// MaxConcurrency is the most calls at once to one host. The limit adapts
	// below it.
	MaxConcurrency int

	// CAPEM holds certificates to trust instead of the system's; empty: the system's.
	CAPEM []byte
	// Proxy is an HTTP proxy; nil: HTTPS_PROXY and NO_PROXY of the
	// environment, unless DialContext is set.
	Proxy *url.URL
	// DialContext replaces the network, for tests.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Observe sees each attempt; nil: nobody does.
	Observe Observer
	// ObserveBare leaves out of attempts what takes time to make and only people
	// read: Reply, Body, and what Signed explains.
	ObserveBare bool
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

// ParseConfirm reads never, doubt or always; "" is [DefaultConfirm].
func ParseConfirm(s string) (Confirm, error) {
	switch c := Confirm(s); c {
	case "":
		return DefaultConfirm, nil
	case ConfirmDoubt, ConfirmNever, ConfirmAlways:
		return c, nil
	}
	return "", fmt.Errorf("unknown confirm mode %q, want never, doubt or always", s)
}

// Bounds of a rate, in calls per second.
const (
	minRate = 0.01
	maxRate = 100_000
)

// CheckRate says what is wrong with the most calls per second for one
// merchant, nil when it is right. The error is made for a sentence that begins
// with the name of the field.
func CheckRate(perSecond float64) error {
	if !(perSecond >= minRate && perSecond <= maxRate) { // NaN too
		return fmt.Errorf("must be a number of calls per second from %v to %v", minRate, maxRate)
	}
	return nil
}

// checkHosts sees to it that each host can be called. The error shows none that
// may have a password in it.
func checkHosts(list []string) error {
	var errs []error
	for i, s := range list {
		shown := strconv.Quote(s)
		if strings.Contains(s, "@") {
			shown = fmt.Sprintf("%d of %d (not shown: it has an @)", i+1, len(list))
		}
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			errs = append(errs, fmt.Errorf("host %s is no plain base URL, such as https://api.mch.weixin.qq.com, without user, query and fragment", shown))
		case slices.ContainsFunc(list[:i], func(other string) bool { return strings.TrimRight(other, "/") == strings.TrimRight(s, "/") }):
			errs = append(errs, fmt.Errorf("host %s is there twice", shown))
		}
	}
	return errors.Join(errs...)
}

// withDefaults returns c with defaults filled in, or every mistake in it.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Merchants == nil {
		errs = append(errs, errors.New("merchants are missing"))
	}
	confirm, err := ParseConfirm(string(c.Confirm))
	errs = append(errs, checkHosts(c.Hosts), err) // Join drops those that are nil
	c.Confirm = confirm
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"budget", &c.Budget, DefaultBudget},
		{"attempt time-out", &c.AttemptTimeout, DefaultAttemptTimeout},
		{"connect time-out", &c.ConnectTimeout, defaultConnectTimeout},
		{"shortest backoff", &c.MinBackoff, defaultMinBackoff},
		{"longest backoff", &c.MaxBackoff, defaultMaxBackoff},
	} {
		if *d.value < 0 {
			errs = append(errs, fmt.Errorf("%s is negative: %v", d.name, *d.value))
		}
		*d.value = cmp.Or(*d.value, d.def)
	}
	c.ConnectTimeout = min(c.ConnectTimeout, c.AttemptTimeout)
	c.MaxBackoff = max(c.MaxBackoff, c.MinBackoff)
	c.SettleAge = cmp.Or(c.SettleAge, DefaultSettleAge)
	c.Rate = cmp.Or(c.Rate, DefaultRate)
	if err := CheckRate(c.Rate); err != nil && !(c.Rate < 0) {
		errs = append(errs, fmt.Errorf("rate %w", err))
	}
	if c.MaxConcurrency < 0 {
		errs = append(errs, fmt.Errorf("concurrency per host is negative: %d", c.MaxConcurrency))
	}
	c.MaxConcurrency = cmp.Or(c.MaxConcurrency, DefaultMaxConcurrency)
	if len(c.CAPEM) > 0 && !x509.NewCertPool().AppendCertsFromPEM(c.CAPEM) {
		errs = append(errs, errors.New("the CA file has no PEM certificate"))
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	return c, errors.Join(errs...)
}
