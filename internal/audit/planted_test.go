package audit_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var topics = config.Topics{Requests: "requests", Outcomes: "outcomes", DeadLetters: "dead", RetriesPrefix: "retries", RetryDelays: []time.Duration{10 * time.Second, time.Minute}}

const group = "workers"

// noon is when the first record was written; each one after it is a minute
// younger.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// planted is a cluster whose topics a test fills by hand.
type planted struct {
	t        *testing.T
	ctx      context.Context
	broker   *broker.Broker
	producer *kgo.Client // what writes now
	plain    *kgo.Client // what writes without a transaction
	admin    *kadm.Client
	now      time.Time
	scope    audit.Scope
	limit    int
	once     bool // exactly
}

func plant(t *testing.T) *planted {
	t.Helper()
	all := []broker.Topic{{Name: "requests", Partitions: 2}, {Name: "outcomes", Partitions: 2}, {Name: "dead", Partitions: 1}, {Name: "retries.10s", Partitions: 1}, {Name: "retries.1m", Partitions: 1}}
	b, err := broker.Start(broker.Config{Topics: all})
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
		t: t, ctx: ctx, broker: b, producer: producer, plain: producer, admin: kadm.NewClient(producer), now: noon,
		scope: audit.Scope{Reader: &kafka.Reader{Client: client}, Group: group, Topics: topics},
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

func message(order string, replay int) events.Message {
	m := events.Message{Key: []byte(order), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q}`, order)}
	if replay > 0 {
		m.Headers = []events.Header{{Key: events.HeaderReplay, Value: []byte(strconv.Itoa(replay))}}
	}
	return m
}

func (p *planted) request(partition int, order string) events.Source {
	p.t.Helper()
	return p.write("requests", partition, message(order, 0))
}

func (p *planted) replay(partition int, order string, n int) events.Source {
	p.t.Helper()
	return p.write("requests", partition, message(order, n))
}

// outcomeOf is the outcome that a worker would give.
func outcomeOf(m events.Message, at events.Source, result events.Result, now time.Time) events.Outcome {
	req, _ := events.DecodeRequest(m)
	o := events.NewOutcome(req, m.Key, at)
	o.Result, o.CompletedAt, o.Attempts = result, now, 1
	switch result {
	case events.Closed:
		o.Code, o.SafeToReissue, o.ConfirmedBy = "SUCCESS", true, events.ConfirmedByCloseOrder
	case events.Paid:
		o.Code = "ORDERPAID"
	default:
		o.Code = "PARAM_ERROR"
	}
	return o
}

// answers writes the outcome of an order's request, changed by change.
func (p *planted) answers(at events.Source, order string, result events.Result, change ...func(*events.Outcome)) {
	p.t.Helper()
	o := outcomeOf(message(order, 0), at, result, p.now)
	for _, c := range change {
		c(&o)
	}
	p.outcome(o)
}

// outcome writes an outcome where its key belongs, as earlier workers did.
func (p *planted) outcome(o events.Outcome) {
	p.t.Helper()
	m := p.encode(o)
	p.write("outcomes", home(m.Key, 2), m)
}

func (p *planted) encode(o events.Outcome) events.Message {
	p.t.Helper()
	m, err := events.EncodeOutcome(o)
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// home is the partition that a key belongs to.
func home(key []byte, partitions int) int {
	if key == nil {
		return 0
	}
	return kafka.PartitionOf(key, partitions)
}

func numbered(n int) func(*events.Outcome) {
	return func(o *events.Outcome) {
		o.Replay = n
		o.ID = events.OutcomeID(o.RequestID, o.Order(), o.Source, n)
	}
}

func unsafe(o *events.Outcome) { o.SafeToReissue = false }

func retryOf(m events.Message, at events.Source, now time.Time) events.Message {
	return records.EncodeRetry(records.Retry{Original: m, DueAt: now, Retries: 1, Code: "SYSTEMERROR", Source: at, SourceTimestamp: now})
}

func (p *planted) waits(topic string, at events.Source, order string) events.Source {
	p.t.Helper()
	return p.write(topic, 0, retryOf(message(order, 0), at, p.now))
}

func (p *planted) dies(at events.Source, order string) {
	p.t.Helper()
	p.write("dead", 0, records.EncodeDeadLetter(records.DeadLetter{
		Original: message(order, 0), ErrorCode: "PARAM_ERROR", ErrorMessage: "no", FailedAt: p.now, Source: at, SourceTimestamp: p.now,
	}))
}

// commits commits that all below offset is finished, and what lies above.
func (p *planted) commits(topic string, partition int, offset int64, above ...int64) {
	p.t.Helper()
	p.commitAs(topic, partition, offset, metadata(topic, partition, offset, above...))
}

func (p *planted) commitAs(topic string, partition int, offset int64, metadata string) {
	p.t.Helper()
	var all kadm.Offsets
	all.Add(kadm.Offset{Topic: topic, Partition: int32(partition), At: offset, LeaderEpoch: -1, Metadata: metadata})
	if err := p.admin.CommitAllOffsets(p.ctx, group, all); err != nil {
		p.t.Fatal(err)
	}
}

// metadata writes what is finished above the committed offset, as workers do:
// "co1:", then base64 of an encoding byte, pairs of a gap and a length less
// one, and a CRC-32C over topic, partition, offset and what stands before it.
func metadata(topic string, partition int, committed int64, above ...int64) string {
	if len(above) == 0 {
		return ""
	}
	payload := []byte{'r'}
	at := committed
	for _, o := range above {
		payload = binary.AppendUvarint(payload, uint64(o-at))
		payload = binary.AppendUvarint(payload, 0)
		at = o + 1
	}
	place := binary.BigEndian.AppendUint16(nil, uint16(len(topic)))
	place = append(place, topic...)
	place = binary.BigEndian.AppendUint32(place, uint32(partition))
	place = binary.BigEndian.AppendUint64(place, uint64(committed))
	sum := crc32.Checksum(append(place, payload...), crc32.MakeTable(crc32.Castagnoli))
	return "co1:" + base64.RawStdEncoding.EncodeToString(binary.BigEndian.AppendUint32(payload, sum))
}

// deletes takes all records below an offset away, as retention does.
func (p *planted) deletes(topic string, partition int, below int64) {
	p.t.Helper()
	var all kadm.Offsets
	all.AddOffset(topic, int32(partition), below, -1)
	if _, err := p.admin.DeleteRecords(p.ctx, all); err != nil {
		p.t.Fatal(err)
	}
}

func (p *planted) audit() *audit.Report {
	p.t.Helper()
	s, err := audit.Take(p.ctx, p.scope)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := s.Audit(p.ctx, audit.Options{Limit: p.limit, ExactlyOnce: p.once})
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

// text is a report as JSON, without the time of the audit.
func text(t *testing.T, r *audit.Report) string {
	t.Helper()
	r.AsOf = time.Time{}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
