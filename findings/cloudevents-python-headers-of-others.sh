#!/usr/bin/env bash
# Expected: a record in binary mode is an event by its ce_ headers and its content-type. Its key and the headers of others
#   (a tracing agent, a gateway, a framework) are any bytes, or null: Kafka says so, and the binding says nothing else.
# Happens: the Python SDK decodes all of them as UTF-8 before it looks at their names, and the key besides. One binary header
#   that has nothing to do with CloudEvents, one that is null, or a key that is no text, and there is no event: a
#   UnicodeDecodeError or an AttributeError, which no documentation names. The Node SDK reads all four records.
# Versions: cloudevents 2.2.0 (PyPI), cloudevents 10.0.0 (npm).
# Seen:
#   python, a header of text:   read
#   python, a header of bytes:  UnicodeDecodeError
#   python, a header of null:   AttributeError
#   python, a key of bytes:     UnicodeDecodeError
#   node, a header of text:     read
#   node, a header of bytes:    read
#   node, a header of null:     read
#   node, a key of bytes:       read
# Why it matters: an agent that is switched on, or a producer with another key serializer, stops every reader in Python that
#   lets the error out of its loop. Hand the SDK the ce_ headers and the content-type alone, and no key.
# Sources: github.com/cloudevents/spec, cloudevents/bindings/kafka-protocol-binding.md, sections 3.1 and 3.2;
#   org.apache.kafka.common.header.Header (a value is bytes, or null).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv py
py/bin/pip install --quiet --disable-pip-version-check cloudevents==2.2.0
npm install --silent --no-audit --no-fund --ignore-scripts cloudevents@10.0.0

cat >read.py <<'EOF'
from cloudevents.core.bindings import kafka

event = {"content-type": b"application/json", "ce_specversion": b"1.0", "ce_id": b"A1", "ce_source": b"/shops/42",
         "ce_type": b"closeorder.requested", "ce_time": b"2026-11-01T00:30:00Z"}
for what, key, other in (
    ("a header of text:  ", b"T1", b"a"),
    ("a header of bytes: ", b"T1", b"\xfe"),
    ("a header of null:  ", b"T1", None),
    ("a key of bytes:    ", b"\xfe", b"a"),
):
    try:
        kafka.from_kafka_event(kafka.KafkaMessage(event | {"trace-bin": other}, key, b'{"out_trade_no":"T1"}'))
        print("python,", what, "read")
    except Exception as e:
        print("python,", what, type(e).__name__)
EOF
cat >read.js <<'EOF'
const { Kafka } = require("cloudevents");
const event = { "content-type": "application/json", ce_specversion: "1.0", ce_id: "A1", ce_source: "/shops/42",
  ce_type: "closeorder.requested", ce_time: "2026-11-01T00:30:00Z" };
for (const [what, key, other] of [
  ["a header of text:    ", "T1", "a"],
  ["a header of bytes:   ", "T1", Buffer.from([0xfe])],
  ["a header of null:    ", "T1", null],
  ["a key of bytes:      ", Buffer.from([0xfe]), "a"],
]) {
  try {
    Kafka.toEvent({ key, headers: { ...event, "trace-bin": other }, value: '{"out_trade_no":"T1"}' });
    console.log("node,", what, "read");
  } catch (e) {
    console.log("node,", what, e.constructor.name);
  }
}
EOF
cat >want <<'EOF'
python, a header of text:   read
python, a header of bytes:  UnicodeDecodeError
python, a header of null:   AttributeError
python, a key of bytes:     UnicodeDecodeError
node, a header of text:     read
node, a header of bytes:    read
node, a header of null:     read
node, a key of bytes:       read
EOF
{ py/bin/python read.py; node read.js; } >seen

echo "versions: cloudevents 2.2.0 (PyPI), cloudevents 10.0.0 (npm)"
echo "expected: eight events"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
