#!/usr/bin/env bash
# Expected: a mirror of a topic says the same as the topic: what was rolled back there is not there for a read_committed reader.
# Happens: MirrorMaker 2 reads as any Java consumer does by default, read_uncommitted, and writes without transactions. Records of
#   aborted transactions become ordinary records of the mirror, for every reader, whatever its isolation level.
# Versions: Apache Kafka 4.3.1 (broker, connect-mirror, kafka-clients). One broker plays all clusters.
# Seen (three clusters; what a read_committed reader gets of topic t, and of its mirrors):
#   t: committed, end
#   default.t: committed, aborted, end
#   careful.t (careful.consumer.isolation.level=read_committed): committed, end
# Why it matters: after a failover to the other data centre, and for whoever reads the mirror, orders are there that the shop has
#   rolled back, and nothing tells them from real ones. Set SOURCE.consumer.isolation.level=read_committed: it is per source cluster.
# Sources: KIP-382 (MirrorMaker 2.0); KIP-618, "MirrorMaker 2" (exactly once asks for read_committed at the source); Apache Kafka,
#   pull request 12366: "otherwise records from aborted and uncommitted transactions would be replicated".
set -euo pipefail
dir=$(mktemp -d)
broker_pid= mirror_pid=
trap 'for pid in $mirror_pid $broker_pid; do kill "$pid"; wait "$pid" || true; done 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir"
mkdir java
cat >java/pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>connect-mirror</artifactId><version>4.3.1</version></dependency>
</dependencies></project>
XML
cat >java/Write.java <<'JAVA'
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.*;

public class Write {
  static KafkaProducer<String, String> producer(String broker, Map<String, Object> more) {
    Map<String, Object> config = new HashMap<>(more);
    config.put("bootstrap.servers", broker);
    return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
  }

  static void write(String broker) throws Exception {
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
  }

  static void read(String broker, String topic, String what) {
    List<String> seen = new ArrayList<>();
    try (KafkaConsumer<String, String> c = new KafkaConsumer<>(
        Map.of("bootstrap.servers", broker, "isolation.level", "read_committed", "auto.offset.reset", "earliest", "group.id", "reader of " + topic,
            "allow.auto.create.topics", "false", "metadata.max.age.ms", "500"), new StringDeserializer(), new StringDeserializer())) {
      c.subscribe(List.of(topic)); // a mirror is there after a while
      while (!seen.contains("end")) c.poll(Duration.ofSeconds(1)).forEach(r -> seen.add(r.value()));
    }
    System.out.println(topic + what + ": " + String.join(", ", seen));
  }

  public static void main(String[] args) throws Exception {
    if (args[0].equals("write")) {
      write(args[1]);
      return;
    }
    read(args[1], "t", "");
    read(args[1], "default.t", "");
    read(args[1], "careful.t", " (careful.consumer.isolation.level=read_committed)");
  }
}
JAVA
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
cat >mirror.properties <<PROPERTIES
clusters=default,careful,mirror
default.bootstrap.servers=$broker
careful.bootstrap.servers=$broker
careful.consumer.isolation.level=read_committed
mirror.bootstrap.servers=$broker
default->mirror.enabled=true
default->mirror.topics=t
careful->mirror.enabled=true
careful->mirror.topics=t
replication.factor=1
checkpoints.topic.replication.factor=1
heartbeats.topic.replication.factor=1
offset-syncs.topic.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
config.storage.replication.factor=1
emit.heartbeats.enabled=false
emit.checkpoints.enabled=false
sync.topic.acls.enabled=false
PROPERTIES
java -cp 'java/lib/*' java/Write.java write "$broker" 2>err || { cat err; exit 1; }
java -Xmx256m -cp 'java/lib/*' org.apache.kafka.connect.mirror.MirrorMaker mirror.properties >mirror.log 2>&1 &
mirror_pid=$!
timeout 180 java -cp 'java/lib/*' java/Write.java read "$broker" 2>err >seen || { cat err seen; exit 1; }
cat >want <<'WANT'
t: committed, end
default.t: committed, aborted, end
careful.t (careful.consumer.isolation.level=read_committed): committed, end
WANT
echo "versions: Apache Kafka 4.3.1, $(java -version 2>&1 | head -1)"
echo "expected: committed, end three times"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
