package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// committed is what t has for who reads committed.
func (b *bench) committed() string {
	b.t.Helper()
	return strings.Join(committed(b.t, b.kafka.Addrs(), "t", kgo.Dialer(b.network.Boot("reader").DialContext)), " ")
}

// tx is a transaction that has begun.
func (b *bench) tx(id string) *kafka.Transactions {
	b.t.Helper()
	tx := b.client.Transactions(id, 10*time.Second)
	begin(b.t, tx)
	return tx
}

// put writes values in a transaction, trying again as callers do.
func (b *bench) put(tx *kafka.Transactions, values ...string) {
	b.t.Helper()
	var err error
	for range 10 {
		if err = tx.ProduceMany(b.t.Context(), one("t", values...), nil)[0].Err; err == nil {
			return
		}
		b.retried++
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatalf("%q is refused for ever: %v", values, err)
}

func (b *bench) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	b.t.Cleanup(cancel)
	return ctx
}

func (b *bench) commit(tx *kafka.Transactions) {
	b.t.Helper()
	if err := tx.Commit(b.within(time.Minute)); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) abort(tx *kafka.Transactions) {
	b.t.Helper()
	if err := tx.Abort(b.within(time.Minute)); err != nil {
		b.t.Error(err)
	}
}

// fenced fails the test unless err says so, and does not last.
func (b *bench) fenced(err error) {
	b.t.Helper()
	if !kafka.Fenced(err) || kafka.Lasting(err) {
		b.t.Errorf("fenced: %v", err)
	}
}

var outside = kafka.Membership{Group: "g", Generation: -1}

func at(offset int64) []kafka.Commit {
	return []kafka.Commit{{Topic: "t", Committed: kafka.Committed{Offset: offset, Metadata: "m"}}}
}

// offsets is what the group is at.
func (b *bench) offsets() int64 {
	b.t.Helper()
	got, err := b.client.Committed(b.t.Context(), "g", map[string][]int{"t": {0}})
	if err != nil {
		b.t.Error(err)
	}
	return got["t"][0].Offset
}

