package consumer

import (
	"sync"
	"time"
)

// slowDoing is from when on a request that is not answered counts as one that
// fails: brokers that are well take moments.
const slowDoing = 10 * time.Second

// doing is how one kind of request does: those that write, or those that commit.
// Each is begun and ended, from any goroutine. It is safe for concurrent use.
type doing struct {
	mu       sync.Mutex
	underWay map[time.Time]int // by when they were begun
	last     time.Time         // one was answered well
	failing  time.Time         // since none is
	why      error
}

// begin returns when a request is begun, which ends it.
func (d *doing) begin() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.underWay == nil {
		d.underWay = make(map[time.Time]int)
	}
	d.underWay[now]++
	return now
}

// end ends one: did says that something of it went well, why what did not.
func (d *doing) end(began time.Time, did bool, why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.underWay[began]--; d.underWay[began] == 0 {
		delete(d.underWay, began)
	}
	d.note(did, why)
}

// failed says that what is to be done cannot even be begun.
func (d *doing) failed(why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(false, why)
}

// idle says that there is nothing to do: what failed last is not tried any more, as
// its partition was taken away, and says nothing of the next.
func (d *doing) idle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.underWay) == 0 {
		d.failing, d.why = time.Time{}, nil
	}
}

func (d *doing) note(did bool, why error) {
	switch now := time.Now(); {
	case did:
		d.last, d.failing, d.why = now, time.Time{}, nil
	case why != nil:
		if d.why = why; d.failing.IsZero() {
			d.failing = now
		}
	}
}

// look says when it went well last, since when it fails and why: also one that
// is not answered for long fails.
func (d *doing) look(now time.Time) (underWay int, last, failing time.Time, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	last, failing = d.last, d.failing
	if d.why != nil {
		why = d.why.Error()
	}
	for began, n := range d.underWay {
		underWay += n
		if now.Sub(began) >= slowDoing && (failing.IsZero() || began.Before(failing)) && began.After(last) {
			failing = began
			if why == "" {
				why = "no broker has answered yet"
			}
		}
	}
	return underWay, last, failing, why
}
