package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// scribe writes a log with several producers, in words: a letter is a producer
// and what follows it a record, "+" a commit, "-" an abort. What n writes belongs
// to no transaction.
//
//	a1 n1 a2 a+ b1 b-
type scribe struct {
	tb        testing.TB
	ctx       context.Context
	addrs     []string
	topic     string
	partition int
	producers map[byte]*kgo.Client
	open      map[byte]bool
}

func newScribe(ctx context.Context, tb testing.TB, addrs []string, topic string, partition int) *scribe {
	s := &scribe{tb: tb, ctx: ctx, addrs: addrs, topic: topic, partition: partition, producers: make(map[byte]*kgo.Client), open: make(map[byte]bool)}
	tb.Cleanup(s.close)
	return s
}

func (s *scribe) close() {
	for _, c := range s.producers {
		c.Close()
	}
	clear(s.producers)
}

// producer is a foreign one.
func (s *scribe) producer(letter byte) *kgo.Client {
	if c := s.producers[letter]; c != nil {
		return c
	}
	opts := []kgo.Opt{kgo.SeedBrokers(s.addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression([]kgo.CompressionCodec{kgo.NoCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}[letter%3])}
	if letter != 'n' {
		opts = append(opts, kgo.TransactionalID(fmt.Sprintf("%s-%d-%c", s.topic, s.partition, letter)))
	}
	c, err := kgo.NewClient(opts...)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.producers[letter] = c
	return c
}

func (s *scribe) write(words ...string) {
	for _, word := range words {
		s.end(word)
		if !strings.ContainsAny(word, "+-") {
			s.batch(word)
		}
	}
}

// batch writes words of one producer as one batch.
func (s *scribe) batch(words ...string) {
	s.tb.Helper()
	letter := words[0][0]
	c := s.producer(letter)
	if letter != 'n' && !s.open[letter] {
		if err := c.BeginTransaction(); err != nil {
			s.tb.Fatal(err)
		}
		s.open[letter] = true
	}
	var records []*kgo.Record
	for _, word := range words {
		records = append(records, &kgo.Record{Topic: s.topic, Partition: int32(s.partition), Value: []byte(word)})
	}
	if err := c.ProduceSync(s.ctx, records...).FirstErr(); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *scribe) end(word string) {
	s.tb.Helper()
	commit, ends := map[byte]kgo.TransactionEndTry{'+': kgo.TryCommit, '-': kgo.TryAbort}[word[1]]
	if !ends || !s.open[word[0]] {
		return
	}
	if err := s.producers[word[0]].EndTransaction(s.ctx, commit); err != nil {
		s.tb.Fatal(err)
	}
	delete(s.open, word[0])
}

// committedOf is what of a log is committed, up to the first record of a
// transaction that is open: by its own words, a second account beside the
// broker's. Each word takes an offset.
func committedOf(words []string) (values []string, at []int64, stable int64) {
	for i, word := range words {
		if strings.ContainsAny(word, "+-") {
			continue
		}
		end := slices.IndexFunc(words[i:], func(w string) bool { return w == word[:1]+"+" || w == word[:1]+"-" })
		switch {
		case word[0] != 'n' && end < 0:
			return values, at, int64(i)
		case word[0] == 'n' || words[i+end][1] == '+':
			values, at = append(values, word), append(at, int64(i))
		}
	}
	return values, at, int64(len(words))
}

// readUntil reads a partition from an offset to an end, and returns the values.
func readUntil(ctx context.Context, client *kafka.Client, fetchBytes int, topic string, partition int, from, to int64) (values []string, err error) {
	r := kafka.Reader{Client: client, FetchBytes: fetchBytes}
	err = r.Read(ctx, topic, kafka.Offsets{partition: from}, kafka.Offsets{partition: to}, func(r kafka.Record) error {
		values = append(values, string(r.Value))
		return nil
	})
	return values, err
}

// Logs with transactions on a broker, read from each of their offsets, at once
// and a batch at a time.
func TestRequestsAreReadCommitted(t *testing.T) {
	logs := map[string]string{
		"a transaction is committed": "a1 a2 a+",
		"it is aborted":              "a1 a2 a-",
		"one commits, one aborts and one has no transaction":     "a1 n1 b1 a2 n2 b2 b- a3 n3 a+",
		"they end the other way round":                           "a1 n1 b1 a2 n2 b2 a- b3 n3 b+",
		"a producer aborts, commits and aborts":                  "a1 a- a2 a+ a3 a-",
		"it commits, aborts and commits":                         "a1 a+ a2 a- a3 a+",
		"two abort at the same time":                             "a1 b1 a2 b2 a- b3 b- n1",
		"markers alone at the end":                               "n1 a1 b1 a- b-",
		"markers alone at the end, of a commit":                  "a1 n1 a+",
		"an aborted one begins far before":                       "a1 n1 n2 n3 n4 n5 n6 n7 n8 a2 a- n9",
		"a transaction is open at the end":                       "n1 a1 a- b1",
		"a transaction is open, and others are committed behind": "n1 b1 n2 a1 a+ c1 c- n3",
		"a transaction is open from the beginning":               "a1 n1 b1 b+",
	}
	w := start(t, broker.Topic{Name: "t", Partitions: len(logs)})
	partition := -1
	for sentence, text := range logs {
		partition++
		words := strings.Fields(text)
		t.Run(sentence, func(t *testing.T) {
			newScribe(w.ctx, t, w.broker.Addrs(), "t", partition).write(words...)
			values, at, stable := committedOf(words)
			client := w.reader.Client
			if end, err := client.Offset(w.ctx, "t", partition, client.End()); end != stable || err != nil {
				t.Fatalf("it can be read up to %d, %v; want %d", end, err, stable)
			}
			if end, err := client.Offset(w.ctx, "t", partition, kafka.LogEnd); end != int64(len(words)) || err != nil {
				t.Fatalf("the log ends at %d, %v; want %d", end, err, len(words))
			}
			for from := range stable {
				n, _ := slices.BinarySearch(at, from)
				for _, bytes := range []int{0, 1} {
					if got, err := readUntil(w.ctx, client, bytes, "t", partition, from, stable); !slices.Equal(got, values[n:]) || err != nil {
						t.Errorf("from offset %d, %d bytes at a time: %v, %v; want %v", from, bytes, got, err, values[n:])
					}
				}
			}
			// A reader that follows goes on behind the last marker, and then is
			// told that there is no more.
			s := client.Source("t", partition, 0)
			defer s.Close()
			var got []string
			for next := int64(0); next < stable; {
				records, to, err := s.Next(w.ctx)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range records {
					got = append(got, string(r.Value))
				}
				next = to
			}
			if !slices.Equal(got, values) {
				t.Errorf("a source: %v, want %v", got, values)
			}
			s.SeekTo(stable)
			if records, next, err := s.Next(w.ctx); records != nil || next != stable || err != nil {
				t.Errorf("behind all that is committed: %v, %d, %v", records, next, err)
			}
		})
	}
	if partition < 0 {
		t.Error("nothing was tested")
	}
}

func TestAnOpenTransactionDelaysAndLosesNothing(t *testing.T) {
	for sentence, c := range map[string]struct{ first, then, want string }{
		"it commits":                          {"n1 a1 n2", "a2 a+", "n1 a1 n2 a2"},
		"it aborts":                           {"n1 a1 n2", "a2 a-", "n1 n2"},
		"another one is committed behind it":  {"n1 a1 b1 b+", "a+", "n1 a1 b1"},
		"another one was aborted behind it":   {"n1 a1 b1 b-", "a+", "n1 a1"},
		"another one is still open behind it": {"n1 a1 b1", "a- n2 b+", "n1 b1 n2"},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := start(t, broker.Topic{Name: "t", Partitions: 2})
			log := newScribe(w.ctx, t, w.broker.Addrs(), "t", 0)
			log.write(strings.Fields(c.first)...)
			s := w.reader.Client.Source("t", 0, 0)
			defer s.Close()
			if got := next(t, s, 1); !slices.Equal(got, []string{"n1"}) {
				t.Fatalf("before the open transaction: %v", got)
			}
			s.SeekTo(1)
			if records, at, err := s.Next(w.ctx); records != nil || at != 1 || err != nil {
				t.Fatalf("while it is open: %v, go on at %d, %v", records, at, err)
			}
			// Of the other partition a record comes in between, in the same long polls.
			newScribe(w.ctx, t, w.broker.Addrs(), "t", 1).write("n1")
			other := w.reader.Client.Source("t", 1, 0)
			defer other.Close()
			next(t, other, 1)
			log.write(strings.Fields(c.then)...)
			want := strings.Fields(c.want)[1:]
			if got := next(t, s, len(want)); !slices.Equal(got, want) {
				t.Errorf("when it has ended: %v, want %v", got, want)
			}
		})
	}
}

