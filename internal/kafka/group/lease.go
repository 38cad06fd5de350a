package group

import "time"

// renew extends the lease after an answer to a request that was sent at a
// time. A member is declared dead when it was silent for a session, and also
// when it has not joined a rebalance by the end of the rebalance time-out: that
// may have begun as soon as the last answer was given that knew of none.
func (m *Member) renew(sent time.Time) {
	until := sent.Add(m.cfg.Session)
	if end := m.stable.Add(m.cfg.Rebalance); end.Before(until) {
		until = end
	}
	m.leaseUntil.Store(&until)
	m.cfg.Renewed()
}

// leaseLeft is how long the lease still lasts, at least a millisecond.
func (m *Member) leaseLeft() time.Duration {
	return max(time.Until(*m.leaseUntil.Load()), time.Millisecond)
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
