package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
)

// sample is a kind of request that dev sends. Of a hundred in a row each kind
// has its share, spread evenly.
type sample struct {
	share  int
	prefix string // of out_trade_no: what the simulator does with it
	merch  string // empty for the merchants in turn
	raw    string // in place of a request
}

var samples = []sample{
	{share: 59, prefix: "ORDER"},
	{share: 8, prefix: "CLOSED"},
	{share: 7, prefix: "UNKNOWN"},
	{share: 4, prefix: "FLAKY"},
	{share: 1, prefix: "SLOW"},
	{share: 1, prefix: "PAYING"}, // put off, then closed
	{share: 12, prefix: "PAID"},
	{share: 1, prefix: "LIMIT"}, // put off, then paid
	{share: 2, prefix: "REFUND"},
	{share: 2, prefix: "DEAD"},
	{share: 1, prefix: "DEAD", merch: "1900000999"}, // a merchant that nobody configured
	{share: 1, prefix: "too-long-for-an-out-trade-no-too-long"},
	{share: 1, raw: "this is not JSON"},
}

// kinds is the order of a hundred requests: the shares, interleaved.
func kinds() []sample {
	total := 0
	for _, s := range samples {
		total += s.share
	}
	order, credit := make([]sample, 0, total), make([]int, len(samples))
	for range total {
		best := 0
		for i, s := range samples {
			if credit[i] += s.share; credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= total
		order = append(order, samples[best])
	}
	return order
}

// traffic makes sample requests. run tells those of one start from others.
type traffic struct {
	run  string
	kind []sample
	made int
}

func newTraffic(now time.Time) *traffic {
	return &traffic{run: strings.ToUpper(strconv.FormatInt(now.Unix()%(36*36*36*36), 36)), kind: kinds()}
}

func (t *traffic) next(now time.Time) events.Message {
	s := t.kind[t.made%len(t.kind)]
	t.made++
	if s.raw != "" {
		return events.Message{Key: fmt.Appendf(nil, "%d", t.made), Value: []byte(s.raw)}
	}
	r := events.Request{
		OutTradeNo: fmt.Sprintf("%s-%s-%05d", s.prefix, t.run, t.made),
		MchID:      s.merch, Reason: "payment_timeout", OrderCreatedAt: now.Add(-15 * time.Minute).Truncate(time.Second),
	}
	if r.MchID == "" {
		switch t.made % 10 {
		case 3:
			r.MchID = "1900000110"
		case 7:
			r.MchID, r.SubMchID = "1900000111", "1900000222"
		default:
			r.MchID = "1900000109"
		}
	}
	m, err := events.EncodeRequest(r, "/closeorder/dev", now)
	if err != nil {
		// The sample that is wrong on purpose goes out as plain JSON.
		return events.Message{Key: []byte(r.OutTradeNo), Value: fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":%q}`, r.MchID, r.OutTradeNo)}
	}
	return m
}

// send publishes the sample requests at their rate.
func (s *show) send(ctx context.Context) error {
	t, w := newTraffic(time.Now()), s.cluster.writer()
	const tick = 100 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	started := time.Now()
	for s.options.requests < 0 || t.made < s.options.requests {
		due := int(time.Since(started).Seconds()*s.options.rate) + 1
		if s.options.requests >= 0 {
			due = min(due, s.options.requests)
		}
		var messages []events.Message
		for t.made < due && len(messages) < publishChunk {
			messages = append(messages, t.next(time.Now()))
		}
		results, err := w.Write(ctx, s.cluster.topics.Requests, messages)
		if ctx.Err() != nil {
			return nil // what was written is in the topic, and counted there
		}
		if err != nil {
			return err
		}
		s.landed(results)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = true
	s.check()
	return nil
}
