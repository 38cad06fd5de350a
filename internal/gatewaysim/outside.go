package gatewaysim

import (
	"net/http"
	"time"
)

// Notices are how the gateway tells a shop that a buyer has paid, by a signed
// document posted to the notify_url of the create call ("Payment Result
// Notification"). [Simulator.Notify] sends them.
type Notices struct {
	// Client posts them; nil for one with the time-out of the real gateway, 5 s.
	Client *http.Client
	// Delay is the longest that the first one of a payment takes, at random.
	Delay time.Duration
	// Lost is the share of first notices, 0..1, that are not sent at all; Again
	// the share that are sent once more although the shop said SUCCESS.
	Lost, Again float64
	// Pauses are those between a notice that the shop did not take and the next;
	// nil for the real gateway's 15s, 15s, 30s, 3m, 10m, 20m, 30m, 30m, 30m, 1h,
	// 3h, 3h, 3h, 6h, 6h.
	Pauses []time.Duration
}

// Put sets the state of an order, made by hand where it is not in the book.
func (s *Simulator) Put(key Order, state State) {
	s.outside(key, func(o *order, now time.Time) { o.set(now, state, SetByHand) })
}

// CreateAt lets the order's create call arrive at a time: late, for a close
// that comes before it. A time that is past means now. Until then the order
// is unknown.
func (s *Simulator) CreateAt(key Order, at time.Time) { s.at(key, at, Created) }

// PayAt lets the buyer pay at a time; he cannot if the order is not payable
// then. A time that is past means now.
func (s *Simulator) PayAt(key Order, at time.Time) { s.at(key, at, PaidByBuyer) }

func (s *Simulator) at(key Order, at time.Time, what What) {
	s.outside(key, func(o *order, now time.Time) {
		if at.Before(now) {
			at = now
		}
		o.schedule(at, what)
		o.catchUp(now)
	})
}

func (s *Simulator) outside(key Order, do func(o *order, now time.Time)) {
	now := s.book.open()
	defer s.book.mu.Unlock()
	do(s.book.get(key, now, false), now)
}
