#!/usr/bin/env bash
# Expected: the Node SDK of CloudEvents has a Kafka binding, and KafkaJS is the usual client; an event that the one wrote and
#   the other delivers is read back as it was.
# Happens: KafkaJS delivers header values as Buffers, the binding expects strings. With a content-type it throws a TypeError.
#   Without one (datacontenttype is optional) it throws nothing: id, source and type of the event are Buffers, so that a
#   Map or Set of seen ids never knows one again, and JSON shows bytes.
# Versions: cloudevents 10.0.0, kafkajs 2.2.4 (npm).
# Seen:
#   with datacontenttype:     TypeError: contentType.startsWith is not a function
#   without datacontenttype:  id is a Buffer, seen before: no
#   headers made strings:     id is A1, seen before: yes
# Why it matters: deduplication by event id is what at-least-once delivery asks of a reader, and here it fails without a word.
#   Whoever compares ids that came through two libraries compares their bytes.
# Sources: kafka.js.org/docs/consuming (values and headers are Buffers); github.com/cloudevents/sdk-javascript/issues/506 (the
#   same error, met with HTTP.toEvent, closed with the advice to use the Kafka binding).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --ignore-scripts cloudevents@10.0.0 kafkajs@2.2.4

cat >read.js <<'EOF'
const { CloudEvent, Kafka } = require("cloudevents");
const Encoder = require("kafkajs/src/protocol/encoder");
const Decoder = require("kafkajs/src/protocol/decoder");
const writeRecord = require("kafkajs/src/protocol/recordBatch/record/v0");
const readRecord = require("kafkajs/src/protocol/recordBatch/record/v0/decoder");

// What KafkaJS hands to a consumer of what the SDK gave to a producer: through KafkaJS's own record codec.
const deliver = (event) => {
  const { key, value, headers } = Kafka.binary(event);
  // An attribute that is not set is a header without a value, which KafkaJS does not take.
  const text = Object.fromEntries(Object.entries(headers).filter(([, v]) => v !== undefined));
  const record = writeRecord({ offsetDelta: 0, timestampDelta: 0, key: key ?? null, value: JSON.stringify(value), headers: text });
  const decoder = new Decoder(new Encoder().writeEncoder(record).buffer);
  decoder.readVarInt(); // the record's length
  return readRecord(decoder, { firstOffset: "0", firstTimestamp: "0", magicByte: 2, isControlBatch: false });
};
const event = (more) =>
  new CloudEvent({ id: "A1", source: "/shops/42", type: "closeorder.requested", data: { out_trade_no: "PRODUCER1" }, ...more });
const read = (what, records) => {
  const seen = new Set();
  let line;
  for (const record of records) {
    try {
      const { id } = Kafka.toEvent(record);
      line = `id is ${Buffer.isBuffer(id) ? "a Buffer" : id}, seen before: ${seen.has(id) ? "yes" : "no"}`;
      seen.add(id);
    } catch (e) {
      line = `${e.name}: ${e.message}`;
    }
  }
  console.log(what.padEnd(25), line);
};
const typed = { datacontenttype: "application/json" };
const strings = (r) => ({ ...r, headers: Object.fromEntries(Object.entries(r.headers).map(([k, v]) => [k, v.toString()])) });
read("with datacontenttype:", [deliver(event(typed)), deliver(event(typed))]);
read("without datacontenttype:", [deliver(event()), deliver(event())]);
read("headers made strings:", [strings(deliver(event(typed))), strings(deliver(event(typed)))]);
EOF
node read.js >seen
cat >want <<'EOF'
with datacontenttype:     TypeError: contentType.startsWith is not a function
without datacontenttype:  id is a Buffer, seen before: no
headers made strings:     id is A1, seen before: yes
EOF
echo "versions: cloudevents 10.0.0, kafkajs 2.2.4 (npm)"
echo "expected: three times id is A1, seen before: yes"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
