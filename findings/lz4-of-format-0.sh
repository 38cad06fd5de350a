#!/usr/bin/env bash
# Expected: a reader that takes messages of formats 0 and 1 reads those that Java's producers and brokers wrote, in each compression.
# Happens: into messages of format 0 Java writes LZ4 with a checksum of the frame's header that the frame's first four bytes are part
#   of, and reads it without looking at it. Libraries that take any LZ4 for one of the specification end with an error; kafka-python
#   knows of it. Format 1 and 2 are right.
# Versions: kafka-clients 2.8.2 writes and reads; kafka-go 0.4.51, franz-go 1.22.2, kafka-python 3.0.12 (with lz4 4.4.5, xxhash 3.6.0) read.
# Seen:
#   format 0, Java and kafka-python: x
#   format 0, franz-go: 0 records, error unable to decompress batch: lz4: invalid header checksum: got 82; expected 1a
#   format 0, kafka-go: lz4: invalid header checksum: got 82; expected 1a
#   format 1, all four: x
# Why it matters: a topic with message.format.version 0.9.0 or before and compression.type=lz4 has such messages, on brokers up to 2.8
#   and for as long as segments of that time are kept, after an upgrade in place too. A reader that stops at a batch that it cannot
#   unpack stops there for good.
# Sources: issues.apache.org/jira/browse/KAFKA-3160; Apache Kafka 2.8, KafkaLZ4BlockOutputStream (useBrokenFlagDescriptorChecksum);
#   LZ4 Frame Format Description, Header Checksum.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir go java
cat >java/pom.xml <<'EOF'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>2.8.2</version></dependency>
</dependencies></project>
EOF
cat >java/Batch.java <<'EOF'
import java.nio.ByteBuffer;
import java.nio.file.*;
import org.apache.kafka.common.record.*;

public class Batch {
  public static void main(String[] args) throws Exception {
    for (byte format : new byte[] {0, 1}) {
      MemoryRecords records = MemoryRecords.withRecords(format, CompressionType.LZ4, new SimpleRecord(1L, null, "x".getBytes()));
      ByteBuffer bytes = records.buffer().duplicate();
      byte[] all = new byte[bytes.remaining()];
      bytes.get(all);
      Files.write(Path.of("../batch" + format), all);
      for (org.apache.kafka.common.record.Record r : records.records())
        System.out.println("format " + format + ", Java: " + (char) r.value().get(r.value().position()));
    }
  }
}
EOF
cat >go/main.go <<'EOF'
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	for _, format := range []string{"0", "1"} {
		batch, err := os.ReadFile("../batch" + format)
		must(err)
		partition := kmsg.NewFetchResponseTopicPartition()
		partition.RecordBatches = batch
		fetched, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"}, &partition, kgo.DefaultDecompressor(), nil)
		what := fmt.Sprintf("%d records, error %v", len(fetched.Records), fetched.Err)
		if fetched.Err == nil && len(fetched.Records) == 1 {
			what = string(fetched.Records[0].Value)
		}
		fmt.Printf("format %s, franz-go: %s\n", format, what)

		what = read(batch)
		fmt.Printf("format %s, kafka-go: %s\n", format, what)
	}
}

func read(batch []byte) (what string) {
	var set protocol.RecordSet // what Client.Fetch reads an answer with
	if _, err := set.ReadFrom(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(batch))), batch...))); err != nil {
		return err.Error()
	}
	r, err := set.Records.ReadRecord()
	if err != nil {
		return err.Error()
	}
	value, err := io.ReadAll(r.Value)
	must(err)
	return string(value)
}
EOF
cat >read.py <<'EOF'
from kafka.record import MemoryRecords
for format in "01":
    records = MemoryRecords(open("batch" + format, "rb").read())
    print(f"format {format}, kafka-python:", b"".join(r.value for r in records.next_batch()).decode())
EOF
(cd java && mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=lib) >/dev/null
(cd java && javac -cp 'lib/*' Batch.java && java -cp '.:lib/*' Batch 2>/dev/null) >seen
(cd go && go mod init x && go get github.com/segmentio/kafka-go@v0.4.51 github.com/twmb/franz-go@v1.22.2 github.com/twmb/franz-go/pkg/kmsg@v1.15.0) >/dev/null 2>&1
(cd go && go run .) >>seen
python3 -m venv venv && venv/bin/pip --quiet install kafka-python==3.0.12 lz4==4.4.5 xxhash==3.6.0
venv/bin/python read.py >>seen
cat >want <<'EOF'
format 0, Java: x
format 1, Java: x
format 0, franz-go: 0 records, error unable to decompress batch: lz4: invalid header checksum: got 82; expected 1a
format 0, kafka-go: lz4: invalid header checksum: got 82; expected 1a
format 1, franz-go: x
format 1, kafka-go: x
format 0, kafka-python: x
format 1, kafka-python: x
EOF
echo "versions: kafka-go 0.4.51, franz-go 1.22.2, kafka-clients 2.8.2, kafka-python 3.0.12, $(java -version 2>&1 | head -1)"
echo "expected: x, in each line"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
