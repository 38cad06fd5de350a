package world

import (
	"slices"
	"time"
)

// way is one direction between two hosts; an empty name is every host.
type way struct{ from, to string }

// quality is how well a way works. The zero quality is perfect.
type quality struct {
	refused        bool
	frozen         bool
	received       bool // what is frozen stands before its reader: closing takes nothing back
	latency        time.Duration
	bytesPerSecond int // 0 is without limit
}

// and is the quality of a way that has both.
func (q quality) and(other quality) quality {
	q.refused = q.refused || other.refused
	q.frozen = q.frozen || other.frozen
	q.latency += other.latency
	if q.bytesPerSecond == 0 || other.bytesPerSecond != 0 && other.bytesPerSecond < q.bytesPerSecond {
		q.bytesPerSecond = other.bytesPerSecond
	}
	return q
}

// between is the quality of the way from one host to another. n.mu is held.
func (n *Network) between(from, to string) quality {
	for _, name := range [...]string{from, to} {
		if h := n.hosts[name]; h != nil && h.exempt {
			return quality{}
		}
	}
	q := n.ways[way{from, to}]
	for _, w := range [...]way{{from, ""}, {"", to}, {"", ""}} {
		if other, set := n.ways[w]; set {
			q = q.and(other)
		}
	}
	return q
}

// Path is one or more ways between hosts, to be made worse and healed. What
// is set for a pair of hosts and for each of the two with everybody adds up.
type Path struct {
	network *Network
	ways    []way
}

// Between is the path between two hosts, both ways. An empty name stands for
// every host: Between("kafka-0", "") is all that kafka-0 has to do with
// anybody.
func (n *Network) Between(a, b string) Path {
	return Path{n, []way{{a, b}, {b, a}}}
}

// Way is the path from one host to another and not back: frozen, it lets
// requests arrive whose replies never do, or the other way round.
func (n *Network) Way(from, to string) Path { return Path{n, []way{{from, to}}} }

// Cut resets all connections on the path and returns how many. New ones may
// be made at once. Bytes that had not arrived are lost.
func (p Path) Cut() int {
	p.network.mu.Lock()
	hit := p.network.matching(func(c *Conn) bool {
		return c.dialled && !c.host.exempt && !c.peer.host.exempt && p.has(c)
	})
	p.network.mu.Unlock()
	for _, c := range hit {
		c.reset()
	}
	return len(hit)
}

// Refuse cuts the path, and refuses to connect over it until it heals.
func (p Path) Refuse() int {
	p.set(func(q *quality) { q.refused = true })
	return p.Cut()
}

// Freeze lets no byte through until the path heals. Nothing errors by itself:
// writers fill a buffer and then hang, readers and dials hang. What was sent
// before or meanwhile arrives after the path heals.
func (p Path) Freeze() { p.set(func(q *quality) { q.frozen = true }) }

// Slow delays every byte by a latency, which is added to other latencies on
// the way, and lets so many bytes through per second; 0 is without limit.
func (p Path) Slow(latency time.Duration, bytesPerSecond int) {
	p.set(func(q *quality) { q.latency, q.bytesPerSecond = latency, bytesPerSecond })
}

// Heal takes back whatever was set for this very path.
func (p Path) Heal() { p.set(func(q *quality) { *q = quality{} }) }

// set changes the qualities and tells all who are concerned.
func (p Path) set(change func(*quality)) {
	n := p.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range p.ways {
		q := n.ways[w]
		change(&q)
		if q == (quality{}) {
			delete(n.ways, w)
		} else {
			n.ways[w] = q
		}
	}
	n.wakeDials()
	for c := range n.conns {
		if p.has(c) {
			n.judge(c)
		}
	}
}

// has reports whether a connection runs over a way of the path.
func (p Path) has(c *Conn) bool {
	return slices.ContainsFunc(p.ways, func(w way) bool {
		return w.covers(c.local.Host, c.remote.Host) || w.covers(c.remote.Host, c.local.Host)
	})
}

func (w way) covers(from, to string) bool {
	return (w.from == "" || w.from == from) && (w.to == "" || w.to == to)
}
