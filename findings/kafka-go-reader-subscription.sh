#!/usr/bin/env bash
# Expected: what a client calls version 1 of its subscription (ConsumerProtocolSubscription) has the fields of version 1. They are
#   topics, user data, and since version 1 (KIP-429) the partitions that the member owns.
# Happens: kafka-go's Reader writes version 1 and ends after the user data, as version 0 does. Classic coordinators hand the bytes
#   on and no leader minds. A broker of Apache Kafka 4 reads them itself as soon as the group has one member of the new protocol
#   (KIP-848, group.protocol=consumer): it cannot, and refuses the Reader with an error that kafka-go does not know.
# Versions: kafka-go 0.4.51; franz-go 1.22.2 (kfake, in the process, to see what is sent); kafka-clients 4.3.1, whose
#   ConsumerProtocol is what brokers read it with.
# Seen:
#   kafka-go's Reader: version 1, 11 bytes behind it; Java: cannot be read
#   the same bytes as version 0: Java: topics [t], owned []
#   franz-go: version 3; Java: topics [t], owned []
# Why it matters: one Java service that tries the new protocol on a shared group locks all kafka-go Readers out of it. Whoever
#   encodes a subscription says version 0, or writes all of the version.
# Sources: Apache Kafka, clients/src/main/resources/common/message/ConsumerProtocolSubscription.json (ownedPartitions: versions 1+);
#   kafka-go, consumergroup.go (groupMetadata{Version: 1}) and groupbalancer wire format; KIP-848, "Consumer Group Upgrade".
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir go java
cat >go/main.go <<'EOF'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// subscription is what the first member of the group says of itself when join runs it.
func subscription(cluster *kfake.Cluster, group string, join func(ctx context.Context)) []byte {
	seen := make(chan []byte, 10)
	cluster.ControlKey(int16(kmsg.JoinGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if r := req.(*kmsg.JoinGroupRequest); r.Group == group && len(r.Protocols) > 0 {
			select {
			case seen <- r.Protocols[0].Metadata:
			default:
			}
		}
		return nil, nil, false
	})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	go join(ctx)
	select {
	case b := <-seen:
		return b
	case <-ctx.Done():
		panic("nobody has joined")
	}
}

func main() {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		panic(err)
	}
	defer cluster.Close()
	write := func(name string, b []byte) {
		if err := os.WriteFile("../"+name, b, 0o644); err != nil {
			panic(err)
		}
	}
	write("reader", subscription(cluster, "reader", func(ctx context.Context) {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: cluster.ListenAddrs(), GroupID: "reader", Topic: "t"})
		r.ReadMessage(ctx)
	}))
	write("franz", subscription(cluster, "franz", func(ctx context.Context) {
		c, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumerGroup("franz"), kgo.ConsumeTopics("t"))
		if err != nil {
			panic(err)
		}
		c.PollFetches(ctx)
	}))
	fmt.Fprintln(os.Stderr, "both have joined")
}
EOF
cat >java/pom.xml <<'EOF'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>4.3.1</version></dependency>
</dependencies></project>
EOF
cat >java/Read.java <<'EOF'
import java.nio.ByteBuffer;
import java.nio.file.*;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;

public class Read {
  static String read(byte[] bytes) {
    try {
      Subscription s = ConsumerProtocol.deserializeSubscription(ByteBuffer.wrap(bytes));
      return "topics " + s.topics() + ", owned " + s.ownedPartitions();
    } catch (RuntimeException e) {
      return "cannot be read";
    }
  }

  public static void main(String[] args) throws Exception {
    byte[] reader = Files.readAllBytes(Path.of("../reader")), franz = Files.readAllBytes(Path.of("../franz"));
    System.out.println("kafka-go's Reader: version " + reader[1] + ", " + (reader.length - 2) + " bytes behind it; Java: " + read(reader));
    reader[1] = 0;
    System.out.println("the same bytes as version 0: Java: " + read(reader));
    System.out.println("franz-go: version " + franz[1] + "; Java: " + read(franz));
  }
}
EOF
(cd go && go mod init x && go get github.com/segmentio/kafka-go@v0.4.51 github.com/twmb/franz-go@v1.22.2 github.com/twmb/franz-go/pkg/kmsg@v1.15.0 \
	github.com/twmb/franz-go/pkg/kfake@v0.0.0-20260918054303-01f206a7e32c) >/dev/null 2>&1
(cd go && go run . 2>err || { cat err; exit 1; })
(cd java && mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=lib) >/dev/null
(cd java && javac -cp 'lib/*' Read.java && java -cp '.:lib/*' Read 2>/dev/null) >seen
cat >want <<'EOF'
kafka-go's Reader: version 1, 11 bytes behind it; Java: cannot be read
the same bytes as version 0: Java: topics [t], owned []
franz-go: version 3; Java: topics [t], owned []
EOF
echo "versions: kafka-go 0.4.51, franz-go 1.22.2, kafka-clients 4.3.1, $(java -version 2>&1 | head -1)"
echo "expected: the subscription of each of the two can be read as the version that it says it is"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
