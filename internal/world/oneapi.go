package world

import "encoding/binary"

// Requests are the connections of a host that carry Kafka's requests of some
// kinds, as a fault of the network can hit one connection and not the one
// beside it. A connection belongs to them from the moment that it carries such
// a request, the request included.
type Requests struct {
	network *Network
	from    string
	apis    uint64 // a bit for each
	answers bool
	stall   bool // they arrive, and are not read
}

// Requests returns those of a host by the numbers of their API (Kafka's protocol
// guide, Api Keys).
func (n *Network) Requests(from string, apis ...int16) *Requests {
	r := &Requests{network: n, from: from}
	for _, api := range apis {
		r.apis |= 1 << api
	}
	return r
}

// Freeze lets no byte through until Heal, neither to the broker nor back.
func (r *Requests) Freeze() { r.hold(false, false) }

// Stall lets requests arrive before a broker that does not read until Heal, as
// one does whose process is stopped: closing a connection takes nothing back.
func (r *Requests) Stall() { r.hold(false, true) }

// FreezeAnswers lets requests arrive, and no answer come back until Heal.
func (r *Requests) FreezeAnswers() { r.hold(true, false) }

func (r *Requests) hold(answers, stall bool) {
	n := r.network
	n.mu.Lock()
	defer n.mu.Unlock()
	r.answers, r.stall = answers, stall
	n.held[r] = struct{}{}
	for c := range n.conns {
		n.judge(c)
	}
}

// Strand lets the connections that belong to them now pass no byte any more, for
// good, as a firewall does that has forgotten them. New ones work.
func (r *Requests) Strand() {
	n := r.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.matching(func(c *Conn) bool { return c.dialled && c.local.Host == r.from && r.apis&c.apis != 0 }) {
		c.stranded, c.peer.stranded = true, true
		n.judge(c)
		n.judge(c.peer)
	}
}

// Heal takes the fault back.
func (r *Requests) Heal() {
	n := r.network
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.held, r)
	for c := range n.conns {
		n.judge(c)
	}
}

// Before runs do once, when the next of these requests is about to be sent: what
// do cuts or crashes takes the request along. disarm takes it back. There is one
// such thing at a time to be done before them.
func (r *Requests) Before(do func()) (disarm func()) {
	n := r.network
	n.mu.Lock()
	defer n.mu.Unlock()
	n.armed[r] = do
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.armed, r)
	}
}

// Cut resets the connections that belong to them, and returns how many.
func (r *Requests) Cut() int {
	r.network.mu.Lock()
	hit := r.network.matching(func(c *Conn) bool { return c.dialled && c.local.Host == r.from && r.apis&c.apis != 0 })
	r.network.mu.Unlock()
	for _, c := range hit {
		c.reset()
	}
	return len(hit)
}

// carries takes note of the request that a connection to a broker carries: its
// API stands behind its size (Kafka's protocol guide, Request Header).
func (c *Conn) carries(b []byte) {
	if !c.dialled || c.remote.Port != kafkaPort || len(b) < 6 {
		return
	}
	const apiVersions, saslHandshake, saslAuthenticate = 18, 17, 36
	switch api := int16(binary.BigEndian.Uint16(b[4:])); api {
	case apiVersions, saslHandshake, saslAuthenticate:
	default:
		for _, do := range c.network.sends(c, 1<<api) {
			do()
		}
	}
}

// sends takes note that a connection carries requests of an API, and returns what
// is to be done before.
func (n *Network) sends(c *Conn, api uint64) (before []func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.apis&api == 0 {
		c.apis |= api
		if len(n.held) > 0 {
			n.judge(c)
		}
	}
	for r, do := range n.armed {
		if r.from == c.local.Host && r.apis&api != 0 {
			before = append(before, do)
			delete(n.armed, r)
		}
	}
	return before
}

// judge sets the quality of both directions of a connection. n.mu is held.
func (n *Network) judge(c *Conn) {
	out, in := n.between(c.local.Host, c.remote.Host), n.between(c.remote.Host, c.local.Host)
	near, there, back := c, &out, &in
	if !c.dialled {
		near, there, back = c.peer, &in, &out
	}
	for r := range n.held {
		if near.local.Host == r.from && r.apis&near.apis != 0 {
			back.frozen = true
			there.frozen = there.frozen || !r.answers
			there.received = there.received || r.stall
		}
	}
	if c.stranded {
		out.frozen, in.frozen = true, true
	}
	c.out.change(func(s *stream) { s.quality = out })
	c.in.change(func(s *stream) { s.quality = in })
}
