package consumer_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// exactly has a worker write in transactions.
func exactly(cfg *consumer.Config) {
	cfg.ExactlyOnce, cfg.TransactionInterval, cfg.TransactionTimeout = true, 100*time.Millisecond, 10*time.Second
}

// seen returns the out_trade_no of all outcomes that a reader of committed
// records has seen when quiet has passed without another one.
func (c *cluster) seen(topic string, quiet time.Duration) (keys []string) {
	c.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.broker.Addr()), kgo.Dialer(c.net.dial), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	for {
		ctx, cancel := context.WithTimeout(c.t.Context(), quiet)
		fetches := client.PollFetches(ctx)
		cancel()
		if fetches.NumRecords() == 0 && ctx.Err() != nil {
			return keys
		}
		fetches.EachRecord(func(r *kgo.Record) { keys = append(keys, string(r.Key)) })
	}
}

// open lists the transactional ids of transactions that are open.
func (c *cluster) open() []string {
	c.t.Helper()
	listed, err := c.admin().ListTransactions(c.t.Context(), nil, []string{"Ongoing"})
	if err != nil {
		c.t.Fatal(err)
	}
	return listed.TransactionalIDs()
}

// once checks that a reader of committed records sees each order once.
func (c *cluster) once(topic string, orders []string) {
	c.t.Helper()
	got := c.seen(topic, time.Minute)
	slices.Sort(got)
	want := slices.Sorted(slices.Values(orders))
	if !slices.Equal(got, want) {
		c.t.Errorf("%s: a reader of committed records sees %d, want each of %d once: %v", topic, len(got), len(want), diff(got, want))
	}
}

func diff(got, want []string) (lines []string) {
	count := make(map[string]int)
	for _, g := range got {
		count[g]++
	}
	for _, w := range want {
		count[w]--
	}
	for key, n := range count {
		if n != 0 {
			lines = append(lines, fmt.Sprintf("%s %+d", key, n))
		}
	}
	return lines
}

func TestWithExactlyOnceAllOfARequestIsOneTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		// What fails has a dead letter, and what is temporary goes through a retry topic.
		closer := &closing{takes: 50 * time.Millisecond, answer: func(r events.Request) consumer.Verdict {
			switch r.OutTradeNo[0] {
			case 'F':
				return consumer.Verdict{Class: consumer.Failed, Code: "PARAM_ERROR", Message: "no", Calls: 1}
			case 'R':
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return consumer.Verdict{Class: consumer.Closed, Code: "SUCCESS", Calls: 1}
		}}
		stop := c.worker(closer, exactly)
		failed, retried, closed := numbered("F", 20), numbered("R", 20), numbered("T", 200)
		all := slices.Concat(failed, retried, closed)
		c.request(all...)
		time.Sleep(10 * time.Minute) // all retries
		c.once("outcomes", all)
		c.once("dead", slices.Concat(failed, retried))
		c.once("retry.10s", retried)
		c.once("retry.5m", retried)
		if ids := c.open(); len(ids) > 0 {
			t.Errorf("an idle worker has open transactions: %v", ids)
		}
		stop()
		for topic := range map[string]bool{"requests": true, "retry.10s": true, "retry.5m": true} {
			c.allCommitted(topic)
		}
		c.worker(closer, exactly)()
		if n := len(closer.made()); n != len(all)+3*len(retried) {
			t.Errorf("%d calls for %d requests, %d of which are retried 3 times", n, len(all), len(retried))
		}
	})
}

// allCommitted checks that the group has finished all that the log of each
// partition of a topic holds, markers included: to other clients it has no lag.
func (c *cluster) allCommitted(topic string) {
	c.t.Helper()
	ends, err := c.admin().ListEndOffsets(c.t.Context(), topic)
	if err != nil {
		c.t.Fatal(err)
	}
	committed, err := c.admin().FetchOffsets(c.t.Context(), "g")
	if err != nil {
		c.t.Fatal(err)
	}
	ends.Each(func(end kadm.ListedOffset) {
		if at, ok := committed.Lookup(topic, end.Partition); end.Offset > 0 && (!ok || at.At != end.Offset) {
			c.t.Errorf("%s[%d]: committed %d of %d", topic, end.Partition, at.At, end.Offset)
		}
	})
}