func TestATransactionGoesThroughTrouble(t *testing.T) {
	produced, ended := int16(kmsg.Produce), int16(kmsg.EndTxn)
	for sentence, c := range map[string]struct {
		do   func(b *bench)
		want string // for who reads committed
	}{
		"what is aborted is not seen": {func(b *bench) {
			tx := b.tx("x")
			b.put(tx, "a")
			b.abort(tx)
			b.put(tx, "b")
			b.commit(tx)
		}, "b"},
		"an answer to a batch is lost": {func(b *bench) {
			tx := b.tx("x")
			b.put(tx, "a")
			b.loss.Lose(produced, 1)
			b.put(tx, "b")
			b.commit(tx)
			b.put(tx, "c")
			b.commit(tx)
		}, "a b c"},
		"an answer is lost, and something else is sent: it can only be aborted": {func(b *bench) {
			tx := b.tx("x")
			b.loss.Lose(produced, 1)
			if err := tx.ProduceMany(b.t.Context(), one("t", "a"), nil)[0].Err; err == nil || kafka.Fenced(err) {
				b.t.Errorf("the answer is lost: %v", err)
			}
			b.fenced(tx.ProduceMany(b.t.Context(), one("t", "b"), nil)[0].Err)
			b.fenced(tx.Commit(b.t.Context()))
			begin(b.t, tx)
			b.put(tx, "b")
			b.commit(tx)
		}, "b"},
		"the fate of a batch is open: it is not committed": {func(b *bench) {
			tx := b.tx("x")
			b.put(tx, "a")
			b.loss.Lose(produced, 1)
			tx.ProduceMany(b.t.Context(), one("t", "b"), nil)
			var unsure *kafka.UnsureError
			if err := tx.Commit(b.t.Context()); err == nil || errors.As(err, &unsure) || !strings.Contains(err.Error(), "topic t, partition 0") {
				b.t.Errorf("%v", err)
			}
			b.abort(tx)
		}, ""},
		"the answers to all that surrounds it are lost": {func(b *bench) {
			for _, api := range []kmsg.Key{kmsg.FindCoordinator, kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit} {
				b.loss.Lose(int16(api), 2)
			}
			tx := b.tx("x")
			b.put(tx, "a")
			if each, err := tx.Offsets(b.within(time.Minute), outside, at(5)); errors.Join(append(each, err)...) != nil {
				b.t.Errorf("%v, %v", each, err)
			}
			b.commit(tx)
			if at := b.offsets(); at != 5 {
				b.t.Errorf("the group is at %d", at)
			}
		}, "a"},
		"the answer to the commit is lost: it is asked for again, and was committed": {func(b *bench) {
			tx := b.tx("x")
			b.put(tx, "a")
			b.loss.Lose(ended, 2)
			b.commit(tx)
			b.put(tx, "b")
			b.commit(tx)
		}, "a b"},
		"it is lost for longer than anybody waits: unsure, and a new beginning": {func(b *bench) {
			tx := b.tx("x")
			b.put(tx, "a")
			b.loss.Lose(ended, 1000)
			var unsure *kafka.UnsureError
			if err := tx.Commit(b.within(3 * time.Second)); !errors.As(err, &unsure) || kafka.Fenced(err) || kafka.Lasting(err) {
				b.t.Errorf("%v", err)
			}
			b.loss.Lose(ended, 0)
			if err := tx.ProduceMany(b.t.Context(), one("t", "x"), nil)[0].Err; err == nil {
				b.t.Error("it goes on")
			}
			begin(b.t, tx)
			b.put(tx, "b")
			b.commit(tx)
		}, "a b"}, // it had been
		"the broker ends the connection for good in place of an answer: unsure": {func(b *bench) {
			tx := b.tx("x")
			b.put(tx, "a")
			b.loss.says = &net.OpError{Op: "remote error", Err: errors.New("tls: certificate expired")}
			b.loss.Lose(ended, 1)
			var unsure *kafka.UnsureError
			if err := tx.Commit(b.within(time.Minute)); !errors.As(err, &unsure) {
				b.t.Errorf("%v", err)
			}
			b.loss.says = nil
		}, "a"}, // it had been committed
		"it is lost, and a successor has begun meanwhile: unsure": {func(b *bench) {
			tx := b.tx("x")
			b.put(tx, "a")
			b.loss.Lose(ended, 1)
			asked := 0
			b.kafka.Cluster().ControlKey(ended, func(kmsg.Request) (kmsg.Response, error, bool) {
				b.kafka.Cluster().KeepControl()
				asked++
				return nil, nil, false
			})
			b.kafka.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced, When: func(kmsg.Request) bool { return asked == 2 }})
			var unsure *kafka.UnsureError
			if err := tx.Commit(b.within(time.Minute)); !errors.As(err, &unsure) || kafka.Fenced(err) {
				b.t.Errorf("%v", err)
			}
		}, "a"},
		"nobody knows of the coordinator when it is committed: asked until somebody does": {func(b *bench) {
			tx := b.tx("x")
			b.put(tx, "a")
			b.fault(kmsg.EndTxn, kerr.CoordinatorNotAvailable, 3)
			b.commit(tx)
		}, "a"},
		"the markers of the one before are being written": {func(b *bench) {
			tx := b.tx("x")
			for _, v := range []string{"a", "b", "c"} {
				b.fault(kmsg.AddPartitionsToTxn, kerr.ConcurrentTransactions, 3)
				b.put(tx, v)
				b.commit(tx)
			}
			if b.retried != 0 {
				b.t.Error("callers have to try again")
			}
		}, "a b c"},
		"a predecessor's transaction is being aborted": {func(b *bench) {
			b.fault(kmsg.InitProducerID, kerr.ConcurrentTransactions, 5)
			tx := b.tx("x")
			b.put(tx, "a")
			b.commit(tx)
		}, "a"},
		"the coordinators move all the time": {func(b *bench) {
			tx := b.tx("x")
			for i := range 10 {
				b.put(tx, fmt.Sprint(i))
				b.kafka.Cluster().RehashCoordinators()
				if each, err := tx.Offsets(b.within(time.Minute), outside, at(int64(i))); errors.Join(append(each, err)...) != nil {
					b.t.Errorf("%v, %v", each, err)
				}
				b.kafka.Cluster().RehashCoordinators()
				b.commit(tx)
			}
		}, "0 1 2 3 4 5 6 7 8 9"},
		"it takes longer than the coordinator waits: aborted, and a new beginning": {func(b *bench) {
			tx := b.tx("x")
			b.put(tx, "a")
			time.Sleep(11 * time.Second)
			err := tx.Commit(b.within(time.Minute))
			b.fenced(err) // and not unsure
			begin(b.t, tx)
			b.put(tx, "b")
			b.commit(tx)
		}, "b"},
		"two producers have one id: the later one has it": {func(b *bench) {
			first := b.tx("x")
			b.put(first, "a")
			second := b.tx("x") // aborts it
			b.put(second, "b")
			b.fenced(first.ProduceMany(b.t.Context(), one("t", "c"), nil)[0].Err)
			b.fenced(first.Commit(b.t.Context()))
			b.commit(second)
		}, "b"},
		"one that has nothing open is fenced as well": {func(b *bench) {
			first := b.tx("x")
			second := b.tx("x")
			b.fenced(first.ProduceMany(b.t.Context(), one("t", "a"), nil)[0].Err)
			_, err := first.Offsets(b.t.Context(), outside, at(1))
			b.fenced(err)
			b.put(second, "b")
			b.commit(second)
		}, "b"},
		"two ids do not touch each other": {func(b *bench) {
			x, y := b.tx("x"), b.tx("y")
			b.put(x, "a")
			b.put(y, "b")
			b.abort(x)
			b.commit(y)
		}, "b"},
		"lines and transactions of one client do not touch each other": {func(b *bench) {
			tx := b.tx("x")
			b.write("a")
			b.put(tx, "b")
			b.write("c")
			b.commit(tx)
			b.write("d")
			b.put(tx, "e")
			b.abort(tx)
		}, "a b c d"},
		"there is no such partition: the others go on, and what comes soon is passed over": {func(b *bench) {
			tx := b.tx("x")
			done := tx.ProduceMany(b.t.Context(), append(one("nowhere", "x"), one("t", "a")...), []kafka.Place{{Topic: "neither"}, {Topic: "u", Partition: 7}, {Topic: "u", Partition: 1}})
			if !kafka.NoPartition(done[0].Err) || done[1].Err != nil {
				b.t.Errorf("%+v", done)
			}
			b.commit(tx)
		}, "a"},
		"nothing can be written before it begins": {func(b *bench) {
			tx := b.client.Transactions("x", time.Second)
			if err := tx.ProduceMany(b.t.Context(), one("t", "a"), nil)[0].Err; err == nil {
				b.t.Error("written")
			}
			if tx.Commit(b.t.Context()) == nil {
				b.t.Error("committed")
			}
		}, ""},
		"an abort that does not come through is made up for by the next beginning": {func(b *bench) {
			tx := b.tx("x")
			b.put(tx, "a")
			b.loss.Lose(int16(kmsg.InitProducerID), 1000)
			if tx.Abort(b.within(time.Second)) == nil {
				b.t.Error("aborted")
			}
			if tx.Commit(b.t.Context()) == nil {
				b.t.Error("committed")
			}
			b.loss.Lose(int16(kmsg.InitProducerID), 0)
			begin(b.t, tx)
			b.put(tx, "b")
			b.commit(tx)
		}, "b"},
		"the brokers say that it can only be aborted": {func(b *bench) {
			tx := b.tx("x")
			b.fault(kmsg.Produce, kerr.TransactionAbortable, 1)
			b.fenced(tx.ProduceMany(b.t.Context(), one("t", "a"), nil)[0].Err)
			b.fenced(tx.Commit(b.t.Context()))
			b.abort(tx)
			b.put(tx, "b")
			b.commit(tx)
		}, "b"},
		"the brokers have lost the line": {func(b *bench) {
			tx := b.tx("x")
			b.put(tx, "a")
			b.fault(kmsg.Produce, kerr.OutOfOrderSequenceNumber, 1)
			b.fenced(tx.ProduceMany(b.t.Context(), one("t", "b"), nil)[0].Err)
			b.fenced(tx.Commit(b.t.Context()))
			b.abort(tx)
		}, ""},
		"the generation is over: each offset is refused, and nothing is committed": {func(b *bench) {
			tx := b.tx("x")
			b.put(tx, "a")
			each, err := tx.Offsets(b.t.Context(), kafka.Membership{Group: "h", Generation: 3, MemberID: "somebody"}, append(at(1), kafka.Commit{Topic: "u"}))
			if err != nil || len(each) != 2 || !errors.Is(each[0], kafka.IllegalGeneration) || !errors.Is(each[1], kafka.IllegalGeneration) {
				b.t.Errorf("%v, %v", each, err)
			}
			b.abort(tx)
		}, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			onBench(t, 3, func(b *bench) {
				if _, err := b.client.Commit(b.t.Context(), outside, at(0)); err != nil {
					b.t.Fatal(err)
				}
				c.do(b)
				if got := b.committed(); got != c.want {
					b.t.Errorf("who reads committed sees %q, want %q", got, c.want)
				}
			})
		})
	}
}

