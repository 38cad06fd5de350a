#!/usr/bin/env bash
# Expected: a coordinator that refuses a heartbeat (the generation is over, the member unknown) is an error of the answer.
# Happens: kafka-go's Client.Heartbeat tells of no error, whatever the broker answers. Its response type has the fields of versions
#   1 to 4 in the wrong order, so that the error code is read as a part of the throttle time: code 22 (ILLEGAL_GENERATION) is a
#   throttle of 22 ms. A member that was fenced off goes on as if all were well, and its partitions have two owners.
#   kafka-go's own ConsumerGroup does not use this type and is right.
# Versions: kafka-go 0.4.51; franz-go 1.22.2 reads the same answers of the same broker (kfake, in the process).
# Seen:
#   the member's own generation: kafka-go: error <nil>, throttle 0s; the same broker to franz-go: code 0
#   a generation that is over: kafka-go: error <nil>, throttle 22ms; the same broker to franz-go: code 22
#   a member the group does not know: kafka-go: error <nil>, throttle 25ms; the same broker to franz-go: code 25
# Why it matters: whoever builds a membership of their own on kafka-go's Client learns nothing from heartbeats, and an unexpected
#   throttle of 22, 25 or 27 ms is the only sign.
# Sources: kafka.apache.org/protocol, Heartbeat API (version 1: throttle_time_ms, error_code); github.com/segmentio/kafka-go/pull/1371
#   (open since 2025-03).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'EOF'
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func main() {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		panic(err)
	}
	defer cluster.Close()
	ctx := context.Background()
	client := &kafka.Client{Addr: kafka.TCP(cluster.ListenAddrs()...), Timeout: 10 * time.Second}
	other, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		panic(err)
	}
	defer other.Close()

	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis, join.ProtocolType = 5, "g", 45000, 60000, "consumer"
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	join.Protocols = append(join.Protocols, p)
	var member string
	var generation int32
	for range 2 { // the first answer says which member id to join with
		res, err := join.RequestWith(ctx, other)
		if err != nil {
			panic(err)
		}
		member, generation = res.MemberID, res.Generation
		join.MemberID = member
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = "g", member, generation
	if res, err := sync.RequestWith(ctx, other); err != nil || res.ErrorCode != 0 {
		panic(fmt.Sprint(res, err))
	}
	for _, beat := range []struct {
		what       string
		member     string
		generation int32
	}{
		{"the member's own generation", member, generation},
		{"a generation that is over", member, generation + 7},
		{"a member the group does not know", "somebody", generation},
	} {
		res, err := client.Heartbeat(ctx, &kafka.HeartbeatRequest{GroupID: "g", GenerationID: beat.generation, MemberID: beat.member})
		if err != nil {
			panic(err)
		}
		theirs := kmsg.NewPtrHeartbeatRequest()
		theirs.Group, theirs.MemberID, theirs.Generation = "g", beat.member, beat.generation
		code := int16(-1)
		if res, err := theirs.RequestWith(ctx, other); err == nil {
			code = res.ErrorCode
		}
		fmt.Printf("%s: kafka-go: error %v, throttle %v; the same broker to franz-go: code %d\n", beat.what, res.Error, res.Throttle, code)
	}
}
EOF
go mod init x >/dev/null 2>&1
go get github.com/segmentio/kafka-go@v0.4.51 github.com/twmb/franz-go@v1.22.2 github.com/twmb/franz-go/pkg/kmsg@v1.15.0 \
	github.com/twmb/franz-go/pkg/kfake@v0.0.0-20260918054303-01f206a7e32c >/dev/null 2>&1
go run . >seen
cat >want <<'EOF'
the member's own generation: kafka-go: error <nil>, throttle 0s; the same broker to franz-go: code 0
a generation that is over: kafka-go: error <nil>, throttle 22ms; the same broker to franz-go: code 22
a member the group does not know: kafka-go: error <nil>, throttle 25ms; the same broker to franz-go: code 25
EOF
echo "versions: kafka-go 0.4.51, franz-go 1.22.2, kfake of 2026-09-18"
echo "expected: an error of kafka-go wherever franz-go has a code"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