// To wait for the end of a transaction costs no more than to wait for a record:
// in virtual time, the long polls of a minute.
func TestAnOpenTransactionIsNotAskedForOverAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, client, producer, cluster := virtualKafka(t, 2)
		defer end()
		log := &scribe{tb: t, ctx: t.Context(), topic: "t", producers: map[byte]*kgo.Client{'n': producer}, open: make(map[byte]bool)}
		open, err := kgo.NewClient(append(producer.Opts(), kgo.TransactionalID("a"), kgo.TransactionTimeout(10*time.Minute))...)
		if err != nil {
			t.Fatal(err)
		}
		defer open.Close()
		log.producers['a'] = open
		log.write("n1", "a1", "n2")
		for p := range 2 {
			s := client.Source("t", p, 0)
			defer s.Close()
			go func() {
				for {
					if _, _, err := s.Next(t.Context()); err != nil {
						return
					}
				}
			}()
		}
		time.Sleep(time.Second)
		var fetches, named atomic.Int64
		cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			fetches.Add(1)
			for _, topic := range req.(*kmsg.FetchRequest).Topics {
				named.Add(int64(len(topic.Partitions)))
			}
			return nil, nil, false
		})
		time.Sleep(time.Minute)
		if n := fetches.Load(); n < 60 || n > 180 || named.Load() > 4 {
			t.Errorf("%d fetches in a minute, which have named %d partitions", n, named.Load())
		}
	})
}

