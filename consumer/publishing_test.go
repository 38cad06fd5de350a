package consumer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refuse makes produce requests to a topic fail until the handle is removed.
func (c *cluster) refuse(topic string, err *kerr.Error, count int) *kfake.FaultHandle {
	c.t.Helper()
	return c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: err, Count: count})
}

func TestNothingIsCommittedBeforeAllItsRecordsAreAcknowledged(t *testing.T) {
	for _, topic := range []string{"outcomes", "dead"} {
		t.Run("while the broker refuses "+topic, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				refused := c.refuse(topic, kerr.NotEnoughReplicas, -1)
				defer c.worker(&closing{}, nil)()
				poison := to(0, "")
				poison.Value = []byte("not json")
				c.manual().ProduceSync(t.Context(), poison)
				time.Sleep(time.Minute)
				if at, ok := c.committed()[0]; ok && at.At > 0 {
					t.Fatalf("committed %+v", at)
				}
				refused.Remove()
				c.outcomes(1)
				c.read("dead", 1)
				time.Sleep(time.Second)
				if at := c.committed()[0]; at.At != 1 {
					t.Errorf("committed %+v, want 1", at)
				}
			})
		})
	}
}

// withoutProducerIDs is a cluster in which a worker may not write idempotently, as
// by its ACLs before Kafka 2.8.
func (c *cluster) withoutProducerIDs() {
	c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ClusterAuthorizationFailed, Count: -1,
		When: func(r kmsg.Request) bool { return r.GetVersion() <= 4 }, // kafka-go's; the client of the tests is newer
	})
}

func TestAnOutcomeWhoseWriteIsAnsweredWithAnErrorIsWrittenOnce(t *testing.T) {
	for _, err := range []*kerr.Error{kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut} { // the broker does the work
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t)
			defer c.worker(&closing{}, nil)()
			c.request("T0")
			c.outcomes(1)
			refused := c.refuse("outcomes", err, 3)
			c.request("T1", "T2")
			time.Sleep(time.Minute)
			if refused.Hits() != 3 || c.end("outcomes") != 3 {
				t.Errorf("%s, %d times: %d outcomes of 3 requests", err.Message, refused.Hits(), c.end("outcomes"))
			}
		})
	}
}

func TestRepeatsOfAnOutcomeHaveTheSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.withoutProducerIDs()
		// The broker does the work and answers an error.
		c.refuse("outcomes", kerr.NotEnoughReplicasAfterAppend, 3)
		var hook *test.Hook
		defer c.worker(&closing{}, heard(&hook))()
		c.request("T1")
		outcomes := c.outcomes(4)
		for _, o := range outcomes {
			if o.ID != outcomes[0].ID || o.ID == "" {
				t.Errorf("ids %q and %q", o.ID, outcomes[0].ID)
			}
		}
		if n := logged(hook, "without idempotence"); n != 1 {
			t.Errorf("told %d times that outcomes may be written twice", n)
		}
	})
}

func TestOutcomesOfOneKeyKeepTheirOrderThroughErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for _, err := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.NotEnoughReplicas, kerr.UnknownServerError, kerr.LeaderNotAvailable} {
			c.refuse("outcomes", err, 2)
		}
		defer c.worker(&closing{takes: time.Second}, nil)()
		var orders []string
		for range 50 {
			orders = append(orders, "SAME")
		}
		c.request(orders...)
		last := int64(-1)
		seen := make(map[string]bool)
		for _, o := range c.outcomes(50) {
			if seen[o.ID] {
				continue
			}
			seen[o.ID] = true
			if o.Source.Offset <= last {
				t.Fatalf("the outcome of offset %d stands behind that of %d", o.Source.Offset, last)
			}
			last = o.Source.Offset
		}
	})
}

func TestAMuchTooLargeBatchIsSplitUntilOnlyTheLargeRecordIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		// The first produce is held up, so that the rest queues into a batch.
		held := c.refuse("dead", kerr.NotEnoughReplicas, -1)
		defer c.worker(&closing{}, nil)()
		var records []*kgo.Record
		for range 300 {
			records = append(records, &kgo.Record{Topic: "requests", Value: make([]byte, 2000)})
		}
		c.produce(records...)
		time.Sleep(10 * time.Second)
		c.refuse("dead", kerr.MessageTooLarge, 6)
		held.Remove()
		c.outcomes(len(records))
		c.read("dead", len(records))
	})
}

func TestPublishingTroubleHoldsIntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		refused := c.refuse("outcomes", kerr.NotEnoughReplicas, -1)
		closer := &closing{}
		defer c.worker(closer, func(cfg *consumer.Config) { cfg.MaxInFlight = 4 })()
		orders := numbered("T", 3000)
		c.request(orders...)
		time.Sleep(10 * time.Minute)
		closer.mu.Lock()
		if n := len(closer.calls); n > 1100 {
			t.Errorf("%d calls whose outcomes nobody has taken", n)
		}
		closer.mu.Unlock()
		refused.Remove()
		c.outcomes(len(orders))
	})
}
