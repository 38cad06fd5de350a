package group

import "time"

// renew extends the lease after an answer to a heartbeat or a SyncGroup that
// was sent at a time. calm says that no rebalance had begun by then, but for
// those that this member has joined. m.mu is held.
//
// A member is declared dead when it was silent for a session, and also when it
// has not joined a rebalance by the end of the rebalance time-out: that may have
// begun as soon as the last answer was given that knew of none. A JoinGroup that
// is under way changes nothing: as long as it has no answer nobody knows whether
// it has arrived. Only that it is answered puts the end off, see joined. Then the
// coordinator waits for SyncGroup, for as long again; a heartbeat puts nothing off.
func (m *Member) renew(sent time.Time, calm bool) {
	m.heard = later(m.heard, sent)
	if calm {
		m.stable = later(m.stable, sent)
	}
	m.setLease()
}

// cutting is how much earlier than the session a lease ends: calls are cut off then,
// and that takes a moment, in which the next owner may begin.
const cutting = 50 * time.Millisecond

// setLease computes the lease. m.mu is held.
func (m *Member) setLease() {
	until := m.heard.Add(m.cfg.Session - min(cutting, m.cfg.Session/10))
	if end := m.stable.Add(m.cfg.Rebalance); end.Before(until) {
		until = end
	}
	if m.doubt {
		until = time.Time{}
	}
	m.leaseUntil.Store(&until)
}

// silence is how long the coordinator may still go without a word from this
// member before its session is over, or its lease if that is not over yet.
func (m *Member) silence() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := time.Until(m.heard.Add(m.cfg.Session))
	if until := m.leaseUntil.Load(); until != nil && time.Until(*until) > 0 {
		left = min(left, time.Until(*until))
	}
	return max(left, time.Millisecond)
}

// leaseOver reports whether the partitions must be dropped: the session is over
// by either clock, or, with no JoinGroup under way, the lease is. With one
// nothing goes on while the lease is over, and nothing is dropped: the answer to
// it, or to the next heartbeat, may renew it. With SyncGroup under way the
// coordinator lets the member go.
func (m *Member) leaseOver(now time.Time) bool {
	if m.LeaseValid(now) {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	end := m.heard.Add(m.cfg.Session)
	return !m.joining || m.syncing || !now.Before(end) || !now.Round(0).Before(end.Round(0))
}

// LeaseValid reports whether the coordinator must still believe in this member
// at the given time. It is false after a process was suspended for a session,
// before any heartbeat could tell. Safe for concurrent use.
//
// Both clocks must agree: the monotonic one stands still while a machine is
// suspended, the wall clock can be set back.
func (m *Member) LeaseValid(now time.Time) bool {
	until := m.leaseUntil.Load()
	return until != nil && now.Before(*until) && now.Round(0).Before(until.Round(0))
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
