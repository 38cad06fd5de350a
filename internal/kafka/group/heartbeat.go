package group

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	kafkago "github.com/segmentio/kafka-go"
)

// partitionWatch is how often the number of partitions is compared; the
// comparison costs no request.
const partitionWatch = 5 * time.Second

// heartbeat keeps the lease until the tenure ends, also while the group is
// joined again: until that is answered the old generation is the one that the
// coordinator knows. It ends the tenure when the membership is lost, and asks
// for another JoinGroup when the group rebalances or the number of partitions
// has changed.
func (t *tenure) heartbeat() {
	const soon = 250 * time.Millisecond
	interval := min(max(min(t.cfg.Session, t.cfg.Rebalance)/30, 200*time.Millisecond), 3*time.Second)
	lastWatch := time.Now()
	var last error
	doubtful := 0 // heartbeats in a row
	hasty := 0    // heartbeats to come that do not wait
	for {
		wait := interval
		sent := time.Now()
		as := t.membership()
		err := t.beat(as)
		if !errors.Is(err, kafkago.IllegalGeneration) {
			doubtful = 0
		}
		switch {
		case t.alive.Err() != nil:
			return
		case err == nil:
			last = nil
			t.renewed(sent, true)
		case errors.Is(err, kafkago.RebalanceInProgress):
			last = nil
			t.renewed(sent, false)
			t.again(as.Generation)
		case errors.Is(err, kafkago.IllegalGeneration):
			wait = soon // it may be over for the moment
			t.refused(as, err)
			if doubtful++; doubtful%unheardAfter == 0 {
				t.unheard(as)
			}
		case errors.Is(err, kafkago.UnknownMemberId), errors.Is(err, kafkago.FencedInstanceID), errors.Is(err, kafkago.GroupAuthorizationFailed):
			t.refused(as, err)
		default:
			// A lost connection is not a lost membership, nor is a coordinator
			// that moves, loads or has trouble of its own: the lease decides.
			wait, last = min(interval, soon), err
		}
		if t.leaseOver(time.Now()) {
			t.lose(silenceError(t.cfg, last))
			return
		}
		// The answer that the generation is over often overtakes the one to
		// JoinGroup by moments: no reason to cut calls off.
		if !t.LeaseValid(time.Now()) && doubtful != 1 {
			t.cfg.Doubted()
		}
		if time.Since(lastWatch) >= partitionWatch {
			lastWatch = time.Now()
			if now, err := t.cfg.Client.Partitions(t.alive, t.cfg.Topics...); err == nil && !maps.Equal(now, t.joinedWith()) {
				t.cfg.Log.Info("the number of partitions has changed: joining the group again")
				t.again(as.Generation)
			}
		}
		if hasty > 0 {
			hasty--
			wait = min(interval, soon)
		}
		wake := time.NewTimer(min(wait, t.silence()))
		select {
		case <-wake.C:
		case <-t.soon:
			// Somebody gives partitions up, joins again, and all are to follow: until
			// the last one has heard of that those partitions have no owner.
			hasty = 3 * int(interval/soon)
		case <-t.alive.Done():
		}
		wake.Stop()
		if t.alive.Err() != nil {
			return
		}
	}
}

// silenceError is why a lease is over; last is the last failure of a heartbeat,
// nil where there was none: a process that stood still for so long.
func silenceError(cfg Config, last error) error {
	text := fmt.Sprintf("no heartbeat was answered for so long that the partitions may be another's (session time-out %v, rebalance time-out %v)", cfg.Session, cfg.Rebalance)
	if last == nil {
		return errors.New(text)
	}
	return fmt.Errorf("%s; last: %w", text, last)
}

// unheardAfter is after how many heartbeats that say that the generation is over
// the answer to JoinGroup, which says what follows, is taken for lost.
const unheardAfter = 10

// unheard sends JoinGroup again, if that is still what the member waits for.
func (t *tenure) unheard(as kafka.Membership) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.joining && !t.syncing && t.generation == as.Generation {
		t.abandon()
	}
}

// renewed extends the lease and tells of it.
func (t *tenure) renewed(sent time.Time, calm bool) {
	t.mu.Lock()
	t.renew(sent, calm && !t.syncing)
	t.mu.Unlock()
	t.cfg.Renewed()
}

// beat sends one heartbeat. What the coordinator answers, if not that all is
// well, is a [kafkago.Error].
func (t *tenure) beat(as kafka.Membership) error {
	// Several tries fit into a lease, each on a connection of its own, and
	// none outlives it: its end must be noticed at once. A broker whose quotas
	// are used up holds each answer back for up to a second (KIP-124).
	lease := min(t.cfg.Session, t.cfg.Rebalance)
	limit := max(lease/8, min(1500*time.Millisecond, lease/4), 500*time.Millisecond)
	res, err := t.cfg.Client.RoundTrip(t.alive, min(requestTimeout, limit, t.silence()), &heartbeatRequest{
		GroupID: as.Group, GenerationID: as.Generation, MemberID: as.MemberID, GroupInstanceID: as.InstanceID,
	})
	if err != nil {
		return err
	}
	if code := heartbeatCode(res); code != 0 {
		return kafkago.Error(code)
	}
	return nil
}

// joinedWith is how many partitions there were when the group was joined.
func (m *Member) joinedWith() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// membership is what requests are made under now.
func (m *Member) membership() kafka.Membership {
	m.mu.Lock()
	defer m.mu.Unlock()
	return kafka.Membership{Group: m.cfg.Group, Generation: m.generation, MemberID: m.id, InstanceID: m.instanceID()}
}

// instanceID is what goes on the wire.
func (m *Member) instanceID() string {
	if m.dynamic {
		return ""
	}
	return m.cfg.InstanceID
}
