package gatewaysim

import (
	"cmp"
	"net"
	"net/http"
	"sync"
)

// Outage is a way for a host to be down.
type Outage string

const (
	// NoOutage: the host is up.
	NoOutage Outage = ""
	// OutageRefuse closes every connection without a reply.
	OutageRefuse Outage = "refuse"
	// Outage5xx answers status 502.
	Outage5xx Outage = "5xx"
	// OutageFreeze takes requests and leaves them waiting, until the client
	// gives up or the outage is over, when they are served.
	OutageFreeze Outage = "freeze"
)

// AllHosts is the name of the gateway as a whole.
const AllHosts = ""

// outages are the hosts that are down.
type outages struct {
	mu      sync.Mutex
	down    map[string]Outage
	changed chan struct{} // closed at every change
}

// SetOutage puts a host out of service, or with [NoOutage] back in. The host
// is what clients send as Host header, or the address that the server listens
// on, in each case with or without the port; [AllHosts] stands for every one.
func (s *Simulator) SetOutage(host string, mode Outage) {
	t := &s.outages
	t.mu.Lock()
	defer t.mu.Unlock()
	if mode == NoOutage {
		delete(t.down, host)
	} else {
		t.down[host] = mode
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// wait returns the outage that the request meets. It waits while that is a
// freeze, and returns OutageFreeze only when the client gave up.
func (t *outages) wait(r *http.Request) Outage {
	for {
		mode, changed := t.of(r.Host, localAddr(r))
		if mode != OutageFreeze {
			return mode
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return OutageFreeze
		}
	}
}

// of is the outage of a host by its names; that of all hosts comes first.
func (t *outages) of(names ...string) (Outage, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	mode := t.down[AllHosts]
	for _, name := range names {
		host, _, _ := net.SplitHostPort(name) // empty, as AllHosts, where there is no port
		mode = cmp.Or(mode, t.down[name], t.down[host])
	}
	return mode, t.changed
}

func localAddr(r *http.Request) string {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && a != nil {
		return a.String()
	}
	return ""
}

// refuseConn closes a new connection of a host that refuses them.
func (s *Simulator) refuseConn(conn net.Conn, state http.ConnState) {
	if state != http.StateNew {
		return
	}
	if mode, _ := s.outages.of(conn.LocalAddr().String()); mode == OutageRefuse {
		conn.Close()
	}
}
