package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/closeorder/closeorder/internal/bench/exchange"
	"github.com/closeorder/closeorder/internal/bench/gateway"
	"github.com/closeorder/closeorder/internal/bench/peers"
	"github.com/closeorder/closeorder/internal/bench/v2"
)

// Floor is what one thing costs that no worker can do without.
type Floor struct {
	Name  string
	Over  string `json:",omitempty"` // http or tls
	Round int
	// CPU is microseconds for each.
	CPU       float64
	PerSecond float64
}

// floorSettings are those of the process that measures one floor: its own CPU is
// what is measured.
type floorSettings struct {
	Name    string
	N       int
	Address string // of the broker
	URL     string // of the gateway
	Roots   []byte
}

// concurrency is how many calls of the exchange are under way.
const concurrency = 64

// floor is one of them.
type floor struct {
	name string
	n    int
	over []string
	// make prepares, and returns what is measured.
	make func(context.Context, floorSettings) (func() error, error)
}

func floors() []floor {
	var all []floor
	for _, c := range exchange.Clients {
		all = append(all, floor{"exchange, " + c.Name, 50_000, []string{httpOver, tlsOver}, func(ctx context.Context, s floorSettings) (func() error, error) {
			return exchangeFloor(ctx, s, c.New)
		}})
	}
	return append(all,
		floor{"codec of the peers", 200_000, []string{""}, codecFloor},
		floor{"consume, franz-go", 200_000, []string{""}, consumeFloor},
		floor{"produce, franz-go", 200_000, []string{""}, produceFloor},
	)
}

// floor measures one floor.
func (l *lab) floor(ctx context.Context, fl floor, over string) (Floor, error) {
	s, err := l.stage(ctx, over, partitions, gateway.Config{})
	if err != nil {
		return Floor{}, err
	}
	defer s.close()
	child, out, err := startSelf(l.log, "floor", floorSettings{fl.name, fl.n, s.address, s.url, s.roots})
	if err != nil {
		return Floor{}, err
	}
	defer child.stop()
	defer context.AfterFunc(ctx, child.stop)()
	f, err := hear[Floor]("floor", out)
	if ctx.Err() != nil {
		return f, ctx.Err()
	}
	f.Name, f.Over = fl.name, over
	return f, err
}

func floorRole(ctx context.Context, settings []byte) error {
	var s floorSettings
	if err := json.Unmarshal(settings, &s); err != nil {
		return err
	}
	for _, fl := range floors() {
		if fl.name != s.Name {
			continue
		}
		work, err := fl.make(ctx, s)
		if err != nil {
			return err
		}
		cpu, start := ownCPU(), time.Now()
		if err := work(); err != nil {
			return err
		}
		took, used := time.Since(start), ownCPU()-cpu
		return say(Floor{CPU: float64(used.Nanoseconds()) / 1e3 / float64(s.N), PerSecond: float64(s.N) / took.Seconds()})
	}
	return fmt.Errorf("no floor %q", s.Name)
}

func exchangeFloor(ctx context.Context, s floorSettings, client func(exchange.Target) (exchange.Poster, error)) (func() error, error) {
	post, err := client(exchange.Target{URL: s.URL + "/pay/closeorder", Roots: s.Roots, Conns: concurrency})
	if err != nil {
		return nil, err
	}
	body := apiKey.Append(nil, []v2.Field{
		{Name: []byte("appid"), Value: []byte(appID)}, {Name: []byte("mch_id"), Value: []byte(merchants[0])},
		{Name: []byte("nonce_str"), Value: v2.AppendNonce(nil)}, {Name: []byte("out_trade_no"), Value: []byte("FLOOR0000001")},
	})
	calls := func(n int) error {
		var left atomic.Int64
		left.Store(int64(n))
		errs := make(chan error, concurrency)
		var callers sync.WaitGroup
		for range concurrency {
			callers.Go(func() {
				var in []byte
				var err error
				for err == nil && left.Add(-1) >= 0 {
					in, err = post(ctx, body, in[:0])
				}
				errs <- err
			})
		}
		callers.Wait()
		close(errs)
		var all []error
		for err := range errs {
			all = append(all, err)
		}
		return errors.Join(all...)
	}
	if err := calls(10 * concurrency); err != nil { // connections are made
		return nil, err
	}
	return func() error { return calls(s.N) }, nil
}

func codecFloor(ctx context.Context, s floorSettings) (func() error, error) {
	reply := apiKey.Append(nil, []v2.Field{
		{Name: []byte("appid"), Value: []byte(appID)}, {Name: []byte("mch_id"), Value: []byte(merchants[0])}, {Name: []byte("nonce_str"), Value: []byte("N")},
		{Name: []byte("result_code"), Value: []byte("SUCCESS")}, {Name: []byte("return_code"), Value: []byte("SUCCESS")}, {Name: []byte("return_msg"), Value: []byte("OK")},
	})
	handle := peers.Handler(apiKey, func(_ context.Context, _, dst []byte) ([]byte, error) { return append(dst, reply...), nil })
	rs, err := records("A", flow{}, 0, 1)
	if err != nil {
		return nil, err
	}
	return func() error {
		for range s.N {
			if _, err := handle(ctx, rs[0].Value); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// consumeFloor reads what the lab would write for a burst.
func consumeFloor(ctx context.Context, s floorSettings) (func() error, error) {
	writer, err := kgo.NewClient(kgo.SeedBrokers(s.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return nil, err
	}
	defer writer.Close()
	st := &stage{client: writer}
	if err := st.burst(ctx, "A", flow{n: s.N}); err != nil {
		return nil, err
	}
	return func() error {
		reader, err := kgo.NewClient(kgo.SeedBrokers(s.Address), kgo.ConsumerGroup(group), kgo.ConsumeTopics(requestsTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return err
		}
		defer reader.Close()
		for n := 0; n < s.N; {
			fetches := reader.PollFetches(ctx)
			if err := fetches.Err0(); err != nil {
				return err
			}
			n += fetches.NumRecords()
		}
		return nil
	}, nil
}

// produceFloor writes outcomes, acknowledged by all.
func produceFloor(ctx context.Context, s floorSettings) (func() error, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Address), kgo.DefaultProduceTopic(outcomesTopic), kgo.ProducerLinger(2*time.Millisecond), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return nil, err
	}
	value := []byte(`{"outcome":"closed","pad":"` + strings.Repeat("x", 200) + `"}`)
	keys := make([][]byte, s.N)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "A%011d", i)
	}
	return func() error {
		failed := make(chan error, 1)
		for _, key := range keys {
			client.Produce(ctx, &kgo.Record{Key: key, Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			})
		}
		if err := client.Flush(ctx); err != nil {
			return err
		}
		select {
		case err := <-failed:
			return err
		default:
			return nil
		}
	}, nil
}
