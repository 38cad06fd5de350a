package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// slow lets requests that write to one of some partitions of a topic take a
// while, and counts all requests that write to it.
func (c *cluster) slow(topic string, takes time.Duration, partitions ...int32) *atomic.Int32 {
	requests := new(atomic.Int32)
	kafka := c.broker.Cluster()
	kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		held, counts := false, false
		for _, t := range req.(*kmsg.ProduceRequest).Topics {
			for _, p := range t.Partitions {
				counts = counts || t.Topic == topic
				held = held || t.Topic == topic && slices.Contains(partitions, p.Partition)
			}
		}
		if counts {
			requests.Add(1)
		}
		if held {
			kafka.SleepControl(func() { time.Sleep(takes) })
		}
		return nil, nil, false
	})
	return requests
}

func TestWhatQueuesUpForAllPartitionsOfABrokerGoesInOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		requests := c.slow("outcomes", 300*time.Millisecond, 0, 1, 2)
		defer c.worker(&closing{}, nil)()
		time.Sleep(time.Second)
		c.publish(to(0, "FIRST"))
		time.Sleep(100 * time.Millisecond)
		var records []*kgo.Record
		for i := range 300 {
			records = append(records, to(int32(i%3), fmt.Sprint("T", i)))
		}
		c.publish(records...)
		c.outcomes(301)
		if n := requests.Load(); n != 2 {
			t.Errorf("%d requests for one outcome, and for 300 of 3 partitions that came meanwhile, want 2", n)
		}
	})
}

// One follower that does not answer keeps a request of its partition for as long
// as the broker waits: the others do not wait with it.
func TestASlowPartitionHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.slow("outcomes", 5*time.Second, 0)
		defer c.worker(&closing{}, nil)()
		time.Sleep(time.Second)
		c.publish(to(0, "SLOW"))
		time.Sleep(100 * time.Millisecond)
		c.publish(to(1, "A"), to(2, "B"))
		time.Sleep(time.Second)
		if n := c.end("outcomes"); n != 2 {
			t.Errorf("%d outcomes after a second, want 2", n)
		}
		time.Sleep(100 * time.Millisecond)
		c.publish(to(1, "C"), to(2, "D"))
		time.Sleep(100 * time.Millisecond)
		if n := c.end("outcomes"); n != 4 {
			t.Errorf("%d outcomes, want 4: while one is slow the others go on as ever", n)
		}
		c.outcomes(5)
	})
}

// What fails is tried again by itself, in the same broker's other partitions
// nothing is felt of it.
func TestAPartitionInTroubleHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		refused := c.refuse("dead", kerr.NotEnoughReplicas, -1)
		defer c.worker(&closing{}, nil)()
		poison := to(0, "")
		poison.Value = []byte("not json")
		c.publish(poison)
		time.Sleep(10 * time.Second)
		for i := range 50 {
			began := time.Now()
			c.publish(to(1, fmt.Sprint("T", i)))
			c.outcomes(i + 2)
			if took := time.Since(began); took > 200*time.Millisecond {
				t.Fatalf("outcome %d took %v", i, took)
			}
		}
		refused.Remove()
		c.read("dead", 1)
		time.Sleep(time.Second)
		if at := c.committed(); at[0].At != 1 || at[1].At != 50 {
			t.Errorf("committed %v", at)
		}
	})
}

// spread closes orders one after the other, so far apart.
type spread struct {
	instant
	apart time.Duration
	n     atomic.Int64
}

func (s *spread) Close(ctx context.Context, r events.Request, tried bool, place consumer.Place) consumer.Verdict {
	time.Sleep(time.Duration(s.n.Add(1)) * s.apart)
	return s.instant.Close(ctx, r, tried, place)
}

// The broker answers at once, in virtual time: what goes together has waited for
// each other, but for what comes at the same moment.
func TestRecordsWaitForEachOtherUnderLoadAlone(t *testing.T) {
	for sentence, c := range map[string]struct {
		apart       time.Duration
		least, most int32 // requests
	}{
		"at 500 a second each goes by itself":           {2 * time.Millisecond, 490, 500},
		"at 10,000 a second twenty go together":         {100 * time.Microsecond, 20, 45},
		"at 1,000 a second each goes by itself as well": {time.Millisecond, 490, 500},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := newCluster(t)
				requests := cl.slow("outcomes", 0)
				defer cl.worker(&spread{apart: c.apart}, func(cfg *consumer.Config) { cfg.MaxInFlight = 500 })()
				time.Sleep(time.Second)
				cl.request(numbered("T", 500)...)
				cl.outcomes(500)
				if n := requests.Load(); n < c.least || n > c.most {
					t.Errorf("%d requests for 500 outcomes, want %d to %d", n, c.least, c.most)
				}
			})
		})
	}
}
