package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	virtual "github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestAReadingThatHasAnEndGivesUpWhenNothingComes, with the place and the
// reason, while who follows waits for ever.
func TestAReadingThatHasAnEndGivesUpWhenNothingComes(t *testing.T) {
	const patience = 2 * time.Minute
	for _, tt := range []struct {
		what string
		// trouble comes when two records of partition 1 were read and two more were fetched.
		trouble func(k *virtual.Kafka)
		end     int64
		err     string // how the error begins, "" for none
		last    string // the last failure
	}{
		{"the brokers are gone", func(k *virtual.Kafka) { k.Broker(0).Refuse() }, 10,
			"topic t, partition 1, offset 4 of 10: nothing came for 2m", "refused"},
		{"the brokers are frozen", func(k *virtual.Kafka) { k.Broker(0).Freeze() }, 10,
			"topic t, partition 1, offset 4 of 10: nothing came for 2m", "i/o timeout"},
		{"the log was cut off, and brokers answer with nothing", func(*virtual.Kafka) {}, 12,
			"topic t, partition 1, offset 10 of 12: nothing came for 2m", ""},
		{"the brokers come back in time", func(k *virtual.Kafka) {
			k.Broker(0).Refuse()
			time.AfterFunc(patience-20*time.Second, k.Broker(0).Heal)
		}, 10, "", ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := virtual.NewNetwork()
				k, err := virtual.StartKafka(network, 1, []broker.Topic{{Name: "t", Partitions: 2}})
				if err != nil {
					t.Fatal(err)
				}
				host := network.Boot("reader")
				ctx, cancel := context.WithCancel(t.Context())
				client := kafka.Open(kafka.Config{Brokers: k.Addrs(), Dial: host.DialContext})
				producer, err := kgo.NewClient(kgo.SeedBrokers(k.Addrs()...), kgo.Dialer(host.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					k.Broker(0).Heal()
					cancel()
					producer.Close()
					client.Close()
					if err := k.Close(); err != nil {
						t.Error(err)
					}
				})
				for i := range 10 {
					if err := producer.ProduceSync(ctx, rec(1, fmt.Sprint(i))).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
				r := kafka.Reader{Client: client, FetchBytes: 100, Patience: patience}
				n := 0
				err = r.Read(ctx, "t", kafka.Offsets{0: 0, 1: 0}, kafka.Offsets{0: 0, 1: tt.end}, func(kafka.Record) error {
					if n++; n == 2 {
						time.Sleep(2 * patience) // what takes the caller long is no fault of Kafka's
						tt.trouble(k)
					}
					return nil
				})
				var stalled *kafka.StalledError
				switch {
				case tt.err == "":
					if err != nil || n != 10 {
						t.Errorf("%d records, %v", n, err)
					}
					return
				case !errors.As(err, &stalled) || !strings.HasPrefix(err.Error(), tt.err) || !strings.Contains(err.Error(), tt.last):
					t.Errorf("got %v", err)
				case stalled.Err == nil != (tt.last == ""):
					t.Errorf("the last failure is %v", stalled.Err)
				}
				if tt.last != "" {
					if _, err := r.End(ctx, "t"); !errors.As(err, &stalled) || !strings.Contains(err.Error(), ": nothing came for 2m") {
						t.Errorf("a question: %v", err)
					}
				}
				// No deadline: fetches that come ever closer to one would wait for
				// less than the clock of the bubble can move.
				waiting, stop := context.WithCancelCause(ctx)
				enough := errors.New("enough")
				time.AfterFunc(10*patience, func() { stop(enough) })
				if err := r.Read(waiting, "t", kafka.Offsets{1: 10}, nil, func(kafka.Record) error { return nil }); !errors.Is(err, enough) {
					t.Errorf("following: %v", err)
				}
			})
		})
	}
}
