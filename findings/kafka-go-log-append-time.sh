#!/usr/bin/env bash
# Expected: on a topic with message.timestamp.type=LogAppendTime the time of a record is when the broker took it, whatever its
#   producer says. That is what the setting is for.
# Happens: kafka-go gives the producer's time. In such a batch the records keep what the producer wrote; a bit of the batch's
#   attributes says that its maxTimestamp counts for all of them. kafka-go drops both while it reads: Client.Fetch, Conn and Reader
#   have neither.
# Versions: kafka-go 0.4.51; kafka-clients 4.3.1 makes the batch as a broker does, and reads it; franz-go 1.22.2 reads it too.
# Seen:
#   Java: the broker's time
#   franz-go: the broker's time
#   kafka-go: 2001
# Why it matters: a clock that is wrong, or a replay that keeps old times, moves the ages, windows and audits of every reader with
#   kafka-go, on the very topics that were set up against it. Asking for offsets by time (ListOffsets) is right: the broker looks.
# Sources: kafka.apache.org/documentation, message.timestamp.type; Apache Kafka, DefaultRecordBatch#setMaxTimestamp, which
#   LogValidator calls, and #iterator, which gives maxTimestamp for each record; kafka-go, protocol/record_v2.go.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir go java
cat >java/pom.xml <<'EOF'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>4.3.1</version></dependency>
</dependencies></project>
EOF
cat >java/Batch.java <<'EOF'
import java.nio.ByteBuffer;
import java.nio.file.*;
import java.time.Instant;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.record.internal.*;

public class Batch {
  public static void main(String[] args) throws Exception {
    long producer = Instant.parse("2001-02-03T04:05:06Z").toEpochMilli(), broker = Instant.parse("2026-02-03T04:05:06Z").toEpochMilli();
    MemoryRecords records = MemoryRecords.withRecords(Compression.NONE, new SimpleRecord(producer, null, "x".getBytes()));
    for (MutableRecordBatch batch : records.batches()) batch.setMaxTimestamp(TimestampType.LOG_APPEND_TIME, broker); // as LogValidator does
    ByteBuffer bytes = records.buffer().duplicate();
    byte[] all = new byte[bytes.remaining()];
    bytes.get(all);
    Files.write(Path.of("../batch"), all);
    for (org.apache.kafka.common.record.internal.Record r : records.records())
      System.out.println("Java: " + (r.timestamp() == broker ? "the broker's time" : Instant.ofEpochMilli(r.timestamp()).toString().substring(0, 4)));
  }
}
EOF
cat >go/main.go <<'EOF'
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func say(who string, t time.Time) {
	what := t.UTC().Format("2006")
	if t.Equal(time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)) {
		what = "the broker's time"
	}
	fmt.Printf("%s: %s\n", who, what)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	batch, err := os.ReadFile("../batch")
	must(err)
	partition := kmsg.NewFetchResponseTopicPartition()
	partition.RecordBatches = batch
	fetched, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"}, &partition, kgo.DefaultDecompressor(), nil)
	must(fetched.Err)
	say("franz-go", fetched.Records[0].Timestamp)

	var set protocol.RecordSet // what Client.Fetch reads an answer with
	_, err = set.ReadFrom(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(batch))), batch...)))
	must(err)
	r, err := set.Records.ReadRecord()
	must(err)
	say("kafka-go", r.Time)
}
EOF
(cd java && mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=lib) >/dev/null
(cd java && javac -cp 'lib/*' Batch.java && java -cp '.:lib/*' Batch 2>/dev/null) >seen
(cd go && go mod init x && go get github.com/segmentio/kafka-go@v0.4.51 github.com/twmb/franz-go@v1.22.2 github.com/twmb/franz-go/pkg/kmsg@v1.15.0) >/dev/null 2>&1
(cd go && go run .) >>seen
cat >want <<'EOF'
Java: the broker's time
franz-go: the broker's time
kafka-go: 2001
EOF
echo "versions: kafka-go 0.4.51, franz-go 1.22.2, kafka-clients 4.3.1, $(java -version 2>&1 | head -1)"
echo "expected: the broker's time three times"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