// A request that was given up and tried again comes to the coordinator behind the
// transaction that it was for: the next one must not be touched by it.
func TestWhatArrivesLateDoesNotTouchTheNextTransaction(t *testing.T) {
	for sentence, c := range map[string]struct {
		api  kmsg.Key
		code func(kmsg.Response) int16
	}{
		"its end": {kmsg.EndTxn, func(res kmsg.Response) int16 { return res.(*kmsg.EndTxnResponse).ErrorCode }},
		"a partition of it": {kmsg.AddPartitionsToTxn, func(res kmsg.Response) int16 {
			return res.(*kmsg.AddPartitionsToTxnResponse).Topics[0].Partitions[0].ErrorCode
		}},
		"its group": {kmsg.AddOffsetsToTxn, func(res kmsg.Response) int16 { return res.(*kmsg.AddOffsetsToTxnResponse).ErrorCode }},
	} {
		t.Run(sentence, func(t *testing.T) {
			onBench(t, 1, func(b *bench) {
				tx := b.tx("x")
				var late kmsg.Request
				b.kafka.Cluster().ControlKey(int16(c.api), func(req kmsg.Request) (kmsg.Response, error, bool) {
					b.kafka.Cluster().KeepControl()
					if late == nil {
						late = req
					}
					return nil, nil, false
				})
				b.loss.Lose(int16(c.api), 1)
				ends := func(values ...string) {
					b.put(tx, values...)
					if each, err := tx.Offsets(b.within(time.Minute), outside, at(5)); errors.Join(append(each, err)...) != nil {
						b.t.Errorf("%v, %v", each, err)
					}
				}
				ends("a")
				b.commit(tx)
				b.put(tx, "b")
				r := b.reader()
				defer r.Close()
				res, err := r.Request(b.t.Context(), late)
				if err != nil {
					b.t.Fatal(err)
				}
				if err := kerr.ErrorForCode(c.code(res)); err == nil || errors.Is(err, kerr.ConcurrentTransactions) {
					b.t.Errorf("the coordinator has taken it: %v", err)
				}
				b.abort(tx)
				ends("c")
				b.commit(tx)
				if got := b.committed(); got != "a c" {
					b.t.Errorf("who reads committed sees %q", got)
				}
			})
		})
	}
}

