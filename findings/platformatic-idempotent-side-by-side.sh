#!/usr/bin/env bash
# Expected: an idempotent producer writes what it is given once. It adds safety, and takes nothing away.
# Happens: the producer of @platformatic/kafka 1 takes the next sequence number when the answer comes, not when it sends. Two sends
#   that are on their way to one partition have one number. The broker takes the second for a repeat of the first, drops it, and
#   answers with the first one's offset: all promises are kept, and one message is there. What the producer sends
#   next fails with OUT_OF_ORDER_SEQUENCE_NUMBER (seen, not shown here). Version 2 numbers them as it sends; without idempotent version 1 writes all three as well.
# Versions: Apache Kafka 4.3.1; @platformatic/kafka 1.35.0, the newest for Node 20, and 2.12.1.
# Seen:
#   1.35.0, idempotent: written at offset 0, 0, 0; in the topic: a, end
#   1.35.0: written at offset 0, 1, 2; in the topic: a, b, c, end
#   2.12.1, idempotent: written at offset 0, 1, 2; in the topic: a, b, c, end
# Why it matters: Promise.all over sends is how JavaScript is written, and idempotent is what one sets to lose nothing. Await each
#   send before the next, or hand all messages to one send.
# Sources: KIP-98, "Idempotent Producer Guarantees" (a sequence number for each message of a producer and partition); README of
#   @platformatic/kafka (no word of it).
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
cat >java/Topics.java <<'JAVA'
import java.util.*;
import org.apache.kafka.clients.admin.*;

public class Topics {
  public static void main(String[] args) throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
      List<NewTopic> topics = new ArrayList<>();
      for (String name : List.of("t1", "t2", "t3")) topics.add(new NewTopic(name, 1, (short) 1));
      admin.createTopics(topics).all().get();
    }
  }
}
JAVA
cat >try.mjs <<'JS'
// Version 2 is for Node 22; this is the one thing that Node 20 lacks for it here.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new Promise((a, b) => { resolve = a; reject = b; });
  return { promise, resolve, reject };
};
const [broker, library, topic, idempotent] = process.argv.slice(2);
const { Consumer, Producer, stringDeserializers, stringSerializers } = await import(library);
const { version } = await import("./node_modules/" + library + "/package.json", { with: { type: "json" } }).then((m) => m.default);
const client = { clientId: "x", bootstrapBrokers: [broker] };
const send = async (producer, value) => (await producer.send({ messages: [{ topic, key: "k", value }] })).offsets[0].offset;

const producer = new Producer({ ...client, acks: -1, idempotent: idempotent === "yes", serializers: stringSerializers });
const offsets = await Promise.all(["a", "b", "c"].map((value) => send(producer, value)));
await producer.close();
const last = new Producer({ ...client, acks: -1, serializers: stringSerializers });
await send(last, "end");
await last.close();

const consumer = new Consumer({ ...client, groupId: topic, deserializers: stringDeserializers });
const seen = [];
for await (const message of await consumer.consume({ topics: [topic], mode: "earliest", autocommit: false })) {
  seen.push(message.value);
  if (message.value === "end") break;
}
console.log(`${version}${idempotent === "yes" ? ", idempotent" : ""}: written at offset ${offsets.join(", ")}; in the topic: ${seen.join(", ")}`);
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
java -cp 'java/lib/*' java/Topics.java "$broker" 2>err || { cat err; exit 1; }
{
  timeout 60 node --no-warnings try.mjs "$broker" one t1 yes
  timeout 60 node --no-warnings try.mjs "$broker" one t2 no
  timeout 60 node --no-warnings try.mjs "$broker" two t3 yes
} >seen
cat >want <<'WANT'
1.35.0, idempotent: written at offset 0, 0, 0; in the topic: a, end
1.35.0: written at offset 0, 1, 2; in the topic: a, b, c, end
2.12.1, idempotent: written at offset 0, 1, 2; in the topic: a, b, c, end
WANT
echo "versions: Apache Kafka 4.3.1, @platformatic/kafka 1.35.0 and 2.12.1, $(java -version 2>&1 | head -1), Node $(node --version)"
echo "expected: a, b, c, end three times"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
