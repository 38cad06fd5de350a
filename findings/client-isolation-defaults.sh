#!/usr/bin/env bash
# Expected: services that read one topic with their client's defaults read the same records.
# Happens: isolation.level has a protocol and no common default. Java, sarama, franz-go, kafka-python and aiokafka read what was
#   aborted too; librdkafka (Python, .NET, Go and others of Confluent's) and KafkaJS leave it out, and wait for open transactions.
# Versions: Apache Kafka 4.3.1, broker and kafka-clients; confluent-kafka 2.16.1 (librdkafka), kafka-python 3.0.12, aiokafka 0.14.0;
#   KafkaJS 2.2.4; sarama 1.61.1, franz-go 1.22.2.
# Seen:
#   Java: committed, aborted, end
#   kafka-python: committed, aborted, end
#   aiokafka: committed, aborted, end
#   sarama: committed, aborted, end
#   franz-go: committed, aborted, end
#   confluent-kafka: committed, end
#   KafkaJS: committed, end
# Why it matters: a service that is moved from one client to another, or a group with members of two, does more or less than before
#   without a word; and who looks into the topic with the console tools of Kafka (Java) sees records that the service never gets. Say
#   isolation.level in every consumer of a topic that may have transactions.
# Sources: Kafka's documentation, consumer configs, isolation.level (read_uncommitted); librdkafka, CONFIGURATION.md
#   (read_committed); KafkaJS, "Consuming messages", readUncommitted (false); KIP-98, "Public Interfaces".
set -euo pipefail
dir=$(mktemp -d)
broker_pid=
trap 'test -z "$broker_pid" || { kill "$broker_pid"; wait "$broker_pid" || true; } 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir"
mkdir go java js python
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
      for (String value : List.of("committed", "aborted")) {
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
        Map.of("bootstrap.servers", broker, "auto.offset.reset", "earliest"), new StringDeserializer(), new StringDeserializer())) {
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

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	broker := os.Args[1]
	consumer, err := sarama.NewConsumer([]string{broker}, sarama.NewConfig())
	must(err)
	p, err := consumer.ConsumePartition("t", 0, sarama.OffsetOldest)
	must(err)
	var seen []string
	for !slices.Contains(seen, "end") {
		seen = append(seen, string((<-p.Messages()).Value))
	}
	fmt.Println("sarama: " + strings.Join(seen, ", "))

	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	must(err)
	seen = nil
	for !slices.Contains(seen, "end") {
		fetches := client.PollFetches(context.Background())
		must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { seen = append(seen, string(r.Value)) })
	}
	fmt.Println("franz-go: " + strings.Join(seen, ", "))
}
GO
cat >python/read.py <<'PYTHON'
import asyncio, sys
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Consumer
from kafka import KafkaConsumer

broker = sys.argv[1]

seen = []
for m in KafkaConsumer("t", bootstrap_servers=broker, auto_offset_reset="earliest"):
    seen.append(m.value.decode())
    if "end" in seen:
        break
print("kafka-python: " + ", ".join(seen))


async def read():
    seen = []
    consumer = AIOKafkaConsumer("t", bootstrap_servers=broker, auto_offset_reset="earliest")
    await consumer.start()
    async for m in consumer:
        seen.append(m.value.decode())
        if "end" in seen:
            break
    await consumer.stop()
    return seen

print("aiokafka: " + ", ".join(asyncio.run(read())))

seen = []
consumer = Consumer({"bootstrap.servers": broker, "group.id": "confluent", "auto.offset.reset": "earliest"})
consumer.subscribe(["t"])
while "end" not in seen:
    m = consumer.poll(1)
    if m is not None and not m.error():
        seen.append(m.value().decode())
consumer.close()
print("confluent-kafka: " + ", ".join(seen))
PYTHON
cat >js/read.js <<'JS'
const { Kafka, logLevel } = require("kafkajs");
const consumer = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.NOTHING }).consumer({ groupId: "kafkajs" });
const seen = [];
(async () => {
  await consumer.connect();
  await consumer.subscribe({ topics: ["t"], fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => {
      seen.push(message.value.toString());
      if (seen.includes("end")) {
        console.log("KafkaJS: " + seen.join(", "));
        process.exit(0);
      }
    },
  });
})();
JS
python3 -m venv python/v
python/v/bin/pip install --quiet --disable-pip-version-check confluent-kafka==2.16.1 kafka-python==3.0.12 aiokafka==0.14.0
(cd js && npm init -y && npm install --silent --no-audit --no-fund kafkajs@2.2.4) >/dev/null
(cd go && go mod init x && go get github.com/twmb/franz-go@v1.22.2 github.com/twmb/franz-go/pkg/kmsg@v1.15.0 github.com/IBM/sarama@v1.61.1) >/dev/null 2>&1
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
timeout 120 python/v/bin/python python/read.py "$broker" 2>err >from-python || { cat err; exit 1; }
timeout 120 go/x "$broker" >from-go
timeout 120 node js/read.js "$broker" >from-js
cat <(head -2 from-python) from-go <(tail -1 from-python) from-js >>seen
cat >want <<'WANT'
Java: committed, aborted, end
kafka-python: committed, aborted, end
aiokafka: committed, aborted, end
sarama: committed, aborted, end
franz-go: committed, aborted, end
confluent-kafka: committed, end
KafkaJS: committed, end
WANT
echo "versions: Apache Kafka 4.3.1, confluent-kafka 2.16.1, kafka-python 3.0.12, aiokafka 0.14.0, KafkaJS 2.2.4, sarama 1.61.1, franz-go 1.22.2, $(java -version 2>&1 | head -1)"
echo "expected: the same seven times"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