// Without anything that was given up no epoch is spent.
func TestTransactionsInPeaceHaveOneEpoch(t *testing.T) {
	onBench(t, 1, func(b *bench) {
		begun := 0
		b.kafka.Cluster().ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.kafka.Cluster().KeepControl()
			begun++
			return nil, nil, false
		})
		tx := b.tx("x")
		b.fault(kmsg.AddPartitionsToTxn, kerr.ConcurrentTransactions, 2)
		b.fault(kmsg.EndTxn, kerr.NotCoordinator, 2)
		for _, v := range []string{"a", "b", "c"} {
			b.put(tx, v)
			b.commit(tx)
		}
		if begun != 1 || b.committed() != "a b c" {
			b.t.Errorf("%d epochs for %q", begun, b.committed())
		}
	})
}

// What was under way when it was aborted must not get into the next one.
func TestAnAbortFencesWhatIsUnderWay(t *testing.T) {
	onBench(t, 1, func(b *bench) {
		tx := b.tx("x")
		b.put(tx, "a")
		// A request hangs at the broker, and is worked on after the abort.
		hangs := false
		b.kafka.Cluster().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.kafka.Cluster().KeepControl()
			if !hangs {
				hangs = true
				b.kafka.Cluster().SleepControl(func() { time.Sleep(5 * time.Second) })
			}
			return nil, nil, false
		})
		late := make(chan error, 1)
		go func() { late <- tx.ProduceMany(b.t.Context(), one("t", "late"), nil)[0].Err }()
		time.Sleep(time.Second)
		began := time.Now()
		b.abort(tx)
		if took := time.Since(began); took > time.Second {
			b.t.Errorf("the abort has waited %v for what it ends", took)
		}
		b.fenced(<-late)
		b.put(tx, "b")
		b.commit(tx)
		if got := b.committed(); got != "b" {
			b.t.Errorf("who reads committed sees %q", got)
		}
		if log := b.log(); strings.Contains(log, "late") {
			b.t.Errorf("the log has %s", log)
		}
	})
}

