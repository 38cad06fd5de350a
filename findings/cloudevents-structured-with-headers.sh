#!/usr/bin/env bash
# Expected: the Kafka binding of CloudEvents says that the content-type decides the mode, and that a structured event may
#   carry the ce_ headers of the binary mode as well (sections 3 and 3.3.3). So the headers change nothing.
# Happens: the Python SDK looks for ce_ headers before it looks at the content-type. Where there are any it takes the record
#   for binary mode: the whole envelope becomes the data of the event, and if the headers carry no time the event gets the
#   reader's clock for one, although the envelope says when it happened.
#   The Node SDK reads the same record as the binding says. No error anywhere.
# Versions: cloudevents 2.2.0 (PyPI), cloudevents 10.0.0 (npm).
# Seen:
#   python, envelope alone:            data has out_trade_no, time 2026-11-01T00:30:00+00:00
#   python, envelope and ce_ headers:  data has specversion id source type time datacontenttype data, time is now
#   node, envelope and ce_ headers:    data has out_trade_no, time 2026-11-01T00:30:00.000Z
# Why it matters: a proxy or a tracing agent that adds headers turns a request into one without an order number, and its age
#   into zero. Who reads such events looks at the content-type first, and takes no age from a time that may be made up.
# Sources: github.com/cloudevents/spec, cloudevents/bindings/kafka-protocol-binding.md, sections 3 and 3.3.3.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv py
py/bin/pip install --quiet --disable-pip-version-check cloudevents==2.2.0
npm install --silent --no-audit --no-fund --ignore-scripts cloudevents@10.0.0

cat >record.json <<'EOF'
{"headers": {"content-type": "application/cloudevents+json; charset=UTF-8", "ce_specversion": "1.0", "ce_id": "A1", "ce_source": "/shops/42", "ce_type": "closeorder.requested"},
 "value": {"specversion": "1.0", "id": "A1", "source": "/shops/42", "type": "closeorder.requested", "time": "2026-11-01T00:30:00Z", "datacontenttype": "application/json", "data": {"out_trade_no": "PRODUCER1"}}}
EOF
cat >read.py <<'EOF'
import datetime, json
from cloudevents.core.bindings import kafka

record = json.load(open("record.json"))
value = json.dumps(record["value"]).encode()
headers = {k: v.encode() for k, v in record["headers"].items()}
for what, used in (
    ("envelope alone:           ", {k: v for k, v in headers.items() if k == "content-type"}),
    ("envelope and ce_ headers: ", headers),
):
    event = kafka.from_kafka_event(kafka.KafkaMessage(used, None, value))
    age = datetime.datetime.now(datetime.timezone.utc) - event.get_time()
    time = "is now" if abs(age.total_seconds()) < 60 else event.get_time().isoformat()
    print("python,", what, "data has", " ".join(event.get_data()) + ", time", time)
EOF
cat >read.js <<'EOF'
const { Kafka } = require("cloudevents");
const record = require("./record.json");
const event = Kafka.toEvent({ headers: record.headers, value: JSON.stringify(record.value) });
console.log("node, envelope and ce_ headers:    data has", Object.keys(event.data).join(" ") + ", time", event.time);
EOF
cat >want <<'EOF'
python, envelope alone:            data has out_trade_no, time 2026-11-01T00:30:00+00:00
python, envelope and ce_ headers:  data has specversion id source type time datacontenttype data, time is now
node, envelope and ce_ headers:    data has out_trade_no, time 2026-11-01T00:30:00.000Z
EOF
{ py/bin/python read.py; node read.js; } >seen

echo "versions: cloudevents 2.2.0 (PyPI), cloudevents 10.0.0 (npm)"
echo "expected: three times the same data and the same time"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
