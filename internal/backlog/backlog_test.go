package backlog_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/backlog"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const group = "workers"

var (
	topics = config.Topics{Requests: "requests", Outcomes: "outcomes", DeadLetters: "dead", RetriesPrefix: "retries", RetryDelays: []time.Duration{10 * time.Second, time.Minute}}
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// planted is a cluster whose topics a test fills by hand.
type planted struct {
	t        *testing.T
	ctx      context.Context
	producer *kgo.Client
	admin    *kadm.Client
	scope    backlog.Scope
	now      time.Time // of the next record, each a minute younger
}

func plant(t *testing.T) *planted {
	t.Helper()
	b, err := broker.Start(broker.Config{Topics: []broker.Topic{{Name: "requests", Partitions: 2}, {Name: "retries.10s", Partitions: 1}, {Name: "retries.1m", Partitions: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	producer, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	client := kafka.Open(kafka.Config{Brokers: b.Addrs()})
	t.Cleanup(func() {
		cancel()
		producer.Close()
		client.Close()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return &planted{
		t: t, ctx: ctx, producer: producer, admin: kadm.NewClient(producer), now: noon,
		scope: backlog.Scope{Reader: &kafka.Reader{Client: client}, Group: group, Topics: topics},
	}
}

func (p *planted) write(topic string, partition int, m events.Message) events.Source {
	p.t.Helper()
	r := &kgo.Record{Topic: topic, Partition: int32(partition), Key: m.Key, Value: m.Value, Timestamp: p.now}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	p.now = p.now.Add(time.Minute)
	if err := p.producer.ProduceSync(p.ctx, r).FirstErr(); err != nil {
		p.t.Fatal(err)
	}
	return events.Source{Topic: topic, Partition: partition, Offset: r.Offset}
}

func message(merchant, order string) events.Message {
	return events.Message{Key: []byte(order), Value: fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":%q}`, merchant, order)}
}

// commits commits that all below offset is finished, and one offset above it.
func (p *planted) commits(topic string, partition int, offset int64, above ...int64) {
	p.t.Helper()
	metadata := ""
	if len(above) > 0 {
		// "co1:", then base64 of an encoding byte, a gap and a length less one, and
		// a CRC-32C over topic, partition, offset and what stands before it.
		payload := binary.AppendUvarint([]byte{'r'}, uint64(above[0]-offset))
		payload = binary.AppendUvarint(payload, 0)
		place := binary.BigEndian.AppendUint16(nil, uint16(len(topic)))
		place = binary.BigEndian.AppendUint32(append(place, topic...), uint32(partition))
		place = binary.BigEndian.AppendUint64(place, uint64(offset))
		sum := crc32.Checksum(append(place, payload...), crc32.MakeTable(crc32.Castagnoli))
		metadata = "co1:" + base64.RawStdEncoding.EncodeToString(binary.BigEndian.AppendUint32(payload, sum))
	}
	var all kadm.Offsets
	all.Add(kadm.Offset{Topic: topic, Partition: int32(partition), At: offset, LeaderEpoch: -1, Metadata: metadata})
	if err := p.admin.CommitAllOffsets(p.ctx, group, all); err != nil {
		p.t.Fatal(err)
	}
}

func (p *planted) open() (*backlog.Positions, []backlog.Open) {
	p.t.Helper()
	positions, err := backlog.Take(p.ctx, p.scope)
	if err != nil {
		p.t.Fatal(err)
	}
	var all []backlog.Open
	if err := positions.Each(p.ctx, func(o backlog.Open) error { all = append(all, o); return nil }); err != nil {
		p.t.Fatal(err)
	}
	return positions, all
}

func TestWhatIsNotFinished(t *testing.T) {
	p := plant(t)
	for n := range 5 {
		p.write("requests", 0, message("1900000109", fmt.Sprint("T", n)))
	}
	elsewhere := p.write("requests", 1, message("1900000111", "T5"))
	due := noon.Add(time.Hour)
	retry := records.Retry{
		Original: message("1900000109", "T0"), DueAt: due, Retries: 2, Calls: 3, Code: "MERCHANT_HELD", Reason: "SIGNERROR", WaitsFor: records.WaitsForMerchant,
		Replay: 1, Source: events.Source{Topic: "requests", Partition: 0, Offset: 0}, SourceTimestamp: noon,
	}
	p.write("retries.10s", 0, records.EncodeRetry(retry)) // finished
	p.write("retries.1m", 0, records.EncodeRetry(retry))
	p.write("retries.1m", 0, message("1900000109", "no retry record"))
	p.commits("requests", 0, 2, 3)
	p.commits("retries.10s", 0, 1)

	read := 0
	p.scope.OnRead = func(n int) { read += n }
	positions, open := p.open()
	var places []string
	for _, o := range open {
		places = append(places, fmt.Sprintf("%s %d:%d %s", o.Topic, o.Partition, o.Offset, o.Order.OutTradeNo))
	}
	slices.Sort(places)
	want := []string{"requests 0:2 T2", "requests 0:4 T4", "requests 1:0 T5", "retries.1m 0:0 T0", "retries.1m 0:1 "}
	if !slices.Equal(places, want) {
		t.Errorf("not finished: %q, want %q", places, want)
	}
	if read != 6 || positions.Records() != 6 || positions.Lag("requests") != 4 {
		t.Errorf("%d records read of %d, requests lag by %d; want 6 of 6, and 4", read, positions.Records(), positions.Lag("requests"))
	}
	waits := open[0]
	if w := waits; !w.Waiting || w.Err != nil || w.Source != retry.Source || w.Order.MchID != "1900000109" || !w.Requested.Equal(noon) || !w.Due.Equal(due) ||
		w.Code != retry.Code || w.Reason != retry.Reason || w.WaitsFor != retry.WaitsFor || w.Retries != 2 || w.Calls != 3 || w.Replay != 1 {
		t.Errorf("what waits is %+v", w)
	}
	if _, invalid := errors.AsType[*events.ValidationError](open[1].Err); !invalid {
		t.Errorf("a record that is no retry: %+v", open[1])
	}
	if last := open[slices.IndexFunc(open, func(o backlog.Open) bool { return o.Order.OutTradeNo == "T5" })]; last.Waiting || last.Source != elsewhere || !last.Requested.Equal(noon.Add(5*time.Minute)) {
		t.Errorf("what nobody has read is %+v", last)
	}

	stopped := errors.New("enough")
	calls := 0
	if err := positions.Each(p.ctx, func(backlog.Open) error { calls++; return stopped }); !errors.Is(err, stopped) || calls != 1 {
		t.Errorf("after %d calls: %v", calls, err)
	}
}

func TestPositionsOfAnotherLog(t *testing.T) {
	p := plant(t)
	p.write("requests", 0, message("1900000109", "T0"))
	p.commits("requests", 0, 7)
	positions, open := p.open()
	if positions.Finished("requests", 0, 0) || positions.From("requests", 0) != 0 || len(open) != 1 {
		t.Errorf("a commit beyond the end of the log counts: %+v", open)
	}
	if positions.Finished("requests", 1, 0) {
		t.Error("where nothing is committed something is finished")
	}
}

func TestTopicsThatAreMissing(t *testing.T) {
	p := plant(t)
	p.scope.Topics.RetryDelays = []time.Duration{time.Second, 10 * time.Second}
	_, err := backlog.Take(p.ctx, p.scope)
	if missing, is := errors.AsType[*kafka.MissingTopicsError](err); !is || !slices.Equal(missing.Topics, []string{"retries.1s"}) {
		t.Errorf("%v", err)
	}
}

func TestSummary(t *testing.T) {
	var s backlog.Summary
	for n := range 6 {
		s.Add("MERCHANT_HELD", "1900000111", noon.Add(time.Duration(n)*time.Minute), noon.Add(time.Duration(10-n)*time.Hour))
	}
	s.Add("SYSTEMERROR", "1900000111", noon.Add(-time.Hour), noon)
	s.Add("SYSTEMERROR", "1900000112", noon, noon.Add(time.Minute))
	s.Add("", "1900000112", noon, time.Time{})
	piles, rest := s.Piles(1)
	if want := (backlog.Pile{Code: "MERCHANT_HELD", MchID: "1900000111", Count: 6, Oldest: noon, DueFirst: noon.Add(5 * time.Hour), DueLast: noon.Add(10 * time.Hour)}); len(piles) != 1 || piles[0] != want {
		t.Errorf("the largest pile is %+v, want %+v", piles, want)
	}
	if want := (backlog.Pile{Count: 3, Oldest: noon.Add(-time.Hour), DueFirst: noon, DueLast: noon.Add(time.Minute)}); rest != want {
		t.Errorf("the rest is %+v, want %+v", rest, want)
	}
	if piles, rest := s.Piles(0); len(piles) != 4 || piles[1].Code != "SYSTEMERROR" || piles[1].MchID != "1900000111" || rest.Count != 0 {
		t.Errorf("all piles, the larger and older first: %+v and %+v", piles, rest)
	}
	for n := range 12_000 {
		s.Add("SYSTEMERROR", fmt.Sprint("merchant ", n), noon, noon)
	}
	if piles, rest := s.Piles(0); len(piles) != 10_000 || rest.Count != 2004 || s.All().Count != 12_009 {
		t.Errorf("%d piles and %d more of %d", len(piles), rest.Count, s.All().Count)
	}
}