func TestWhatLastsEndsATransactionAtOnceAndNamesTheRemedy(t *testing.T) {
	begins := func(b *bench, tx *kafka.Transactions) error { return tx.Begin(b.within(time.Minute)) }
	writes := func(b *bench, tx *kafka.Transactions) error {
		begin(b.t, tx)
		return tx.ProduceMany(b.t.Context(), one("t", "a"), nil)[0].Err
	}
	offsets := func(b *bench, tx *kafka.Transactions) error {
		begin(b.t, tx)
		each, err := tx.Offsets(b.within(time.Minute), outside, at(1))
		return errors.Join(append(each, err)...)
	}
	for sentence, c := range map[string]struct {
		key   kmsg.Key
		err   *kerr.Error
		do    func(b *bench, tx *kafka.Transactions) error
		wants []string
	}{
		"no ACL for the transactional id": {kmsg.InitProducerID, kerr.TransactionalIDAuthorizationFailed, begins,
			[]string{"InitProducerId, transactional id g-1", "--operation Write --transactional-id g-1"}},
		"none to find its coordinator": {kmsg.FindCoordinator, kerr.TransactionalIDAuthorizationFailed, begins,
			[]string{"--operation Write --transactional-id g-1"}},
		"none when partitions are added": {kmsg.AddPartitionsToTxn, kerr.TransactionalIDAuthorizationFailed, writes,
			[]string{"AddPartitionsToTxn, transactional id g-1", "--operation Write --transactional-id g-1"}},
		"none for a topic": {kmsg.AddPartitionsToTxn, kerr.TopicAuthorizationFailed, writes,
			[]string{"AddPartitionsToTxn, topic t", "--operation Write --topic t"}},
		"none for the group": {kmsg.AddOffsetsToTxn, kerr.GroupAuthorizationFailed, offsets,
			[]string{"AddOffsetsToTxn, group g", "--operation Read --group g"}},
		"none for the group when offsets are given": {kmsg.TxnOffsetCommit, kerr.GroupAuthorizationFailed, offsets,
			[]string{"TxnOffsetCommit, group g", "--operation Read --group g"}},
		"none for a topic whose offsets are given": {kmsg.TxnOffsetCommit, kerr.TopicAuthorizationFailed, offsets,
			[]string{"TxnOffsetCommit, topic t", "--operation Read --topic t"}},
		"the transaction may not take as long": {kmsg.InitProducerID, kerr.InvalidTransactionTimeout, begins,
			[]string{"kafka.transaction_timeout", "transaction.max.timeout.ms"}},
		"brokers without transactions": {kmsg.InitProducerID, kerr.UnsupportedVersion, begins, []string{"[35]"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			onBench(t, 1, func(b *bench) {
				b.fault(c.key, c.err, -1)
				tx := b.client.Transactions("g-1", 10*time.Second)
				began := time.Now()
				err := c.do(b, tx)
				if !kafka.Lasting(err) || time.Since(began) > 0 {
					b.t.Errorf("after %v: %v", time.Since(began), err)
				}
				for _, want := range c.wants {
					if err == nil || !strings.Contains(err.Error(), want) {
						b.t.Errorf("%q is not in: %v", want, err)
					}
				}
			})
		})
	}
}

