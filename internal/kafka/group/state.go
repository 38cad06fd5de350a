package group

import "time"

// State is a membership at one moment.
type State struct {
	// Joined: the coordinator must believe in this member, and it has an
	// assignment, maybe of no partition. Since is when it got the first one of this
	// membership, or lost the one before; zero when it never had one.
	Joined bool
	Since  time.Time
	// MemberID is what the coordinator calls it, InstanceID its group.instance.id.
	MemberID, InstanceID string
	Generation           int32
	// LeaseUntil is until when its partitions are surely its own.
	LeaseUntil time.Time
	// Trouble is why the group could not be joined the last time, empty since it
	// could.
	Trouble string
}

// State returns how the membership is at this moment. Safe for concurrent use.
func (m *Member) State() State {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := State{Since: m.since, MemberID: m.id, InstanceID: m.cfg.InstanceID, Generation: m.generation, Trouble: m.trouble}
	if until := m.leaseUntil.Load(); until != nil {
		s.LeaseUntil = *until
	}
	s.Joined = m.assigned && m.LeaseValid(now)
	return s
}

// isAssigned notes that the membership has an assignment, or has none any more.
func (m *Member) isAssigned(is bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.assigned != is {
		m.assigned, m.since = is, time.Now()
	}
	if is {
		m.trouble = ""
	}
}

// isTroubled notes why the group cannot be joined.
func (m *Member) isTroubled(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trouble = why.Error()
}
