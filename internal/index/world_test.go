package index_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/database"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var topics = func() config.Topics {
	t := config.Default().Topics
	t.RetryDelays = []time.Duration{10 * time.Second, time.Minute}
	return t
}()

// partitions of each topic.
var partitions = map[string]int{
	"closeorder.requests": 3, "closeorder.outcomes": 3, "closeorder.retries.10s": 3, "closeorder.retries.1m": 2, "closeorder.dead-letters": 2,
}

// noon is when the first record was written; each one after it is a second younger.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// shelf is topics that a test fills by hand, and what it has put there.
type shelf struct {
	t        testing.TB
	broker   *broker.Broker
	producer *kgo.Client
	client   *kafka.Client
	now      time.Time
	written  []kafka.Record
	// databases are those of the indexes that are open.
	databases map[*index.Index]*database.DB
}

func newShelf(t testing.TB) *shelf {
	t.Helper()
	var made []broker.Topic
	for topic, n := range partitions {
		made = append(made, broker.Topic{Name: topic, Partitions: n})
	}
	b, err := broker.Start(broker.Config{Topics: made})
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{t: t, broker: b, now: noon, client: kafka.Open(kafka.Config{Brokers: b.Addrs()}, topics.All()...), databases: map[*index.Index]*database.DB{}}
	t.Cleanup(func() {
		s.client.Close()
		s.producer.Close()
		b.Close()
	})
	s.produces()
	return s
}

