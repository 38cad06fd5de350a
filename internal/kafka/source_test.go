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
	virtual "github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// next reads until n records have come, and returns their values.
func next(t *testing.T, s *kafka.Source, n int) (values []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for len(values) < n {
		records, _, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("after %d of %d records: %v", len(values), n, err)
		}
		for _, r := range records {
			values = append(values, string(r.Value))
		}
	}
	return values
}

func TestBatchesOfEveryCodecAreRead(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 1})
	source := w.reader.Client.Source("t", 0, 0)
	defer source.Close()
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		c := w.producer(t, kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(50*time.Millisecond))
		var records []*kgo.Record
		var want []string
		for i := range 500 {
			value := fmt.Sprintf("%s %d %s", name, i, strings.Repeat("x", 500))
			records, want = append(records, rec(0, value)), append(want, value)
		}
		w.produce(t, c, records...)
		if got := next(t, source, len(want)); !slices.Equal(got, want) {
			t.Errorf("%s: %d records that are not those that were sent", name, len(got))
		}
	}
}

func TestABatchThatIsLargerThanAFetchComesWhole(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 3, Configs: map[string]string{"max.message.bytes": "9000000"}})
	c := w.producer(t, kgo.ProducerBatchMaxBytes(8<<20), kgo.MaxBufferedBytes(100<<20), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.BrokerMaxWriteBytes(50<<20))
	large := strings.Repeat("x", 3<<20)
	var sources []*kafka.Source
	for p := range 3 {
		for range 3 {
			w.produce(t, c, rec(p, large))
		}
		s := w.reader.Client.Source("t", p, 0)
		defer s.Close()
		sources = append(sources, s)
	}
	for p, s := range sources {
		if got := next(t, s, 3); len(got) != 3 || got[2] != large {
			t.Errorf("partition %d: %d records", p, len(got))
		}
	}
}

// Twenty-four partitions of four topics are one long poll at a time, and each
// record is handed over.
func TestManyPartitionsAreOneRequest(t *testing.T) {
	var topics []broker.Topic
	for i := range 4 {
		topics = append(topics, broker.Topic{Name: fmt.Sprintf("t%d", i), Partitions: 24})
	}
	b, client := startBroker(t, topics...)
	producer := world{broker: b}.producer(t)
	var polls, most, narrow, named, latest atomic.Int64
	session := make(map[string]bool) // what the broker remembers
	b.Cluster().ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().KeepControl()
		r, asked := req.(*kmsg.FetchRequest), session
		if r.SessionEpoch <= 0 {
			asked = make(map[string]bool)
		}
		for _, topic := range r.ForgottenTopics {
			for _, p := range topic.Partitions {
				delete(asked, fmt.Sprint(topic.Topic, "/", p))
			}
		}
		for _, topic := range r.Topics {
			named.Add(int64(len(topic.Partitions)))
			for _, p := range topic.Partitions {
				asked[fmt.Sprint(topic.Topic, "/", p.Partition)] = true
			}
		}
		if r.SessionEpoch == 0 {
			session = asked
		}
		n := int64(len(asked))
		if r.MaxWaitMillis > 0 {
			polls.Add(1)
			latest.Store(n)
			if n < 96 {
				narrow.Add(1)
			}
		}
		most.Store(max(most.Load(), n))
		return nil, nil, false
	})
	var sources []*kafka.Source
	for _, topic := range topics {
		for p := range topic.Partitions {
			s := client.Source(topic.Name, p, 0)
			defer s.Close()
			sources = append(sources, s)
		}
	}
	for _, s := range sources {
		if records, _, err := s.Next(t.Context()); err != nil || records != nil {
			t.Fatal(records, err) // each is there, and has nothing
		}
	}
	polls.Store(0)
	narrow.Store(0)
	named.Store(0)
	const rounds = 20
	for i := range rounds {
		topic, p := topics[i%4].Name, i%24
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: int32(p), Value: []byte(fmt.Sprint(i))}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if got := next(t, sources[i%4*24+p], 1); got[0] != fmt.Sprint(i) {
			t.Errorf("got %v", got)
		}
	}
	if most.Load() != 96 || polls.Load() > 2*rounds || narrow.Load() > 1 {
		t.Errorf("%d partitions at most in one request, %d long polls, of which %d were without some", most.Load(), polls.Load(), narrow.Load())
	}
	// Each record moves one partition on. The rest is for a poll in which one
	// was missing.
	if named.Load() > 3*rounds+96 {
		t.Errorf("%d long polls have named %d partitions: the broker remembers the others", polls.Load(), named.Load())
	}
	for _, s := range sources[24:] {
		s.Close()
	}
	for i := range 2 { // the first of them ends the long poll under way
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "t0", Partition: 23, Value: []byte("last")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if got := next(t, sources[23], 1); got[0] != "last" {
			t.Errorf("got %v", got)
		}
		if n := latest.Load(); i > 0 && n != 24 {
			t.Errorf("%d partitions are asked for, where 24 are read", n)
		}
	}
}

