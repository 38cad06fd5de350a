//go:build apachekafka

package brokertest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/apachekafka"
)

// cluster is the one Apache Kafka of all tests.
var cluster *apachekafka.Cluster

// maxMetadata is what the broker takes beside a committed offset: less than a
// worker may have to say.
const maxMetadata = 64

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var err error
	cluster, err = apachekafka.Start(ctx, apachekafka.Config{Properties: map[string]string{
		// As Kafka has it by default: the clusters of other tests are more lenient.
		"auto.create.topics.enable":    "true",
		"group.min.session.timeout.ms": "6000",
		"offset.metadata.max.bytes":    fmt.Sprint(maxMetadata),
		// Deletion and compaction at once, where a topic asks for them.
		"log.retention.check.interval.ms": "500",
		"log.initial.task.delay.ms":       "500",
		"log.cleaner.backoff.ms":          "500",
		// Members of the new protocol hear of a change within this time.
		"group.consumer.heartbeat.interval.ms":     "1000",
		"group.consumer.min.heartbeat.interval.ms": "1000",
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := cluster.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