func TestReadingUncommittedSeesAllThatIsWritten(t *testing.T) {
	b, _ := startBroker(t, broker.Topic{Name: "t", Partitions: 1})
	client := kafka.Open(kafka.Config{Brokers: b.Addrs(), ReadUncommitted: true})
	t.Cleanup(client.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	newScribe(ctx, t, b.Addrs(), "t", 0).write("a1", "a-", "n1", "b1", "n2")
	r := kafka.Reader{Client: client}
	end, err := r.End(ctx, "t")
	if err != nil || end[0] != 5 {
		t.Fatalf("the end is %v, %v", end, err)
	}
	if got, err := readUntil(ctx, client, 0, "t", 0, 0, 5); fmt.Sprint(got) != "[a1 n1 b1 n2]" || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// Random logs of several producers, read by us and by franz-go from a random
// offset: go test -run ReadIsWhatFranzGo -rapid.checks=1000 -rapid.seed=N
func TestWhatIsReadIsWhatFranzGoReads(t *testing.T) {
	const logs = 100
	var w world
	partition := logs
	rapid.Check(t, func(rt *rapid.T) {
		if partition++; partition >= logs {
			w, partition = start(t, broker.Topic{Name: "t", Partitions: logs}), 0
		}
		sameAsFranzGo(w.ctx, rt, t, w.broker.Addrs(), w.reader.Client, partition)
	})
}

// sameAsFranzGo writes a random log and reads it twice.
func sameAsFranzGo(ctx context.Context, rt *rapid.T, t *testing.T, addrs []string, client *kafka.Client, partition int) {
	log := newScribe(ctx, t, addrs, "t", partition)
	defer log.close()
	written := 0
	for _, op := range rapid.SliceOfN(rapid.IntRange(0, 99), 1, 25).Draw(rt, "log") {
		letter := "abcn"[op%4]
		switch n := op / 4; {
		case n < 7:
			log.end(fmt.Sprintf("%c+", letter))
		case n < 14:
			log.end(fmt.Sprintf("%c-", letter))
		default:
			var words []string
			for range n%4 + 1 {
				words = append(words, fmt.Sprintf("%c%d", letter, written))
				written++
			}
			log.batch(words...)
		}
	}
	to, err := client.Offset(ctx, "t", partition, kafka.LogStable)
	if err != nil {
		rt.Fatal(err)
	}
	from := rapid.Int64Range(0, to).Draw(rt, "from")
	bytes := rapid.SampledFrom([]int{0, 1, 150}).Draw(rt, "fetch bytes")
	open, err := readUntil(ctx, client, bytes, "t", partition, from, to)
	if err != nil {
		rt.Fatal(err)
	}
	// By its end franz-go, too, knows when it has read all. What is open now
	// begins behind what was read.
	for letter := range maps.Clone(log.open) {
		log.end(string(letter) + rapid.SampledFrom([]string{"+", "-"}).Draw(rt, "end"))
	}
	log.batch("n-end")
	want, below := franzGo(ctx, rt, addrs, partition, from, to)
	if !slices.Equal(open, want[:below]) {
		rt.Errorf("from offset %d to %d, %d bytes at a time: %v; franz-go reads %v", from, to, bytes, open, want[:below])
	}
	end, err := client.Offset(ctx, "t", partition, kafka.LogStable)
	if err != nil {
		rt.Fatal(err)
	}
	if got, err := readUntil(ctx, client, bytes, "t", partition, from, end); err != nil || !slices.Equal(got, want) {
		rt.Errorf("from offset %d to the end, %d, %d bytes at a time: %v, %v; franz-go reads %v", from, end, bytes, got, err, want)
	}
}

// franzGo is what franz-go reads, committed, up to the record n-end, and how many
// of these stand below an offset.
func franzGo(ctx context.Context, rt *rapid.T, addrs []string, partition int, from, to int64) (values []string, below int) {
	c, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {int32(partition): kgo.NewOffset().At(from)}}))
	if err != nil {
		rt.Fatal(err)
	}
	defer c.Close()
	for {
		fetches := c.PollFetches(ctx)
		if err := errors.Join(fetches.Err(), ctx.Err()); err != nil {
			rt.Fatal(err)
		}
		for _, r := range fetches.Records() {
			values = append(values, string(r.Value))
			if r.Offset < to {
				below++
			}
			if string(r.Value) == "n-end" {
				return values, below
			}
		}
	}
}
