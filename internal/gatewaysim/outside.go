package gatewaysim

import "time"

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
