package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type world struct {
	broker *broker.Broker
	reader kafka.Reader
	ctx    context.Context
}

func start(t *testing.T, topics ...broker.Topic) world {
	t.Helper()
	b, client := startBroker(t, topics...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return world{broker: b, ctx: ctx, reader: kafka.Reader{Client: client}}
}

// startBroker starts a broker with a client that knows all of its topics.
func startBroker(t *testing.T, topics ...broker.Topic) (*broker.Broker, *kafka.Client) {
	t.Helper()
	b, err := broker.Start(broker.Config{Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	client := kafka.Open(kafka.Config{Brokers: b.Addrs()})
	t.Cleanup(func() {
		client.Close()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, client
}

// producer is a foreign client.
func (w world) producer(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(w.broker.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (w world) produce(t *testing.T, c *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	if err := c.ProduceSync(w.ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func rec(partition int, value string) *kgo.Record {
	return &kgo.Record{Topic: "t", Partition: int32(partition), Value: []byte(value)}
}

// all reads what is in the topic now, as PARTITION:OFFSET=VALUE.
func (w world) all(t *testing.T, from kafka.Offsets) string {
	t.Helper()
	to, err := w.reader.End(w.ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	if from == nil {
		if from, err = w.reader.First(w.ctx, "t"); err != nil {
			t.Fatal(err)
		}
	}
	byPartition := map[int][]string{}
	if err := w.reader.Read(w.ctx, "t", from, to, func(r kafka.Record) error {
		byPartition[r.Partition] = append(byPartition[r.Partition], fmt.Sprintf("%d:%d=%s", r.Partition, r.Offset, r.Value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for p := range len(to) {
		for _, s := range byPartition[p] {
			b.WriteString(s + " ")
		}
	}
	return strings.TrimSpace(b.String())
}

func TestEachPartitionIsReadInOrderFromStartToEnd(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 20})
	c := w.producer(t)
	var want []string
	for p := range 20 {
		for i := range 300 {
			w.produce(t, c, rec(p, fmt.Sprintf("%d-%d", p, i)))
			want = append(want, fmt.Sprintf("%d:%d=%d-%d", p, i, p, i))
		}
	}
	w.reader.FetchBytes = 2000 // many fetches each
	if got := w.all(t, nil); got != strings.Join(want, " ") {
		t.Errorf("got %d records in the wrong order or number", len(strings.Fields(got)))
	}
	from, _ := w.reader.First(w.ctx, "t")
	to, _ := w.reader.End(w.ctx, "t")
	if n := from.Until(to); n != 6000 {
		t.Errorf("Until says %d", n)
	}
}

func TestReadingStartsInTheMiddleOfABatch(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 1})
	w.produce(t, w.producer(t), rec(0, "a"), rec(0, "b"), rec(0, "c"), rec(0, "d"))
	if got := w.all(t, kafka.Offsets{0: 2}); got != "0:2=c 0:3=d" {
		t.Errorf("got %s", got)
	}
}

func TestKeysValuesAndHeadersComeAsTheyAre(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 1})
	at := time.UnixMilli(1_700_000_000_123)
	w.produce(t, w.producer(t), &kgo.Record{Topic: "t", Key: []byte("k"), Timestamp: at, Headers: []kgo.RecordHeader{
		{Key: "twice", Value: []byte("1")}, {Key: "twice", Value: []byte("2")}, {Key: "nil"},
	}})
	to, _ := w.reader.End(w.ctx, "t")
	var got kafka.Record
	if err := w.reader.Read(w.ctx, "t", kafka.Offsets{0: 0}, to, func(r kafka.Record) error { got = r; return nil }); err != nil {
		t.Fatal(err)
	}
	if string(got.Key) != "k" || got.Value != nil || !got.Time.Equal(at) || fmt.Sprintf("%q", got.Headers) != `[{"twice" "1"} {"twice" "2"} {"nil" ""}]` {
		t.Errorf("got %+v", got)
	}
}

func TestATimeBecomesTheOffsetOfTheFirstRecordThatIsNotOlder(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 2})
	c := w.producer(t)
	for i := range 3 {
		r := rec(0, fmt.Sprint(i))
		r.Timestamp = time.UnixMilli(int64(1000 * (i + 1)))
		w.produce(t, c, r)
	}
	for _, tt := range []struct {
		what string
		at   int64
		want string
	}{
		{"before all", 1, "map[0:0 1:0]"},
		{"at the beginning of Kafka's time", 0, "map[0:0 1:0]"},
		{"a moment before it, which Kafka takes for the end", -1, "map[0:0 1:0]"},
		{"long before it", -315619200000, "map[0:0 1:0]"},
		{"at a record", 2000, "map[0:1 1:0]"},
		{"between two", 2001, "map[0:2 1:0]"},
		{"after all: the end", 9000, "map[0:3 1:0]"},
	} {
		got, err := w.reader.At(w.ctx, "t", time.UnixMilli(tt.at))
		if err != nil || fmt.Sprint(got) != tt.want {
			t.Errorf("%s: got %v, %v, want %s", tt.what, got, err, tt.want)
		}
	}
}

func TestPartitionsAreMergedByTime(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 7})
	c := w.producer(t)
	for i := range 500 {
		r := rec(i*i%7, fmt.Sprint(i))
		r.Timestamp = time.UnixMilli(int64(1000 + i))
		w.produce(t, c, r)
	}
	from, _ := w.reader.First(w.ctx, "t")
	to, err := w.reader.End(w.ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	w.reader.FetchBytes, w.reader.Parallel = 500, 1
	next := 0
	if err := w.reader.ReadByTime(w.ctx, "t", from, to, func(r kafka.Record) error {
		if string(r.Value) != fmt.Sprint(next) {
			return fmt.Errorf("record %s in place of %d", r.Value, next)
		}
		next++
		return nil
	}); err != nil || next != 500 {
		t.Errorf("%d records, %v", next, err)
	}
	enough := errors.New("enough")
	if err := w.reader.ReadByTime(w.ctx, "t", from, to, func(kafka.Record) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("ended with %v", err)
	}
}

func TestTransactionMarkersAreSteppedOver(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 1})
	c := w.producer(t, kgo.TransactionalID("x"))
	for i := range 3 {
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		w.produce(t, c, rec(0, fmt.Sprint(i)))
		if err := c.EndTransaction(w.ctx, kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
	// The last offset is a marker: the reading ends all the same.
	if got := w.all(t, nil); got != "0:0=0 0:2=1 0:4=2" {
		t.Errorf("got %s", got)
	}
}

func TestWhatRetentionTookIsReportedAndPassed(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 1})
	c := w.producer(t)
	for i := range 5 {
		w.produce(t, c, rec(0, fmt.Sprint(i)))
	}
	var before kadm.Offsets
	before.AddOffset("t", 0, 3, -1)
	if _, err := kadm.NewClient(c).DeleteRecords(w.ctx, before); err != nil {
		t.Fatal(err)
	}
	var gaps []kafka.Gap
	w.reader.OnGap = func(g kafka.Gap) { gaps = append(gaps, g) }
	if got := w.all(t, kafka.Offsets{0: 1}); got != "0:3=3 0:4=4" {
		t.Errorf("got %s", got)
	}
	if fmt.Sprint(gaps) != "[{t 0 1 3}]" {
		t.Errorf("gaps are %v", gaps)
	}
}

func TestALogThatEndsBeforeTheStartIsAnError(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 1})
	w.produce(t, w.producer(t), rec(0, "a"))
	err := w.reader.Read(w.ctx, "t", kafka.Offsets{0: 7}, nil, func(kafka.Record) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "the log ends at offset 1, reading was to go on at 7:") {
		t.Errorf("got %v", err)
	}
}

func TestFollowingDeliversWhatComesLaterAndEndsWithTheContext(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 2})
	c := w.producer(t)
	from, err := w.reader.End(w.ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("seen enough")
	ctx, cancel := context.WithCancelCause(w.ctx)
	defer cancel(nil)
	seen := make(chan string)
	done := make(chan error, 1)
	go func() {
		done <- w.reader.Read(ctx, "t", from, nil, func(r kafka.Record) error {
			seen <- string(r.Value)
			return nil
		})
	}()
	for i := range 4 {
		w.produce(t, c, rec(i%2, fmt.Sprint(i)))
		if got := <-seen; got != fmt.Sprint(i) {
			t.Errorf("got %s, want %d", got, i)
		}
	}
	cancel(stop)
	if err := <-done; !errors.Is(err, stop) {
		t.Errorf("ended with %v", err)
	}
}

