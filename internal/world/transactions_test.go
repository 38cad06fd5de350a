package world

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// exactly has all workers do their work exactly once.
func exactly(c *config.Config) { c.ProcessingGuarantee = config.ExactlyOnce }

// Half of what an order service publishes is aborted: none of it is called or
// answered, and all of the rest is.
func TestRequestsOfAbortedTransactionsAreNotServed(t *testing.T) {
	inVirtualTime(t, Config{Brokers: 3, Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.workers(2)
		s.asks(Traffic{Seed: 41, Requests: 400, Over: time.Minute, Transactions: .7, Aborts: .5, Poison: .05})()
		s.answered(time.Minute)
		aborted, err := s.observer.Aborted(t.Context(), s.Config.Topics.Requests)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(aborted); n < 50 {
			t.Errorf("only %d requests were aborted", n)
		}
		s.check(nil)
	})
}

// A transaction that an order service leaves open holds up what stands behind it,
// and loses nothing of it: half of what it wrote is committed, after a minute.
func TestAnOpenTransactionOfSomebodyElseDelaysAndNeverLoses(t *testing.T) {
	inVirtualTime(t, Config{Partitions: 1, Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.workers(2)
		s.stays(20 * time.Second)
		for i, commit := range []bool{true, false} {
			id := fmt.Sprintf("checkout-%d", i)
			open, err := s.shop.Begin(t.Context(), id, shopTimeout)
			s.must(err)
			no := Message{Key: []byte(id), Value: encode(map[string]any{"mch_id": "1900000109", "out_trade_no": id})}
			s.must(open.Write(t.Context(), []Publication{{Message: no}}))
			s.asks(Traffic{Seed: 42 + uint64(i), Requests: 100, Over: 30 * time.Second})()
			s.stays(30 * time.Second)
			for _, c := range s.Gateway.Calls() {
				if c.Start.After(time.Now().Add(-time.Minute)) {
					t.Errorf("%s of %s was called while a transaction before it was open", c.Op, c.Order.OutTradeNo)
				}
			}
			s.must(open.End(t.Context(), commit))
			s.answered(time.Minute)
			time.Sleep(time.Minute)
		}
		if report := s.check(nil); report.Requests != 201 {
			t.Errorf("%d requests were committed, want 201", report.Requests)
		}
	})
}

// ongoing are the transactional ids of workers that have a transaction open.
func (s *stage) ongoing() (ids []string) {
	s.t.Helper()
	all, err := s.observer.admin.ListTransactions(s.t.Context(), nil, []string{"Ongoing"})
	s.must(err)
	for _, tx := range all.Sorted() {
		if strings.HasPrefix(tx.TxnID, s.Config.Kafka.Group+"-") {
			ids = append(ids, tx.TxnID)
		}
	}
	return ids
}

// held looks, and reports whether readers with isolation.level=read_committed do
// not get past what stood in the outcomes at a look before.
func (s *stage) held(then Look) bool {
	s.t.Helper()
	s.look()
	for at, end := range then.Ends {
		if at.Topic == s.Config.Topics.Outcomes && s.observer.stable[at] < end {
			return true
		}
	}
	return false
}

func TestExactlyOnceOnAGoodDay(t *testing.T) {
	inVirtualTime(t, Config{Brokers: 3, Gateway: unhurried, Tune: exactly}, func(t *testing.T, s *stage) {
		s.workers(3)
		wait := s.asks(Traffic{Seed: 43, Requests: 500, Over: time.Minute, Poison: .02, Repeats: .1, Hot: .02})
		seen := 0
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			seen += len(s.ongoing())
		}
		if seen == 0 {
			t.Error("no worker ever had a transaction open")
		}
		wait()
		s.answered(time.Minute)
		s.stays(2 * time.Second)
		if open := s.ongoing(); len(open) > 0 {
			t.Errorf("workers that have nothing to do have transactions open: %v", open)
		}
		s.check(func(e *Evidence) { e.MaxInFlight = 3 * s.Config.MaxInFlight })
	})
}