// Whatever a broker answers in the middle of a transaction: a reader of
// committed records sees each outcome once.
func TestExactlyOnceThroughFaults(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		fault    kfake.Fault
		lasts    time.Duration
	}{
		{"outcomes cannot be written for longer than a transaction may take", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "outcomes", Err: kerr.NotEnoughReplicas, Count: -1}, time.Minute},
		{"outcomes are written, and the answer says that they may not be", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "outcomes", Err: kerr.NotEnoughReplicasAfterAppend, Count: 5}, 0},
		{"a write is answered too late", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "outcomes", Err: kerr.RequestTimedOut, Count: 5}, 0},
		{"the producer is fenced as it writes", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "outcomes", Err: kerr.InvalidProducerEpoch, Count: 3}, 0},
		{"the broker has lost the sequence", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "outcomes", Err: kerr.OutOfOrderSequenceNumber, Count: 3}, 0},
		{"it does not know the producer", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "outcomes", Err: kerr.UnknownProducerID, Count: 3}, 0},
		{"partitions cannot be added", kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Err: kerr.ConcurrentTransactions, Count: 20}, 0},
		{"the coordinator is fenced off for partitions", kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Err: kerr.ProducerFenced, Count: 2}, 0},
		{"the coordinator of transactions is away", kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.EndTxn, kmsg.InitProducerID}, Err: kerr.CoordinatorNotAvailable, Count: -1}, 30 * time.Second},
		{"offsets cannot be added", kfake.Fault{Keys: []kmsg.Key{kmsg.AddOffsetsToTxn}, Err: kerr.InvalidProducerEpoch, Count: 2}, 0},
		{"the group does not take the offsets", kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: -1}, 20 * time.Second},
		{"the group rebalances, it says", kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.RebalanceInProgress, Count: 3}, 0},
		{"the generation is over", kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.IllegalGeneration, Count: 1}, 0},
		{"the member is unknown", kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.UnknownMemberID, Count: 1}, 0},
		{"the end is refused", kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.InvalidTxnState, Count: 2}, 0},
		{"the producer is fenced at the end", kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced, Count: 2}, 0},
		{"the end is not answered, and was done", kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.RequestTimedOut, Count: 2}, 0},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				stop := c.worker(&closing{takes: 20 * time.Millisecond}, exactly)
				defer stop()
				var all []string
				send := func(prefix string) {
					orders := numbered(prefix, 50)
					all = append(all, orders...)
					c.request(orders...)
				}
				send("A")
				time.Sleep(time.Minute)
				fault := c.broker.Cluster().Fault(tt.fault)
				send("B")
				if tt.lasts > 0 {
					time.Sleep(tt.lasts)
					fault.Remove()
				}
				send("C")
				time.Sleep(5 * time.Minute)
				if fault.Hits() == 0 {
					t.Error("the fault was never met")
				}
				c.once("outcomes", all)
				c.allCommitted("requests")
			})
		})
	}
}

// graveyard is what the processes of a machine know of each other.
type graveyard struct {
	record string
	dead   bool // all others are
}

func (g graveyard) Record() []byte          { return []byte(g.record) }
func (g graveyard) Dead(record []byte) bool { return g.dead && string(record) != g.record }

// A worker dies in the middle of its transaction. Its successor with the same
// static id ends that at once, and so does one that knows it to be dead; any
// other one waits for the brokers to.
func TestAWorkerThatDiesInATransactionLeavesNothingOfIt(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		instance string
		proof    bool
		readable time.Duration // from the start of the successor on
	}{
		{"static: at once", "a", false, 2 * time.Second},
		{"dynamic, on the same machine: at once", "", true, 2 * time.Second},
		{"dynamic: when its time is over", "", false, time.Minute},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				h := &host{net: c.net}
				closer := &closing{takes: 10 * time.Millisecond}
				dying := make(chan struct{})
				var once atomic.Bool
				// The end of the transaction does not reach the coordinator.
				c.broker.Cluster().ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
					if once.CompareAndSwap(false, true) {
						close(dying)
						return nil, fmt.Errorf("gone"), true
					}
					return nil, nil, false
				})
				with := func(name string, dial func(context.Context, string, string) (net.Conn, error)) func(*consumer.Config) {
					return func(cfg *consumer.Config) {
						exactly(cfg)
						cfg.InstanceID, cfg.Kafka.Dial, cfg.Grace = tt.instance, dial, 0
						cfg.Proof = graveyard{name, tt.proof && name == "second"}
					}
				}
				dead := c.worker(closer, with("first", h.dial))
				defer dead()
				orders := numbered("T", 100)
				c.request(orders...)
				<-dying
				h.cut(true)
				if got := c.seen("outcomes", time.Second); len(got) != 0 {
					t.Errorf("%d outcomes of an open transaction are seen", len(got))
				}
				stop := c.worker(closer, with("second", c.net.dial))
				defer stop()
				time.Sleep(tt.readable)
				if ids := c.open(); len(ids) != 0 {
					t.Errorf("still open: %v", ids)
				}
				time.Sleep(time.Minute)
				c.once("outcomes", orders)
				c.allCommitted("requests")
			})
		})
	}
}