func TestTheCallersErrorEndsTheReading(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 3})
	c := w.producer(t)
	for i := range 30 {
		w.produce(t, c, rec(i%3, "x"))
	}
	enough, calls := errors.New("enough"), 0
	err := w.reader.Read(w.ctx, "t", kafka.Offsets{0: 0, 1: 0, 2: 0}, nil, func(kafka.Record) error {
		if calls++; calls == 4 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || calls != 4 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestAMissingTopicIsNamedWithItsCure(t *testing.T) {
	w := start(t, broker.Topic{Name: "other", Partitions: 1})
	_, err := w.reader.First(w.ctx, "t")
	var missing *kafka.MissingTopicsError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "closeorder topics create") {
		t.Errorf("got %v", err)
	}
}

func TestABrokerThatIsNotThereIsTriedUntilTheContextEnds(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 1})
	addr := w.broker.Addr()
	if err := w.broker.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(w.ctx)
	retries := 0
	gaveUp := errors.New("gave up")
	client := kafka.Open(kafka.Config{Brokers: []string{addr}, OnRetry: func(string, int, error) {
		if retries++; retries == 2 {
			cancel(gaveUp)
		}
	}})
	defer client.Close()
	w.reader.Client = client
	_, err := w.reader.End(ctx, "t")
	if !errors.Is(err, gaveUp) || !strings.Contains(err.Error(), addr) {
		t.Errorf("got %v, which should name %s", err, addr)
	}
}

