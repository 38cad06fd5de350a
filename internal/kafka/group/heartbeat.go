package group

import (
	"context"
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

// heartbeat keeps the lease until member ends. It ends gen when the membership
// is lost, and calls rebalance when the group wants to be joined again or the
// number of partitions has changed.
func (m *Member) heartbeat(member context.Context, gen Generation, rebalance func()) {
	const soon = 250 * time.Millisecond
	interval := min(max(min(m.cfg.Session, m.cfg.Rebalance)/30, 200*time.Millisecond), 3*time.Second)
	counts, lastWatch := gen.Counts, time.Now()
	for {
		wait := interval
		sent := time.Now()
		err := m.beat(member, gen)
		switch {
		case member.Err() != nil:
			return
		case err == nil:
			m.stable = sent
			m.renew(sent)
		case errors.Is(err, kafkago.RebalanceInProgress):
			m.renew(sent)
			rebalance()
		case errors.Is(err, kafkago.UnknownMemberId):
			m.id = ""
			gen.End(err)
			return
		case errors.Is(err, kafkago.FencedInstanceID), errors.Is(err, kafkago.IllegalGeneration), errors.Is(err, kafkago.GroupAuthorizationFailed):
			gen.End(err)
			return
		default:
			// A lost connection is not a lost membership, nor is a coordinator
			// that moves, loads or has trouble of its own: the lease decides.
			wait = min(interval, soon)
		}
		if !m.LeaseValid(time.Now()) {
			gen.End(fmt.Errorf("no heartbeat was answered for so long that the partitions may be another's (session time-out %v, rebalance time-out %v; last: %w)", m.cfg.Session, m.cfg.Rebalance, err))
			return
		}
		if time.Since(lastWatch) >= partitionWatch {
			lastWatch = time.Now()
			if now, err := m.cfg.Client.Partitions(member, m.cfg.Topics...); err == nil {
				if !maps.Equal(now, counts) {
					m.cfg.Log.Info("the number of partitions has changed: joining the group again")
					rebalance()
				}
				counts = now
			}
		}
		if kafka.Sleep(member, min(wait, m.leaseLeft())) != nil {
			return
		}
	}
}

// beat sends one heartbeat. What the coordinator answers, if not that all is
// well, is a [kafkago.Error].
func (m *Member) beat(ctx context.Context, gen Generation) error {
	// Several tries fit into a lease, each on a connection of its own, and
	// none outlives it: its end must be noticed at once.
	limit := max(min(m.cfg.Session, m.cfg.Rebalance)/8, 500*time.Millisecond)
	res, err := m.cfg.Client.RoundTrip(ctx, min(requestTimeout, limit, m.leaseLeft()), &heartbeatRequest{
		GroupID: gen.Group, GenerationID: gen.Generation, MemberID: gen.MemberID, GroupInstanceID: gen.InstanceID,
	})
	if err != nil {
		return err
	}
	if code := heartbeatCode(res); code != 0 {
		return kafkago.Error(code)
	}
	return nil
}