// A record that its topic does not take is left out of the transactions of the
// others, and so is all else of its request.
func TestARefusedRecordIsSeenWithItsOutcomeOrNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var allowed atomic.Bool
		c.validate(kerr.InvalidRecord.Code, func(topic string, r kmsg.Record) string {
			if topic == "dead" && string(r.Key) == "F007" && !allowed.Load() {
				return "the schema knows no F007"
			}
			return ""
		})
		var hook *test.Hook
		stop := c.worker(&closing{answer: func(events.Request) consumer.Verdict {
			return consumer.Verdict{Class: consumer.Failed, Code: "PARAM_ERROR", Message: "no", Calls: 1}
		}}, func(cfg *consumer.Config) { heard(&hook)(cfg); exactly(cfg) })
		defer stop()
		var orders, others []string
		for i := range 50 {
			orders = append(orders, fmt.Sprintf("F%03d", i))
		}
		others = slices.DeleteFunc(slices.Clone(orders), func(o string) bool { return o == "F007" })
		c.request(orders...)
		c.once("dead", others)
		c.once("outcomes", others)
		if n := logged(hook, "ALARM: the topic does not take a record"); n != 1 {
			t.Errorf("%d alarms, want 1", n)
		}
		allowed.Store(true)
		time.Sleep(2 * time.Minute)
		c.once("dead", orders)
		c.once("outcomes", orders)
		c.allCommitted("requests")
	})
}

// Partitions move while their outcomes stand in an open transaction that does
// not come to its end: nobody sees them, and the next owner answers.
func TestWhatIsTakenAwayInTheMiddleOfATransactionIsTheNextOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{takes: 20 * time.Millisecond}
		short := func(cfg *consumer.Config) {
			exactly(cfg)
			cfg.SessionTimeout, cfg.RebalanceTimeout = 6*time.Second, 8*time.Second
		}
		stop := c.worker(closer, short)
		time.Sleep(10 * time.Second)
		fault := c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
		orders := numbered("T", 300)
		c.request(orders...)
		time.Sleep(2 * time.Second)
		stop2 := c.worker(closer, short)
		time.Sleep(time.Minute)
		fault.Remove()
		time.Sleep(2 * time.Minute)
		c.once("outcomes", orders)
		stop()
		stop2()
		c.allCommitted("requests")
	})
}

// One partition of the outcomes cannot be written for half an hour: those that go
// to others come, and so does a request behind one that waits, in its turn.
func TestWithExactlyOnceAPartitionInTroubleHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.worker(&closing{}, exactly)()
		c.publish(to(0, "BEFORE"))
		time.Sleep(time.Minute)
		fault := c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "outcomes", Partitions: []int32{1}, Err: kerr.NotEnoughReplicas, Count: -1})
		var others []string
		for i := range 60 {
			order := fmt.Sprint("T", i)
			others = append(others, order)
			c.publish(to(2*int32(i%2), order), to(1, fmt.Sprint("U", i)))
			time.Sleep(20 * time.Second)
			if got := c.seen("outcomes", 10*time.Second); len(got) != 2+i {
				t.Errorf("after %d: %d outcomes of %d are seen", i, len(got), 2+i)
			}
		}
		c.once("outcomes", append(others, "BEFORE"))
		fault.Remove()
		time.Sleep(2 * time.Minute)
		var of1 []string
		for _, key := range c.seen("outcomes", time.Minute) {
			if key[0] == 'U' {
				of1 = append(of1, key)
			}
		}
		for i, key := range of1 {
			if key != fmt.Sprint("U", i) {
				t.Errorf("outcome %d of the partition is of %s", i, key)
			}
		}
		if len(of1) != 60 {
			t.Errorf("%d outcomes of the partition, want 60", len(of1))
		}
		c.allCommitted("requests")
	})
}

// Whether a transaction was committed stays unknown, and meanwhile the group has
// gone on to another generation: the positions of the group tell, not what the
// worker has in hand.
func TestATransactionOfWhichNobodyKnowsWhetherItWasCommittedIsNotWrittenAgain(t *testing.T) {
	for _, done := range []bool{true, false} {
		t.Run(fmt.Sprint("it was: ", done), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				kafka := c.broker.Cluster()
				closer := &closing{takes: 20 * time.Millisecond}
				defer c.worker(closer, exactly)()
				c.request(numbered("A", 50)...)
				time.Sleep(10 * time.Second)
				lost := kerr.RequestTimedOut // kfake does the work
				if !done {
					lost = kerr.CoordinatorLoadInProgress
				}
				first := kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: lost, Count: 1})
				c.request(numbered("B", 50)...)
				for first.Hits() == 0 {
					time.Sleep(time.Millisecond)
				}
				asked := kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
				defer c.worker(closer, exactly)() // another generation
				time.Sleep(8 * time.Second)
				asked.Remove()
				kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced, Count: 1})
				c.request(numbered("C", 50)...)
				time.Sleep(2 * time.Minute)
				c.once("outcomes", slices.Concat(numbered("A", 50), numbered("B", 50), numbered("C", 50)))
				c.allCommitted("requests")
			})
		})
	}
}

