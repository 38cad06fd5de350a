#!/usr/bin/env bash
# Expected: a member of a group whose process is killed while it waits for the answer to JoinGroup is let go when its session is
#   over, and its partitions go to those who live. Apache Kafka starts a member's session when it answers its JoinGroup
#   (GroupCoordinator.completeAndScheduleNextHeartbeatExpiration), whether the answer can be delivered or not.
# Happens: where kfake finds the connection gone when it answers, it starts no session. The member is dealt partitions and keeps
#   them for as long as the group is stable: they are read by nobody. By chance it takes the answer for sent, and all is well; so
#   there are up to twelve such deaths below, one after another, until one is not noticed.
# Version: kfake v0.0.0-20260918054303-01f206a7e32c, franz-go 1.22.2 as the member that lives.
# Seen (session time-out 1 s; a topic of 8 partitions, all read by one member; then another one is killed as it joins):
#   20 s after a death: Stable, 2 members, 4 of 8 partitions are read
# Why it matters: kfake is what many Go projects test their consumers on, and what `closeorder dev` embeds. A test that kills
#   consumers stands still now and then, with "Stable", and looks like a fault of the consumer.
# Source: kfake, groups.go, group.reply: updateHeartbeat stands behind the return for an answer that cannot be delivered.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module x

go 1.26

require (
	github.com/twmb/franz-go v1.22.2
	github.com/twmb/franz-go/pkg/kfake v0.0.0-20260918054303-01f206a7e32c
	github.com/twmb/franz-go/pkg/kmsg v1.15.1
)
MOD
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

const partitions = 8

func main() {
	ctx := context.Background()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "t"), kfake.GroupMinSessionTimeout(time.Second))
	must(err)
	defer c.Close()
	lives, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.Balancers(kgo.RangeBalancer()),
		kgo.SessionTimeout(time.Second), kgo.RebalanceTimeout(5*time.Second), kgo.HeartbeatInterval(100*time.Millisecond))
	must(err)
	defer lives.Close()
	go func() {
		for {
			if lives.PollFetches(ctx).IsClientClosed() {
				return
			}
		}
	}()
	wait := func(limit time.Duration, fn func(*kfake.GroupInfo) bool) (*kfake.GroupInfo, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return c.WaitGroupInfo(ctx, "g", func(g *kfake.GroupInfo) bool { return g != nil && fn(g) })
	}
	alone := func(g *kfake.GroupInfo) bool {
		return g.State == "Stable" && len(g.Members) == 1 && g.NumAssigned() == partitions
	}
	before, err := wait(time.Minute, alone)
	must(err)
	for range 12 {
		killedWhileJoining(c)
		_, err = wait(time.Minute, func(g *kfake.GroupInfo) bool { return g.Epoch > before.Epoch && g.State == "Stable" })
		must(err)
		before, err = wait(20*time.Second, alone)
		if err != nil { // for twenty times its session time-out
			g := c.GroupInfo("g")
			id, _ := lives.GroupMetadata()
			for _, m := range g.Members {
				if m.MemberID == id {
					fmt.Printf("20 s after a death: %s, %d members, %d of %d partitions are read\n", g.State, len(g.Members), m.NumAssigned(), partitions)
				}
			}
			return
		}
	}
	fmt.Println("of twelve that died each was let go")
}

// killedWhileJoining is a process that waits for the answer to JoinGroup when its
// connection is cut.
func killedWhileJoining(c *kfake.Cluster) {
	dies, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	must(err)
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = "g", "consumer", 1000, 5000
	subscription := kmsg.NewConsumerMemberMetadata()
	subscription.Topics = []string{"t"}
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", subscription.AppendTo(nil)
	join.Protocols = append(join.Protocols, protocol)
	first, err := join.RequestWith(context.Background(), dies) // MEMBER_ID_REQUIRED
	must(err)
	join.MemberID = first.MemberID
	ctx, kill := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = join.RequestWith(ctx, dies)
	}()
	_, err = c.WaitGroupInfo(context.Background(), "g", func(g *kfake.GroupInfo) bool { return len(g.Members) == 2 })
	must(err)
	kill()
	dies.Close()
	<-ended
}
GO
go mod tidy >log 2>&1 || { cat log; exit 1; }
go run . >seen 2>log || { cat log; exit 1; }
cat >expected <<'TEXT'
20 s after a death: Stable, 2 members, 4 of 8 partitions are read
TEXT
echo "expected: each is let go within seconds, and all 8 partitions are read"
echo "seen:"
cat seen
diff expected seen >/dev/null || { echo "this has changed"; exit 1; }
