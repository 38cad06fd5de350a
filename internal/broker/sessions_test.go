package broker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A member whose process is killed while it waits to join is let go when its session
// is over: who lives gets its partitions. Of half of them kfake takes the answer for
// sent.
func TestAMemberThatIsKilledAsItJoinsIsLetGo(t *testing.T) {
	b := start(t, broker.Config{Topics: []broker.Topic{{Name: "t", Partitions: 8}}})
	const group = "shop"
	lives := newFranz(t, b, kgo.ConsumerGroup(group), kgo.ConsumeTopics("t"), kgo.Balancers(kgo.RangeBalancer()),
		kgo.SessionTimeout(time.Second), kgo.RebalanceTimeout(5*time.Second), kgo.HeartbeatInterval(100*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			lives.PollFetches(ctx)
		}
	}()
	alone := func() *kfake.GroupInfo {
		t.Helper()
		info, err := b.Cluster().WaitGroupInfo(ctx, group, func(g *kfake.GroupInfo) bool {
			return g != nil && g.State == "Stable" && len(g.Members) == 1 && g.NumAssigned() == 8
		})
		if err != nil {
			t.Fatalf("%v: %+v", err, b.Cluster().GroupInfo(group))
		}
		return info
	}
	for range 5 {
		before := alone()
		joinAndDie(t, b, group)
		if _, err := b.Cluster().WaitGroupInfo(ctx, group, func(g *kfake.GroupInfo) bool { return g.Epoch > before.Epoch }); err != nil {
			t.Fatal(err)
		}
	}
	alone()
}

// joinAndDie is a process that is killed while it waits for the answer to
// JoinGroup.
func joinAndDie(t *testing.T, b *broker.Broker, group string) {
	t.Helper()
	cl := newFranz(t, b)
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType = group, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 1000, 5000
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Topics = []string{"t"}
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", meta.AppendTo(nil)
	req.Protocols = append(req.Protocols, protocol)
	resp, err := req.RequestWith(t.Context(), cl)
	if err != nil || !errors.Is(kerr.ErrorForCode(resp.ErrorCode), kerr.MemberIDRequired) {
		t.Fatalf("%v, %+v", err, resp)
	}
	req.MemberID = resp.MemberID
	ctx, kill := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = req.RequestWith(ctx, cl)
	}()
	if _, err := b.Cluster().WaitGroupInfo(t.Context(), group, func(g *kfake.GroupInfo) bool {
		for _, m := range g.Members {
			if m.MemberID == req.MemberID {
				return true
			}
		}
		return false
	}); err != nil {
		t.Fatal(err)
	}
	kill()
	cl.Close()
	<-ended
}