// The worst moment to die at least once: all is written, and nothing committed.
func TestExactlyOnceThroughACrashBetweenPublishAndCommit(t *testing.T) {
	inVirtualTime(t, Config{Gateway: unhurried, Tune: exactly}, func(t *testing.T, s *stage) {
		victim := s.worker("worker-0", nil)
		s.stays(10 * time.Second)
		refused := s.Kafka.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
		s.asks(Traffic{Seed: 44, Requests: 100, Over: 5 * time.Second})()
		s.stays(2 * time.Second)
		if n := s.unanswered(); n != 100 {
			t.Errorf("%d requests are answered, and no transaction was committed", 100-n)
		}
		if refused.Hits() == 0 {
			t.Error("the worker did not try to commit")
		}
		victim.Kill()
		refused.Remove()
		s.worker("worker-1", nil)
		s.answered(2 * time.Minute)
		s.check(nil)
	})
}

// killedAt kills a worker at its next request of a kind: as that leaves, or as it
// arrives.
func (s *stage) killedAt(wk *Worker, key kmsg.Key, arrives bool) {
	s.t.Helper()
	dead := make(chan struct{})
	kill := func() { wk.Kill(); close(dead) }
	if some := s.Network.Requests(wk.Name, key.Int16()); arrives {
		s.arrives(some, key, kill)
	} else {
		some.Before(kill)
	}
	select {
	case <-dead:
	case <-time.After(time.Minute):
		s.t.Fatalf("%s sent no %s within a minute", wk.Name, key.Name())
	}
}

// A worker dies at each request of a transaction: as it leaves, and never
// arrives, and as it arrives, and is done. With a static id its successor ends
// the transaction at once, with a dynamic one the brokers do, at the end of
// kafka.transaction_timeout.
func TestAWorkerDiesInTheMiddleOfATransaction(t *testing.T) {
	for _, static := range []bool{true, false} {
		for _, key := range []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn} {
			for _, arrives := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s arrives %v, static id %v", key.Name(), arrives, static), func(t *testing.T) {
					inVirtualTime(t, Config{Brokers: 2, Gateway: unhurried, Tune: exactly}, func(t *testing.T, s *stage) {
						start := func(name string) *Worker {
							return s.worker(name, func(c *config.Config) {
								if static {
									c.Kafka.InstanceID = name
								}
							})
						}
						victim := start("worker-0")
						start("worker-1")
						s.stays(20 * time.Second)
						wait := s.asks(Traffic{Seed: 45, Requests: 200, Over: 30 * time.Second, Repeats: .1})
						s.stays(5 * time.Second)
						s.killedAt(victim, key, arrives)
						died := time.Now()
						then := s.look()
						start("worker-0")
						for s.held(then) {
							time.Sleep(100 * time.Millisecond)
						}
						most := s.Config.Kafka.TransactionTimeout + time.Second
						if static {
							most = 3 * time.Second
						}
						if took := time.Since(died); took > most {
							t.Errorf("readers were held for %v, at most %v is allowed", took, most)
						}
						wait()
						s.answered(2 * time.Minute)
						s.check(nil)
					})
				})
			}
		}
	}
}

// Nobody comes back under the id of a member that is dead: the brokers end its
// transaction. Readers wait until then, and no longer.
func TestTheTransactionOfADeadMemberHoldsReadersNoLongerThanItsTimeout(t *testing.T) {
	inVirtualTime(t, Config{Gateway: unhurried, Tune: exactly}, func(t *testing.T, s *stage) {
		all := s.workers(2)
		s.stays(20 * time.Second)
		wait := s.asks(Traffic{Seed: 46, Requests: 300, Over: 40 * time.Second})
		s.stays(5 * time.Second)
		s.killedAt(all[0], kmsg.EndTxn, false)
		died := time.Now()
		then := s.look()
		time.Sleep(s.Config.Kafka.TransactionTimeout/2 - time.Since(died))
		if !s.held(then) {
			t.Error("the dead worker left no transaction open")
		}
		time.Sleep(s.Config.Kafka.TransactionTimeout + time.Second - time.Since(died))
		if s.held(then) {
			t.Errorf("readers are held %v after the death of a worker", time.Since(died))
		}
		wait()
		s.answered(2 * time.Minute)
		s.check(nil)
	})
}

