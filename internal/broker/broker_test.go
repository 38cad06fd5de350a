package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/closeorder/closeorder/internal/broker"
)

func start(t *testing.T, cfg broker.Config) *broker.Broker {
	t.Helper()
	b, err := broker.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// newClient talks to the first broker; its connections end with the test.
func newClient(t *testing.T, b *broker.Broker) *kafka.Client {
	t.Helper()
	tr := &kafka.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(b.Addr()), Transport: tr, Timeout: 10 * time.Second}
}

func newFranz(t *testing.T, b *broker.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addrs()...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func produce(t *testing.T, c *kafka.Client, topic string, partition int, key, value string) int64 {
	t.Helper()
	res, err := c.Produce(t.Context(), &kafka.ProduceRequest{
		Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{
			Key: kafka.NewBytes([]byte(key)), Value: kafka.NewBytes([]byte(value)),
			Headers: []kafka.Header{{Key: "ce_id", Value: []byte("id-" + key)}},
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Error != nil {
		t.Fatal(res.Error)
	}
	return res.BaseOffset
}

func TestTheDefaultTopicsAreThere(t *testing.T) {
	b := start(t, broker.Config{})
	topics, err := kadm.NewClient(newFranz(t, b)).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range broker.DefaultTopics() {
		if got := len(topics[want.Name].Partitions); got != want.Partitions {
			t.Errorf("%s has %d partitions, want %d", want.Name, got, want.Partitions)
		}
	}
	if len(topics) != len(broker.DefaultTopics()) {
		t.Errorf("topics %v", topics.Names())
	}
}

func TestTopicsAreCreatedWithTheirSettings(t *testing.T) {
	b := start(t, broker.Config{Brokers: 3, Topics: []broker.Topic{
		{Name: "a", Partitions: 5, Configs: map[string]string{"retention.ms": "1234000"}},
	}})
	if n := len(b.Addrs()); n != 3 {
		t.Fatalf("%d addresses, want 3", n)
	}
	info := b.Cluster().TopicInfo("a")
	if info == nil {
		t.Fatal("no topic")
	}
	if v := info.Configs["retention.ms"]; v == nil || *v != "1234000" {
		t.Errorf("configs %v", info.Configs)
	}
	if n := len(b.Cluster().PartitionInfos("a")); n != 5 {
		t.Errorf("%d partitions, want 5", n)
	}
}

func TestWhatKafkaGoProducesFranzGoReads(t *testing.T) {
	b := start(t, broker.Config{})
	if off := produce(t, newClient(t, b), "closeorder.requests", 7, "T1", `{"out_trade_no":"T1"}`); off != 0 {
		t.Errorf("offset %d, want 0", off)
	}
	reader := newFranz(t, b, kgo.ConsumeTopics("closeorder.requests"))
	fetches := reader.PollFetches(t.Context())
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	r := fetches.Records()[0]
	if string(r.Key) != "T1" || string(r.Value) != `{"out_trade_no":"T1"}` || r.Partition != 7 ||
		len(r.Headers) != 1 || string(r.Headers[0].Value) != "id-T1" {
		t.Errorf("read %s: %s %v in %d", r.Key, r.Value, r.Headers, r.Partition)
	}
}

func TestWhatFranzGoProducesKafkaGoReads(t *testing.T) {
	b := start(t, broker.Config{})
	r := &kgo.Record{Topic: "closeorder.outcomes", Key: []byte("T2"), Value: []byte("closed")}
	if err := newFranz(t, b).ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	res, err := newClient(t, b).Fetch(t.Context(), &kafka.FetchRequest{
		Topic: r.Topic, Partition: int(r.Partition), Offset: 0, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Error != nil {
		t.Fatal(res.Error)
	}
	got, err := res.Records.ReadRecord()
	if err != nil {
		t.Fatal(err)
	}
	value, err := kafka.ReadAll(got.Value)
	if err != nil {
		t.Fatal(err)
	}
	if string(value) != "closed" {
		t.Errorf("value %q", value)
	}
}

// joinWithKafkaGo joins a group with a session time-out far below Apache
// Kafka's minimum and commits one offset with kafka-go, from inside the group.
func joinWithKafkaGo(t *testing.T, b *broker.Broker, offset int64) {
	t.Helper()
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: "closeorder", Brokers: b.Addrs(), Topics: []string{"closeorder.requests"},
		SessionTimeout: time.Second, HeartbeatInterval: 100 * time.Millisecond,
		RebalanceTimeout: time.Second, JoinGroupBackoff: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	gen, err := group.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(gen.Assignments["closeorder.requests"]); n != 12 {
		t.Errorf("%d partitions assigned, want 12", n)
	}
	if err := gen.CommitOffsets(map[string]map[int]int64{"closeorder.requests": {7: offset}}); err != nil {
		t.Fatal(err)
	}
	if err := group.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAGroupOfKafkaGoJoinsAndCommits(t *testing.T) {
	b := start(t, broker.Config{})
	joinWithKafkaGo(t, b, 41)
	offsets, err := kadm.NewClient(newFranz(t, b)).FetchOffsets(t.Context(), "closeorder")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := offsets.Lookup("closeorder.requests", 7); !ok || o.At != 41 {
		t.Errorf("committed %+v", o)
	}
}

func TestRecordsTopicsAndCommitsSurviveARestart(t *testing.T) {
	cfg := broker.Config{DataDir: t.TempDir()}
	const metadata = "v1:finished-above"

	first := start(t, cfg)
	client := newClient(t, first)
	for i := range 10 {
		produce(t, client, "closeorder.requests", 3, fmt.Sprint("T", i), "x")
	}
	var commit kadm.Offsets
	commit.Add(kadm.Offset{Topic: "closeorder.requests", Partition: 3, At: 6, LeaderEpoch: -1, Metadata: metadata})
	if err := kadm.NewClient(newFranz(t, first)).CommitAllOffsets(t.Context(), "closeorder", commit); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := start(t, cfg)
	admin := kadm.NewClient(newFranz(t, second))
	offsets, err := admin.FetchOffsets(t.Context(), "closeorder")
	if err != nil {
		t.Fatal(err)
	}
	o, ok := offsets.Lookup("closeorder.requests", 3)
	if !ok || o.At != 6 || o.Metadata != metadata {
		t.Errorf("committed %+v, want 6 with metadata %s", o, metadata)
	}
	ends, err := admin.ListEndOffsets(t.Context(), "closeorder.requests")
	if err != nil {
		t.Fatal(err)
	}
	if end, _ := ends.Lookup("closeorder.requests", 3); end.Offset != 10 {
		t.Errorf("end offset %d, want 10", end.Offset)
	}
	if off := produce(t, newClient(t, second), "closeorder.requests", 3, "T10", "x"); off != 10 {
		t.Errorf("the next record got offset %d, want 10", off)
	}
}

func TestATopicThatIsMissingInTheDataDirectoryIsAdded(t *testing.T) {
	dir := t.TempDir()
	first := start(t, broker.Config{DataDir: dir, Topics: []broker.Topic{{Name: "old", Partitions: 2}}})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := start(t, broker.Config{DataDir: dir, Topics: []broker.Topic{{Name: "old", Partitions: 9}, {Name: "new", Partitions: 4}}})
	if n := len(second.Cluster().PartitionInfos("old")); n != 2 {
		t.Errorf("the old topic has %d partitions, want its 2", n)
	}
	if n := len(second.Cluster().PartitionInfos("new")); n != 4 {
		t.Errorf("the new topic has %d partitions, want 4", n)
	}
}

func TestADataDirectoryHasOneBroker(t *testing.T) {
	cfg := broker.Config{DataDir: t.TempDir()}
	first := start(t, cfg)
	_, err := broker.Start(cfg)
	if err == nil || !strings.Contains(err.Error(), "--data-dir") || !strings.Contains(err.Error(), cfg.DataDir) {
		t.Fatalf("a second broker on the same folder: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, cfg) // free again
}

func TestATakenPortIsNamedWithTheFlagThatChangesIt(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := broker.Config{Port: ln.Addr().(*net.TCPAddr).Port, DataDir: t.TempDir()}
	_, err = broker.Start(cfg)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{ln.Addr().String(), "--kafka-port"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s: %v", want, err)
		}
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, cfg) // the failed start left neither lock nor listener behind
}

func TestWrongSettingsAreAllNamed(t *testing.T) {
	_, err := broker.Start(broker.Config{Port: 70000, Topics: []broker.Topic{
		{Name: "a", Partitions: 1}, {Name: "a", Partitions: 1}, {Name: "b"}, {Name: "no spaces", Partitions: 1},
	}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"port 70000", "--kafka-port", "a is given twice", "topic b: 0 partitions", `"no spaces"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

func TestClosingTwiceIsFine(t *testing.T) {
	b := start(t, broker.Config{DataDir: t.TempDir()})
	if err := errors.Join(b.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestItRunsInVirtualTimeOnAnInMemoryNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		b, err := broker.Start(broker.Config{Port: 9092, ListenFn: network.Listen})
		if err != nil {
			t.Fatal(err)
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.Dialer(network.DialContext),
			kgo.ConsumeTopics("closeorder.requests"), kgo.DefaultProduceTopic("closeorder.requests"))
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord("hello")).FirstErr(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if f := cl.PollFetches(ctx); f.NumRecords() != 1 {
			t.Errorf("%d records, errors %v", f.NumRecords(), f.Errors())
		}
		cl.Close()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}
