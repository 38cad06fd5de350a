package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/worker"
)

// The checks of the gateway's hosts and of this machine's clock.
const (
	CheckHost            = "host-reachable"
	CheckHostCertificate = "host-certificate"
	CheckHostPlain       = "host-without-tls"
	CheckClock           = "clock"
)

// mostHosts bounds how many hosts are looked at: merchants may have their own.
const mostHosts = 100

// gatewayChecks are those of the gateway that ask nothing in a merchant's name.
func (d *Doctor) gatewayChecks() []check {
	if !d.gateway && d.cfg.Gateway.CAFile != "" {
		return nil // whom to trust is not known
	}
	return []check{d.hosts}
}

// hostURLs are the hosts that calls go to, in order, each once.
func (d *Doctor) hostURLs() (shared, own []string) {
	// Those that all merchants have in common are called where one has none of its own.
	if len(d.cfg.Merchants) == 0 || slices.ContainsFunc(d.cfg.Merchants, func(m closer.Merchant) bool { return len(m.Hosts) == 0 }) {
		shared = d.cfg.Gateway.URLs
	}
	for _, m := range d.cfg.Merchants {
		for _, host := range m.Hosts {
			if !slices.Contains(own, host) && !slices.Contains(shared, host) {
				own = append(own, host)
			}
		}
	}
	return shared, own
}

// hosts connects to each host, through the proxy where there is one, and looks at
// its certificate and its clock. It sends a HEAD, which is about no order.
func (d *Doctor) hosts(ctx context.Context) (found []Finding) {
	shared, own := d.hostURLs()
	all := slices.Concat(shared, own)
	if more := len(all) - mostHosts; more > 0 {
		found = append(found, Finding{Note, CheckHost, "hosts", fmt.Sprintf("%d of %d hosts were not examined", more, len(all)), ""})
		all = all[:mostHosts]
	}
	client, err := d.httpClient()
	if err != nil {
		return append(found, Finding{Danger, CheckSettings, "gateway.proxy", err.Error(), "set it right"})
	}
	visits := make([]visit, len(all))
	var under sync.WaitGroup
	room := make(chan struct{}, 16)
	for i, base := range all {
		under.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			visits[i] = d.visit(ctx, client, base)
		})
	}
	under.Wait()
	reached := slices.ContainsFunc(visits[:min(len(shared), len(visits))], func(v visit) bool { return v.err == nil })
	for i, v := range visits {
		// Another one takes the calls.
		severity := Danger
		if i < len(shared) && reached {
			severity = Warning
		}
		found = append(found, v.findings(severity, d.now())...)
	}
	return append(found, aboutClock(visits))
}

// httpClient goes the way of a worker's calls, and keeps no connection.
func (d *Doctor) httpClient() (*http.Client, error) {
	gateway, err := worker.GatewayConfig(d.cfg.Gateway)
	if err != nil {
		return nil, err
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(gateway.CAPEM) > 0 {
		trust.RootCAs = x509.NewCertPool()
		trust.RootCAs.AppendCertsFromPEM(gateway.CAPEM)
	}
	via := http.ProxyFromEnvironment
	if gateway.Proxy != nil {
		via = http.ProxyURL(gateway.Proxy)
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{Proxy: via, TLSClientConfig: trust, DisableKeepAlives: true, ForceAttemptHTTP2: true},
	}, nil
}

// visit is what came of a HEAD to a host.
type visit struct {
	base string
	err  error
	// chain is the host's, nil without TLS.
	chain []*x509.Certificate
	took  time.Duration // from the request to the first byte of the answer
	// ahead is by how much the host's clock is ahead of this machine's, give or
	// take give; dated says that it told.
	ahead, give time.Duration
	dated       bool
}

// longestVisit bounds one.
const longestVisit = 8 * time.Second

func (d *Doctor) visit(ctx context.Context, client *http.Client, base string) visit {
	v := visit{base: base}
	ctx, cancel := context.WithTimeout(ctx, longestVisit)
	defer cancel()
	var mu sync.Mutex
	var sent, first time.Time
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest:         func(httptrace.WroteRequestInfo) { mu.Lock(); sent = d.now(); mu.Unlock() },
		GotFirstResponseByte: func() { mu.Lock(); first = d.now(); mu.Unlock() },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, base+"/", http.NoBody)
	if err != nil {
		v.err = err
		return v
	}
	res, err := client.Do(req)
	if err != nil {
		if inner, is := errors.AsType[*url.Error](err); is {
			err = inner.Err // the URL is the subject
		}
		v.err = err
		return v
	}
	res.Body.Close()
	if res.TLS != nil {
		v.chain = res.TLS.PeerCertificates
	}
	date, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return v
	}
	mu.Lock()
	defer mu.Unlock()
	v.took = first.Sub(sent)
	// The header was written at some time between, and its fraction is cut off.
	v.give = v.took/2 + 500*time.Millisecond
	v.ahead, v.dated = date.Add(500*time.Millisecond).Sub(sent.Add(v.took/2)), true
	return v
}

