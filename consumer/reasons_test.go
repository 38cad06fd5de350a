package consumer_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What Kafka does to a worker that is well otherwise.
func TestAReasonOfKafkasToWaitHasAName(t *testing.T) {
	once := func(cfg *consumer.Config) {
		cfg.ExactlyOnce, cfg.TransactionInterval, cfg.TransactionTimeout = true, 100*time.Millisecond, 10*time.Second
	}
	for sentence, c := range map[string]struct {
		change func(*consumer.Config)
		before func(c *cluster) // the worker is started
		after  func(c *cluster) // a request was read: its call takes 20 s
		want   string
		ready  bool
	}{
		"it cannot be found out where to begin": {
			before: func(c *cluster) {
				c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "g", Err: kerr.CoordinatorLoadInProgress, Count: -1})
			}, want: "cannot be fetched: it is not known where to begin", ready: true,
		},
		"the coordinator of transactions is away": {
			change: once, after: func(c *cluster) {
				c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.EndTxn, kmsg.InitProducerID}, Err: kerr.CoordinatorNotAvailable, Count: -1})
			}, want: "Kafka has acknowledged nothing for",
		},
		"an offset cannot be committed in a transaction, and waits apart": {
			change: once, after: func(c *cluster) {
				c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.TopicAuthorizationFailed, Count: -1})
			}, want: "requests are set aside", ready: true,
		},
		"the topic of a request in a transaction is gone": {
			change: once, after: func(c *cluster) {
				if _, err := c.admin().DeleteTopics(c.t.Context(), "requests"); err != nil {
					c.t.Error(err)
				}
			}, want: "requests[0] cannot be fetched", ready: true,
		},
		"a topic does not take a record": {
			after: func(c *cluster) {
				c.validate(kerr.InvalidRecord.Code, func(topic string, _ kmsg.Record) string {
					if topic == "outcomes" {
						return "not today"
					}
					return ""
				})
			}, want: "1 records are not taken by their topics", ready: true,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := newCluster(t)
				if c.before != nil {
					c.before(cluster)
				}
				w, stop := cluster.workerOf(&closing{takes: 20 * time.Second}, func(cfg *consumer.Config) {
					cfg.Grace = time.Second
					if c.change != nil {
						c.change(cfg)
					}
				})
				defer stop()
				time.Sleep(10 * time.Second)
				cluster.manual().ProduceSync(t.Context(), to(0, "T1"))
				time.Sleep(5 * time.Second)
				if c.after != nil {
					c.after(cluster)
				}
				said, ready := false, 0
				for range 60 {
					time.Sleep(5 * time.Second)
					is := w.State().Health
					if !is.Live {
						t.Fatalf("killed for it: %+v", is)
					}
					if is.Ready {
						ready++
					}
					said = said || strings.Contains(strings.Join(is.Waits, "\n"), c.want)
				}
				if is := w.State().Health; !said || c.ready && ready < 60 || !c.ready && ready > 55 {
					t.Errorf("said %v, ready %d times of 60, at last %+v", said, ready, is)
				}
			})
		})
	}
}
