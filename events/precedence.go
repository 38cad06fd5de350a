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
// their request. Closed and Paid are final. Failed is superseded only by the
// outcome of a replay: of the same request, with a higher replay number. A
// repeat, which has the same id, never supersedes, nor does the outcome of
// another request.
//
// The worker gives one outcome per request and replay number, and a request
// that has a final outcome is not replayed. Of such outcomes a reader ends
// with the same one whatever the order it sees them in, be it that a late
// Failed of the original follows the Closed of its replay. Should a topic
// hold contradictions all the same, all readers still agree as long as they
// read it in its order: what stands first stays.
func Supersedes(current, next Outcome) bool {
	switch {
	case !SameRequest(current, next):
		return false
	case current.ID == next.ID && current.ID != "":
		return false
	case current.Final():
		return false
	default:
		return next.Replay > current.Replay
	}
}
