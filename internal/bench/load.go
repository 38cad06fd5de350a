package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/closeorder/closeorder/events"
)

// Numbers of orders begin with a letter: that of their flow, or of those that
// only warm up.
const (
	warmUp  = "W"
	letters = "ABCDEFGH"
)

// warm is how many requests go before the load, a few for each partition.
const warm = 64

// record is the request number i of a flow: JSON without headers, which all
// workers read. Its partition follows from its number, so that all have the same.
func record(letter string, f flow, i int, created time.Time) (*kgo.Record, error) {
	no := fmt.Sprintf("%s%011d", letter, i)
	value, err := json.Marshal(events.Request{
		OutTradeNo: no, MchID: merchants[f.merchant], AppID: appID, RequestID: "req-" + no, Reason: "payment_timeout", OrderCreatedAt: created,
	})
	first, last := f.from, f.to
	if last == 0 {
		last = partitions
	}
	return &kgo.Record{Topic: requestsTopic, Partition: first + int32(i)%(last-first), Key: []byte(no), Value: value}, err
}

// records are the requests of a flow. The orders are ten minutes old, as one that
// is given up usually is: nothing waits for their age.
func records(letter string, f flow, from, to int) ([]*kgo.Record, error) {
	created := time.Now().UTC().Add(-10 * time.Minute).Truncate(time.Second)
	rs := make([]*kgo.Record, 0, to-from)
	for i := from; i < to; i++ {
		r, err := record(letter, f, i, created)
		if err != nil {
			return nil, err
		}
		rs = append(rs, r)
	}
	return rs, nil
}

// chunk bounds what the lab holds of a load that is published at once.
const chunk = 20_000

// burst publishes a flow at once.
func (s *stage) burst(ctx context.Context, letter string, f flow) error {
	for from := 0; from < f.n; from += chunk {
		rs, err := records(letter, f, from, min(f.n, from+chunk))
		if err != nil {
			return err
		}
		if err := s.client.ProduceSync(ctx, rs...).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}

// load publishes flows, and returns when all is published.
func (s *stage) load(ctx context.Context, flows []flow) error {
	for i, f := range flows {
		if f.rate == 0 {
			if err := s.burst(ctx, letters[i:i+1], f); err != nil {
				return err
			}
		}
	}
	errs := make([]error, len(flows))
	var paced sync.WaitGroup
	for i, f := range flows {
		if f.rate > 0 {
			paced.Go(func() { errs[i] = s.pace(ctx, letters[i:i+1], f) })
		}
	}
	paced.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) pace(ctx context.Context, letter string, f flow) error {
	rs, err := records(letter, f, 0, f.n)
	if err != nil {
		return err
	}
	start := time.Now()
	for i, r := range rs {
		due := start.Add(time.Duration(float64(i) / f.rate * float64(time.Second)))
		if !sleep(ctx, time.Until(due)) {
			return ctx.Err()
		}
		s.client.Produce(ctx, r, nil)
	}
	return s.client.Flush(ctx)
}

// sleep reports whether it was not cut off.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// flowOf is the index of an order's flow, -1 for one that warms up.
func flowOf(outTradeNo string) int {
	if outTradeNo == "" {
		return -1
	}
	return strings.IndexByte(letters, outTradeNo[0])
}
