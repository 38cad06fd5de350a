package group

import (
	"testing"
	"time"
	"unsafe"

	"github.com/segmentio/kafka-go/protocol/joingroup"
)

// wallAhead moves the wall clock of a time, and leaves its monotonic clock as
// it is: what setting the clock does, and, forwards, what a machine that was
// suspended looks like. Nothing public makes such a time; its first word holds
// the wall seconds from bit 30 on (package time, type Time).
func wallAhead(t time.Time, d time.Duration) time.Time {
	(*[1]uint64)(unsafe.Pointer(&t))[0] += uint64(int64(d/time.Second)) << 30
	return t
}

// leased is a member that knew at a time that the group does not rebalance.
func leased(stable time.Time, session, rebalance time.Duration) *Member {
	m := New(Config{Session: session, Rebalance: rebalance, Renewed: func() {}})
	m.stable = stable
	return m
}

// A process that was suspended, or whose clock was set, finds out before each
// call whether its session can be over.
func TestALeaseEndsByWhicheverClockSaysSo(t *testing.T) {
	sent := time.Now()
	m := leased(sent, 10*time.Second, time.Minute)
	if m.LeaseValid(sent) {
		t.Error("valid before the first heartbeat")
	}
	m.renew(sent, true)
	for _, c := range []struct {
		sentence string
		now      time.Time
		valid    bool
	}{
		{"right after the heartbeat", sent, true},
		{"a moment before the session is over, with the time to cut calls off", sent.Add(10*time.Second - cutting - 1), true},
		{"no later", sent.Add(10*time.Second - cutting), false},
		{"the process was suspended for an hour", sent.Add(time.Hour), false},
		{"the machine was suspended for an hour, and the monotonic clock with it", wallAhead(sent, time.Hour), false},
		{"the clock was set an hour ahead", wallAhead(sent.Add(time.Second), time.Hour), false},
		{"the clock was set back by an hour, the session lasts", wallAhead(sent.Add(time.Second), -time.Hour), true},
		{"the clock was set back by an hour, the session is over", wallAhead(sent.Add(11*time.Second), -time.Hour), false},
	} {
		if got := m.LeaseValid(c.now); got != c.valid {
			t.Errorf("%s: valid %v", c.sentence, got)
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
	m := leased(sent, 40*time.Second, 25*time.Second)
	m.renew(sent, true)
	if !m.LeaseValid(sent.Add(25*time.Second-1)) || m.LeaseValid(sent.Add(25*time.Second)) {
		t.Error("a rebalance that the member has not heard of is over after 25s, the lease is not")
	}
	m.renew(sent.Add(10*time.Second), false) // the heartbeat was answered with REBALANCE_IN_PROGRESS
	if m.LeaseValid(sent.Add(25 * time.Second)) {
		t.Error("heartbeats during a rebalance put off the end of the lease, but not of the rebalance")
	}
}

// Once JoinGroup is answered the coordinator waits for SyncGroup for a rebalance
// time-out, and says meanwhile that all is well (Kafka's GroupCoordinator,
// CompletingRebalance): that puts nothing off.
func TestALeaseIsOverWhenSyncGroupDoesNotArrive(t *testing.T) {
	tn := inGeneration7(t)
	tn.joining = true
	joined := time.Now()
	tn.heard = joined
	if err := tn.joined(&joingroup.Response{ProtocolName: cooperative, LeaderID: "m", MemberID: "m", GenerationID: 8}, joined, nil, map[string][]int{"requests": {0}}); err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{10 * time.Second, 30 * time.Second, 50 * time.Second} {
		tn.renewed(joined.Add(after), true)
	}
	if tn.leaseOver(joined.Add(time.Minute - 1)) {
		t.Error("the lease is over while the coordinator waits")
	}
	if !tn.leaseOver(joined.Add(time.Minute)) {
		t.Error("heartbeats put off the end of the lease, but not of the coordinator's patience")
	}
}
