package consumer_test

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/sirupsen/logrus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// till closes orders of a gateway that always agrees.
type till struct{}

func (till) Close(context.Context, events.Request, bool, consumer.Place) consumer.Verdict {
	return consumer.Verdict{Class: consumer.Closed, Code: "SUCCESS", SafeToReissue: true, ConfirmedBy: events.ConfirmedByCloseOrder, Calls: 1}
}

// Query is asked about requests that have expired.
func (till) Query(context.Context, events.Request, bool, consumer.Place) consumer.Verdict {
	return consumer.Verdict{Class: consumer.Failed, Code: "NOTPAY", Calls: 1}
}

func (till) Refuse(events.Request) (consumer.Verdict, bool) { return consumer.Verdict{}, false }
func (till) Probe(context.Context, events.Request) bool     { return true }

// A worker with a Closer of its own, from a request to its outcome.
func Example() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	kafka, err := broker.Start(broker.Config{})
	if err != nil {
		panic(err)
	}
	defer kafka.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addr()), kgo.ConsumeTopics("closeorder.outcomes"))
	if err != nil {
		panic(err)
	}
	defer client.Close()
	log := logrus.New()
	log.SetOutput(io.Discard)

	w, err := consumer.New(consumer.Config{
		Kafka: consumer.Kafka{Brokers: kafka.Addrs()}, Group: "closeorder", Closer: till{}, Log: log,
		SessionTimeout: 45 * time.Second, RebalanceTimeout: time.Minute, Grace: 25 * time.Second, MaxInFlight: 256,
		Topics: consumer.Topics{
			Requests: "closeorder.requests", Outcomes: "closeorder.outcomes", DeadLetters: "closeorder.dead-letters",
			Retries: []consumer.Tier{{Topic: "closeorder.retries.10s", Delay: 10 * time.Second}},
		},
	})
	if err != nil {
		panic(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()

	client.Produce(ctx, &kgo.Record{
		Topic: "closeorder.requests", Key: []byte("T1"), Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T1"}`),
	}, nil)
	for _, r := range client.PollFetches(ctx).Records() {
		o, err := events.DecodeOutcome(messageOf(r))
		fmt.Println(o.OutTradeNo, o.Result, "safe to reissue:", o.SafeToReissue, err)
	}
	stop()
	fmt.Println("stopped:", <-done)
	// Output:
	// T1 closed safe to reissue: true <nil>
	// stopped: <nil>
}