// What a broker says of the session, or by its quotas, is no trouble of a
// partition, and costs no record.
func TestAFetchSessionThatIsLostBeginsAnew(t *testing.T) {
	for sentence, answer := range map[string]struct {
		code      int16
		throttled int32 // ms
		remembers bool
	}{
		"the broker was started again":            {code: kerr.FetchSessionIDNotFound.Code},
		"the broker has counted otherwise":        {code: kerr.InvalidFetchSessionEpoch.Code},
		"by its quotas it answers nothing":        {throttled: 10, remembers: true},
		"by its quotas it begins with no session": {throttled: 10},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end, client, producer, cluster := virtualKafka(t, 2)
				defer end()
				var requests atomic.Int64
				cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
					cluster.KeepControl()
					r := req.(*kmsg.FetchRequest)
					if at := requests.Add(1) % 3; answer.throttled == 0 && at != 0 || answer.throttled > 0 && at != 1 {
						return nil, nil, false // a code is no answer to the first request
					}
					res := r.ResponseKind().(*kmsg.FetchResponse)
					res.ErrorCode, res.ThrottleMillis = answer.code, answer.throttled
					if answer.remembers {
						res.SessionID = r.SessionID
					}
					return res, nil, true
				})
				sources := []*kafka.Source{client.Source("t", 0, 0), client.Source("t", 1, 0)}
				for _, s := range sources {
					defer s.Close()
				}
				for i := range 20 {
					if err := producer.ProduceSync(t.Context(), rec(i%2, fmt.Sprint(i))).FirstErr(); err != nil {
						t.Fatal(err)
					}
					begun := time.Now()
					if got := next(t, sources[i%2], 1); got[0] != fmt.Sprint(i) {
						t.Fatalf("got %v, want %d", got, i)
					}
					if took := time.Since(begun); took > 100*time.Millisecond {
						t.Errorf("record %d came after %v", i, took)
					}
				}
				if n := requests.Load(); n < 20 {
					t.Errorf("%d requests: nothing was tested", n)
				}
			})
		})
	}
}

// In virtual time, where only what waits takes time: a record is handed over as
// soon as it is there, also of the partition that has just had one, and of one
// that is new while a long poll for others is under way.
func TestARecordIsHandedOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, client, producer, _ := virtualKafka(t, 2)
		defer end()
		first := client.Source("t", 0, 0)
		defer first.Close()
		produce := func(p int, value string) {
			if err := producer.ProduceSync(t.Context(), rec(p, value)).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		slowest := func(s *kafka.Source, p int) (d time.Duration) {
			for i := range 20 {
				time.Sleep(time.Duration(i*37%100) * time.Millisecond)
				produce(p, fmt.Sprint(i))
				began := time.Now()
				if got := next(t, s, 1); got[0] != fmt.Sprint(i) {
					t.Errorf("got %v", got)
				}
				d = max(d, time.Since(began))
			}
			return d
		}
		if d := slowest(first, 0); d > 5*time.Millisecond {
			t.Errorf("a record was %v late", d)
		}
		time.Sleep(20 * time.Millisecond) // the long poll is under way
		produce(1, "old")
		began := time.Now()
		second := client.Source("t", 1, 0)
		defer second.Close()
		if got, took := next(t, second, 1), time.Since(began); got[0] != "old" || took > 5*time.Millisecond {
			t.Errorf("got %v after %v", got, took)
		}
		produce(1, "new")
		began = time.Now()
		if got, took := next(t, second, 1), time.Since(began); got[0] != "new" || took > 60*time.Millisecond {
			t.Errorf("got %v after %v", got, took)
		}
		time.Sleep(time.Second)
		if d := slowest(second, 1); d > 5*time.Millisecond {
			t.Errorf("a record was %v late", d)
		}
	})
}

