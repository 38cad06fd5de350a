package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	virtual "github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// bench is a cluster with a topic t of one partition, and a client whose answers
// can be lost.
type bench struct {
	t       *testing.T
	network *virtual.Network
	kafka   *virtual.Kafka
	loss    *lossy
	client  *kafka.Client
	retried int

	mu      sync.Mutex
	sent    []string // stamps of the batches that came to t, as brokers saw them
	without []error
	repeats []error
	ids     []int64
}

// onBench runs a test in virtual time.
func onBench(t *testing.T, brokers int, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, network: virtual.NewNetwork()}
		var err error
		if b.kafka, err = virtual.StartKafka(b.network, brokers, []broker.Topic{{Name: "t", Partitions: 1}, {Name: "u", Partitions: 2}}); err != nil {
			t.Fatal(err)
		}
		b.loss = &lossy{dial: b.network.Boot("client").DialContext}
		b.client = b.open()
		b.kafka.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
			b.kafka.Cluster().KeepControl()
			for _, topic := range req.(*kmsg.ProduceRequest).Topics {
				for _, p := range topic.Partitions {
					var batch kmsg.RecordBatch
					if err := batch.ReadFrom(p.Records); err == nil && topic.Topic == "t" {
						b.mu.Lock()
						b.sent = append(b.sent, fmt.Sprintf("%s.%d:%d", b.name(batch.ProducerID), batch.ProducerEpoch, batch.FirstSequence))
						b.mu.Unlock()
					}
				}
			}
			return nil, nil, false
		})
		defer func() {
			b.client.Close()
			if err := b.kafka.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(b)
	})
}

// open makes another client on the same network.
func (b *bench) open() *kafka.Client {
	return kafka.Open(kafka.Config{
		Brokers: b.kafka.Addrs(), Dial: b.loss.Dial,
		OnNotIdempotent: func(err error) { b.without = append(b.without, err) },
		OnRepeat:        func(_ string, _ int, err error) { b.repeats = append(b.repeats, err) },
	})
}

// name is a letter for each producer id, in their order, and - for none. b.mu is
// held.
func (b *bench) name(id int64) string {
	if id < 0 {
		return "-"
	}
	if !slices.Contains(b.ids, id) {
		b.ids = append(b.ids, id)
	}
	return string(rune('A' + slices.Index(b.ids, id)))
}

// fault faults the next requests of an API.
func (b *bench) fault(key kmsg.Key, err *kerr.Error, count int) {
	f := kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: count}
	if key == kmsg.Produce {
		f.Topic = "t"
	}
	b.kafka.Cluster().Fault(f)
}

// once tries to write a batch to t.
func (b *bench) once(values ...string) error {
	done := b.client.ProduceMany(b.t.Context(), one("t", values...))[0]
	return done.Err
}

// write tries until it is written, as callers do.
func (b *bench) write(values ...string) kafka.Produced {
	b.t.Helper()
	for range 10 {
		done := b.client.ProduceMany(b.t.Context(), one("t", values...))[0]
		if done.Err == nil {
			return done
		}
		b.retried++
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatalf("%q is refused for ever", values)
	return kafka.Produced{}
}

// fails tries once.
func (b *bench) fails(values ...string) {
	b.t.Helper()
	if err := b.once(values...); err == nil {
		b.t.Errorf("%q is written", values)
	}
}

func (b *bench) reader(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.kafka.Addrs()...), kgo.Dialer(b.network.Boot("reader").DialContext))...)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// log is what t has: value, producer, epoch.
func (b *bench) log() string {
	b.t.Helper()
	c := b.reader(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().AtStart()}}), kgo.FetchMaxWait(100*time.Millisecond), kgo.KeepControlRecords())
	defer c.Close()
	ends, err := kadm.NewClient(c).ListEndOffsets(b.t.Context(), "t")
	if err != nil {
		b.t.Fatal(err)
	}
	end, _ := ends.Lookup("t", 0)
	var all []string
	for next := int64(0); next < end.Offset; {
		fetches := c.PollFetches(b.t.Context())
		if err := fetches.Err(); err != nil {
			b.t.Fatal(err)
		}
		for r := range fetches.RecordsAll() {
			if next = r.Offset + 1; r.Attrs.IsControl() {
				continue
			}
			b.mu.Lock()
			all = append(all, fmt.Sprintf("%s/%s.%d", r.Value, b.name(r.ProducerID), r.ProducerEpoch))
			b.mu.Unlock()
		}
	}
	return strings.Join(all, " ")
}

