package consumer_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/sirupsen/logrus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// instant closes every order at once, so that what is measured is the way
// through Kafka.
type instant struct{}

func (instant) Close(context.Context, events.Request, bool, consumer.Place) consumer.Verdict {
	return closedAnswer
}
func (i instant) Query(ctx context.Context, r events.Request, tried bool, place consumer.Place) consumer.Verdict {
	return i.Close(ctx, r, tried, place)
}
func (instant) Refuse(events.Request) (consumer.Verdict, bool) { return consumer.Verdict{}, false }
func (instant) Probe(context.Context, events.Request) bool     { return true }

// BenchmarkWorker is the whole way of a request over TCP: embedded broker,
// fetch, outcome, commit. One operation is one request.
func BenchmarkWorker(b *testing.B) {
	k, err := broker.Start(broker.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Addr()), kgo.ConsumeTopics("closeorder.outcomes"))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for i := range b.N {
		order := fmt.Sprintf("T%08d", i)
		client.Produce(b.Context(), &kgo.Record{Topic: "closeorder.requests", Key: []byte(order), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q,"metadata":{"shop":42}}`, order)}, nil)
	}
	if err := client.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	w, err := consumer.New(consumer.Config{
		Kafka: consumer.Kafka{Brokers: k.Addrs()}, Group: "g", Closer: instant{}, Log: log,
		SessionTimeout: 45 * time.Second, RebalanceTimeout: time.Minute, Grace: 25 * time.Second, MaxInFlight: 256,
		Topics: consumer.Topics{
			Requests: "closeorder.requests", Outcomes: "closeorder.outcomes", DeadLetters: "closeorder.dead-letters",
			Retries: []consumer.Tier{{Topic: "closeorder.retries.10s", Delay: 10 * time.Second}},
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	go func() { done <- w.Run(ctx) }()
	for answered := 0; answered < b.N; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			b.Fatal(err)
		}
		answered += fetches.NumRecords()
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
