#!/usr/bin/env bash
# Expected: a read_committed consumer that begins at the newest offset gets what is committed from then on, and of a transaction all
#   or nothing: it begins at the last stable offset, before the first transaction that is open. Java says so for seekToEnd and
#   auto.offset.reset=latest; librdkafka, KafkaJS, aiokafka and franz-go do the same.
# Happens: sarama and kafka-go ask for the end without an isolation level (ListOffsets), which is the high watermark: in the middle
#   of the open transaction. When it commits, its first half lies before their beginning and is never delivered; the second half is.
# Versions: sarama 1.61.1, kafka-go 0.4.51; Apache Kafka 4.3.1, broker and kafka-clients.
# Seen (all three read committed, begin at the newest offset, and begin before the commit):
#   Java: first half, second half, end
#   sarama: second half, end
#   kafka-go: second half, end
# Why it matters: a new group or a service that follows "from now on" loses events that were committed after it began, and sees half
#   of a transaction. How many depends on how long transactions are open: seconds, with Kafka Streams or Flink. Begin at the oldest
#   offset, or at the last stable one: ClusterAdmin.ListOffsets of sarama and Client.ListOffsets of
#   kafka-go take an IsolationLevel.
# Sources: Java, KafkaConsumer#seekToEnd and #endOffsets ("the last stable offset"); KAFKA-5522; sarama, client.go (getOffset);
#   kafka-go, conn.go (ReadOffsets) and its issue 407, open since 2020. librdkafka had the same until 2021 (its issue 3423).
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
import java.nio.file.*;
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
    TopicPartition partition = new TopicPartition("t", 0);
    List<String> seen = new ArrayList<>();
    try (KafkaProducer<String, String> p = producer(broker, Map.of("transactional.id", "x"));
        KafkaConsumer<String, String> c = new KafkaConsumer<>(Map.of("bootstrap.servers", broker, "isolation.level", "read_committed",
            "auto.offset.reset", "latest"), new StringDeserializer(), new StringDeserializer())) {
      p.initTransactions();
      p.beginTransaction();
      p.send(new ProducerRecord<>("t", "first half")).get();
      Files.createFile(Path.of("open"));
      c.assign(List.of(partition));
      c.position(partition); // it has begun
      while (!Files.exists(Path.of("begun"))) Thread.sleep(50); // and so have the others
      p.send(new ProducerRecord<>("t", "second half")).get();
      p.commitTransaction();
      try (KafkaProducer<String, String> q = producer(broker, Map.of())) {
        q.send(new ProducerRecord<>("t", "end")).get();
      }
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
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	broker := os.Args[1]
	for {
		if _, err := os.Stat("open"); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	consumer, err := sarama.NewConsumer([]string{broker}, config)
	must(err)
	s, err := consumer.ConsumePartition("t", 0, sarama.OffsetNewest) // it has begun when this returns
	must(err)

	begun := make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	k := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{broker}, Topic: "t", IsolationLevel: kafka.ReadCommitted,
		Logger: kafka.LoggerFunc(func(text string, _ ...any) {
			if strings.Contains(text, "is seeking to offset") {
				once()
			}
		})})
	must(k.SetOffset(kafka.LastOffset))
	got := make(chan []string)
	go func() {
		var seen []string
		for len(seen) == 0 || seen[len(seen)-1] != "end" {
			m, err := k.ReadMessage(context.Background())
			must(err)
			if len(m.Key) != 4 || len(m.Value) != 6 { // the marker: see kafka-go-read-committed.sh
				seen = append(seen, string(m.Value))
			}
		}
		got <- seen
	}()
	<-begun
	must(os.WriteFile("begun", nil, 0o644))

	var seen []string
	for len(seen) == 0 || seen[len(seen)-1] != "end" {
		seen = append(seen, string((<-s.Messages()).Value))
	}
	fmt.Println("sarama: " + strings.Join(seen, ", "))
	fmt.Println("kafka-go: " + strings.Join(<-got, ", "))
}
GO
(cd go && go mod init x && go get github.com/segmentio/kafka-go@v0.4.51 github.com/IBM/sarama@v1.61.1) >/dev/null 2>&1
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
java -cp 'java/lib/*' java/Write.java "$broker" 2>err >java/seen &
writer=$!
timeout 120 go/x "$broker" >go/seen || { cat err; exit 1; }
wait $writer || { cat err; exit 1; }
cat java/seen go/seen >seen
cat >want <<'WANT'
Java: first half, second half, end
sarama: second half, end
kafka-go: second half, end
WANT
echo "versions: sarama 1.61.1, kafka-go 0.4.51, Apache Kafka 4.3.1, $(java -version 2>&1 | head -1)"
echo "expected: first half, second half, end three times"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
