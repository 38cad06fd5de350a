package consumer_test

import (
	"hash/crc32"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// byCRC32 puts a request where librdkafka's default partitioner does.
func byCRC32(order string) *kgo.Record {
	return to(int32(crc32.ChecksumIEEE([]byte(order))%3), order)
}

// A request may stand anywhere: its producer may have any partitioner. What
// follows from it stands in the partition of that number.
func TestOutcomesRetriesAndDeadLettersFollowTheirRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		if _, err := c.admin().UpdatePartitions(t.Context(), 3, "dead"); err != nil {
			t.Fatal(err)
		}
		defer c.worker(&closing{answer: func(r events.Request) consumer.Verdict {
			switch r.OutTradeNo[0] {
			case 'F':
				return consumer.Verdict{Class: consumer.Failed, Code: "PARAM_ERROR", Calls: 1}
			case 'L':
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return closedAnswer
		}}, nil)()
		var records []*kgo.Record
		for i := range int32(3) {
			// The same keys in each partition: whatever a key says, it is not
			// what decides.
			for _, prefix := range []string{"C", "F", "L"} {
				for _, o := range numbered(prefix, 5) {
					records = append(records, to(i, o))
				}
			}
			bad, keyless := to(i, ""), to(i, "C9")
			bad.Key, bad.Value, keyless.Key = []byte("bad"), []byte("no JSON"), nil
			records = append(records, bad, keyless)
		}
		if err := c.manual().ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		for _, r := range c.readWithin("outcomes", len(records), time.Hour) {
			o, err := events.DecodeOutcome(messageOf(r))
			if err != nil || o.Source.Partition != int(r.Partition) {
				t.Errorf("the outcome of %s, partition %d, stands in partition %d (%v)", o.OutTradeNo, o.Source.Partition, r.Partition, err)
			}
		}
		for topic, n := range map[string]int{"dead": 3 * (5 + 5 + 1), "retry.10s": 3 * 5, "retry.1m": 3 * 5, "retry.5m": 3 * 5} {
			for _, r := range c.read(topic, n) {
				if from := header(r, "closeorder-source-partition"); from != string('0'+r.Partition) {
					t.Errorf("%s of a request in partition %s stands in partition %d", topic, from, r.Partition)
				}
			}
		}
	})
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// With fewer partitions than the requests have, those of one partition still
// stay together, in their order.
func TestOutcomesOfOnePartitionStayTogetherInATopicWithFewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		if _, err := c.admin().DeleteTopics(t.Context(), "outcomes"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.admin().CreateTopic(t.Context(), 2, 1, nil, "outcomes"); err != nil {
			t.Fatal(err)
		}
		defer c.worker(&closing{}, nil)()
		var records []*kgo.Record
		for i := range int32(3) {
			for _, o := range numbered("T", 10) {
				records = append(records, to(i, o))
			}
		}
		if err := c.manual().ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		for _, r := range c.read("outcomes", len(records)) {
			if o, _ := events.DecodeOutcome(messageOf(r)); o.Source.Partition%2 != int(r.Partition) {
				t.Errorf("an outcome of partition %d stands in partition %d of 2", o.Source.Partition, r.Partition)
			}
		}
	})
}

func TestMixedPartitionersAreToldOnceByTheWorkerThatSeesThem(t *testing.T) {
	const text = "requests are keyed by more than one partitioner"
	for _, c := range []struct {
		sentence string
		second   func(order string) *kgo.Record
		told     string
	}{
		{"all by Java's clients", nil, ""},
		{"one half by clients on librdkafka", byCRC32, text},
		{"one half by a client that ignores keys", func(order string) *kgo.Record {
			return to(int32(len(order)+int(order[len(order)-1])+int(order[len(order)-2])/2)%3, order)
		}, "requests do not stand where their keys belong"},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t)
				var hook *test.Hook
				defer k.worker(&closing{}, heard(&hook))()
				k.request(numbered("T", 1500)...)
				n := 1500
				if c.second != nil {
					var records []*kgo.Record
					for _, o := range numbered("U", 1500) {
						records = append(records, c.second(o))
					}
					if err := k.manual().ProduceSync(t.Context(), records...).FirstErr(); err != nil {
						t.Fatal(err)
					}
					n += len(records)
				}
				k.outcomes(n)
				told := 0
				var all []string
				for _, e := range hook.AllEntries() {
					if strings.Contains(e.Message, "side by side in two workers") {
						all = append(all, e.Message)
						told++
					}
				}
				if c.told == "" && told > 0 || c.told != "" && (told != 1 || logged(hook, c.told) != 1) {
					t.Errorf("told %d times: %q", told, all)
				}
			})
		})
	}
}

func TestAnOrderInTwoPartitionsIsToldWithBothPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var hook *test.Hook
		defer c.worker(&closing{}, heard(&hook))()
		if err := c.manual().ProduceSync(t.Context(), to(0, "T1"), to(1, "T1"), to(2, "T1")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		c.outcomes(3)
		for _, e := range hook.AllEntries() {
			if strings.Contains(e.Message, "two requests of one order") {
				if e.Data["out_trade_no"] != "T1" || e.Data["mch_id"] != "1900000109" || e.Data["partition"] == e.Data["other_partition"] || e.Data["other_offset"] != int64(0) {
					t.Errorf("told with %v", e.Data)
				}
			}
		}
		if n := logged(hook, "two requests of one order stand in two partitions"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// Partitions are added while the worker runs: that its producers know of them
// at another time than the worker does is no second partitioner.
func TestAddedPartitionsAreNoSecondPartitioner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var hook *test.Hook
		defer c.worker(&closing{}, heard(&hook))()
		c.request(numbered("T", 1000)...)
		for topic, n := range map[string]int{"requests": 5, "retry.10s": 5, "retry.1m": 5, "retry.5m": 5} {
			if _, err := c.admin().UpdatePartitions(t.Context(), n, topic); err != nil {
				t.Fatal(err)
			}
		}
		fresh, err := kgo.NewClient(kgo.SeedBrokers(c.broker.Addr()), kgo.Dialer(c.net.dial), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer fresh.Close()
		ask := func(prefix string) {
			for _, o := range numbered(prefix, 1000) {
				r := to(0, o)
				fresh.Produce(t.Context(), r, nil)
			}
			if err := fresh.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ask("U")
		time.Sleep(time.Minute)
		ask("V")
		c.outcomes(3000)
		if logged(hook, "more than one partitioner")+logged(hook, "where their keys belong") > 0 {
			t.Error("told as a mixture")
		}
		ends, err := kadm.NewClient(fresh).ListEndOffsets(t.Context(), "requests")
		if last, ok := ends.Lookup("requests", 4); err != nil || !ok || last.Offset == 0 {
			t.Errorf("nothing stands in a new partition: %v, %v", last, err)
		}
	})
}
