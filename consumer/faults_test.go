package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// heard returns a change that lets a test read the worker's log.
func heard(hook **test.Hook) func(*consumer.Config) {
	return func(cfg *consumer.Config) {
		log := logrus.New()
		log.SetOutput(io.Discard)
		*hook = test.NewLocal(log)
		cfg.Log = log
	}
}

func logged(hook *test.Hook, text string) int {
	n := 0
	for _, e := range hook.AllEntries() {
		if strings.Contains(e.Message, text) {
			n++
		}
	}
	return n
}

func (c *cluster) admin() *kadm.Client { return kadm.NewClient(c.client) }

// committed returns the group's committed offset and metadata per partition.
func (c *cluster) committed() map[int32]kadm.Offset {
	c.t.Helper()
	res, err := c.admin().FetchOffsets(c.t.Context(), "g")
	if err != nil {
		c.t.Fatal(err)
	}
	out := make(map[int32]kadm.Offset)
	for partition, o := range res["requests"] {
		out[partition] = o.Offset
	}
	return out
}

func (c *cluster) commit(partition int32, offset int64, metadata string) {
	c.t.Helper()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: "requests", Partition: partition, At: offset, LeaderEpoch: -1, Metadata: metadata})
	res, err := c.admin().CommitOffsets(c.t.Context(), "g", offsets)
	if err = errors.Join(err, res.Error()); err != nil {
		c.t.Fatal(err)
	}
}

// to makes a request for one partition.
func to(partition int32, order string) *kgo.Record {
	return &kgo.Record{Topic: "requests", Partition: partition, Key: []byte(order), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q}`, order)}
}

// manual is a client that produces to the partition the record names.
func (c *cluster) manual(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.broker.Addr()), kgo.Dialer(c.net.dial), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return client
}

func TestTransactionMarkersAreSteppedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := c.manual(kgo.TransactionalID("shop"))
		for i := range 3 {
			if err := p.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := p.ProduceSync(t.Context(), to(0, fmt.Sprint("T", i))).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := p.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
				t.Fatal(err)
			}
		}
		defer c.worker(&closing{}, nil)()
		c.outcomes(3)
		time.Sleep(5 * time.Second)
		if got := c.committed()[0].At; got != 6 {
			t.Errorf("committed %d, want 6: three requests and three markers", got)
		}
		if n := c.end("outcomes"); n != 3 {
			t.Errorf("%d outcomes: a marker was taken for a request", n)
		}
	})
}

func TestOffsetsDeletedBeforeTheyWereReadRaiseAnAlarmAndTheRestIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := c.manual()
		for i := range 10 {
			p.ProduceSync(t.Context(), to(0, fmt.Sprint("T", i)))
		}
		c.commit(0, 2, "")
		offsets := make(kadm.Offsets)
		offsets.Add(kadm.Offset{Topic: "requests", Partition: 0, At: 6, LeaderEpoch: -1})
		if _, err := c.admin().DeleteRecords(t.Context(), offsets); err != nil {
			t.Fatal(err)
		}
		var hook *test.Hook
		defer c.worker(&closing{}, heard(&hook))()
		for _, o := range c.outcomes(4) {
			if o.Source.Offset < 6 {
				t.Errorf("outcome of offset %d", o.Source.Offset)
			}
		}
		if logged(hook, "ALARM: 4 offsets were deleted") != 1 {
			t.Error("no alarm names the four offsets that were deleted")
		}
	})
}

func TestACommittedOffsetBeyondTheEndStopsThePartitionAndIsNeverReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := c.manual()
		c.commit(0, 1000, "")
		var hook *test.Hook
		closer := &closing{}
		stop := c.worker(closer, heard(&hook))
		p.ProduceSync(t.Context(), to(0, "STOPPED"), to(1, "SERVED"))
		c.outcomes(1)
		time.Sleep(time.Minute)
		stop()
		if !slices.Equal(closer.made(), []string{"SERVED"}) {
			t.Errorf("calls for %v", closer.made())
		}
		if got := c.committed()[0].At; got != 1000 {
			t.Errorf("committed offset is now %d", got)
		}
		if logged(hook, "ALARM: the committed offset lies beyond the end") != 1 {
			t.Error("no alarm")
		}
	})
}

func TestAPartitionThatIsAddedLaterIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.worker(&closing{}, nil)()
		c.request("T1")
		c.outcomes(1)
		if _, err := c.admin().CreatePartitions(t.Context(), 1, "requests"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // for the client's metadata
		if err := c.manual().ProduceSync(t.Context(), to(3, "NEW")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		c.outcomes(2)
	})
}

func TestAMissingTopicIsNamedAndServedOnceItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var hook *test.Hook
		defer c.worker(&closing{}, func(cfg *consumer.Config) {
			heard(&hook)(cfg)
			cfg.Topics.Requests = "later"
		})()
		time.Sleep(30 * time.Second)
		found := 0
		for _, e := range hook.AllEntries() {
			if err, ok := e.Data[logrus.ErrorKey].(error); ok && strings.Contains(err.Error(), "topic later does not exist; create it with: closeorder topics create") {
				found++
			}
		}
		if found == 0 {
			t.Error("the log does not name the topic and how to create it")
		}
		if _, err := c.admin().CreateTopic(t.Context(), 1, 1, nil, "later"); err != nil {
			t.Fatal(err)
		}
		c.produce(&kgo.Record{Topic: "later", Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T1"}`)})
		c.outcomes(1)
	})
}

