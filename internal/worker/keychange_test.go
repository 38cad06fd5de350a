package worker_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/merchants"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/closeorder/closeorder/signing"
	"github.com/sirupsen/logrus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The way a key is changed without failing a request: both keys into the
// merchants file, then the change at the gateway, then the old one out.
func TestAKeyIsChangedUnderLoadWithoutOneFailedRequest(t *testing.T) {
	sim, err := gatewaysim.New(gatewaysim.Config{Merchants: gatewaysim.DefaultMerchants(), Latency: gatewaysim.Latency{Min: 5 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewServer(sim)
	defer gateway.Close()
	kafka, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()

	file := filepath.Join(t.TempDir(), "merchants.yaml")
	write := func(keys string) {
		text := fmt.Sprintf("merchants:\n  - {mch_id: \"1900000109\", appid: wx8888888888888888, rate: 100000, %s}\n", keys)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const after = "another-key-of-thirty-two-letters"
	write("key: " + gatewaysim.DirectKey)
	merchants, err := merchants.Open(file)
	if err != nil {
		t.Fatal(err)
	}

	cfg := config.Default()
	cfg.Kafka.Brokers = kafka.Addrs()
	cfg.Gateway.URLs = []string{gateway.URL}
	log := logrus.New()
	log.SetOutput(io.Discard)
	w, err := worker.New(cfg, worker.Deps{Log: log, Merchants: merchants})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- w.Run(ctx) }()

	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addr()), kgo.ConsumeTopics(cfg.Topics.Outcomes))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	asked, answered := 0, 0
	ask := func(n int) {
		for range n {
			order := fmt.Sprintf("T%05d", asked)
			asked++
			client.Produce(ctx, &kgo.Record{
				Topic: cfg.Topics.Requests, Key: []byte(order),
				Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q,"order_created_at":"2026-01-01T00:00:00Z"}`, order),
			}, nil)
		}
	}
	read := func(until int) {
		for answered < until {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				answered++
				m := events.Message{Key: r.Key, Value: r.Value}
				for _, h := range r.Headers {
					m.Headers = append(m.Headers, events.Header{Key: h.Key, Value: h.Value})
				}
				o, err := events.DecodeOutcome(m)
				if err != nil || o.Result != events.Closed {
					t.Errorf("%s: %s %s %v", o.OutTradeNo, o.Result, o.Code, err)
				}
			})
		}
	}
	reload := func() {
		if err := merchants.Reload(); err != nil {
			t.Fatal(err)
		}
	}

	ask(500)
	read(100) // in the middle of it: both keys
	write(fmt.Sprintf("key: %s, next_key: %s", gatewaysim.DirectKey, after))
	reload()
	ask(500)
	read(600) // in the middle of it: the gateway takes the new key alone
	key, err := signing.NewKey(after)
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.SetKey("1900000109", key); err != nil {
		t.Fatal(err)
	}
	ask(500)
	read(1100) // and the old one goes
	write("key: " + after)
	reload()
	ask(500)
	read(asked)
	cancel()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
