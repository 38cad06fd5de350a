package closer

// standing is all that is known of an order at one moment of a Close.
type standing struct {
	close   decision // the last answer to a close; zero when nobody closes
	query   trade    // what the queries after it have shown
	age     age
	confirm Confirm
	// lost: an earlier call of this Close got no answer.
	lost bool
	// paid: an earlier close of it was answered with paid.
	paid bool
}

// step is what to do about a standing.
type step int

const (
	again      step = iota // close again, after a pause
	queryFirst             // and then weigh again
	conclude               // the class stands
	later                  // nothing more to learn before the order is settled
)

// ruling is what a standing comes to. class, confirmedBy and safe are set for
// conclude alone.
type ruling struct {
	step        step
	class       Class
	confirmedBy string
	safe        bool
}

// weigh weighs what close and query say together, whether that is enough,
// and what may be promised on it. It is pure, and the one place where
// confirmed_by and safe_to_reissue come from. docs/verdicts.md is this
// function in words.
//
// What it rests on ("Close Order" and "Query Order" of WeChat Pay V2, and
// what merchants have seen):
//
//   - SUCCESS does not name the order. It is also answered for a number that
//     the gateway has never seen, for which a create call may still arrive.
//   - ORDERCLOSED is answered only for an order that exists and is closed,
//     and a closed number can never be paid again.
//   - The query names the order. CLOSED and REVOKED, SUCCESS and REFUND are
//     final states; NOTPAY can be said for a moment after a close.
//   - Where two signed answers contradict each other nothing is concluded,
//     except that paid wins over closed: it is the side on which the buyer
//     does not pay twice.
func weigh(s standing) ruling {
	r := weighNow(s)
	if s.paid && r.step == conclude && r.class == Closed {
		return ruling{step: again}
	}
	return r
}

// weighNow is weigh without what was answered before.
func weighNow(s standing) ruling {
	closed, paid := s.close.class == Closed, s.close.class == Paid
	nobody := s.close.class == 0 // closes: a Query
	// vacuous: the close may have been answered for an order that was not
	// there, and a create call may still arrive.
	vacuous := closed && s.close.said != saidClosed && s.age != settled

	byClose := ruling{step: conclude, class: s.close.class, confirmedBy: ConfirmedByCloseOrder, safe: closed && !vacuous}
	byQuery := func(c Class, safe bool) ruling {
		return ruling{step: conclude, class: c, confirmedBy: ConfirmedByOrderQuery, safe: safe}
	}
	refused := ruling{step: conclude, class: s.close.class}

	switch s.query {
	case tradePaid:
		return byQuery(Paid, false)

	case tradeClosed:
		if !paid {
			return byQuery(Closed, true)
		}

	case tradeOpen:
		if s.close.class == Failed {
			return refused
		}

	case tradeUnknown:
		switch {
		case s.close.class == Failed:
			return refused
		case paid:
		case s.close.said == saidClosed && closed:
			byClose.safe = s.age == settled
			return byClose
		case s.close.queryFirst: // the close speaks of an order that is there
		case s.age == settled:
			return byQuery(Closed, true)
		case (closed || nobody) && s.age == young:
			return ruling{step: later}
		case closed || nobody:
			return byQuery(Closed, false)
		}

	case unanswered:
		switch {
		case s.close.class == Failed:
			return refused
		case (closed || paid) && !vacuous && s.confirm != ConfirmAlways:
			return byClose
		}

	case notQueried:
		switch s.close.class {
		case Closed, Paid:
			if s.confirm == ConfirmAlways || s.confirm == ConfirmDoubt && (s.lost || vacuous) {
				return ruling{step: queryFirst}
			}
			return byClose
		case Failed:
			if s.confirm != ConfirmNever && s.lost {
				return ruling{step: queryFirst}
			}
			return refused
		case Unknown:
			if s.confirm != ConfirmNever {
				return ruling{step: queryFirst}
			}
		case MerchantRefused:
			return refused
		}
	}
	return ruling{step: again}
}