// virtualKafka is a cluster in virtual time with topic t, a client and a
// producer; end ends it all.
func virtualKafka(t *testing.T, partitions int) (end func(), client *kafka.Client, producer *kgo.Client, cluster *kfake.Cluster) {
	network := virtual.NewNetwork()
	k, err := virtual.StartKafka(network, 1, []broker.Topic{{Name: "t", Partitions: partitions}})
	if err != nil {
		t.Fatal(err)
	}
	host := network.Boot("reader")
	client = kafka.Open(kafka.Config{Brokers: k.Addrs(), Dial: host.DialContext})
	producer, err = kgo.NewClient(kgo.SeedBrokers(k.Addrs()...), kgo.Dialer(host.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		producer.Close()
		client.Close()
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}, client, producer, k.Cluster()
}

// One reader that does not come back stops its own partition alone, and what
// waits for it is bounded.
func TestAReaderThatStaysAwayHoldsUpNobody(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 4})
	c := w.producer(t, kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := strings.Repeat("x", 10_000)
	var records []*kgo.Record
	for range 1000 { // 10 MB each
		for p := range 4 {
			records = append(records, rec(p, value))
		}
	}
	w.produce(t, c, records...)
	var asked atomic.Int64 // the highest offset of partition 0 that was asked for
	w.broker.Cluster().ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.broker.Cluster().KeepControl()
		for _, topic := range req.(*kmsg.FetchRequest).Topics {
			for _, p := range topic.Partitions {
				if p.Partition == 0 {
					asked.Store(max(asked.Load(), p.FetchOffset))
				}
			}
		}
		return nil, nil, false
	})
	away := w.reader.Client.Source("t", 0, 0)
	defer away.Close()
	for p := 1; p < 4; p++ {
		s := w.reader.Client.Source("t", p, 0)
		defer s.Close()
		if got := next(t, s, 1000); len(got) != 1000 {
			t.Errorf("partition %d: %d records", p, len(got))
		}
	}
	if asked.Load() > 250 {
		t.Errorf("up to offset %d was asked for while its reader was away", asked.Load())
	}
	if got := next(t, away, 1000); len(got) != 1000 {
		t.Errorf("when it comes back: %d records", len(got))
	}
}

func TestAPartitionThatFailsIsAloneWithIt(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 2})
	c := w.producer(t)
	w.produce(t, c, rec(0, "a"), rec(1, "b"))
	healthy, beyond, missing := w.reader.Client.Source("t", 0, 0), w.reader.Client.Source("t", 1, 50), w.reader.Client.Source("t", 9, 0)
	for _, s := range []*kafka.Source{healthy, beyond, missing} {
		defer s.Close()
	}
	if got := next(t, healthy, 1); got[0] != "a" {
		t.Errorf("got %v", got)
	}
	for range 2 { // it is tried again
		if _, at, err := beyond.Next(w.ctx); !errors.Is(err, kafka.OffsetOutOfRange) || at != 50 {
			t.Errorf("an offset beyond the end: %v at %d", err, at)
		}
		if _, _, err := missing.Next(w.ctx); !kafka.NoPartition(err) {
			t.Errorf("a partition that there is not: %v", err)
		}
	}
	w.produce(t, c, rec(0, "c"))
	if got := next(t, healthy, 1); got[0] != "c" {
		t.Errorf("got %v", got)
	}
	beyond.SeekTo(0)
	if got := next(t, beyond, 1); got[0] != "b" {
		t.Errorf("after SeekTo: got %v", got)
	}
}

func TestAnEmptyPartitionSaysOnceThatItIsThere(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 1})
	s := w.reader.Client.Source("t", 0, 0)
	defer s.Close()
	if records, at, err := s.Next(w.ctx); records != nil || at != 0 || err != nil {
		t.Errorf("the first time: %v, %d, %v", records, at, err)
	}
	short, cancel := context.WithTimeout(w.ctx, 1200*time.Millisecond)
	defer cancel()
	if _, _, err := s.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after that: %v", err)
	}
	s.SeekTo(7)
	if _, _, err := s.Next(w.ctx); !errors.Is(err, kafka.OffsetOutOfRange) {
		t.Errorf("beyond the end: %v", err)
	}
	s.SeekTo(0)
	if records, _, err := s.Next(w.ctx); records != nil || err != nil {
		t.Errorf("after an error: %v, %v", records, err)
	}
}

// Three brokers, whose leaders move while records come.
func TestALeaderThatMovesIsFollowed(t *testing.T) {
	b, err := broker.Start(broker.Config{Brokers: 3, Topics: []broker.Topic{{Name: "t", Partitions: 6}}})
	if err != nil {
		t.Fatal(err)
	}
	client := kafka.Open(kafka.Config{Brokers: b.Addrs()})
	t.Cleanup(func() { client.Close(); b.Close() })
	c := world{broker: b}.producer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	got := make(chan string, 100)
	done := make(chan struct{})
	for p := range 6 {
		s := client.Source("t", p, 0)
		go func() {
			defer func() { done <- struct{}{} }()
			defer s.Close()
			for {
				records, _, err := s.Next(ctx)
				for _, r := range records {
					got <- string(r.Value)
				}
				if ctx.Err() != nil || err != nil && kafka.Sleep(ctx, 20*time.Millisecond) != nil {
					return
				}
			}
		}()
	}
	seen := map[string]bool{}
	for i := range 30 {
		if i%5 == 0 {
			b.Cluster().ShufflePartitionLeaders()
		}
		value := fmt.Sprint(i)
		if err := c.ProduceSync(ctx, rec(i%6, value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		select {
		case v := <-got:
			if v != value || seen[v] {
				t.Errorf("got %s for %s", v, value)
			}
			seen[v] = true
		case <-ctx.Done():
			t.Fatalf("record %d did not come", i)
		}
	}
	cancel()
	for range 6 {
		<-done
	}
}

// Two readers of one partition, each from its own offset.
func TestTwoSourcesOfOnePartition(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 1})
	c := w.producer(t)
	w.produce(t, c, rec(0, "a"), rec(0, "b"))
	one, two := w.reader.Client.Source("t", 0, 0), w.reader.Client.Source("t", 0, 1)
	defer one.Close()
	defer two.Close()
	if got := append(next(t, two, 1), next(t, one, 2)...); fmt.Sprint(got) != "[b a b]" {
		t.Errorf("got %v", got)
	}
	for i := range 5 {
		w.produce(t, c, rec(0, fmt.Sprint(i)))
		if a, b := next(t, one, 1), next(t, two, 1); a[0] != fmt.Sprint(i) || b[0] != fmt.Sprint(i) {
			t.Errorf("got %v and %v, want %d", a, b, i)
		}
	}
}

