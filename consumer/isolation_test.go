package consumer_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kgo"
)

// shop is an order service that writes transactions.
type shop struct {
	c        *cluster
	producer *kgo.Client
	open     bool
}

func (c *cluster) shop(id string) *shop {
	return &shop{c: c, producer: c.manual(kgo.TransactionalID(id), kgo.TransactionTimeout(10*time.Minute))}
}

// asks writes requests in the transaction that is open, or begins one.
func (s *shop) asks(records ...*kgo.Record) {
	s.c.t.Helper()
	if !s.open {
		if err := s.producer.BeginTransaction(); err != nil {
			s.c.t.Fatal(err)
		}
		s.open = true
	}
	if err := s.producer.ProduceSync(s.c.t.Context(), records...).FirstErr(); err != nil {
		s.c.t.Fatal(err)
	}
}

func (s *shop) ends(commit kgo.TransactionEndTry) {
	s.c.t.Helper()
	s.open = false
	if err := s.producer.EndTransaction(s.c.t.Context(), commit); err != nil {
		s.c.t.Fatal(err)
	}
}

func TestARequestOfAnAbortedTransactionIsNeverCalled(t *testing.T) {
	for sentence, uncommitted := range map[string]bool{"read committed": false, "read uncommitted it is": true} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				one, two, plain := c.shop("one"), c.shop("two"), c.manual()
				writes := func(n string) {
					one.asks(to(0, "aborted-"+n), to(1, "aborted1-"+n))
					two.asks(to(0, "kept-"+n), to(2, "kept2-"+n))
					if err := plain.ProduceSync(t.Context(), to(0, "plain-"+n)).FirstErr(); err != nil {
						t.Fatal(err)
					}
					one.ends(kgo.TryAbort)
					two.ends(kgo.TryCommit)
				}
				closer := &closing{}
				writes("A") // before the worker is there, and while it is
				stop := c.worker(closer, func(cfg *consumer.Config) { cfg.Kafka.ReadUncommitted = uncommitted })
				c.outcomes(3)
				writes("B")
				one.asks(to(0, "later"))
				one.ends(kgo.TryCommit) // by who has aborted before
				c.outcomes(7)
				time.Sleep(10 * time.Second)
				stop()
				want := []string{"kept-A", "kept-B", "kept2-A", "kept2-B", "later", "plain-A", "plain-B"}
				if uncommitted {
					want = append([]string{"aborted-A", "aborted-B", "aborted1-A", "aborted1-B"}, want...)
				}
				if got := slices.Sorted(slices.Values(closer.made())); !slices.Equal(got, want) {
					t.Errorf("calls for %v, want %v", got, want)
				}
				if n := c.end("outcomes"); n != int64(len(want)) {
					t.Errorf("%d outcomes, want %d", n, len(want))
				}
				c.allCommitted("requests")
			})
		})
	}
}

func TestARequestOfAnOpenTransactionIsCalledWhenItIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		slow, plain := c.shop("slow"), c.manual()
		closer := &closing{}
		stop := c.worker(closer, nil)
		c.produceTo(plain, to(0, "before"), to(1, "elsewhere"))
		slow.asks(to(0, "open"))
		c.produceTo(plain, to(0, "behind"))
		time.Sleep(5 * time.Minute)
		if got := slices.Sorted(slices.Values(closer.made())); !slices.Equal(got, []string{"before", "elsewhere"}) {
			t.Errorf("while it is open: calls for %v", got)
		}
		if got := c.committed()[0].At; got != 1 {
			t.Errorf("while it is open: committed %d, want 1", got)
		}
		slow.ends(kgo.TryCommit)
		c.outcomes(4)
		time.Sleep(10 * time.Second)
		stop()
		if got := closer.made()[2:]; !slices.Contains(got, "open") || !slices.Contains(got, "behind") || len(got) != 2 {
			t.Errorf("when it is committed: calls for %v", got)
		}
		c.allCommitted("requests")
	})
}

func (c *cluster) produceTo(client *kgo.Client, records ...*kgo.Record) {
	c.t.Helper()
	if err := client.ProduceSync(c.t.Context(), records...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// What an open transaction holds back is not there yet: who begins with the
// latest begins before it.
func TestTheLatestIsWhatIsCommittedAfterTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		slow, plain := c.shop("slow"), c.manual()
		c.produceTo(plain, to(0, "old"))
		slow.asks(to(0, "open"))
		c.produceTo(plain, to(0, "behind"))
		closer := &closing{}
		var hook *test.Hook
		stop := c.worker(closer, begins(&hook, consumer.StartLatest))
		time.Sleep(time.Minute)
		if got := closer.made(); len(got) != 0 {
			t.Errorf("while it is open: calls for %v", got)
		}
		slow.ends(kgo.TryCommit)
		c.outcomes(2)
		time.Sleep(10 * time.Second)
		stop()
		if got := slices.Sorted(slices.Values(closer.made())); !slices.Equal(got, []string{"behind", "open"}) {
			t.Errorf("calls for %v", got)
		}
		told := lines(hook, neverServed)
		if len(told) != 1 || !slices.Equal(told[0].Data["left_out"].([]string), []string{"requests[0]@0-0"}) {
			t.Errorf("told as left out: %v", told[0].Data["left_out"])
		}
		c.allCommitted("requests")
	})
}

// A group that has read uncommitted may have a position behind the last stable
// offset. That is no end of the log.
func TestAPositionBehindTheLastStableOffsetIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		slow, plain := c.shop("slow"), c.manual()
		slow.asks(to(0, "finished"), to(0, "open"))
		c.produceTo(plain, to(0, "behind"))
		c.commit(0, 1, "")
		closer := &closing{}
		var hook *test.Hook
		stop := c.worker(closer, heard(&hook))
		time.Sleep(time.Minute)
		if got := closer.made(); len(got) != 0 {
			t.Errorf("while it is open: calls for %v", got)
		}
		slow.ends(kgo.TryCommit)
		c.outcomes(2)
		time.Sleep(10 * time.Second)
		stop()
		if got := slices.Sorted(slices.Values(closer.made())); !slices.Equal(got, []string{"behind", "open"}) {
			t.Errorf("calls for %v", got)
		}
		if n := logged(hook, "ALARM"); n != 0 {
			t.Errorf("%d alarms", n)
		}
		c.allCommitted("requests")
	})
}
