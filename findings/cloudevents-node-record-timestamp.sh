#!/usr/bin/env bash
# Expected: the timestamp of a Kafka record says when it was produced, unless the producer's program says otherwise.
# Happens: the Node SDK of CloudEvents says otherwise by itself. Kafka.binary and Kafka.structured put the event's time into
#   the message as its timestamp, and KafkaJS sends what is in the message. The binding does not ask for that, and the SDKs for
#   Python and Go leave the timestamp to the client. An event of nine days ago makes a record that is nine days old when it
#   is written; in a topic that keeps seven days the broker may delete it before anybody has read it.
# Versions: cloudevents 10.0.0 and kafkajs 2.2.4 (npm), cloudevents 2.2.0 (PyPI).
# Seen:
#   node, binary:      timestamp is the event's time, nine days ago
#   node, structured:  timestamp is the event's time, nine days ago
#   on KafkaJS's wire: first timestamp of the batch is the event's time, nine days ago
#   python:            the message has headers, key and value, no timestamp
# Why it matters: a reader that takes the record's timestamp for the age of the order, or of the request, believes an outbox
#   that is emptied late. It is a claim of the producer like any other field, and it also decides about retention.
# Sources: github.com/cloudevents/spec, cloudevents/bindings/kafka-protocol-binding.md (no word about timestamps);
#   kafka.js.org/docs/producing ("timestamp"); Kafka's documentation of message.timestamp.type and retention.ms.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv py
py/bin/pip install --quiet --disable-pip-version-check cloudevents==2.2.0
npm install --silent --no-audit --no-fund --ignore-scripts cloudevents@10.0.0 kafkajs@2.2.4

cat >write.js <<'EOF'
const net = require("net");
const { CloudEvent, Kafka: binding } = require("cloudevents");
const { Kafka, logLevel } = require("kafkajs");

const happened = Date.now() - 9 * 24 * 3600 * 1000;
const event = new CloudEvent({
  id: "A1", source: "/shops/42", type: "closeorder.requested",
  time: new Date(happened).toISOString(), datacontenttype: "application/json", data: { out_trade_no: "PRODUCER1" },
});
const say = (timestamp) =>
  Number(timestamp) === happened ? "is the event's time, nine days ago" : `is ${timestamp}`;
const message = binding.structured(event);
console.log("node, binary:      timestamp", say(binding.binary(event).timestamp));
console.log("node, structured:  timestamp", say(message.timestamp));

// As much of a broker as a producer needs: it answers ApiVersions, Metadata and Produce, and looks into the batch.
const i16 = (n) => { const b = Buffer.alloc(2); b.writeInt16BE(n); return b; };
const i32 = (n) => { const b = Buffer.alloc(4); b.writeInt32BE(n); return b; };
const i64 = (n) => { const b = Buffer.alloc(8); b.writeBigInt64BE(BigInt(n)); return b; };
const str = (s) => Buffer.concat([i16(s.length), Buffer.from(s)]);
const server = net.createServer((socket) => {
  let got = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    got = Buffer.concat([got, chunk]);
    while (got.length >= 4 && got.length >= 4 + got.readInt32BE(0)) {
      const request = got.subarray(4, 4 + got.readInt32BE(0));
      got = got.subarray(4 + request.length);
      const key = request.readInt16BE(0), correlation = request.readInt32BE(4);
      let body;
      if (key === 18) {
        body = [i16(0), i32(3), i16(18), i16(0), i16(0), i16(3), i16(0), i16(1), i16(0), i16(3), i16(3)];
      } else if (key === 3) {
        body = [i32(1), i32(1), str("127.0.0.1"), i32(server.address().port), i16(-1), i32(1),
          i32(1), i16(0), str("t"), Buffer.from([0]), i32(1), i16(0), i32(0), i32(1), i32(1), i32(1), i32(1), i32(1)];
      } else {
        // A batch of format 2 has its magic byte at 16 and the first timestamp at 27.
        const topic = request.indexOf(Buffer.concat([i32(1), str("t"), i32(1), i32(0)]));
        const batch = request.subarray(topic + 4 + 3 + 4 + 4 + 4);
        if (batch[16] !== 2) throw new Error("not a batch of format 2");
        console.log("on KafkaJS's wire: first timestamp of the batch", say(batch.readBigInt64BE(27)));
        body = [i32(1), str("t"), i32(1), i32(0), i16(0), i64(0), i64(-1), i32(0)];
      }
      const answer = Buffer.concat([i32(correlation), ...body]);
      socket.write(Buffer.concat([i32(answer.length), answer]));
    }
  });
});
server.listen(0, "127.0.0.1", async () => {
  const kafka = new Kafka({ brokers: ["127.0.0.1:" + server.address().port], logLevel: logLevel.NOTHING, retry: { retries: 0 } });
  const producer = kafka.producer({ createPartitioner: require("kafkajs").Partitioners.DefaultPartitioner });
  await producer.connect();
  await producer.send({ topic: "t", messages: [message] });
  await producer.disconnect();
  server.close();
});
EOF
cat >write.py <<'EOF'
import dataclasses
from cloudevents.core.bindings import kafka

names = [f.name for f in dataclasses.fields(kafka.KafkaMessage)]
print("python:            the message has headers, key and value, no timestamp" if names == ["headers", "key", "value"] else names)
EOF
{ timeout 60 node write.js; py/bin/python write.py; } >seen
cat >want <<'EOF'
node, binary:      timestamp is the event's time, nine days ago
node, structured:  timestamp is the event's time, nine days ago
on KafkaJS's wire: first timestamp of the batch is the event's time, nine days ago
python:            the message has headers, key and value, no timestamp
EOF
echo "versions: cloudevents 10.0.0 and kafkajs 2.2.4 (npm), cloudevents 2.2.0 (PyPI)"
echo "expected: no timestamp in the message, so that the client stamps it when it is sent"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
