package consumer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kgo"
)

// pack produces one batch of requests that unpack to about size bytes each.
func (c *cluster) pack(partition int32, size int, orders ...string) {
	c.t.Helper()
	p := c.manual(kgo.ProducerBatchCompression(kgo.GzipCompression()), kgo.ProducerLinger(time.Second))
	var records []*kgo.Record
	for _, o := range orders {
		r := to(partition, o)
		r.Value = append(r.Value, strings.Repeat(" ", size)...)
		records = append(records, r)
	}
	if err := p.ProduceSync(c.t.Context(), records...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

func TestABatchThatUnpacksToTooMuchStopsItsPartitionUntilItIsGivenUpOrAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.pack(0, 100, "BEFORE")
		c.pack(0, 30<<10, "LARGE0", "LARGE1", "LARGE2")
		c.pack(0, 100, "BEHIND")
		c.pack(1, 100, "BESIDE")
		var hook *test.Hook
		limited := func(skip ...kafka.Span) func(*consumer.Config) {
			return func(cfg *consumer.Config) {
				heard(&hook)(cfg)
				cfg.Kafka.UnpackedBatch = 64 << 10
				cfg.Skip = skip
			}
		}
		const stopped, skipped = "ALARM: offsets cannot be read: this partition is stopped", "ALARM: 3 offsets cannot be read and are skipped"

		closer := &closing{}
		stop := c.worker(closer, limited(kafka.Span{Topic: "requests", Partition: 0, First: 1, Last: 2}, kafka.Span{Topic: "requests", Partition: 1, First: 0, Last: 9}))
		c.outcomes(2)
		time.Sleep(10 * time.Minute)
		c.request("STILL1", "STILL2", "STILL3")
		time.Sleep(time.Minute)
		stop()
		for _, order := range closer.made() {
			if strings.HasPrefix(order, "LARGE") || order == "BEHIND" {
				t.Errorf("%s was called for", order)
			}
		}
		if !slices.Contains(closer.made(), "BEFORE") || !slices.Contains(closer.made(), "BESIDE") {
			t.Errorf("calls for %v", closer.made())
		}
		found := lines(hook, "ALARM: ")
		if len(found) != 1 || !strings.HasPrefix(found[0].Message, stopped) || !strings.Contains(found[0].Message, "kafka.skip requests[0]@1-3") ||
			fmt.Sprint(found[0].Data["topic"], found[0].Data["partition"], found[0].Data["first"], found[0].Data["last"]) != "requests0 1 3" {
			t.Errorf("alarms %v", found)
		}
		if at := c.committed()[0].At; at != 1 {
			t.Errorf("committed %d, want what is finished before it: 1", at)
		}

		stop = c.worker(closer, limited(kafka.Span{Topic: "requests", Partition: 0, First: 1, Last: 3}))
		time.Sleep(time.Minute)
		stop()
		if n := logged(hook, skipped); n != 1 || logged(hook, stopped) != 0 || !slices.Contains(closer.made(), "BEHIND") || slices.Contains(closer.made(), "LARGE0") {
			t.Errorf("given up: told %d times, calls for %v", n, closer.made())
		}
		if at := c.committed()[0].At; at < 5 {
			t.Errorf("given up: committed %d", at)
		}

		c.commit(0, 1, "")
		stop = c.worker(closer, heard(&hook))
		time.Sleep(time.Minute)
		stop()
		if !slices.Contains(closer.made(), "LARGE0") || !slices.Contains(closer.made(), "LARGE2") || logged(hook, "ALARM") != 0 {
			t.Errorf("with a higher limit: calls for %v", closer.made())
		}
	})
}
