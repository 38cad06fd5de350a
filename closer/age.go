package closer

import "time"

// age is what is known of how long ago the order was created.
type age int

const (
	ageUnknown age = iota
	young          // a create call can still be on its way to the gateway
	settled
)

// age is that of the order at a moment.
func (r *run) age(at time.Time) age {
	switch settle := r.c.cfg.SettleAge; {
	case settle < 0:
		return settled
	case r.created.IsZero():
		return ageUnknown
	case at.Sub(r.created) < settle:
		return young
	}
	return settled
}

// anyOrder is before every order, and after the days at which calendars of
// programs begin: 1900, 1970, 1980.
var anyOrder = time.Date(1981, 1, 1, 0, 0, 0, 0, time.UTC)

// onOurClock is a time that somebody else has written down as a moment of the
// clock that this process measures durations with, seen at now. What it is
// compared with later has that clock too, so a wall clock that jumps during a
// run makes no order older. It is zero, which is unknown, for the time of a field
// that nobody has set, such as 1970-01-01: that is not the age of any order.
func onOurClock(t, now time.Time) time.Time {
	if t.Before(anyOrder) {
		return time.Time{}
	}
	// A century on either side is as good as any: what is further away would
	// overflow, and a time that far ahead must not come out behind.
	const most = 100 * 365 * 24 * time.Hour
	return now.Add(-min(max(now.Sub(t), -most), most))
}