// The dead letters of requests that keep coming are refused: what leads to none
// goes on.
func TestWithExactlyOnceManyRefusedRecordsHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.validate(kerr.InvalidRecord.Code, func(topic string, r kmsg.Record) string {
			if topic == "dead" && r.Key[0] == 'B' {
				return "the schema knows none"
			}
			return ""
		})
		defer c.worker(&closing{takes: time.Millisecond, answer: func(r events.Request) consumer.Verdict {
			if r.OutTradeNo[0] == 'T' {
				return consumer.Verdict{Class: consumer.Closed, Code: "SUCCESS", Calls: 1}
			}
			return consumer.Verdict{Class: consumer.Failed, Code: "PARAM_ERROR", Message: "no", Calls: 1}
		}}, exactly)()
		time.Sleep(10 * time.Second)
		for i := range 3000 {
			c.publish(to(int32(i%3), fmt.Sprintf("B%04d", i)))
			if i%100 == 0 {
				c.publish(to(int32(i/100%3), fmt.Sprintf("T%04d", i/100)))
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got := c.seen("outcomes", time.Second); len(got) < 25 {
			t.Errorf("%d outcomes of 30 are seen", len(got))
		}
	})
}

// A partition that is empty when it is begun with has a position from then on:
// what comes after that is served after a crash as well, although kafka.start
// says latest.
func TestWithExactlyOnceAnEmptyPartitionHasAPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.worker(&closing{}, func(cfg *consumer.Config) { exactly(cfg); cfg.Start = consumer.StartLatest })()
		time.Sleep(time.Minute)
		committed := c.committed()
		for partition := range int32(3) {
			if at, ok := committed[partition]; !ok || at.At != 0 {
				t.Errorf("partition %d: committed %+v, want 0", partition, at)
			}
		}
	})
}

// A request whose only record is refused is not answered, and not finished.
func TestWithExactlyOnceARequestWhoseOutcomeIsRefusedStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var allowed atomic.Bool
		c.validate(kerr.InvalidRecord.Code, func(topic string, r kmsg.Record) string {
			if topic == "outcomes" && string(r.Key) == "T3" && !allowed.Load() {
				return "the schema knows no T3"
			}
			return ""
		})
		defer c.worker(&closing{}, exactly)()
		var all, others []string
		for i := range 10 {
			all = append(all, fmt.Sprint("T", i))
			c.publish(to(0, all[i]))
		}
		others = slices.DeleteFunc(slices.Clone(all), func(o string) bool { return o == "T3" })
		c.once("outcomes", others)
		if at := c.committed()[0]; at.At != 3 {
			t.Errorf("committed %d while offset 3 has no outcome", at.At)
		}
		allowed.Store(true)
		time.Sleep(2 * time.Minute)
		c.once("outcomes", all)
		c.allCommitted("requests")
	})
}

// The coordinator does not take the offsets of one partition: what its requests
// lead to waits with them, and the others go on.
func TestWithExactlyOnceOffsetsThatAreRefusedHoldUpNoOtherPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.worker(&closing{}, exactly)()
		c.publish(to(0, "BEFORE"))
		time.Sleep(time.Minute)
		fault := c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Topic: "requests", Partitions: []int32{1}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		all := []string{"BEFORE"}
		for i := range 30 {
			all = append(all, fmt.Sprint("T", i))
			c.publish(to(int32(i%3), all[i+1]))
			time.Sleep(time.Second)
		}
		if got := c.seen("outcomes", 10*time.Second); len(got) != 21 {
			t.Errorf("%d outcomes are seen, want the 21 of the other partitions", len(got))
		}
		fault.Remove()
		time.Sleep(time.Minute)
		c.once("outcomes", all)
		c.allCommitted("requests")
	})
}

// Without the metadata of commits a crash would repeat outcomes: a worker that
// promises none ends, and says what to set.
func TestWithExactlyOnceAClusterThatTakesNoMetadataIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.OffsetMetadataTooLarge, Count: -1})
		c.request("T1")
		err := c.ended(&closing{}, exactly)
		if err == nil || !strings.Contains(err.Error(), "offset.metadata.max.bytes") {
			t.Errorf("Run returned %v", err)
		}
		if got := c.seen("outcomes", time.Minute); len(got) > 0 {
			t.Errorf("%d outcomes are seen", len(got))
		}
	})
}
