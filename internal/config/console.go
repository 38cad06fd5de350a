package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

const (
	consoleFile      = "console.auth_file"
	consoleHeader    = "console.auth_header"
	consoleRole      = "console.auth_role_header"
	consoleOperators = "console.auth_operators"
	consoleProxies   = "console.trusted_proxies"
	consoleCert      = "console.tls_cert_file"
	consoleKey       = "console.tls_key_file"
)

// DefaultConsoleAddr is where the console is unless somebody says otherwise: whoever
// is on the machine can reach it, and nobody else.
const DefaultConsoleAddr = "127.0.0.1:8090"

// checkConsole looks at what goes together. Who may listen beyond loopback is a
// matter of internal/access, which reads the file of users as well.
func (l *loader) checkConsole() {
	if !l.asked(ConsolePages) {
		return
	}
	c := &l.config.Console
	switch {
	case c.AuthFile != "" && c.AuthHeader != "":
		l.wrong(consoleHeader, "%s is set as well (%s): there is one way in; leave one of them out", consoleFile, l.values[consoleFile].where)
	case c.AuthHeader != "" && len(c.TrustedProxies) == 0 && !l.isWrong(consoleProxies):
		l.wrong(consoleProxies, "not set, but %s is: whoever sends that header would be whom it names; set the addresses of the proxy with %s",
			consoleHeader, l.howTo(consoleProxies))
	case c.AuthHeader == "" && !l.isWrong(consoleHeader):
		for _, name := range []string{consoleRole, consoleOperators} {
			if l.given(name) {
				l.wrong(name, "is set, but %s is not; set it with %s, or leave this out (of a file of users each line has its role)", consoleHeader, l.howTo(consoleHeader))
			}
		}
		if c.AuthFile == "" && l.given(consoleProxies) {
			l.wrong(consoleProxies, "is set, but neither %s nor %s is: a proxy is refused where nobody says who they are; set one of them with %s, or %s, or leave this out",
				consoleFile, consoleHeader, l.howTo(consoleFile), l.howTo(consoleHeader))
		}
	case c.AuthRoleHeader != "" && strings.EqualFold(c.AuthRoleHeader, c.AuthHeader):
		l.wrong(consoleRole, "is %s, and so is %s; the role needs a header of its own", c.AuthRoleHeader, consoleHeader)
	}
	if c.AuthRoleHeader != "" && len(c.AuthOperators) > 0 {
		l.wrong(consoleOperators, "%s is set as well (%s): roles come from the one or from the other; leave one of them out", consoleRole, l.values[consoleRole].where)
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		has, lacks := consoleCert, consoleKey
		if c.TLSCertFile == "" {
			has, lacks = lacks, has
		}
		l.wrong(lacks, "not set, but %s is; set it with %s", has, l.howTo(lacks))
	} else if c.TLSCertFile != "" {
		c.files = &tlsFiles{of: TLS{CertFile: c.TLSCertFile, KeyFile: c.TLSKeyFile}, prefix: "console.tls_", read: l.read}
		for _, f := range c.files.load() {
			l.wrong(f.setting, "%s", f.problem)
		}
	}
}

// ServerTLS is how the console speaks TLS, nil where it does not. The files are read
// again for each connection; where they are not as they must be then, the last good
// ones go on, and stale, if set, is told: once for each state of the files. Calls of
// stale may be concurrent.
func (c Console) ServerTLS(stale func(error)) *tls.Config {
	if c.files == nil {
		return nil
	}
	tell := once(stale)
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			tell(asStale(c.files.load()))
			c.files.mu.Lock()
			defer c.files.mu.Unlock()
			return c.files.pair, nil
		},
	}
}

// consoleAddress is a listenAddress that is not empty.
func consoleAddress(s string) (string, error) {
	s, err := listenAddress(s)
	if err == nil && s == "" {
		return "", errors.New("must not be empty; write for example " + DefaultConsoleAddr)
	}
	return s, err
}

// fieldName is RFC 9110, 5.1.
var fieldName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// headerName reads the name of a header that says who somebody is. Those that hold
// what must stay secret are none.
func headerName(s string) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "", nil
	case !fieldName.MatchString(s):
		return "", fmt.Errorf("%q is not the name of a header; write for example X-Forwarded-User", s)
	case slices.ContainsFunc([]string{"Authorization", "Proxy-Authorization", "Cookie"}, func(h string) bool { return strings.EqualFold(s, h) }):
		return "", fmt.Errorf("%s holds what must stay secret, and no name; have the proxy send the name in a header of its own, such as X-Forwarded-User", s)
	}
	return s, nil
}

func names(s string) ([]string, error) { return list(s), nil }

// networks reads addresses and networks, and names each that is wrong.
func networks(s string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	var wrong []string
	for _, item := range list(s) {
		p, err := network(item)
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		all = append(all, p)
	}
	if len(wrong) > 0 {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return all, nil
}

func network(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is not an address or a network; write for example 10.1.2.3 or 10.1.0.0/16", s)
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%q is an IPv4 network in the spelling of IPv6; write it as 10.1.0.0/16", s)
	case p.Bits() == 0:
		return p, fmt.Errorf("%s is everybody: whoever reaches the console could say who they are; write the addresses of the proxy", s)
	case p != p.Masked():
		return p, fmt.Errorf("%s has more in it than its first %d bits; write %s, or %s for the one address", s, p.Bits(), p.Masked(), p.Addr())
	}
	return p, nil
}

// adminAddresses are host:port of workers, none being fine.
func adminAddresses(s string) ([]string, error) {
	var wrong []string
	items := list(s)
	for _, item := range items {
		host, port, err := net.SplitHostPort(item)
		if err == nil && host != "" && !strings.ContainsAny(item, "/@ ") && isPort(port, 1) {
			continue
		}
		what := fmt.Sprintf("%q is not host:port", item)
		if strings.Contains(item, "@") {
			what = "one of them holds more than host:port"
		} else if _, behind, isURL := strings.Cut(item, "://"); isURL {
			what += "; write " + strings.TrimRight(behind, "/")
		} else {
			what += "; write for example worker-1:9290"
		}
		wrong = append(wrong, what)
	}
	if len(wrong) > 0 {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return items, nil
}
