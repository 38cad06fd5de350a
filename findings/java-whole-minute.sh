#!/usr/bin/env bash
# Expected: java.time writes ISO 8601, so toString() of an OffsetDateTime is a time as CloudEvents and RFC 3339 want it.
# Happens: toString() leaves the seconds out when they are zero. RFC 3339 demands them. A header ce_time (or a JSON field) made
#   with toString() is right 59 times a minute, and at the full minute another language refuses the whole event for an
#   attribute that is optional. A job that runs on the minute, with its time cut to seconds, meets it with every event.
#   The Java SDK itself reads both, so that a test in one language never shows it.
# Versions: the JDK that is installed (the rule is in its documentation since 8), cloudevents-kafka 4.0.1 (Maven), sdk-go 2.16.2.
# Seen:
#   written at a full minute: 2026-11-01T08:30+08:00
#   java read 3600 of the 3600 seconds of an hour
#   go read 3540 of the 3600 seconds of an hour, refused: invalid value for time: "2026-11-01T08:00+08:00"
# Why it matters: a fault that is there once in sixty looks like a fault of the network. Write times with
#   DateTimeFormatter.ISO_OFFSET_DATE_TIME, and refuse no request for an attribute that nothing depends on.
# Sources: docs.oracle.com, java.time.OffsetDateTime#toString ("the shortest that outputs the full value of the time where the
#   omitted parts are implied to be zero"); RFC 3339 section 5.6 (full-time has seconds).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir java go
cat >java/pom.xml <<'EOF'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>io.cloudevents</groupId><artifactId>cloudevents-kafka</artifactId><version>4.0.1</version></dependency>
</dependencies></project>
EOF
cat >java/Times.java <<'EOF'
import io.cloudevents.kafka.CloudEventDeserializer;
import java.io.PrintWriter;
import java.time.OffsetDateTime;
import org.apache.kafka.common.header.internals.RecordHeaders;

public class Times {
  public static void main(String[] args) throws Exception {
    OffsetDateTime start = OffsetDateTime.parse("2026-11-01T08:00:00+08:00");
    System.out.println("written at a full minute: " + start.plusMinutes(30));
    int read = 0;
    try (PrintWriter times = new PrintWriter("../times")) {
      for (int second = 0; second < 3600; second++) {
        String time = start.plusSeconds(second).toString();
        times.println(time);
        RecordHeaders headers = new RecordHeaders();
        headers.add("ce_specversion", "1.0".getBytes()).add("ce_id", "A1".getBytes()).add("ce_source", "/shops/42".getBytes());
        headers.add("ce_type", "closeorder.requested".getBytes()).add("ce_time", time.getBytes());
        if (new CloudEventDeserializer().deserialize("t", headers, "{}".getBytes()).getTime() != null) read++;
      }
    }
    System.out.println("java read " + read + " of the 3600 seconds of an hour");
  }
}
EOF
cat >go/main.go <<'EOF'
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
)

func main() {
	b, err := os.ReadFile("../times")
	if err != nil {
		panic(err)
	}
	times := strings.Fields(string(b))
	read, refused := 0, ""
	for _, time := range times {
		m := &sarama.ConsumerMessage{Value: []byte("{}")}
		for _, h := range [][2]string{{"ce_specversion", "1.0"}, {"ce_id", "A1"}, {"ce_source", "/shops/42"}, {"ce_type", "closeorder.requested"}, {"ce_time", time}} {
			m.Headers = append(m.Headers, &sarama.RecordHeader{Key: []byte(h[0]), Value: []byte(h[1])})
		}
		if _, err := binding.ToEvent(context.Background(), kafka_sarama.NewMessageFromConsumerMessage(m)); err == nil {
			read++
		} else if refused == "" {
			refused = ", refused: " + err.Error()
		}
	}
	fmt.Printf("go read %d of the %d seconds of an hour%s\n", read, len(times), refused)
}
EOF
(cd java && mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=lib) >/dev/null
(cd java && javac -cp 'lib/*' Times.java && java -cp '.:lib/*' Times 2>/dev/null) >seen
(cd go && go mod init x && go get github.com/cloudevents/sdk-go/v2@v2.16.2 github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2@v2.16.2) >/dev/null 2>&1
(cd go && go run .) >>seen
cat >want <<'EOF'
written at a full minute: 2026-11-01T08:30+08:00
java read 3600 of the 3600 seconds of an hour
go read 3540 of the 3600 seconds of an hour, refused: invalid value for time: "2026-11-01T08:00+08:00"
EOF
echo "versions: $(java -version 2>&1 | head -1), cloudevents-kafka 4.0.1 (Maven), sdk-go 2.16.2"
echo "expected: 2026-11-01T08:30:00+08:00, and 3600 of 3600 twice"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
