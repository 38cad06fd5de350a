package access

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// peer is the address that a request comes from; the zero Addr where it has none.
func peer(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}

// trusts reports whether an address is that of a proxy whose headers count.
func (c Config) trusts(a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(c.Trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// remote is where a request comes from: behind proxies that are trusted the last
// address of X-Forwarded-For that is none of theirs. Whatever stands before that one
// was written by whoever asks.
func (c Config) remote(r *http.Request) string {
	at := peer(r)
	if !c.trusts(at) {
		return shown(at)
	}
	// Several headers are one, in their order (RFC 9110, 5.3).
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next, ok := forwarded(hop)
		if !ok {
			break // what stands before it nobody vouches for
		}
		if at = next; !c.trusts(at) {
			break
		}
	}
	return shown(at)
}

func shown(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// forwarded reads an address as proxies write it, some with a port.
func forwarded(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// encrypted reports whether the browser speaks TLS, with the console or with a proxy.
func (c Config) encrypted(r *http.Request) bool {
	return c.Secure || r.TLS != nil || c.trusts(peer(r)) && strings.EqualFold(first(r, "X-Forwarded-Proto"), "https")
}

// host is what the browser has in its address: a proxy may have put its own name for
// the console in the place of that.
func (c Config) host(r *http.Request) string {
	if name := first(r, "X-Forwarded-Host"); name != "" && c.trusts(peer(r)) {
		return name
	}
	return r.Host
}

// first is the first value of a header to which each proxy appends its own.
func first(r *http.Request, header string) string {
	value, _, _ := strings.Cut(r.Header.Get(header), ",")
	return strings.TrimSpace(value)
}

// said is whom a proxy says to have let in. why is empty, or says why it is nobody.
func (c Config) said(r *http.Request) (u User, why string) {
	names := r.Header.Values(c.Header)
	switch {
	case !c.trusts(peer(r)):
		if len(names) == 0 {
			return u, "the request does not come from the proxy"
		}
		return u, "the request has the header " + c.Header + " and comes from an address that is not trusted"
	case len(names) == 0 || len(names) == 1 && strings.TrimSpace(names[0]) == "":
		return u, "the proxy has sent no " + c.Header
	case len(names) > 1:
		// One of them is the browser's own: which one nobody knows.
		return u, "the proxy has sent " + c.Header + " several times; it must replace what browsers send"
	}
	name := strings.TrimSpace(names[0])
	if problem := nameProblem(name); problem != "" {
		return u, "the name in " + c.Header + " " + problem
	}
	u = User{Name: name, Role: Viewer}
	if c.RoleHeader != "" {
		if roles := r.Header.Values(c.RoleHeader); len(roles) == 1 && strings.TrimSpace(roles[0]) == string(Operator) {
			u.Role = Operator
		}
	} else if slices.Contains(c.Operators, name) {
		u.Role = Operator
	}
	return u, ""
}
