package events

// Final reports whether the outcome can never be superseded.
func (o Outcome) Final() bool { return o.Result == Closed || o.Result == Paid }

// SameRequest reports whether a and b answer the same request: the same
// request_id about the same order, be it the original or a replay of it.
// Where neither the order nor the request could be named, as in answers to
// unreadable records, they must answer the same record.
func SameRequest(a, b Outcome) bool {
	if a.Order() != b.Order() || a.RequestID != b.RequestID {
		return false
	}
	if a.OutTradeNo == "" && a.RequestID == "" {
		return a.Source == b.Source && a.Replay == b.Replay
	}
	return true
}

// Supersedes reports whether next takes the place of current as the answer to
// their request. Closed and Paid are final. Failed is superseded
//
//   - by Closed or Paid of another record of the same request, be it a replay
//     or the same request asked again: both rest on proof, failed proves
//     nothing;
//   - by Failed of a replay with a higher replay number.
//
// Of several outcomes of one record the first counts: a repeat, which has the
// same id, never supersedes. Nor does the outcome of another request.
//
// The worker gives one outcome per record. Of such outcomes all readers end
// with the same result whatever the order they see them in, be it that a late
// Failed of the original follows the Closed of its replay. Should a topic
// hold contradictions all the same, all readers still agree as long as they
// read it in its order: what stands first stays.
func Supersedes(current, next Outcome) bool {
	switch {
	case !SameRequest(current, next), sameRecord(current, next), current.Final():
		return false
	case next.Final():
		return true
	}
	return next.Replay > current.Replay
}

// sameRecord reports whether a and b answer the same record. The id says so;
// the place does where another program gave ids of its own.
func sameRecord(a, b Outcome) bool {
	return a.ID == b.ID && a.ID != "" || a.Source == b.Source && a.Replay == b.Replay
}
