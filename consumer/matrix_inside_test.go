package consumer

import (
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// wallAhead moves the wall clock of a time, and leaves its monotonic clock as
// it is: what setting the clock does, and, forwards, what a machine that was
// suspended looks like. Nothing public makes such a time; its first word holds
// the wall seconds from bit 30 on (package time, type Time).
func wallAhead(t time.Time, d time.Duration) time.Time {
	(*[1]uint64)(unsafe.Pointer(&t))[0] += uint64(int64(d/time.Second)) << 30
	return t
}

// A process that was suspended, or whose clock was set, finds out before each
// call whether its session can be over.
func TestALeaseEndsByWhicheverClockSaysSo(t *testing.T) {
	sent := time.Now()
	m := &member{session: 10 * time.Second, rebalance: time.Minute, stable: sent, renewed: func() {}}
	if m.alive(sent) {
		t.Error("alive before the first heartbeat")
	}
	m.renew(sent)
	for _, c := range []struct {
		sentence string
		now      time.Time
		alive    bool
	}{
		{"right after the heartbeat", sent, true},
		{"a moment before the session is over", sent.Add(10*time.Second - 1), true},
		{"when it is over", sent.Add(10 * time.Second), false},
		{"the process was suspended for an hour", sent.Add(time.Hour), false},
		{"the machine was suspended for an hour, and the monotonic clock with it", wallAhead(sent, time.Hour), false},
		{"the clock was set an hour ahead", wallAhead(sent.Add(time.Second), time.Hour), false},
		{"the clock was set back by an hour, the session lasts", wallAhead(sent.Add(time.Second), -time.Hour), true},
		{"the clock was set back by an hour, the session is over", wallAhead(sent.Add(11*time.Second), -time.Hour), false},
	} {
		if got := m.alive(c.now); got != c.alive {
			t.Errorf("%s: alive %v", c.sentence, got)
		}
	}
	if ahead := wallAhead(sent, time.Hour); ahead.Sub(sent) != 0 || ahead.Round(0).Sub(sent.Round(0)) != time.Hour {
		t.Errorf("wallAhead moves the clocks by %v and %v", ahead.Sub(sent), ahead.Round(0).Sub(sent.Round(0)))
	}
}

// The coordinator gives the partitions of a member away that has not joined a
// rebalance in time, however fresh its session is.
func TestALeaseIsOverWhenARebalanceMayBe(t *testing.T) {
	sent := time.Now()
	m := &member{session: 40 * time.Second, rebalance: 25 * time.Second, stable: sent, renewed: func() {}}
	m.renew(sent)
	if !m.alive(sent.Add(25*time.Second-1)) || m.alive(sent.Add(25*time.Second)) {
		t.Error("a rebalance that the member has not heard of is over after 25s, the lease is not")
	}
	m.renew(sent.Add(10 * time.Second)) // the heartbeat was answered with REBALANCE_IN_PROGRESS
	if m.alive(sent.Add(25 * time.Second)) {
		t.Error("heartbeats during a rebalance put off the end of the lease, but not of the rebalance")
	}
}

// However slow the gateway and the brokers are, of one partition no more than
// a window of offsets and maxOpenBytes, passed by one record, are in memory.
func TestIntakeOfAPartitionStopsAtItsBounds(t *testing.T) {
	for sentence, c := range map[string]struct {
		size int64
		most int
	}{
		"many small records":                     {1, window},
		"large ones":                             {1 << 20, maxOpenBytes >> 20},
		"one of a size that no bound allows for": {2 * maxOpenBytes, 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPartition(t.Context(), place{"t", 0})
				p.begin(0, nil)
				var opened []*task
				done := make(chan struct{})
				go func() {
					defer close(done)
					for i := range int64(3 * window) {
						next := &task{partition: p, offset: i, size: c.size}
						if _, err := p.open(next); err != nil {
							return
						}
						opened = append(opened, next)
					}
				}()
				synctest.Wait()
				if len(opened) != c.most {
					t.Errorf("%d records are open, want %d", len(opened), c.most)
				}
				p.finish(opened[0])
				synctest.Wait()
				if len(opened) != c.most+1 {
					t.Errorf("%d records were opened when one had left, want %d", len(opened), c.most+1)
				}
				p.lose(errStopped)
				<-done
			})
		})
	}
}
