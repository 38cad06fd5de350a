#!/usr/bin/env bash
# Expected: who asks Kafka to describe a group is told its state and its members, or gets an error.
# Happens: DescribeGroups knows classic groups only. Of a group with group.protocol=consumer, alive and at work, a broker answers to
#   clients before version 6 of that request "Dead", no members and no error: the very words for a group that was never there. kafka-go,
#   sarama and KafkaJS hand that on. Version 6 adds an error, whose code says that the group id does not exist (franz-go's kadm shows
#   that) and whose text says "not a classic group" (kafka-python shows it). Java, librdkafka and kadm's DescribeConsumerGroups are right.
#   Of a classic group with a member from Java kafka-go has no members either: it does not know what such a member says of itself.
# Versions: Apache Kafka 4.3.1, broker and kafka-clients; kafka-go 0.4.51, sarama 1.61.1, kadm 1.20.0 with franz-go 1.22.3;
#   kafka-python 3.0.12, confluent-kafka 2.16.1 (librdkafka); KafkaJS 2.2.4.
# Seen (a group of each protocol with one member that owns a partition, and a group that is not there):
#   Java, classic: Stable, members: 1
#   Java, consumer: Stable, members: 1
#   Java, absent: error GroupIdNotFoundException
#   kafka-go, classic: Stable, members: 0, error failed to decode member metadata for group classic: Got non-zero number of bytes remaining: 10
#   kafka-go, consumer: Dead, members: 0
#   kafka-go, absent: Dead, members: 0
#   sarama, classic: Stable, members: 1
#   sarama, consumer: Dead, members: 0
#   sarama, absent: Dead, members: 0
#   kadm DescribeGroups, classic: Stable, members: 1
#   kadm DescribeGroups, consumer: Dead, members: 0, error GROUP_ID_NOT_FOUND: The group id does not exist.
#   kadm DescribeGroups, absent: Dead, members: 0, error GROUP_ID_NOT_FOUND: The group id does not exist.
#   kadm DescribeConsumerGroups, consumer: Stable, members: 1
#   kafka-python, classic: Stable, members: 1
#   kafka-python, consumer: Dead, members: 0, error [Error 69] GroupIdNotFoundError: Group consumer is not a classic group.
#   kafka-python, absent: Dead, members: 0, error [Error 69] GroupIdNotFoundError: Group absent not found.
#   confluent-kafka, classic: Stable, members: 1
#   confluent-kafka, consumer: Stable, members: 1
#   confluent-kafka, absent: Dead, members: 0
#   KafkaJS, classic: Stable, members: 1
#   KafkaJS, consumer: Dead, members: 0
#   KafkaJS, absent: Dead, members: 0
# Why it matters: is the worker alive? A status page, an exporter, or a guard like "nobody lives, so reset the offsets" that asks in the
#   old way says no of a living group, from the day on which its consumers get another setting. Ask ConsumerGroupDescribe too, or
#   ListGroups, which names a group's state and type (version 5), and take "Dead" of DescribeGroups alone as not known.
# Sources: KIP-848, "ConsumerGroupDescribe API"; KIP-1043, "Administration of groups" (version 6 of DescribeGroups);
#   github.com/tchiotludo/akhq/issues/2720; github.com/segmentio/kafka-go/issues/1212.
set -euo pipefail
dir=$(mktemp -d)
broker_pid= member_pid=
trap 'for pid in $member_pid $broker_pid; do kill "$pid"; wait "$pid" || true; done 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir"
mkdir go java js python
cat >java/pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
</dependencies></project>
XML
cat >java/Members.java <<'JAVA'
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.serialization.*;

public class Members {
  static String describe(Admin admin, String group) throws Exception {
    try {
      ConsumerGroupDescription d = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
      long owned = d.members().stream().mapToLong(m -> m.assignment().topicPartitions().size()).sum();
      return d.groupState() + ", members: " + d.members().size() + (owned == 1 ? "" : ", owned: " + owned);
    } catch (ExecutionException e) {
      return "error " + e.getCause().getClass().getSimpleName();
    }
  }

  public static void main(String[] args) throws Exception {
    String broker = args[0];
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
      admin.createTopics(List.of(new NewTopic("t", 1, (short) 1))).all().get();
      for (String protocol : List.of("classic", "consumer")) {
        Thread member = new Thread(() -> {
          KafkaConsumer<String, String> c = new KafkaConsumer<>(
              Map.of("bootstrap.servers", broker, "group.id", protocol, "group.protocol", protocol), new StringDeserializer(), new StringDeserializer());
          c.subscribe(List.of("t"));
          while (true) c.poll(Duration.ofMillis(200));
        });
        member.start();
        while (!describe(admin, protocol).equals("Stable, members: 1")) Thread.sleep(200);
      }
      for (String group : List.of("classic", "consumer", "absent")) System.out.println("Java, " + group + ": " + describe(admin, group));
      Files.createFile(Path.of("ready")); // the members go on until they are killed
    }
  }
}
JAVA
cat >go/main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func say(client, group, state string, members int, err error) {
	text := fmt.Sprintf("%s, members: %d", state, members)
	if err != nil {
		text += ", error " + err.Error()
	}
	fmt.Printf("%s, %s: %s\n", client, group, text)
}