func TestClosingEndsNext(t *testing.T) {
	for what, end := range map[string]func(*kafka.Client, *kafka.Source){
		"the source": func(_ *kafka.Client, s *kafka.Source) { s.Close() },
		"the client": func(c *kafka.Client, _ *kafka.Source) { c.Close() },
	} {
		w := start(t, broker.Topic{Name: "t", Partitions: 1})
		s := w.reader.Client.Source("t", 0, 0)
		if _, _, err := s.Next(w.ctx); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, _, err := s.Next(context.Background())
			done <- err
		}()
		end(w.reader.Client, s)
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s is closed: no error", what)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s is closed: Next goes on", what)
		}
		s.Close()
	}
}

func TestOffsetsOfAllPartitionsAreOneRequestToEachBroker(t *testing.T) {
	b, err := broker.Start(broker.Config{Brokers: 3, Topics: []broker.Topic{{Name: "t", Partitions: 12}, {Name: "u", Partitions: 12}}})
	if err != nil {
		t.Fatal(err)
	}
	client := kafka.Open(kafka.Config{Brokers: b.Addrs()})
	t.Cleanup(func() { client.Close(); b.Close() })
	c := world{broker: b}.producer(t)
	want := map[string]map[int]int64{"t": {}, "u": {}}
	ask := map[string][]int{}
	for topic := range want {
		for p := range 12 {
			ask[topic] = append(ask[topic], p)
			want[topic][p] = int64(p % 3)
			for range p % 3 {
				if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: int32(p)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	var requests atomic.Int64
	b.Cluster().ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().KeepControl()
		requests.Add(1)
		return nil, nil, false
	})
	got, err := client.Offsets(t.Context(), ask, kafka.LogEnd)
	if err != nil || !maps.EqualFunc(got, want, maps.Equal) || requests.Load() > 3 {
		t.Errorf("%v, %v in %d requests; want %v", got, err, requests.Load(), want)
	}
	ask["t"] = append(ask["t"], 12)
	if _, err := client.Offsets(t.Context(), ask, kafka.LogEnd); !kafka.NoPartition(err) || !strings.Contains(err.Error(), "partition 12 of topic t") {
		t.Errorf("a partition that there is not: %v", err)
	}
}

// Sources that come while a long poll for others is under way are asked for
// beside it until it ends; at the moment when both end nobody is forgotten.
func TestSourcesThatComeAndGoAreNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, client, producer, cluster := virtualKafka(t, 3)
		defer end()
		// What is asked for beside the long poll takes 30 ms: one of these is
		// under way when it ends.
		cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			if req.(*kmsg.FetchRequest).MaxWaitMillis == 0 {
				cluster.SleepControl(func() { time.Sleep(30 * time.Millisecond) })
			}
			return nil, nil, false
		})
		var sources []*kafka.Source
		at := make([]int64, 3)
		came := make(chan string)
		for i := range 10 {
			for _, s := range sources {
				s.Close()
			}
			sources = nil
			for p := range 3 {
				s := client.Source("t", p, at[p])
				sources = append(sources, s)
				go func() { // a reader that waits all the time
					for {
						records, _, err := s.Next(t.Context())
						if err != nil {
							return
						}
						for _, r := range records {
							came <- string(r.Value)
						}
					}
				}()
			}
			time.Sleep(time.Second)
			if err := producer.ProduceSync(t.Context(), rec(i%3, fmt.Sprint(i))).FirstErr(); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-came:
				if got != fmt.Sprint(i) {
					t.Fatalf("got %s, want %d", got, i)
				}
			case <-time.After(5 * time.Millisecond):
				t.Fatalf("round %d: nothing came", i)
			}
			at[i%3]++
		}
		for _, s := range sources {
			s.Close()
		}
	})
}
