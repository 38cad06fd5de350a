package deadletters_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var topics = config.Topics{Requests: "requests", Outcomes: "outcomes", DeadLetters: "dead"}

// noon is when the first record was written; each one after it is a minute
// younger.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// planted is a cluster whose topics a test fills by hand.
type planted struct {
	t        *testing.T
	ctx      context.Context
	producer *kgo.Client
	broker   *broker.Broker // nil where there is a world around
	client   *kafka.Client
	reader   *kafka.Reader
	now      time.Time
	options  deadletters.Options
}

func plant(t *testing.T) *planted {
	t.Helper()
	return plantOn(t, nil)
}

// plantOn does so with settings for the requests topic.
func plantOn(t *testing.T, requests map[string]string) *planted {
	t.Helper()
	b, err := broker.Start(broker.Config{Topics: []broker.Topic{{Name: "requests", Partitions: 2, Configs: requests}, {Name: "outcomes", Partitions: 2}, {Name: "dead", Partitions: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	p := plantIn(t, b.Addrs(), (&net.Dialer{}).DialContext)
	p.broker = b
	return p
}

func plantIn(t *testing.T, brokers []string, dial func(context.Context, string, string) (net.Conn, error)) *planted {
	t.Helper()
	producer, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.Dialer(dial), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	client := kafka.Open(kafka.Config{Brokers: brokers, Dial: dial})
	t.Cleanup(func() {
		cancel()
		producer.Close()
		client.Close()
	})
	return &planted{
		t: t, ctx: ctx, producer: producer, client: client, now: noon,
		reader: &kafka.Reader{Client: client}, options: deadletters.Options{
			MaxReplays: 3, Now: noon.Add(24 * time.Hour), OnTotal: func(int64) {}, OnRead: func(int) {}, OnHeld: func(string) {},
		},
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
	return withReplay(m, replay)
}

func withReplay(m events.Message, n int) events.Message {
	if n > 0 {
		m.Headers = []events.Header{{Key: events.HeaderReplay, Value: []byte(strconv.Itoa(n))}}
	}
	return m
}

func (p *planted) dies(m events.Message, at events.Source, code string, change ...func(*records.DeadLetter)) events.Source {
	p.t.Helper()
	req, _ := events.DecodeRequest(m)
	d := records.DeadLetter{
		Original: m, ErrorCode: code, ErrorMessage: "no merchant is configured", FailedAt: p.now, Replay: req.Replay,
		Source: at, SourceTimestamp: p.now.Add(-time.Minute),
	}
	for _, c := range change {
		c(&d)
	}
	return p.write("dead", 0, records.EncodeDeadLetter(d))
}

// dead asks for an order, and it dies.
func (p *planted) dead(order string) events.Source {
	p.t.Helper()
	m := message(order, 0)
	at := p.write("requests", 0, m)
	p.outcome(m, at, events.Failed)
	p.dies(m, at, events.CodeUnknownMerchant)
	return at
}

func (p *planted) outcome(m events.Message, at events.Source, result events.Result) {
	p.t.Helper()
	req, _ := events.DecodeRequest(m)
	o := events.NewOutcome(req, m.Key, at)
	o.Result, o.CompletedAt = result, p.now
	out, err := events.EncodeOutcome(o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write("outcomes", 0, out)
}

func (p *planted) deletes(topic string, partition int, below int64) {
	p.t.Helper()
	var all kadm.Offsets
	all.AddOffset(topic, int32(partition), below, -1)
	if _, err := kadm.NewClient(p.producer).DeleteRecords(p.ctx, all); err != nil {
		p.t.Fatal(err)
	}
}

func (p *planted) plan() *deadletters.Plan {
	p.t.Helper()
	plan, err := deadletters.Make(p.ctx, p.reader, topics, p.options)
	if err != nil {
		p.t.Fatal(err)
	}
	return plan
}

func (p *planted) sending() deadletters.Sending {
	return deadletters.Sending{
		Reader: p.reader, Writer: &kafka.Writer{Client: p.client}, Topics: topics, Patience: time.Minute,
		OnSent: func(deadletters.Step, events.Source) {},
		OnLeft: func(s deadletters.Step, reason deadletters.Skip, err error) {
			p.t.Errorf("%+v is left: %s: %v", s, reason, err)
		},
	}
}

// requests are the records of the requests topic from an offset on.
func (p *planted) requests(from kafka.Offsets) []events.Message {
	p.t.Helper()
	to, err := p.reader.End(p.ctx, "requests")
	if err != nil {
		p.t.Fatal(err)
	}
	if from == nil {
		from = kafka.Offsets{0: 0, 1: 0}
	}
	var all []events.Message
	if err := p.reader.Read(p.ctx, "requests", from, to, func(rec kafka.Record) error {
		all = append(all, rec.Message)
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return all
}

// steps tells a plan in lines: the order, what is done, and why.
func steps(plan *deadletters.Plan) string {
	var b strings.Builder
	for _, s := range plan.Steps {
		order := s.OutTradeNo
		if order == "" {
			order = "-"
		}
		if s.Skip == "" {
			fmt.Fprintf(&b, "%s: replay %d\n", order, s.Replay)
			continue
		}
		fmt.Fprintf(&b, "%s: %s: %s\n", order, s.Skip, s.Why)
	}
	return b.String()
}