func TestARecordTooLargeForTheDeadLetterTopicLeavesADeadLetterWithoutItsValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		limit := "20000"
		if _, err := c.admin().AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &limit}}, "dead"); err != nil {
			t.Fatal(err)
		}
		defer c.worker(&closing{}, nil)()
		c.produce(&kgo.Record{Topic: "requests", Key: []byte("big"), Value: noise(50000)})
		c.request("T1")
		c.outcomes(2)
		r := c.read("dead", 1)[0]
		d, err := records.DecodeDeadLetter(messageOf(r))
		if err != nil {
			t.Fatal(err)
		}
		if d.ValueOmitted != events.CodeRecordTooLarge || len(r.Value) != 0 || string(r.Key) != "big" {
			t.Errorf("dead letter %+v", d)
		}
	})
}

func TestWhatWasFinishedAboveTheWatermarkIsNotDoneAgainAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := c.manual()
		var records []*kgo.Record
		for i := range 200 {
			records = append(records, to(0, fmt.Sprintf("T%03d", i)))
		}
		// The first order takes for ever, so the watermark stays at 0.
		slow := slowFor{order: "T000", closing: &closing{takes: time.Second}}
		h := &host{net: c.net}
		stop := c.worker(slow, func(cfg *consumer.Config) { cfg.Kafka.Dial = h.dial; cfg.Grace = time.Second })
		if err := p.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		c.outcomes(199)
		time.Sleep(time.Second)
		if at := c.committed()[0]; at.At != 0 || at.Metadata == "" {
			t.Fatalf("committed %+v, want offset 0 and metadata", at)
		}
		h.cut(true)
		stop()

		heir := &closing{}
		stop = c.worker(heir, nil)
		c.outcomes(200)
		time.Sleep(time.Minute)
		stop()
		if !slices.Equal(heir.made(), []string{"T000"}) {
			t.Errorf("the next owner called for %d orders: %v", len(heir.made()), heir.made())
		}
		if at := c.committed()[0]; at.At != 200 || at.Metadata != "" {
			t.Errorf("committed %+v", at)
		}
	})
}

func TestDamagedCommitMetadataIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		// Says that 1 is finished, with a checksum of another place.
		c.commit(0, 0, "co1:cgEAAAAAAA")
		var hook *test.Hook
		closer := &closing{}
		defer c.worker(closer, heard(&hook))()
		c.manual().ProduceSync(t.Context(), to(0, "T0"), to(0, "T1"))
		c.outcomes(2)
		if logged(hook, "commit metadata ignored") != 1 {
			t.Error("no warning")
		}
	})
}

// slowFor never answers one order and leaves the others to closing.
type slowFor struct {
	order string
	*closing
}

func (s slowFor) Close(ctx context.Context, r events.Request, tried bool, place consumer.Place) consumer.Verdict {
	if r.OutTradeNo != s.order {
		return s.closing.Close(ctx, r, tried, place)
	}
	<-ctx.Done()
	return consumer.Verdict{Class: consumer.Interrupted}
}
