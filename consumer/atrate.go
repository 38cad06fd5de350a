package consumer

// atRate is a merchant whose rate is used up: turns of it rest before their first
// call. Whoever begins now has to wait behind them, and there is no end to what may
// begin where a rest takes no slot: so many of a backlog that the last had to wait
// for too long, and be put off to a retry topic, to be written and read again. So
// nothing new of the merchant begins while a few have made no call yet, as far as
// is known: those who rest, and those who began since and may be about to. All of
// it is guarded by lanes.mu.
type atRate struct {
	uncalled int // rest before their first call
	begin    int // began, and have neither rested nor ended since
}

// waitsForRate counts a turn that rests before its first call.
func (l *lanes) waitsForRate(mchID string) {
	at := l.atRate[mchID]
	if at == nil {
		at = new(atRate)
		l.atRate[mchID] = at
	}
	at.uncalled++
	l.holdBack(mchID, at)
}

// hasRate ends that. When nobody waits for the rate any more it is not used up,
// and what is new may begin as it likes.
func (l *lanes) hasRate(mchID string) {
	at := l.atRate[mchID]
	if at.uncalled--; at.uncalled == 0 {
		delete(l.atRate, mchID)
	}
	l.holdBack(mchID, at)
}

// begins counts a turn that begins, if its merchant is at its rate.
func (l *lanes) begins(ln *lane) {
	if len(l.atRate) == 0 {
		return // as nearly always
	}
	if at := l.atRate[ln.order.MchID]; at != nil {
		at.begin++
		ln.begins = at
		l.holdBack(ln.order.MchID, at)
	}
}

// begun ends that: it rests, or its turn is over.
func (l *lanes) begun(ln *lane) {
	at := ln.begins
	if at == nil {
		return
	}
	at.begin--
	ln.begins = nil
	if l.atRate[ln.order.MchID] == at { // and not one of later
		l.holdBack(ln.order.MchID, at)
	}
}

// holdBack keeps what is new of a merchant from beginning, or does so no more.
func (l *lanes) holdBack(mchID string, at *atRate) {
	l.seats.Hold(mchID, at.uncalled > 0 && at.uncalled+at.begin >= l.mostUncalled)
}