func TestTroubleWithTransactions(t *testing.T) {
	for sentence, trouble := range map[string]func(s *stage){
		"all coordinators move every five seconds": func(s *stage) {
			for range 6 {
				s.Kafka.Cluster().RehashCoordinators()
				s.stays(5 * time.Second)
			}
		},
		"a worker is cut off for longer than its transaction may be open": func(s *stage) {
			for i := range s.Kafka.Nodes() {
				s.Network.Between("worker-0", BrokerName(i)).Freeze()
			}
			s.stays(s.Config.Kafka.TransactionTimeout + 10*time.Second)
			for i := range s.Kafka.Nodes() {
				s.Network.Between("worker-0", BrokerName(i)).Heal()
			}
		},
		"EndTxn stands still for longer than a transaction may be open": func(s *stage) {
			some := s.Network.Requests("worker-0", kmsg.EndTxn.Int16())
			some.Freeze()
			s.stays(s.Config.Kafka.TransactionTimeout + 10*time.Second)
			some.Heal()
		},
		"the answers to EndTxn are lost": func(s *stage) {
			some := s.Network.Requests("worker-0", kmsg.EndTxn.Int16())
			for range 3 {
				some.FreezeAnswers()
				s.stays(3 * time.Second)
				some.Cut()
				some.Heal()
				s.stays(3 * time.Second)
			}
		},
		"the answers to EndTxn are lost for so long that nobody can tell": func(s *stage) {
			some := s.Network.Requests("worker-0", kmsg.EndTxn.Int16())
			some.FreezeAnswers()
			s.stays(80 * time.Second)
			some.Cut()
			some.Heal()
		},
		"a transaction is committed, the answer is lost, and the producer is fenced before it can ask again": func(s *stage) {
			for range 5 {
				some := s.Network.Requests("worker-0", kmsg.EndTxn.Int16())
				done := make(chan struct{})
				disarm := s.arrives(some, kmsg.EndTxn, func() { some.Freeze(); close(done) })
				<-done
				for _, id := range s.producers.ids() {
					s.observer.fence(id)
				}
				some.Cut()
				some.Heal()
				disarm()
				s.stays(5 * time.Second)
			}
		},
		"the transactional ids of all workers are taken over every two seconds": func(s *stage) {
			for range 10 {
				for _, id := range s.producers.ids() {
					s.observer.fence(id)
				}
				s.stays(2 * time.Second)
			}
		},
		"the broker of an outcome partition is away for a minute": func(s *stage) {
			away := s.Kafka.Cluster().LeaderFor(s.Config.Topics.Outcomes, 0)
			for range 100 {
				if s.Kafka.Cluster().CoordinatorFor(s.Config.Kafka.Group) != away {
					break
				}
				s.Kafka.Cluster().RehashCoordinators()
			}
			s.Kafka.Broker(int(away)).Refuse()
			s.stays(time.Minute)
			s.Kafka.Broker(int(away)).Heal()
		},
		"a broker is switched off, others take over": func(s *stage) {
			s.takeDown(0)
			s.stays(30 * time.Second)
			s.Kafka.Broker(0).Heal()
		},
		"every connection to Kafka is cut every second": func(s *stage) {
			for range 30 {
				s.eachBroker(func(p Path) { p.Cut() })
				s.stays(time.Second)
			}
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			inVirtualTime(t, Config{Brokers: 3, Gateway: unhurried, Tune: exactly}, func(t *testing.T, s *stage) {
				s.workers(2)
				wait := s.asks(Traffic{Seed: 47, Requests: 300, Over: 2 * time.Minute, Repeats: .1, Poison: .05})
				s.stays(30 * time.Second)
				trouble(s)
				wait()
				s.answered(3 * time.Minute)
				s.check(nil)
			})
		})
	}
}

