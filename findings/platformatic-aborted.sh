#!/usr/bin/env bash
# Expected: a consumer that reads committed gets no record of a transaction that was aborted.
# Happens: @platformatic/kafka reads committed by default, and leaves the aborted out by itself, as clients do. But of the aborted
#   transactions of one producer in one answer it remembers the last one alone: the records of all before it are delivered. Its source
#   says that those of an aborted transaction whose end is not in the same answer are delivered too (this script does not try that).
# Versions: Apache Kafka 4.3.1, broker and kafka-clients; @platformatic/kafka 1.35.0 and 2.12.1.
# Seen:
#   Java: committed, end
#   @platformatic/kafka 1.35.0: aborted 1, committed, end
#   @platformatic/kafka 2.12.1: aborted 1, committed, end
# Why it matters: transactions abort in rows, when a service is restarted or a group rebalances, and that is when its readers may not
#   be wrong. A test with one aborted transaction passes. Go by what names a record (here the ce_id), whatever the setting says.
# Sources: Kafka's documentation, consumer configs, isolation.level; KIP-98, "Consumer" (the list of aborted transactions, each with
#   its producer and first offset, and the markers that end them).
set -euo pipefail
dir=$(mktemp -d)
broker_pid=
trap 'test -z "$broker_pid" || { kill "$broker_pid"; wait "$broker_pid" || true; } 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir"
mkdir java
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
      for (String value : List.of("aborted 1", "committed", "aborted 2")) {
        p.beginTransaction();
        p.send(new ProducerRecord<>("t", value)).get();
        if (value.startsWith("aborted")) p.abortTransaction(); else p.commitTransaction();
      }
    }
    try (KafkaProducer<String, String> p = producer(broker, Map.of())) {
      p.send(new ProducerRecord<>("t", "end")).get();
    }
    List<String> seen = new ArrayList<>();
    Map<String, Object> config = Map.of("bootstrap.servers", broker, "auto.offset.reset", "earliest", "isolation.level", "read_committed");
    try (KafkaConsumer<String, String> c = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
      c.assign(List.of(new TopicPartition("t", 0)));
      while (!seen.contains("end")) c.poll(Duration.ofSeconds(1)).forEach(r -> seen.add(r.value()));
    }
    System.out.println("Java: " + String.join(", ", seen));
  }
}
JAVA
cat >read.mjs <<'JS'
// Version 2 is for Node 22; this is the one thing that Node 20 lacks for it here.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new Promise((a, b) => { resolve = a; reject = b; });
  return { promise, resolve, reject };
};
const [broker, library] = process.argv.slice(2);
const { Consumer, FetchIsolationLevels, stringDeserializers } = await import(library);
const { version } = await import("./node_modules/" + library + "/package.json", { with: { type: "json" } }).then((m) => m.default);
const consumer = new Consumer({
  clientId: "x", bootstrapBrokers: [broker], groupId: library, deserializers: stringDeserializers,
  isolationLevel: FetchIsolationLevels.READ_COMMITTED,
});
const seen = [];
for await (const message of await consumer.consume({ topics: ["t"], mode: "earliest", autocommit: false })) {
  seen.push(message.value);
  if (message.value === "end") break;
}
console.log(`@platformatic/kafka ${version}: ${seen.join(", ")}`);
process.exit(0);
JS
npm install --silent --no-audit --no-fund --ignore-scripts one@npm:@platformatic/kafka@1.35.0 two@npm:@platformatic/kafka@2.12.1
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
timeout 60 node --no-warnings read.mjs "$broker" one >>seen
timeout 60 node --no-warnings read.mjs "$broker" two >>seen
cat >want <<'WANT'
Java: committed, end
@platformatic/kafka 1.35.0: aborted 1, committed, end
@platformatic/kafka 2.12.1: aborted 1, committed, end
WANT
echo "versions: Apache Kafka 4.3.1, @platformatic/kafka 1.35.0 and 2.12.1, $(java -version 2>&1 | head -1), Node $(node --version)"
echo "expected: committed, end three times"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
