package main

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// reader is an order service that reads the outcomes while they come, with
// isolation.level=read_committed: what counts for it is when it has one, not when
// that was appended. Its methods are safe for concurrent use.
type reader struct {
	client *kgo.Client
	ended  chan struct{}

	mu    sync.Mutex
	had   map[string]time.Time // when the first outcome of an order came
	count int
}

// newReader starts one. The caller closes it.
func newReader(s *stage) (*reader, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.address), kgo.ConsumeTopics(outcomesTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return nil, err
	}
	r := &reader{client: client, ended: make(chan struct{}), had: make(map[string]time.Time)}
	go r.run()
	return r, nil
}

func (r *reader) run() {
	defer close(r.ended)
	for {
		fetches := r.client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		now := time.Now()
		r.mu.Lock()
		fetches.EachRecord(func(record *kgo.Record) {
			r.count++
			if _, twice := r.had[string(record.Key)]; !twice {
				r.had[string(record.Key)] = now
			}
		})
		r.mu.Unlock()
	}
}

func (r *reader) close() {
	r.client.Close()
	<-r.ended
}

// outcomes is their number so far, repeats and those of the warm-up too.
func (r *reader) outcomes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// times are when the first outcome of each order came, by out_trade_no.
func (r *reader) times() map[string]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.had)
}
