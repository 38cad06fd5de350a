package broker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// A member whose process is killed while it waits to join is let go when its session
// is over: who lives gets its partitions. Of half of them kfake takes the answer for
// sent, so there are several groups.
func TestAMemberThatIsKilledAsItJoinsIsLetGo(t *testing.T) {
	b := start(t, broker.Config{Topics: []broker.Topic{{Name: "t", Partitions: 8}}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var groups errgroup.Group
	for i := range 6 {
		groups.Go(func() error { return livesAlone(ctx, b, fmt.Sprint("shop-", i)) })
	}
	if err := groups.Wait(); err != nil {
		t.Error(err)
	}
}

// livesAlone is a group of one member that lives, and one that is killed as it joins.
func livesAlone(ctx context.Context, b *broker.Broker, group string) error {
	lives, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.ConsumerGroup(group), kgo.ConsumeTopics("t"), kgo.Balancers(kgo.RangeBalancer()),
		kgo.SessionTimeout(time.Second), kgo.RebalanceTimeout(5*time.Second), kgo.HeartbeatInterval(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer lives.Close()
	go func() {
		for !lives.PollFetches(ctx).IsClientClosed() && ctx.Err() == nil {
		}
	}()
	alone := func(behind int32) (int32, error) {
		info, err := b.Cluster().WaitGroupInfo(ctx, group, func(g *kfake.GroupInfo) bool {
			return g != nil && g.Epoch > behind && g.State == "Stable" && len(g.Members) == 1 && g.NumAssigned() == 8
		})
		if err != nil {
			return 0, fmt.Errorf("%w: %+v", err, b.Cluster().GroupInfo(group))
		}
		return info.Epoch, nil
	}
	before, err := alone(0)
	if err != nil {
		return err
	}
	if err := joinAndDie(ctx, b, group); err != nil {
		return err
	}
	_, err = alone(before)
	return err
}

// joinAndDie is a process that is killed while it waits for the answer to
// JoinGroup.
func joinAndDie(ctx context.Context, b *broker.Broker, group string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType = group, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 1000, 5000
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Topics = []string{"t"}
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", meta.AppendTo(nil)
	req.Protocols = append(req.Protocols, protocol)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil || !errors.Is(kerr.ErrorForCode(resp.ErrorCode), kerr.MemberIDRequired) {
		return fmt.Errorf("%w, %+v", err, resp)
	}
	req.MemberID = resp.MemberID
	joins, kill := context.WithCancel(ctx)
	defer kill()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = req.RequestWith(joins, cl)
	}()
	if _, err := b.Cluster().WaitGroupInfo(ctx, group, func(g *kfake.GroupInfo) bool {
		for _, m := range g.Members {
			if m.MemberID == req.MemberID {
				return true
			}
		}
		return false
	}); err != nil {
		return err
	}
	kill()
	cl.Close()
	<-ended
	return nil
}