func TestAllTopicsThatAreMissingAreNamedAtOnce(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 1})
	if err := w.reader.Exist(w.ctx, "t"); err != nil {
		t.Error(err)
	}
	err := w.reader.Exist(w.ctx, "b", "t", "a")
	if err == nil || err.Error() != "topics b, a do not exist; create them with: closeorder topics create" {
		t.Errorf("got %v", err)
	}
}

// A batch over the limit stands for all that cannot be read.
func TestWhatCannotBeReadIsReportedAndPassedOrEndsTheReading(t *testing.T) {
	w := start(t, broker.Topic{Name: "t", Partitions: 1})
	client := kafka.Open(kafka.Config{Brokers: w.broker.Addrs(), UnpackedBatch: 50_000})
	t.Cleanup(client.Close)
	w.reader.Client = client
	c := w.producer(t)
	large := strings.Repeat("x", 20_000)
	w.produce(t, c, rec(0, "a"))
	w.produce(t, c, rec(0, large), rec(0, large), rec(0, large))
	w.produce(t, c, rec(0, "b"))
	var got []string
	each := func(r kafka.Record) error { got = append(got, string(r.Value)); return nil }
	var unreadable *kafka.UnreadableError
	err := w.reader.Read(w.ctx, "t", kafka.Offsets{0: 0}, kafka.Offsets{0: 5}, each)
	if !errors.As(err, &unreadable) || unreadable.First != 1 || unreadable.Last != 3 || fmt.Sprint(got) != "[a]" {
		t.Errorf("nobody is told: %v, %v", got, err)
	}
	var told []kafka.UnreadableError
	w.reader.OnUnreadable = func(e *kafka.UnreadableError) { told = append(told, *e) }
	for _, span := range []struct {
		from, to, first, last int64
		records               string
	}{
		{0, 5, 1, 3, "[a b]"},
		{2, 3, 2, 2, "[]"}, // no more than was asked for
		{4, 5, 0, 0, "[b]"},
	} {
		got, told = nil, nil
		err := w.reader.Read(w.ctx, "t", kafka.Offsets{0: span.from}, kafka.Offsets{0: span.to}, each)
		if err != nil || fmt.Sprint(got) != span.records || span.last == 0 != (len(told) == 0) || span.last > 0 && (told[0].First != span.first || told[0].Last != span.last) {
			t.Errorf("from %d to %d: %v, told %v, %v", span.from, span.to, got, told, err)
		}
	}
}