func TestWhatIsTriedAgainIsWrittenOnce(t *testing.T) {
	produced := int16(kmsg.Produce)
	for sentence, c := range map[string]struct {
		do      func(b *bench)
		log     string // value/producer.epoch
		sent    string // producer.epoch:sequence
		repeats int    // that are told
	}{
		"nothing happens: sequences count records": {
			func(b *bench) { b.write("a"); b.write("b", "c"); b.write("d") },
			"a/A.0 b/A.0 c/A.0 d/A.0", "A.0:0 A.0:1 A.0:3", 0,
		},
		"an answer is lost, and the same batch comes again": {
			func(b *bench) { b.write("a"); b.loss.Lose(produced, 1); b.write("b", "c"); b.write("d") },
			"a/A.0 b/A.0 c/A.0 d/A.0", "A.0:0 A.0:1 A.0:1 A.0:3", 0,
		},
		"it is lost three times": {
			func(b *bench) { b.loss.Lose(produced, 3); b.write("a"); b.write("b") },
			"a/A.0 b/A.0", "A.0:0 A.0:0 A.0:0 A.0:0 A.0:1", 0,
		},
		"the leader's time was over when it had written": {
			func(b *bench) { b.fault(kmsg.Produce, kerr.RequestTimedOut, 2); b.write("a"); b.write("b") },
			"a/A.0 b/A.0", "A.0:0 A.0:0 A.0:0 A.0:1", 0,
		},
		"too few replicas have what was written": {
			func(b *bench) {
				b.fault(kmsg.Produce, kerr.NotEnoughReplicasAfterAppend, 2)
				b.write("a")
				b.write("b")
			},
			"a/A.0 b/A.0", "A.0:0 A.0:0 A.0:0 A.0:1", 0,
		},
		"there were too few replicas before it was written: the sequence is not used": {
			func(b *bench) { b.fault(kmsg.Produce, kerr.NotEnoughReplicas, 1); b.fails("a"); b.write("b") },
			"b/A.0", "A.0:0 A.0:0", 0,
		},
		"it does not lead any more, and something else is sent": {
			func(b *bench) { b.fault(kmsg.Produce, kerr.NotLeaderForPartition, 1); b.fails("a"); b.write("b") },
			"b/A.1", "A.0:0 A.1:0", 0,
		},
		"an answer is lost, and something else is sent": {
			func(b *bench) { b.loss.Lose(produced, 1); b.fails("a"); b.write("b"); b.write("c", "d") },
			"a/A.0 b/A.1 c/A.1 d/A.1", "A.0:0 A.1:0 A.1:1", 0,
		},
		"as many others, with the same number of bytes": {
			func(b *bench) { b.loss.Lose(produced, 1); b.fails("a", "b"); b.write("b", "a") },
			"a/A.0 b/A.0 b/A.1 a/A.1", "A.0:0 A.1:0", 0,
		},
		"two answers are lost, each for something else": {
			func(b *bench) {
				b.write("a")
				b.loss.Lose(produced, 2)
				b.fails("b")
				b.fails("c")
				b.write("d")
			},
			"a/A.0 b/A.0 c/A.1 d/A.2", "A.0:0 A.0:1 A.1:0 A.2:0", 0,
		},
		"an answer is lost, and the batch is refused when it comes again, for its halves": {
			func(b *bench) {
				b.loss.Lose(produced, 1)
				b.fails("a", "b")
				b.fault(kmsg.Produce, kerr.MessageTooLarge, 1)
				b.fails("a", "b")
				b.write("a")
				b.write("b")
			},
			"a/A.0 b/A.0 a/A.1 b/A.1", "A.0:0 A.0:0 A.1:0 A.1:1", 0,
		},
		"the broker has lost the line": {
			func(b *bench) {
				b.write("a")
				b.fault(kmsg.Produce, kerr.OutOfOrderSequenceNumber, 1)
				b.write("b")
				b.write("c")
			},
			"a/A.0 b/A.1 c/A.1", "A.0:0 A.0:1 A.1:0 A.1:1", 0,
		},
		"the broker has forgotten the producer": {
			func(b *bench) { b.write("a"); b.fault(kmsg.Produce, kerr.UnknownProducerID, 1); b.write("b") },
			"a/A.0 b/A.1", "A.0:0 A.0:1 A.1:0", 0,
		},
		"it has forgotten it and an answer was lost: a repeat, which is told": {
			func(b *bench) {
				b.write("a")
				b.loss.Lose(produced, 1)
				b.fails("b")
				b.fault(kmsg.Produce, kerr.UnknownProducerID, 1)
				b.write("b")
			},
			"a/A.0 b/A.0 b/A.1", "A.0:0 A.0:1 A.0:1 A.1:0", 1,
		},
		"the broker has a later epoch": {
			func(b *bench) {
				b.write("a")
				b.fault(kmsg.Produce, kerr.InvalidProducerEpoch, 1)
				b.write("b")
				b.write("c")
			},
			"a/A.0 b/B.0 c/B.0", "A.0:0 A.0:1 B.0:0 B.0:1", 0,
		},
		"the producer id is another's": {
			func(b *bench) { b.fault(kmsg.Produce, kerr.InvalidProducerIDMapping, 1); b.write("a") },
			"a/B.0", "A.0:0 B.0:0", 0,
		},
		"it is a duplicate whose offset is forgotten": {
			func(b *bench) {
				b.loss.Lose(produced, 1)
				b.fails("a")
				b.fault(kmsg.Produce, kerr.DuplicateSequenceNumber, 1)
				if done := b.write("a"); done.Base != -1 {
					b.t.Errorf("its offset is %d", done.Base)
				}
				b.write("b")
			},
			"a/A.0 b/A.0", "A.0:0 A.0:0 A.0:1", 0,
		},
		"it is said to be a duplicate, but never was sent": {
			func(b *bench) { b.fault(kmsg.Produce, kerr.DuplicateSequenceNumber, 1); b.write("a") },
			"a/A.1", "A.0:0 A.1:0", 0,
		},
		"the last epoch is followed by another producer id": {
			func(b *bench) {
				b.write("a")
				b.client.SetLine("t", 0, 1<<15-1, 0)
				b.write("b")
				b.loss.Lose(produced, 1)
				b.fails("c")
				b.write("d")
			},
			"a/A.0 b/A.32767 c/A.32767 d/B.0", "A.0:0 A.32767:0 A.32767:1 B.0:0", 0,
		},
		"producer ids are to be had only a while later": {
			func(b *bench) {
				b.fault(kmsg.InitProducerID, kerr.CoordinatorLoadInProgress, 3)
				if err := b.once("a"); err != nil {
					b.t.Error(err)
				}
			},
			"a/A.0", "A.0:0", 0,
		},
		"the topic is deleted and made anew": {
			func(b *bench) {
				b.write("a")
				b.write("b")
				admin := b.reader()
				defer admin.Close()
				if _, err := kadm.NewClient(admin).DeleteTopics(b.t.Context(), "t"); err != nil {
					b.t.Error(err)
				}
				if err := b.kafka.Cluster().CreateTopic("t", 1, nil); err != nil {
					b.t.Error(err)
				}
				b.write("c")
				b.write("d")
			},
			"c/A.1 d/A.1", "A.0:0 A.0:1 A.0:2 A.1:0 A.1:1", 0,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			onBench(t, 1, func(b *bench) {
				c.do(b)
				b.mu.Lock()
				sent := strings.Join(b.sent, " ")
				b.mu.Unlock()
				if sent != c.sent {
					b.t.Errorf("sent %s, want %s", sent, c.sent)
				}
				if log := b.log(); log != c.log {
					b.t.Errorf("the log has %s, want %s", log, c.log)
				}
				if len(b.repeats) != c.repeats || len(b.without) != 0 {
					b.t.Errorf("told of repeats %v, want %d, and of %v", b.repeats, c.repeats, b.without)
				}
			})
		})
	}
}

