#!/usr/bin/env bash
# Expected: what one SDK of CloudEvents writes to Kafka in structured mode, the other SDKs read.
# Happens: the Python SDK's to_structured names the type of the data in the header content-type (application/json), or
#   writes no header at all where the event names no such type. The binding allows there only the type of the envelope,
#   application/cloudevents+json, and lets readers tell the mode by it. So the SDKs for Node, Go and Java refuse the record.
#   The binary mode of the same SDK is read by all.
# Versions: cloudevents 1.13.0 (PyPI; the package cloudevents.v1 of 2.2.0 does the same), cloudevents 10.0.0 (npm),
#   sdk-go 2.16.2 with kafka_sarama 2.16.2, cloudevents-kafka 4.0.1 (Maven).
# Seen:
#   structured content-type: application/json; with no datacontenttype: none
#   node: refused: No CloudEvent detected
#   go:   refused: unknown Message encoding
#   java: refused: Could not parse. Unknown encoding. Invalid content type or spec version
# Why it matters: a reader in another language sees JSON without an order number in it. A worker that knows these records by
#   their envelope (specversion, id, source and type beside data) serves every such producer; one that trusts the header none.
# Sources: github.com/cloudevents/spec, cloudevents/bindings/kafka-protocol-binding.md, sections 3 and 3.3.1;
#   github.com/cloudevents/sdk-python/issues/238; github.com/cloudevents/sdk-go/issues/1113 (the same record without headers).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv py
py/bin/pip install --quiet --disable-pip-version-check cloudevents==1.13.0
npm install --silent --no-audit --no-fund --ignore-scripts cloudevents@10.0.0

cat >write.py <<'EOF'
import json
from cloudevents.http import CloudEvent
from cloudevents.kafka import to_structured

known = {"type": "closeorder.requested", "source": "/shops/42", "id": "A1", "time": "2026-11-01T00:30:00Z"}
data = {"mch_id": "1900000109", "out_trade_no": "PRODUCER1"}
typed = to_structured(CloudEvent(dict(known, datacontenttype="application/json"), data))
bare = to_structured(CloudEvent(dict(known), data))
print("structured content-type: %s; with no datacontenttype: %s"
      % (typed.headers["content-type"].decode(), bare.headers.get("content-type", "none")))
json.dump({"contentType": typed.headers["content-type"].decode(), "value": typed.value.decode()}, open("record.json", "w"))
open("value", "wb").write(typed.value)
EOF
cat >read.js <<'EOF'
const { Kafka } = require("cloudevents");
const record = require("./record.json");
try {
  console.log("node: read", Kafka.toEvent({ headers: { "content-type": record.contentType }, value: record.value }).id);
} catch (e) {
  console.log("node: refused:", e.message);
}
EOF
mkdir go java
cat >go/main.go <<'EOF'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
)

func main() {
	value, err := os.ReadFile("../value")
	if err != nil {
		panic(err)
	}
	m := kafka_sarama.NewMessageFromConsumerMessage(&sarama.ConsumerMessage{
		Value:   value,
		Headers: []*sarama.RecordHeader{{Key: []byte("content-type"), Value: []byte("application/json")}},
	})
	if event, err := binding.ToEvent(context.Background(), m); err != nil {
		fmt.Println("go:   refused:", err)
	} else {
		fmt.Println("go:   read", event.ID())
	}
}
EOF
cat >java/pom.xml <<'EOF'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>io.cloudevents</groupId><artifactId>cloudevents-kafka</artifactId><version>4.0.1</version></dependency>
<dependency><groupId>io.cloudevents</groupId><artifactId>cloudevents-json-jackson</artifactId><version>4.0.1</version></dependency>
</dependencies></project>
EOF
cat >java/Read.java <<'EOF'
import io.cloudevents.kafka.CloudEventDeserializer;
import java.nio.file.*;
import org.apache.kafka.common.header.internals.RecordHeaders;

public class Read {
  public static void main(String[] args) throws Exception {
    RecordHeaders headers = new RecordHeaders();
    headers.add("content-type", "application/json".getBytes());
    try {
      System.out.println("java: read " + new CloudEventDeserializer().deserialize("t", headers, Files.readAllBytes(Path.of("../value"))).getId());
    } catch (Exception e) {
      System.out.println("java: refused: " + e.getMessage());
    }
  }
}
EOF
py/bin/python write.py >seen
node read.js >>seen
(cd go && go mod init x && go get github.com/cloudevents/sdk-go/v2@v2.16.2 github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2@v2.16.2) >/dev/null 2>&1
(cd go && go run .) >>seen
(cd java && mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=lib) >/dev/null
(cd java && javac -cp 'lib/*' Read.java && java -cp '.:lib/*' Read 2>/dev/null) >>seen

cat >want <<'EOF'
structured content-type: application/json; with no datacontenttype: none
node: refused: No CloudEvent detected
go:   refused: unknown Message encoding
java: refused: Could not parse. Unknown encoding. Invalid content type or spec version
EOF
echo "versions: cloudevents 1.13.0 (PyPI), cloudevents 10.0.0 (npm), sdk-go 2.16.2, cloudevents-kafka 4.0.1 (Maven)"
echo "expected: content-type application/cloudevents+json, and three readers"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