// The topic of the transactions needs more brokers than there are.
func TestACoordinatorThatIsNeverThereNamesTheRemedy(t *testing.T) {
	onBench(t, 1, func(b *bench) {
		b.fault(kmsg.FindCoordinator, kerr.CoordinatorNotAvailable, -1)
		err := b.client.Transactions("g-1", 10*time.Second).Begin(b.within(5 * time.Second))
		if err == nil || kafka.Lasting(err) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "transaction.state.log.replication.factor") {
			b.t.Errorf("%v", err)
		}
	})
}

// The real limit, not a fault.
func TestATimeoutBeyondTheBrokersIsRefused(t *testing.T) {
	onBench(t, 1, func(b *bench) {
		err := b.client.Transactions("g-1", time.Hour).Begin(b.within(time.Minute))
		if !kafka.Lasting(err) || !strings.Contains(err.Error(), "transaction.max.timeout.ms") {
			b.t.Errorf("%v", err)
		}
	})
}

// Brokers before 2.5 fence no generations in a transaction, and give out offsets
// that a transaction is about to change.
func TestOldBrokersCannotDoExactlyOnce(t *testing.T) {
	for sentence, c := range map[string]struct {
		key  kmsg.Key
		most int16
		want string
	}{
		"offsets without a generation": {kmsg.TxnOffsetCommit, 2, "TxnOffsetCommit"},
		"offsets that are not stable":  {kmsg.OffsetFetch, 6, "OffsetFetch"},
	} {
		t.Run(sentence, func(t *testing.T) {
			onBench(t, 1, func(b *bench) {
				b.kafka.Cluster().ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
					b.kafka.Cluster().KeepControl()
					res := req.ResponseKind().(*kmsg.ApiVersionsResponse)
					for key := range int16(70) {
						if r := kmsg.RequestForKey(key); r != nil {
							k := kmsg.NewApiVersionsResponseApiKey()
							k.ApiKey, k.MaxVersion = key, r.MaxVersion()
							if key == int16(c.key) {
								k.MaxVersion = c.most
							}
							res.ApiKeys = append(res.ApiKeys, k)
						}
					}
					return res, nil, true
				})
				client := b.open()
				defer client.Close()
				err := client.Transactions("g-1", 10*time.Second).Begin(b.within(time.Minute))
				if !kafka.Lasting(err) {
					b.t.Errorf("%v", err)
				}
				for _, want := range []string{c.want, "Kafka 2.5", "processing_guarantee"} {
					if err == nil || !strings.Contains(err.Error(), want) {
						b.t.Errorf("%q is not in: %v", want, err)
					}
				}
			})
		})
	}
}

