#!/usr/bin/env bash
# Expected: kafka-go's Reader with IsolationLevel ReadCommitted does what its documentation says: "only non-transactional and
#   committed records are visible", as Java's and franz-go's consumers do with read_committed.
# Happens: it asks the broker for that level, reads the list of aborted transactions out of the answer, and drops it. Records of
#   aborted transactions are delivered, and so are the markers that end each transaction: messages with a key of 4 bytes and a value
#   of 6 that nobody has written. Those come at every isolation level.
# Versions: kafka-go 0.4.51; Apache Kafka 4.3.1, broker and kafka-clients; franz-go 1.22.2.
# Seen:
#   Java: committed 1, committed 2, end
#   franz-go: committed 1, committed 2, end
#   kafka-go: committed 1, [key 00000001, value 000000000000], aborted, [key 00000000, value 000000000000], committed 2, [key 00000001,
#     value 000000000000], end
# Why it matters: what a service has rolled back is carried out all the same, and the first marker is a poison message: six zero bytes
#   are no JSON. Whoever reads transactional topics with kafka-go drops control batches and aborted ones itself (protocol/fetch
#   has all that it takes, Client.Fetch has not), or takes another client.
# Sources: kafka-go, reader.go (ReaderConfig.IsolationLevel), read.go (readFetchResponseHeaderV10: abortedTransactions); its issues 1332
#   (open since 2024) and 261 (open since 2019); Kafka's documentation, "Control Batches": "should not be returned to applications".
set -euo pipefail
dir=$(mktemp -d)
broker_pid=
trap 'test -z "$broker_pid" || { kill "$broker_pid"; wait "$broker_pid" || true; } 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir"
mkdir go java
cat >java/pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
</dependencies></project>
XML
cat >java/Write.java <<'JAVA'
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

public class Write {
  static KafkaProducer<String, String> producer(String broker, Map<String, Object> more) {
    Map<String, Object> config = new HashMap<>(more);
    config.put("bootstrap.servers", broker);
    return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
  }

  public static void main(String[] args) throws Exception {
    String broker = args[0];
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
      admin.createTopics(List.of(new NewTopic("t", 1, (short) 1))).all().get();
    }
    try (KafkaProducer<String, String> p = producer(broker, Map.of("transactional.id", "x"))) {
      p.initTransactions();
      for (String value : List.of("committed 1", "aborted", "committed 2")) {
        p.beginTransaction();
        p.send(new ProducerRecord<>("t", value)).get();
        if (value.equals("aborted")) p.abortTransaction(); else p.commitTransaction();
      }
    }
    try (KafkaProducer<String, String> p = producer(broker, Map.of())) {
      p.send(new ProducerRecord<>("t", "end")).get();
    }
    List<String> seen = new ArrayList<>();
    try (KafkaConsumer<String, String> c = new KafkaConsumer<>(
        Map.of("bootstrap.servers", broker, "isolation.level", "read_committed", "auto.offset.reset", "earliest"), new StringDeserializer(), new StringDeserializer())) {
      c.assign(List.of(new TopicPartition("t", 0)));
      while (!seen.contains("end")) c.poll(Duration.ofSeconds(1)).forEach(r -> seen.add(r.value()));
    }
    System.out.println("Java: " + String.join(", ", seen));
  }
}
JAVA
cat >go/main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	ctx, broker := context.Background(), os.Args[1]
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	must(err)
	var seen []string
	for !slices.Contains(seen, "end") {
		fetches := client.PollFetches(ctx)
		must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { seen = append(seen, string(r.Value)) })
	}
	fmt.Println("franz-go: " + strings.Join(seen, ", "))

	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{broker}, Topic: "t", IsolationLevel: kafka.ReadCommitted})
	seen = nil
	for !slices.Contains(seen, "end") {
		m, err := r.ReadMessage(ctx)
		must(err)
		what := string(m.Value)
		if len(m.Value) == 6 {
			what = fmt.Sprintf("[key %x, value %x]", m.Key, m.Value)
		}
		seen = append(seen, what)
	}
	fmt.Println("kafka-go: " + strings.Join(seen, ", "))
}
GO
(cd go && go mod init x && go get github.com/segmentio/kafka-go@v0.4.51 github.com/twmb/franz-go@v1.22.2 github.com/twmb/franz-go/pkg/kmsg@v1.15.0) >/dev/null 2>&1
(cd go && go build -o x .)
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
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
PROPERTIES
java -cp 'java/lib/*' kafka.tools.StorageTool format -t ZmluZGluZ3Mtb2YtYS1kYQ --standalone -c server.properties >format 2>&1 || { cat format; exit 1; }
java -Xmx256m -cp 'java/lib/*' kafka.Kafka server.properties >log 2>&1 &
broker_pid=$!
java -cp 'java/lib/*' java/Write.java "$broker" 2>err >seen || { cat err; exit 1; }
go/x "$broker" >>seen
cat >want <<'WANT'
Java: committed 1, committed 2, end
franz-go: committed 1, committed 2, end
kafka-go: committed 1, [key 00000001, value 000000000000], aborted, [key 00000000, value 000000000000], committed 2, [key 00000001, value 000000000000], end
WANT
echo "versions: kafka-go 0.4.51, franz-go 1.22.2, Apache Kafka 4.3.1, $(java -version 2>&1 | head -1)"
echo "expected: committed 1, committed 2, end three times"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
