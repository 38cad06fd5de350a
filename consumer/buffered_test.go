package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// many is a requests topic of 50 partitions with a backlog in each.
func many(c *cluster, each int, more ...*kgo.Record) {
	c.t.Helper()
	if _, err := c.admin().CreateTopic(c.t.Context(), 50, 1, nil, "many"); err != nil {
		c.t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.broker.Addr()), kgo.Dialer(c.net.dial), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	records := more
	for i := range each {
		for p := range 50 {
			order := fmt.Sprintf("P%02dN%05d", p, i)
			records = append(records, &kgo.Record{Topic: "many", Partition: int32(p), Key: []byte(order), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q,"metadata":{"shop":%d}}`, order, i)})
		}
	}
	if err := client.ProduceSync(c.t.Context(), records...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// A gateway that stands still, with a backlog in fifty partitions: what the worker
// holds stays within max_buffered, and when the gateway goes on all is served.
func TestABacklogInManyPartitionsStaysWithinMaxBuffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		const each, bound = 200, 2 << 20
		many(c, each)
		goOn := make(chan struct{})
		closer := &closing{answer: func(events.Request) consumer.Verdict { <-goOn; return closedAnswer }}
		w, stop := c.buffered(closer, bound)
		time.Sleep(time.Minute)
		held, most := w.Buffered()
		if most != bound || held > most {
			t.Errorf("%d bytes are held, and max_buffered is %d", held, most)
		}
		if held < most/2 {
			t.Errorf("%d of %d bytes are held: nothing was tested", held, most)
		}
		close(goOn)
		c.outcomes(50 * each)
		stop()
	})
}

// The first request of a partition waits for hours, and the others of it with it:
// the other partitions go on.
func TestAPartitionWhoseHeadWaitsStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		const each, bound = 200, 1 << 20
		many(c, each)
		goOn := make(chan struct{})
		closer := &closing{answer: func(r events.Request) consumer.Verdict {
			if strings.HasPrefix(r.OutTradeNo, "P07") {
				<-goOn
			}
			return closedAnswer
		}}
		_, stop := c.buffered(closer, bound)
		c.outcomes(49 * each)
		close(goOn)
		c.outcomes(50 * each)
		stop()
	})
}

func TestARecordThatIsLargerThanAllThatMayBeHeldIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		large := strings.Repeat("x", 900<<10)
		many(c, 20,
			&kgo.Record{Topic: "many", Partition: 3, Value: []byte(`{"mch_id":"1900000109","out_trade_no":"LARGE1","note":"` + large + `"}`)},
			&kgo.Record{Topic: "many", Partition: 4, Value: []byte(`{"mch_id":"1900000109","out_trade_no":"LARGE2","note":"` + large + `"}`)})
		_, stop := c.buffered(&closing{}, 1<<20)
		large = ""
		for _, o := range c.outcomes(50*20 + 2) {
			if o.Source.Partition == 3 && o.Source.Offset == 0 || o.Source.Partition == 4 && o.Source.Offset == 0 {
				large += o.Code
			}
		}
		stop()
		if large != events.CodeInvalidRequest+events.CodeInvalidRequest { // it is larger than a request may be
			t.Errorf("the outcomes of the large ones are %q", large)
		}
	})
}

// buffered starts a worker that serves topic many within a bound.
func (c *cluster) buffered(closer consumer.Closer, bound int64) (w *consumer.Worker, stop func()) {
	c.t.Helper()
	return c.workerOf(closer, func(cfg *consumer.Config) {
		cfg.Topics.Requests, cfg.Kafka.MaxBuffered = "many", bound
		cfg.Log.(*logrus.Logger).SetLevel(logrus.ErrorLevel)
	})
}