// What the coordinator answers to each request of a transaction, for a while.
func TestErrorsInTransactions(t *testing.T) {
	all := transactional
	for sentence, c := range map[string]struct {
		keys []kmsg.Key
		err  *kerr.Error
	}{
		"not the coordinator":                        {all, kerr.NotCoordinator},
		"the coordinator loads":                      {all, kerr.CoordinatorLoadInProgress},
		"the coordinator is not available":           {all, kerr.CoordinatorNotAvailable},
		"the markers of another are written":         {[]kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.EndTxn}, kerr.ConcurrentTransactions},
		"an error that nobody knows":                 {all, kerr.UnknownServerError},
		"the epoch is another's":                     {all[1:], kerr.InvalidProducerEpoch},
		"the producer is fenced":                     {all[1:], kerr.ProducerFenced},
		"the producer id is another's":               {all[1:], kerr.InvalidProducerIDMapping},
		"there is no transaction":                    {all[1:], kerr.InvalidTxnState},
		"offsets are stored, and it ran out of time": {[]kmsg.Key{kmsg.TxnOffsetCommit}, kerr.RequestTimedOut},
		"the group rebalances":                       {[]kmsg.Key{kmsg.TxnOffsetCommit}, kerr.RebalanceInProgress},
		"the generation is over":                     {[]kmsg.Key{kmsg.TxnOffsetCommit}, kerr.IllegalGeneration},
		"a record is out of its order":               {[]kmsg.Key{kmsg.Produce}, kerr.OutOfOrderSequenceNumber},
		"a write has the epoch of another":           {[]kmsg.Key{kmsg.Produce}, kerr.InvalidProducerEpoch},
	} {
		t.Run(sentence, func(t *testing.T) {
			inVirtualTime(t, Config{Brokers: 3, Gateway: unhurried, Tune: exactly}, func(t *testing.T, s *stage) {
				s.workers(2)
				s.stays(20 * time.Second)
				wait := s.asks(Traffic{Seed: 48, Requests: 200, Over: time.Minute, Poison: .05})
				for _, key := range c.keys {
					fault := kfake.Fault{Keys: []kmsg.Key{key}, Err: c.err, Count: 5}
					if key == kmsg.Produce {
						fault.Topic = s.Config.Topics.Outcomes
					}
					h := s.Kafka.Cluster().Fault(fault)
					s.stays(10 * time.Second)
					if h.Hits() == 0 && key != kmsg.InitProducerID {
						t.Errorf("no %s was answered so", key.Name())
					}
					h.Remove()
				}
				wait()
				s.answered(3 * time.Minute)
				s.check(nil)
			})
		})
	}
}

// Requests go through the retry topics, and workers die on the way: each retry
// record leads to one more thing, once.
func TestRetryRecordsAreServedOnce(t *testing.T) {
	inVirtualTime(t, Config{Brokers: 3, Gateway: unhurried, Tune: exactly}, func(t *testing.T, s *stage) {
		s.workers(3)
		ordinary := s.asks(Traffic{Seed: 49, Requests: 300, Over: 8 * time.Minute})
		s.asks(Traffic{Seed: 50, Requests: 120, Over: 20 * time.Second, Behaviours: []string{"SYSERR", "FLAKY", "DEAD"}})()
		for i := range 6 {
			s.stays(time.Duration(9+i) * time.Second)
			s.worker(fmt.Sprintf("worker-%d", i%3), nil) // kills the one that runs
		}
		ordinary()
		s.answered(10 * time.Minute)
		s.check(nil)
		if n := len(s.Evidence(s.observer).Retries); n < 100 {
			t.Errorf("only %d retry records", n)
		}
	})
}

// Two processes have one instance id: the first is told so and ends, and what it
// had open is aborted.
func TestASecondWorkerWithTheSameInstanceID(t *testing.T) {
	inVirtualTime(t, Config{Brokers: 3, Gateway: unhurried, Tune: exactly}, func(t *testing.T, s *stage) {
		same := func(c *config.Config) { c.Kafka.InstanceID = "one" }
		first := s.worker("worker-0", same)
		s.stays(20 * time.Second)
		wait := s.asks(Traffic{Seed: 51, Requests: 300, Over: time.Minute})
		s.stays(10 * time.Second)
		s.worker("worker-1", same)
		if err := first.Wait(); err == nil || !strings.Contains(err.Error(), "group.instance.id") {
			t.Errorf("the first ended with %v", err)
		}
		first.Kill() // it has ended with an error
		wait()
		s.answered(2 * time.Minute)
		// Whose a call was cannot be told from an id that both have, and the
		// first goes on until it is told.
		s.check(func(e *Evidence) { e.Calls, e.Generations = nil, nil })
	})
}