func TestALineGoesOnAtAnotherLeader(t *testing.T) {
	onBench(t, 3, func(b *bench) {
		var want []string
		for i := range 12 {
			if i%2 == 1 {
				b.loss.Lose(int16(kmsg.Produce), 1)
			}
			if err := b.kafka.MoveLeader("t", 0, i%3); err != nil {
				b.t.Fatal(err)
			}
			b.write(fmt.Sprint(i))
			want = append(want, fmt.Sprintf("%d/A.0", i))
		}
		if log := b.log(); log != strings.Join(want, " ") {
			b.t.Errorf("the log has %s", log)
		}
		if b.retried == 0 {
			b.t.Error("no answer was lost")
		}
	})
}

func TestWithoutProducerIDsItIsToldOnceWhatMendsThat(t *testing.T) {
	for sentence, c := range map[string]struct {
		fault  func(b *bench)
		remedy []string
	}{
		"the ACL is missing": {
			func(b *bench) { b.fault(kmsg.InitProducerID, kerr.ClusterAuthorizationFailed, -1) },
			[]string{"--operation IdempotentWrite --cluster", "Kafka 2.8", "written twice"},
		},
		"the API is missing": {
			func(b *bench) { b.fault(kmsg.InitProducerID, kerr.UnsupportedVersion, -1) },
			[]string{"upgrade", "[35]", "written twice"},
		},
		"the ACL goes while it writes, before Kafka 2.8": {
			func(b *bench) {
				f := kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.ClusterAuthorizationFailed, Count: -1}
				f.When = func(req kmsg.Request) bool {
					var batch kmsg.RecordBatch
					err := batch.ReadFrom(req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records)
					return err == nil && batch.ProducerID >= 0
				}
				b.kafka.Cluster().Fault(f)
			},
			[]string{"--operation IdempotentWrite --cluster", "written twice"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			onBench(t, 1, func(b *bench) {
				c.fault(b)
				b.write("a")
				b.write("b")
				if b.retried != 0 {
					b.t.Error("callers have to try again")
				}
				b.loss.Lose(int16(kmsg.Produce), 1)
				b.write("c")
				if log := b.log(); log != "a/-.-1 b/-.-1 c/-.-1 c/-.-1" {
					b.t.Errorf("the log has %s", log)
				}
				if len(b.without) != 1 || len(b.repeats) != 0 {
					b.t.Fatalf("told %v and %v", b.without, b.repeats)
				}
				for _, want := range c.remedy {
					if !strings.Contains(b.without[0].Error(), want) {
						b.t.Errorf("%q is not in: %v", want, b.without[0])
					}
				}
			})
		})
	}
}