func main() {
	ctx, broker := context.Background(), os.Args[1]
	groups := []string{"classic", "consumer", "absent"}

	client := &kafka.Client{Addr: kafka.TCP(broker)}
	for _, group := range groups {
		r, err := client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
		must(err)
		say("kafka-go", group, r.Groups[0].GroupState, len(r.Groups[0].Members), r.Groups[0].Error)
	}

	admin, err := sarama.NewClusterAdmin([]string{broker}, sarama.NewConfig())
	must(err)
	for _, group := range groups {
		r, err := admin.DescribeConsumerGroups([]string{group})
		must(err)
		err = nil
		if r[0].Err != sarama.ErrNoError {
			err = r[0].Err
		}
		say("sarama", group, r[0].State, len(r[0].Members), err)
	}

	franz, err := kgo.NewClient(kgo.SeedBrokers(broker))
	must(err)
	for _, group := range groups {
		r, err := kadm.NewClient(franz).DescribeGroups(ctx, group)
		must(err)
		say("kadm DescribeGroups", group, r[group].State, len(r[group].Members), r[group].Err)
	}
	r, err := kadm.NewClient(franz).DescribeConsumerGroups(ctx, "consumer")
	must(err)
	say("kadm DescribeConsumerGroups", "consumer", r["consumer"].State, len(r["consumer"].Members), r["consumer"].Err)
}
GO
cat >python/ask.py <<'PYTHON'
import sys
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient

groups = ["classic", "consumer", "absent"]
admin = KafkaAdminClient(bootstrap_servers=sys.argv[1])
for group in groups:
    r = admin.describe_groups([group])[group]
    error = ", error " + r["error"] if r["error"] else ""
    print("kafka-python, %s: %s, members: %d%s" % (group, r["group_state"], len(r["members"]), error))
admin = AdminClient({"bootstrap.servers": sys.argv[1]})
for group in groups:
    r = admin.describe_consumer_groups([group])[group].result()
    print("confluent-kafka, %s: %s, members: %d" % (group, r.state.name.capitalize(), len(r.members)))
PYTHON
cat >js/ask.js <<'JS'
const { Kafka, logLevel } = require("kafkajs");
(async () => {
  const admin = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  for (const group of ["classic", "consumer", "absent"]) {
    const r = (await admin.describeGroups([group])).groups[0];
    console.log(`KafkaJS, ${group}: ${r.state}, members: ${r.members.length}${r.errorCode ? ", error " + r.errorCode : ""}`);
  }
  await admin.disconnect();
})();
JS
python3 -m venv python/v
python/v/bin/pip install --quiet --disable-pip-version-check confluent-kafka==2.16.1 kafka-python==3.0.12
(cd js && npm init -y && npm install --silent --no-audit --no-fund kafkajs@2.2.4) >/dev/null
cat >go/go.mod <<'MOD'
module x

go 1.26

require (
	github.com/IBM/sarama v1.61.1
	github.com/segmentio/kafka-go v0.4.51
	github.com/twmb/franz-go v1.22.3
	github.com/twmb/franz-go/pkg/kadm v1.20.0
)
MOD
(cd go && go mod tidy && go build -o x .) >build 2>&1 || { cat build; exit 1; }
(cd java && mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=lib) >/dev/null
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
broker=127.0.0.1:$(port) controller=127.0.0.1:$(port)
cat >server.properties <<PROPERTIES
node.id=1
process.roles=broker,controller
listeners=PLAINTEXT://$broker,CONTROLLER://$controller
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=$controller
log.dirs=$dir/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
PROPERTIES
java -cp 'java/lib/*' kafka.tools.StorageTool format -t ZmluZGluZ3Mtb2YtYS1kYQ --standalone -c server.properties >format 2>&1 || { cat format; exit 1; }
java -Xmx256m -cp 'java/lib/*' kafka.Kafka server.properties >log 2>&1 &
broker_pid=$!
java -Xmx256m -cp 'java/lib/*' java/Members.java "$broker" 2>err >from-java &
member_pid=$!
for _ in $(seq 120); do
  test ! -e ready || break
  kill -0 "$member_pid" || { cat err; exit 1; }
  sleep 1
done
timeout 60 go/x "$broker" >from-go
timeout 60 python/v/bin/python python/ask.py "$broker" 2>err >from-python || { cat err; exit 1; }
timeout 60 node js/ask.js "$broker" >from-js
cat from-java from-go from-python from-js >seen
cat >want <<'WANT'
Java, classic: Stable, members: 1
Java, consumer: Stable, members: 1
Java, absent: error GroupIdNotFoundException
kafka-go, classic: Stable, members: 0, error failed to decode member metadata for group classic: Got non-zero number of bytes remaining: 10
kafka-go, consumer: Dead, members: 0
kafka-go, absent: Dead, members: 0
sarama, classic: Stable, members: 1
sarama, consumer: Dead, members: 0
sarama, absent: Dead, members: 0
kadm DescribeGroups, classic: Stable, members: 1
kadm DescribeGroups, consumer: Dead, members: 0, error GROUP_ID_NOT_FOUND: The group id does not exist.
kadm DescribeGroups, absent: Dead, members: 0, error GROUP_ID_NOT_FOUND: The group id does not exist.
kadm DescribeConsumerGroups, consumer: Stable, members: 1
kafka-python, classic: Stable, members: 1
kafka-python, consumer: Dead, members: 0, error [Error 69] GroupIdNotFoundError: Group consumer is not a classic group.
kafka-python, absent: Dead, members: 0, error [Error 69] GroupIdNotFoundError: Group absent not found.
confluent-kafka, classic: Stable, members: 1
confluent-kafka, consumer: Stable, members: 1
confluent-kafka, absent: Dead, members: 0
KafkaJS, classic: Stable, members: 1
KafkaJS, consumer: Dead, members: 0
KafkaJS, absent: Dead, members: 0
WANT
echo "versions: Apache Kafka 4.3.1, kafka-go 0.4.51, sarama 1.61.1, kadm 1.20.0, kafka-python 3.0.12, confluent-kafka 2.16.1, KafkaJS 2.2.4, $(java -version 2>&1 | head -1)"
echo "expected: Stable with one member of classic and of consumer from each"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
