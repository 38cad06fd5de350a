package world

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Shop is an order service on a host of its own. It publishes with franz-go:
// nothing of what is tested helps to test it.
type Shop struct {
	world  *World
	name   string
	host   *Host
	client *kgo.Client
	topic  string

	transactions atomic.Int64

	mu   sync.Mutex
	errs []error
}

// OpenShop starts an order service.
func (w *World) OpenShop(name string) (*Shop, error) {
	s := &Shop{world: w, name: name, host: w.Network.Boot(name), topic: w.Config.Topics.Requests}
	var err error
	s.client, err = kgo.NewClient(append(reach(w, s.host),
		kgo.ClientID(name),
		kgo.DisableClientMetrics(),
		kgo.DefaultProduceTopic(s.topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(0),
		// An idempotent producer waits for its id with a mutex, in which a
		// bubble's clock stands still. Without it a lost answer writes twice,
		// as with many a client.
		kgo.DisableIdempotentWrite(),
		kgo.MaxProduceRequestsInflightPerBroker(1),
		kgo.MetadataMinAge(100*time.Millisecond),
		kgo.MaxBufferedRecords(100_000),
	)...)
	if err != nil {
		return nil, fmt.Errorf("world: shop %s: %w", name, err)
	}
	w.closers = append(w.closers, func() error {
		s.client.Close()
		return errors.Join(s.errs...)
	})
	return s, nil
}

// reach is how a franz-go client on a host gets to Kafka.
func reach(w *World, h *Host) []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(w.Kafka.Addrs()...), kgo.Dialer(h.DialContext)}
}

// Ask publishes records at their times, counted from now, and returns when
// all of them are acknowledged. The error is of a record that was given up.
func (s *Shop) Ask(ctx context.Context, records []Publication) error {
	begin := time.Now()
	var transactions sync.WaitGroup
	for i := 0; i < len(records); i++ {
		p := records[i]
		if wait := time.Until(begin.Add(p.After)); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if p.Transaction == 0 {
			s.send(ctx, p)
			continue
		}
		// All of a transaction are written at the time of its first.
		first := i
		for i+1 < len(records) && records[i+1].Transaction == p.Transaction {
			i++
		}
		id := fmt.Sprintf("%s-%d", s.name, s.transactions.Add(1))
		transactions.Go(func() { s.keep(s.transact(ctx, id, records[first:i+1])) })
	}
	err := s.client.Flush(ctx)
	transactions.Wait()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.errs...)
}

func (s *Shop) send(ctx context.Context, p Publication) {
	s.client.Produce(ctx, &kgo.Record{
		Key: p.Key, Value: p.Value, Headers: headers(p.Headers),
		Partition: int32(s.partition(p)), Timestamp: p.Timestamp,
	}, func(_ *kgo.Record, err error) { s.keep(err) })
}

// keep keeps an error of a record that was given up.
func (s *Shop) keep(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("publish request: %w", err))
	}
}

// partition keeps the requests of one key together. It is not Kafka's own
// choice, so that outcomes of one order stand in another partition than its
// requests, as they may.
func (s *Shop) partition(p Publication) int {
	n := uint32(s.world.Topics[0].Partitions)
	if p.Key == nil {
		return int(p.Spread % n)
	}
	h := fnv.New32a()
	h.Write(p.Key)
	return int(h.Sum32() % n)
}

func headers(hs []events.Header) []kgo.RecordHeader {
	out := make([]kgo.RecordHeader, len(hs))
	for i, h := range hs {
		out[i] = kgo.RecordHeader{Key: h.Key, Value: h.Value}
	}
	return out
}
