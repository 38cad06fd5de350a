//go:build apachekafka

package crashtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kgo"
)

// shop is an order service that asks for orders to be closed. It publishes
// with franz-go: acks=all, idempotent, without giving up.
type shop struct {
	client *kgo.Client

	mu   sync.Mutex
	sent int
	errs []error
}

func openShop(t testing.TB, brokers []string, topic string, opts ...kgo.Opt) *shop {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(brokers...), kgo.ClientID("shop"), kgo.DefaultProduceTopic(topic),
		// A broker that is killed closes what has only just been opened: no reason to
		// give a request up.
		kgo.AlwaysRetryEOF(),
		// One with a ZooKeeper that has come back knows no topic at all before its
		// controller tells it.
		kgo.UnknownTopicRetries(-1),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.MaxBufferedRecords(1_000_000),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &shop{client: client}
}

// send publishes a record and does not wait.
func (s *shop) send(ctx context.Context, m world.Message) {
	r := &kgo.Record{Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	s.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.errs = append(s.errs, fmt.Errorf("publish request: %w", err))
			return
		}
		s.sent++
	})
}

// flush waits until all is acknowledged and returns how many records were,
// ever.
func (s *shop) flush(ctx context.Context) (int, error) {
	err := s.client.Flush(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent, errors.Join(append(s.errs, err)...)
}

// loadChunk is how much traffic is drawn at a time.
const loadChunk = 5 * time.Second

// load publishes requests like those of traffic, perSecond of them, until stop
// ends. It does not wait for acknowledgements: a broker that is away makes the
// order service no slower.
func (s *shop) load(ctx context.Context, stop <-chan struct{}, perSecond int, traffic world.Traffic) {
	traffic.Requests, traffic.Over = perSecond*int(loadChunk/time.Second), loadChunk
	for begin := time.Now(); ; begin = begin.Add(loadChunk) {
		for _, p := range traffic.Publications() {
			if !pause(stop, time.Until(begin.Add(p.After))) {
				return
			}
			s.send(ctx, p.Message)
		}
		traffic.Seed++ // other orders
	}
}

// pause waits for d, and returns false at once when stop is closed before.
func pause(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}