// findings are those of one host; severity is that of one that cannot be reached.
func (v visit) findings(severity Severity, now time.Time) (found []Finding) {
	if v.err != nil {
		text, remedy := v.failure()
		return []Finding{{severity, CheckHost, v.base, text, remedy}}
	}
	found = append(found, Finding{OK, CheckHost, v.base, fmt.Sprintf("it answers, in %v", v.took.Round(100*time.Microsecond)), ""})
	if u, err := url.Parse(v.base); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
		found = append(found, Finding{Warning, CheckHostPlain, v.base, "without TLS anybody on the way reads and delays calls; replies are signed, what is asked is not hidden", "set gateway.urls, or the merchant's hosts, to https"})
	}
	return append(found, aboutChain(v.chain, CheckHostCertificate, v.base, "tell who runs the host; a proxy that ends TLS has a certificate of its own", now)...)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// failure says what went wrong, and what to do.
func (v visit) failure() (text, remedy string) {
	text = v.err.Error()
	var unresolved *net.DNSError
	var authority x509.UnknownAuthorityError
	var other x509.HostnameError
	var invalid x509.CertificateInvalidError
	var dialled *net.OpError
	switch {
	case errors.As(v.err, &unresolved):
		return "its name does not resolve: " + text, "see gateway.urls, and the resolver of this machine; behind a proxy set gateway.proxy"
	case errors.As(v.err, &authority):
		return "its certificate comes from an authority that is not trusted: " + text, "set gateway.ca_file to that authority if it is meant (a proxy that ends TLS); else somebody poses as the gateway"
	case errors.As(v.err, &other):
		return "its certificate is not for this name: " + text, "see gateway.urls; else somebody poses as the gateway"
	case errors.As(v.err, &invalid):
		return "its certificate does not hold: " + text, "see the clock of this machine, then tell who runs the host"
	case errors.Is(v.err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %v", longestVisit), "see whether a firewall drops what goes there; behind a proxy set gateway.proxy"
	case errors.As(v.err, &dialled) && dialled.Op == "proxyconnect":
		return "the proxy cannot be reached: " + text, "see gateway.proxy or HTTPS_PROXY"
	case errors.As(v.err, &dialled):
		return text, "see gateway.urls, and whether a firewall is between; behind a proxy set gateway.proxy"
	}
	return text, "see gateway.urls, gateway.proxy, and who answers there"
}

// How far a clock may be off: min_order_age, expires_at and not_before go by it.
const (
	clockNote    = 30 * time.Second
	clockWarning = 2 * time.Minute
	clockDanger  = 5 * time.Minute
)

// aboutClock compares this machine's clock with those of the hosts. The one that
// differs least is taken: a single host may be wrong itself.
func aboutClock(visits []visit) Finding {
	var dated []visit
	for _, v := range visits {
		if v.dated {
			dated = append(dated, v)
		}
	}
	if len(dated) == 0 {
		return Finding{Note, CheckClock, "this machine", "not compared: no host has told the time", "run this again when a host answers; else see timedatectl"}
	}
	best := slices.MinFunc(dated, func(a, b visit) int { return cmp.Compare(a.ahead.Abs(), b.ahead.Abs()) })
	off := max(best.ahead.Abs()-best.give, 0)
	f := Finding{OK, CheckClock, "this machine", fmt.Sprintf("within %v of that of %s", (best.ahead.Abs() + best.give).Round(100*time.Millisecond), best.base), ""}
	if off <= clockNote {
		return f
	}
	way := "behind"
	if best.ahead < 0 {
		way = "ahead of"
	}
	f.Evidence = fmt.Sprintf("%v %s that of %s (give or take %v): min_order_age, expires_at and not_before go by it", best.ahead.Abs().Round(time.Second), way, strings.TrimSuffix(best.base, "/"), best.give.Round(100*time.Millisecond))
	f.Remedy = "set the clock: see timedatectl, chronyc tracking"
	switch {
	case off > clockDanger:
		f.Severity = Danger
	case off > clockWarning:
		f.Severity = Warning
	default:
		f.Severity = Note
	}
	return f
}
