#!/usr/bin/env bash
# Expected: time is an optional attribute. A reader of an event without one says that there is none.
# Happens: the SDKs for Python and Node put the clock of the reader in its place, and the program behind them cannot tell
#   it from a time that was sent; reading the same record twice gives two times. In structured mode the Node SDK refuses
#   the event instead ("Invalid time value"). The SDK for Go says zero.
# Versions: cloudevents 2.2.0 (PyPI), cloudevents 10.0.0 (npm), sdk-go 2.16.2 with kafka_sarama 2.16.2.
# Seen:
#   python, binary:      now
#   python, structured:  now
#   node, binary:        now
#   node, structured:    refused: Invalid time value
#   go, binary:          none
#   go, structured:      none
# Why it matters: a time that was made up by the reader makes every event young: an age limit never fires, and a repeat after
#   a restart says something else than the first reading. Send the time, and put no deadline on one that an SDK handed over.
# Sources: github.com/cloudevents/spec, cloudevents/spec.md, "time" (OPTIONAL); github.com/cloudevents/sdk-javascript/issues/148.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv py
py/bin/pip install --quiet --disable-pip-version-check cloudevents==2.2.0
npm install --silent --no-audit --no-fund --ignore-scripts cloudevents@10.0.0

cat >records.json <<'EOF'
{"binary": {"headers": {"content-type": "application/json", "ce_specversion": "1.0", "ce_id": "A1", "ce_source": "/shops/42", "ce_type": "closeorder.requested"},
            "value": "{\"out_trade_no\":\"PRODUCER1\"}"},
 "structured": {"headers": {"content-type": "application/cloudevents+json"},
                "value": "{\"specversion\":\"1.0\",\"id\":\"A1\",\"source\":\"/shops/42\",\"type\":\"closeorder.requested\",\"datacontenttype\":\"application/json\",\"data\":{\"out_trade_no\":\"PRODUCER1\"}}"}}
EOF
cat >read.py <<'EOF'
import datetime, json
from cloudevents.core.bindings import kafka

for mode, record in json.load(open("records.json")).items():
    headers = {k: v.encode() for k, v in record["headers"].items()}
    time = kafka.from_kafka_event(kafka.KafkaMessage(headers, None, record["value"].encode())).get_time()
    if time is not None:
        age = datetime.datetime.now(datetime.timezone.utc) - time
        time = "now" if abs(age.total_seconds()) < 60 else time.isoformat()
    print(("python, %s:" % mode).ljust(20), time or "none")
EOF
cat >read.js <<'EOF'
const { Kafka } = require("cloudevents");
for (const [mode, record] of Object.entries(require("./records.json"))) {
  let time;
  try {
    time = Kafka.toEvent(record).time ?? "none";
    if (Math.abs(Date.now() - Date.parse(time)) < 60000) time = "now";
  } catch (e) {
    time = "refused: " + e.message;
  }
  console.log(`node, ${mode}:`.padEnd(20), time);
}
EOF
mkdir go
cat >go/main.go <<'EOF'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
)

func main() {
	var records map[string]struct {
		Headers map[string]string
		Value   string
	}
	b, err := os.ReadFile("../records.json")
	if err == nil {
		err = json.Unmarshal(b, &records)
	}
	if err != nil {
		panic(err)
	}
	for _, mode := range []string{"binary", "structured"} {
		m := &sarama.ConsumerMessage{Value: []byte(records[mode].Value)}
		for k, v := range records[mode].Headers {
			m.Headers = append(m.Headers, &sarama.RecordHeader{Key: []byte(k), Value: []byte(v)})
		}
		event, err := binding.ToEvent(context.Background(), kafka_sarama.NewMessageFromConsumerMessage(m))
		if err != nil {
			panic(err)
		}
		time := "none"
		if !event.Time().IsZero() {
			time = event.Time().String()
		}
		fmt.Printf("%-20s %s\n", "go, "+mode+":", time)
	}
}
EOF
(cd go && go mod init x && go get github.com/cloudevents/sdk-go/v2@v2.16.2 github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2@v2.16.2) >/dev/null 2>&1
{ py/bin/python read.py; node read.js; (cd go && go run .); } >seen

cat >want <<'EOF'
python, binary:      now
python, structured:  now
node, binary:        now
node, structured:    refused: Invalid time value
go, binary:          none
go, structured:      none
EOF
echo "versions: cloudevents 2.2.0 (PyPI), cloudevents 10.0.0 (npm), sdk-go 2.16.2"
echo "expected: none, six times"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