// What a foreign client does in a transaction shows too.
func TestOffsetsOfAnotherClientsTransactionAreWaitedFor(t *testing.T) {
	onBench(t, 1, func(b *bench) {
		if _, err := b.client.Commit(b.t.Context(), outside, at(3)); err != nil {
			b.t.Fatal(err)
		}
		dead := b.open()
		tx := dead.Transactions("g-dead", 10*time.Second)
		begin(b.t, tx)
		if _, err := tx.Offsets(b.t.Context(), outside, at(9)); err != nil {
			b.t.Fatal(err)
		}
		dead.Close() // as if it had died
		asked := 0
		err := b.client.Persist(b.within(time.Minute), "t", 0, func(ctx context.Context) error {
			asked++
			_, err := b.client.Committed(ctx, "g", map[string][]int{"t": {0}})
			return err
		})
		if err != nil || asked < 2 || b.offsets() != 3 {
			b.t.Errorf("asked %d times, the group is at %d: %v", asked, b.offsets(), err)
		}
	})
}

// Where another worker commits all the time, the others' offsets are known all the
// same.
func TestAnUnstableOffsetHidesNoOther(t *testing.T) {
	onBench(t, 1, func(b *bench) {
		// As Apache Kafka answers; kfake says so of the whole group.
		b.kafka.Cluster().ControlKey(int16(kmsg.OffsetFetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			req, res := kreq.(*kmsg.OffsetFetchRequest), kreq.ResponseKind().(*kmsg.OffsetFetchResponse)
			for _, asked := range req.Topics {
				topic := kmsg.NewOffsetFetchResponseTopic()
				topic.Topic = asked.Topic
				for _, id := range asked.Partitions {
					p := kmsg.NewOffsetFetchResponseTopicPartition()
					p.Partition, p.Offset = id, -1
					switch {
					case topic.Topic == "t":
						p.ErrorCode = kerr.UnstableOffsetCommit.Code
					case id == 1:
						p.Offset = 3
					}
					topic.Partitions = append(topic.Partitions, p)
				}
				res.Topics = append(res.Topics, topic)
			}
			return res, nil, true
		})
		got, err := b.client.Committed(b.t.Context(), "g", map[string][]int{"t": {0}, "u": {0, 1}})
		unstable, _ := errors.AsType[*kafka.UnstableError](err)
		if unstable == nil || !errors.Is(err, kafka.UnstableOffset) || !slices.Equal(unstable.Places, []kafka.Place{{Topic: "t"}}) || !strings.Contains(err.Error(), "t, partition 0") {
			b.t.Errorf("%v", err)
		}
		if _, there := got["t"][0]; there || len(got["u"]) != 1 || got["u"][1].Offset != 3 {
			b.t.Errorf("%v", got)
		}
	})
}

func TestPartitionsAreAddedOnce(t *testing.T) {
	onBench(t, 1, func(b *bench) {
		var added []string
		b.kafka.Cluster().ControlKey(int16(kmsg.AddPartitionsToTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
			b.kafka.Cluster().KeepControl()
			var places []string
			for _, topic := range req.(*kmsg.AddPartitionsToTxnRequest).Topics {
				places = append(places, fmt.Sprint(topic.Topic, topic.Partitions))
			}
			added = append(added, strings.Join(places, " "))
			return nil, nil, false
		})
		tx := b.tx("x")
		soon := []kafka.Place{{Topic: "u", Partition: 1}, {Topic: "u", Partition: 0}, {Topic: "t"}}
		must(b.t, tx.ProduceMany(b.t.Context(), one("t", "a"), soon))
		must(b.t, tx.ProduceMany(b.t.Context(), append(one("t", "b"), batchesFor(2, "u")...), soon))
		b.commit(tx)
		must(b.t, tx.ProduceMany(b.t.Context(), one("t", "c"), nil))
		b.commit(tx)
		if want := []string{"t[0] u[0 1]", "t[0]"}; !slices.Equal(added, want) {
			b.t.Errorf("added %q, want %q", added, want)
		}
	})
}
