package consumer

import (
	"context"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/shares"
)

// Place is the call slot that a [Closer] is given with a request. It is asked by
// one goroutine at a time, and not after Close or Query has returned.
type Place interface {
	// Rest waits for d, or until ctx ends, and returns why ctx has ended. The slot
	// is another request's meanwhile, so that it may take longer: until there is
	// one again. called says whether the request was called about in this turn
	// already, or waits for its first call.
	Rest(ctx context.Context, d time.Duration, called bool) error
}

// Rest implements Place for the turn of the lane's first request. The turn goes
// on: it keeps its place at the head of its lane and its permit, a drain waits for
// it and its context cuts it off. So it comes back whatever the breaker, the
// partition's standing or the lease say, which decide about new turns alone; and
// before new ones of its merchant.
//
// How many may rest is bounded, and shared like the slots: whoever is one too many
// keeps its slot. Those who wait for their first call wait for the rate of their
// merchant, see atRate.
func (ln *lane) Rest(ctx context.Context, d time.Duration, called bool) error {
	l := ln.lanes
	if d <= 0 || ctx.Err() != nil {
		return kafka.Sleep(ctx, d)
	}
	if !l.giveWay(ln, called) {
		defer l.goesOn(ln)
		return kafka.Sleep(ctx, d)
	}
	err := kafka.Sleep(ctx, d)
	back := l.comeBack(ln, err)
	if back == nil {
		return err
	}
	select {
	case <-back:
	case <-ctx.Done():
		err = context.Cause(ctx)
		l.stayAway(ln)
	}
	return err
}

// giveWay gives the slot of a turn to others, and says whether it may.
func (l *lanes) giveWay(ln *lane, called bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	mchID := ln.order.MchID
	if !ln.seated || !l.resting.TryTake(mchID, l.mostResting) {
		return false
	}
	l.begun(ln)
	if ln.uncalled = !called; ln.uncalled {
		l.waitsForRate(mchID)
	}
	l.leaveSeat(ln)
	l.pump()
	return true
}

// comeBack lets a turn that has rested wait for a slot, until back is closed. It
// is nil where the turn needs to wait no longer, as it has one or was cut off.
func (l *lanes) comeBack(ln *lane, cutOff error) (back <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cutOff != nil {
		l.rested(ln)
		l.pump()
		return nil
	}
	waits := make(chan struct{})
	ln.back = waits
	l.seats.Push(shares.Again, ln.order.MchID, &ln.waits)
	l.pump()
	if ln.seated {
		return nil
	}
	return waits
}

// goBack gives a turn that has rested a slot.
func (l *lanes) goBack(ln *lane) {
	l.seats.Grant(&ln.waits)
	ln.seated, ln.seatedAt = true, time.Now()
	l.rested(ln)
	close(ln.back)
	ln.back = nil
}

// stayAway ends the wait for a slot of a turn that was cut off.
func (l *lanes) stayAway(ln *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ln.seated { // else at the same moment: finished gives it back
		l.seats.Remove(&ln.waits)
		l.rested(ln)
		ln.back = nil
		l.pump()
	}
}

// rested ends a rest.
func (l *lanes) rested(ln *lane) {
	mchID := ln.order.MchID
	l.resting.Give(mchID)
	if ln.uncalled {
		ln.uncalled = false
		l.hasRate(mchID)
	}
}

// goesOn notes that a turn does: a rest with its slot is over, or its calls are and
// a probe may follow. Neither lasts longer because of what was before.
func (l *lanes) goesOn(ln *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ln.seated {
		ln.seatedAt = time.Now()
	}
}

// leaveSeat gives the slot of a lane back, if it has one.
func (l *lanes) leaveSeat(ln *lane) {
	if ln.seated {
		ln.seated = false
		l.seats.Give(ln.order.MchID)
	}
}