// A producer that may not go on gets another id; where there is none any more the
// same call writes without.
func TestALineThatGetsNoOtherProducerGoesOnWithout(t *testing.T) {
	onBench(t, 1, func(b *bench) {
		b.write("a")
		b.fault(kmsg.Produce, kerr.InvalidProducerEpoch, 1)
		b.fault(kmsg.InitProducerID, kerr.ClusterAuthorizationFailed, -1)
		b.write("b")
		b.write("c")
		if want := []string{"A.0:0", "A.0:1", "-.-1:-1", "-.-1:-1"}; !slices.Equal(b.sent, want) || b.retried != 0 || len(b.without) != 1 {
			b.t.Errorf("sent %q, want %q; told %v", b.sent, want, b.without)
		}
	})
}

// Halves of a batch that was refused have the sequences that it had.
func TestWhatIsLeftOfARefusedBatchHasItsSequences(t *testing.T) {
	onBench(t, 1, func(b *bench) {
		f := kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.MessageTooLarge, Count: -1}
		f.When = func(req kmsg.Request) bool {
			return strings.Contains(string(req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records), "LARGE")
		}
		b.kafka.Cluster().Fault(f)
		var messages []events.Message
		for _, v := range []string{"a", "b", "LARGE", "c", "d", "e"} {
			messages = append(messages, events.Message{Value: []byte(v)})
		}
		w := kafka.Writer{Client: b.client}
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
		defer cancel()
		results, err := w.Write(ctx, "t", messages)
		if refused, is := errors.AsType[*kafka.RefusedError](err); !is || !refused.TooLarge() {
			b.t.Errorf("%v", err)
		}
		if log := b.log(); log != "a/A.0 b/A.0 c/A.0 d/A.0 e/A.0" {
			b.t.Errorf("the log has %s, %+v", log, results)
		}
		if sent := strings.Join(b.sent, " "); sent != "A.0:0 A.0:0 A.0:0 A.0:1 A.0:1 A.0:2 A.0:2 A.0:2" {
			b.t.Errorf("sent %s", sent)
		}
	})
}

func TestConcurrentWritersOfTheSamePartitionsGoOneAfterTheOther(t *testing.T) {
	onBench(t, 1, func(b *bench) {
		var writers sync.WaitGroup
		for i := range 8 {
			writers.Go(func() {
				for range 20 {
					batches := batchesFor(2, "u")
					if i%2 == 0 {
						slices.Reverse(batches)
					}
					for _, done := range b.client.ProduceMany(b.t.Context(), batches) {
						if done.Err != nil {
							b.t.Error(done.Err)
						}
					}
				}
			})
		}
		writers.Wait()
		ends, err := b.client.Offsets(b.t.Context(), map[string][]int{"u": {0, 1}}, kafka.LogEnd)
		if err != nil || ends["u"][0] != 320 || ends["u"][1] != 320 {
			b.t.Errorf("%v, %v", ends, err)
		}
	})
}