// produces makes a producer that knows the topics as they are now.
func (s *shelf) produces() {
	s.t.Helper()
	if s.producer != nil {
		s.producer.Close()
	}
	var err error
	if s.producer, err = kgo.NewClient(kgo.SeedBrokers(s.broker.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) reader() *kafka.Reader { return &kafka.Reader{Client: s.client} }

// write writes a record; its time is s.now, which moves on.
func (s *shelf) write(topic string, partition int, m events.Message) events.Source {
	s.t.Helper()
	r := &kgo.Record{Topic: topic, Partition: int32(partition % partitions[topic]), Key: m.Key, Value: m.Value, Timestamp: s.now}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	s.now = s.now.Add(time.Second)
	if err := s.producer.ProduceSync(context.Background(), r).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
	rec := kafka.Record{Topic: topic, Partition: int(r.Partition), Offset: r.Offset, Time: r.Timestamp, Message: m}
	s.written = append(s.written, rec)
	return rec.Source()
}

// asks writes a request.
func (s *shelf) asks(partition int, value string, headers ...events.Header) (events.Message, events.Source) {
	s.t.Helper()
	m := events.Message{Key: []byte("key of " + value), Value: []byte(value), Headers: headers}
	return m, s.write(topics.Requests, partition, m)
}

// order is the value of a request.
func order(number, mch, more string) string {
	return fmt.Sprintf(`{"out_trade_no":%q,"mch_id":%q%s}`, number, mch, more)
}

// answers writes the outcome of a request, which change may alter.
func (s *shelf) answers(m events.Message, at events.Source, result events.Result, change ...func(*events.Outcome)) events.Source {
	s.t.Helper()
	q, _ := events.DecodeRequest(m)
	o := events.NewOutcome(q, m.Key, at)
	o.Result, o.CompletedAt = result, s.now
	for _, c := range change {
		c(&o)
	}
	out, err := events.EncodeOutcome(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.write(topics.Outcomes, at.Partition, out)
}

func (s *shelf) waits(m events.Message, at events.Source) events.Source {
	s.t.Helper()
	return s.write(topics.Retries()[0], at.Partition, records.EncodeRetry(records.Retry{Original: m, DueAt: s.now, Code: "SYSTEMERROR", Source: at}))
}

func (s *shelf) dies(m events.Message, at events.Source, code string, change ...func(*records.DeadLetter)) events.Source {
	s.t.Helper()
	q, _ := events.DecodeRequest(m)
	d := records.DeadLetter{Original: m, ErrorCode: code, ErrorMessage: "it says " + code, FailedAt: s.now.Add(time.Microsecond), Replay: q.Replay, Source: at}
	for _, c := range change {
		c(&d)
	}
	return s.write(topics.DeadLetters, at.Partition, records.EncodeDeadLetter(d))
}

func (s *shelf) deletes(topic string, partition int, below int64) {
	s.t.Helper()
	var all kadm.Offsets
	all.AddOffset(topic, int32(partition), below, -1)
	if _, err := kadm.NewClient(s.producer).DeleteRecords(context.Background(), all); err != nil {
		s.t.Fatal(err)
	}
}

func quiet() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(os.Stderr)
	log.SetLevel(logrus.ErrorLevel)
	return log
}

// opened is an index in a folder, empty for memory.
func (s *shelf) opened(dir string, change ...func(*index.Config)) *index.Index {
	s.t.Helper()
	db, err := database.Open(context.Background(), dir)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { db.Close() })
	cfg := index.Config{Reader: s.reader(), Topics: topics, DB: db, Log: quiet()}
	for _, c := range change {
		c(&cfg)
	}
	x, err := index.Open(context.Background(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.databases[x] = db
	return x
}

// closes closes the database of an index, so that it can be opened again.
func (s *shelf) closes(x *index.Index) {
	s.t.Helper()
	if err := s.databases[x].Close(); err != nil {
		s.t.Fatal(err)
	}
}

func turn(t testing.TB, x *index.Index) {
	t.Helper()
	if err := x.Turn(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func dumped(t testing.TB, x *index.Index) []string {
	t.Helper()
	all, err := x.Dump(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// same compares what stands in two indexes.
func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	left, right := map[string]bool{}, map[string]bool{}
	for _, row := range got {
		left[row] = true
	}
	for _, row := range want {
		right[row] = true
	}
	var differs []string
	for _, row := range slices.Sorted(maps.Keys(left)) {
		if !right[row] {
			differs = append(differs, "+ "+row)
		}
	}
	for _, row := range slices.Sorted(maps.Keys(right)) {
		if !left[row] {
			differs = append(differs, "- "+row)
		}
	}
	t.Errorf("%s:\n%s", what, strings.Join(differs[:min(len(differs), 20)], "\n"))
}

// anything writes n requests, with all that can follow from them and a good deal that
// should not.
func (s *shelf) anything(r *rand.Rand, n int) {
	s.t.Helper()
	for i := range n {
		number, mch := fmt.Sprintf("T%d", r.IntN(n)), fmt.Sprintf("19000001%02d", r.IntN(3))
		more := []string{"", `,"request_id":"R1"`, `,"sub_mch_id":"15"`, `,"request_id":"R2","replacement_out_trade_no":"N1"`, `,"nonsense`}[r.IntN(5)]
		var headers []events.Header
		replay := r.IntN(3)
		if replay > 0 {
			headers = append(headers, events.Header{Key: events.HeaderReplay, Value: fmt.Append(nil, replay)})
		}
		value := order(number, mch, more)
		switch r.IntN(8) { // as some libraries write it
		case 0:
			value = strings.ReplaceAll(value, "T", `\u0054`)
		case 1:
			value = strconv.Quote(value)
		case 2:
			value = base64.StdEncoding.EncodeToString([]byte(value))
		}
		m := events.Message{Key: []byte(number), Value: []byte(value), Headers: headers}
		if r.IntN(5) == 0 {
			m.Key = nil
		}
		at := s.write(topics.Requests, r.IntN(3), m)
		if r.IntN(3) == 0 {
			s.waits(m, at)
		}
		gateway := func(o *events.Outcome) {
			if o.Result == events.Paid {
				o.Gateway = &events.Gateway{TransactionID: fmt.Sprintf("4200%06d", i)}
			}
			o.Code = []string{"SUCCESS", "ORDERPAID", ""}[r.IntN(3)]
		}
		result := []events.Result{events.Closed, events.Paid, events.Failed}[r.IntN(3)]
		switch r.IntN(10) {
		case 0: // none yet
		case 1:
			s.answers(m, at, result, gateway)
			s.answers(m, at, events.Closed, gateway)
		case 2:
			s.answers(m, at, result, gateway, func(o *events.Outcome) { o.RequestID += "x"; o.ID = "" })
			s.answers(m, at, result, gateway)
		case 3:
			s.answers(m, at, result, gateway, func(o *events.Outcome) { o.Source.Topic = "elsewhere" })
		case 4:
			s.write(topics.Outcomes, at.Partition, events.Message{Key: []byte(number), Value: []byte("nonsense")})
		default:
			s.answers(m, at, result, gateway)
		}
		switch r.IntN(6) {
		case 0, 1:
			s.dies(m, at, []string{"SYSTEMERROR", "UNKNOWN_MERCHANT", "SystemError"}[r.IntN(3)])
		case 2:
			s.dies(m, at, "X", func(d *records.DeadLetter) { d.ValueOmitted = records.OmittedHeaders })
		case 3:
			s.write(topics.DeadLetters, at.Partition, m)
		}
	}
}

// letters are all dead letters as the command reads them.
func (s *shelf) letters(f deadletters.Filter) (all []deadletters.Letter) {
	s.t.Helper()
	ctx := context.Background()
	stretch, err := deadletters.Find(ctx, s.reader(), topics.DeadLetters, f)
	if err == nil {
		err = deadletters.Each(ctx, s.reader(), stretch, f, func() {}, func(l deadletters.Letter) error {
			all = append(all, l)
			return nil
		})
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		s.t.Fatal(err)
	}
	return all
}
