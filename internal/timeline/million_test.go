package timeline_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/timeline"
	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkAMillionOrders looks for one order among a million that were requested and
// answered, 12 partitions to a topic, on the embedded broker in the same process: by
// its number, in all partitions, and for one that is not there. Run it with
// -benchtime=1x.
func BenchmarkAMillionOrders(b *testing.B) {
	const orders, partitions = 1_000_000, 12
	topics := config.Default().Topics
	var made []broker.Topic
	for _, topic := range topics.All() {
		made = append(made, broker.Topic{Name: topic, Partitions: partitions})
	}
	br, err := broker.Start(broker.Config{Topics: made})
	if err != nil {
		b.Fatal(err)
	}
	defer br.Close()
	benchmarkMillion(b, br.Addr(), topics, orders, partitions)
}

func benchmarkMillion(b *testing.B, addr string, topics config.Topics, orders, partitions int) {
	number := func(i int) string { return fmt.Sprintf("T2026030100%09d", i) }
	fillMillion(b, addr, topics, orders, partitions, number)
	client := kafka.Open(kafka.Config{Brokers: []string{addr}})
	defer client.Close()
	for _, bb := range []struct {
		what   string
		number string
		all    bool
		lives  int
	}{
		{"by its number", number(orders / 9 * 7), false, 1},
		{"in all partitions", number(orders / 9 * 7), true, 1},
		{"one that is not there", "NEVER", false, 0},
	} {
		b.Run(bb.what, func(b *testing.B) {
			for b.Loop() {
				s, err := timeline.Take(b.Context(), timeline.Scope{
					Reader: &kafka.Reader{Client: client}, Topics: topics, Group: "closeorder", OutTradeNo: bb.number, All: bb.all,
				})
				if err != nil {
					b.Fatal(err)
				}
				read := 0
				r, err := s.Find(b.Context(), timeline.Options{OnTotal: func(n int64) { read += int(n) }})
				if err != nil {
					b.Fatal(err)
				}
				if len(r.Lives) != bb.lives || bb.lives > 0 && r.Lives[0].State != timeline.Closed {
					b.Fatalf("%+v", r)
				}
				b.ReportMetric(float64(read), "records")
			}
		})
	}
}

// fillMillion writes requests and their outcomes, the requests where Java's clients put them.
func fillMillion(b *testing.B, addr string, topics config.Topics, orders, partitions int, number func(int) string) {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	send := func(topic string, partition int, m events.Message) {
		r := &kgo.Record{Topic: topic, Partition: int32(partition), Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		c.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
			if err != nil {
				panic(err)
			}
		})
	}
	next := make([]int64, partitions)
	for i := range orders {
		q := events.Request{MchID: "1900000109", OutTradeNo: number(i), Reason: "payment_timeout", RequestID: fmt.Sprintf("request-%026d", i)}
		m, err := events.EncodeRequest(q, "/shops/1", noon)
		if err != nil {
			b.Fatal(err)
		}
		p := consumer.PartitionsOf(m.Key, partitions)[0]
		send(topics.Requests, p, m)
		o := events.NewOutcome(q, m.Key, events.Source{Topic: topics.Requests, Partition: p, Offset: next[p]})
		next[p]++
		o.Result, o.Code, o.SafeToReissue, o.ConfirmedBy, o.Attempts, o.CompletedAt = events.Closed, "SUCCESS", true, events.ConfirmedByCloseOrder, 1, noon
		o.Gateway = &events.Gateway{Host: "https://api.mch.weixin.qq.com", ReturnCode: "SUCCESS", ReturnMsg: "OK", ResultCode: "SUCCESS"}
		out, err := events.EncodeOutcome(o)
		if err != nil {
			b.Fatal(err)
		}
		send(topics.Outcomes, p, out)
	}
	if err := c.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
}
