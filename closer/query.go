package closer

// queryRound is one round of a Query: a query, and no close. It reports false when
// the query must be repeated after a pause.
func (r *run) queryRound() (Verdict, bool) {
	r.rounds++
	a, ok := r.exchange(CallQuery)
	if !ok {
		return Verdict{}, false
	}
	t, code, reason := decideQuery(a)
	if t == unanswered {
		r.heard(decideRefusal(a))
		if r.last.class == Failed || r.spent() {
			return r.exhausted(), true
		}
		return Verdict{}, false
	}
	r.last = decision{} // nobody has closed anything
	r.lastTrade, r.tradeCode, r.queriedAt = t, code, r.lastCall
	ruling := r.rule()
	switch ruling.step {
	case conclude:
		r.saw(ruling.class, code, reason)
		return r.concluded(ruling), true
	case later:
		r.saw(Temporary, code, reason)
		return r.unsettled(code), true
	}
	r.saw(Failed, code, reason)
	return Verdict{Class: Failed, Code: code, Message: "orderquery says " + code}, true
}

// decideRefusal is what it means that a query was not answered, by the table
// of the closes but for two classes. Closed and Paid rest on a trade_state,
// and that is missing. MerchantRefused holds a merchant: about that only closes
// decide.
func decideRefusal(a answer) decision {
	d := decide(a)
	switch d.class {
	case Closed, Paid:
		return decision{
			class: NoAnswer, code: string(FailIncomplete),
			reason: "the reply to the query has no trade_state",
		}
	case MerchantRefused:
		d.class, d.limit = Temporary, 1
	}
	return d
}
