package world

import (
	"time"

	"github.com/closeorder/closeorder/events"
)

// act is what a shop does about an outcome, and the mistakes of those that do
// something else. It is called with the lock.
func (s *Seller) act(o events.Outcome) {
	pay := s.payments[o.Order()]
	if pay == nil {
		return
	}
	if s.Rules == IDsAlone {
		if s.seen[o.ID] {
			return
		}
		s.seen[o.ID] = true
		if o.SafeToReissue {
			s.closed(pay)
			return
		}
	} else {
		// The inbox: once per request, and again only where an outcome takes the
		// place of another.
		name := requestName{o.Order(), o.RequestID}
		if kept, found := s.inbox[name]; found && !events.Supersedes(kept, o) {
			return
		}
		s.inbox[name] = o
	}
	switch {
	case o.Result == events.Paid:
		pay.settle()
	case pay.state != closing:
		// Settled by a notice, or closed by what another request for it said.
	case o.SafeToReissue, o.Result == events.Closed && s.Rules == ClosedIsSafe:
		s.closed(pay)
	case o.Result == events.Closed:
		s.askAgain(pay, 2*time.Minute)
	case s.Rules == FailedIsNoise:
	default:
		pay.listed = true
		s.askAgain(pay, min(time.Hour, 5*time.Minute<<min(pay.asked, 10)))
	}
}

// closed is what follows when nobody can pay the number any more.
func (s *Seller) closed(pay *payment) {
	pay.state, pay.listed = closed, false
	s.next(pay)
}

// next gives the purchase a new number, or up.
func (s *Seller) next(pay *payment) {
	p := pay.purchase
	switch {
	case p.state != purchaseOpen:
	case p.deadline:
		p.state = purchaseGivenUp
	default:
		s.open(p)
	}
}

// askAgain asks later, under a new request_id and with the age of the order.
func (s *Seller) askAgain(pay *payment, pause time.Duration) {
	n := pay.asked
	s.after(pause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if pay.state == closing && pay.asked == n {
			s.ask(pay, false)
		}
	})
}
