// Package backlog knows what of a group's topics is not finished: what waits in
// the retry topics, why and until when, and what workers have, or have not read
// yet. It reads; it joins no group, and knows nothing of what became of what is
// finished.
//
//	Take: starts, commits, ends --Positions--> Each: retries, requests --> Open --> Summary
package backlog

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
)

// Scope says of whom to ask.
type Scope struct {
	// Reader reads the topics. Its OnGap and OnUnreadable are not used.
	Reader *kafka.Reader
	// Group is the workers' consumer group.
	Group  string
	Topics config.Topics
	// OnRead, if set, is told how many more records were read.
	OnRead func(n int)
}

// worked are the topics that the group reads, the retries first.
func (s Scope) worked() []string { return append(s.Topics.Retries(), s.Topics.Requests) }

// Positions are what a group has committed, and the bounds of the logs that it
// reads, at one moment. They are safe for concurrent use, as they do not change.
type Positions struct {
	// At is when they were taken.
	At time.Time
	Commits
	// First is where the log of each topic begins, End how far it can be read:
	// of the requests topic and of the retry topics, by name.
	First, End map[string]kafka.Offsets

	scope Scope
}

// Take asks where the group stands, and tries until the cluster answers or ctx
// ends. Topics that do not exist are all named in one *kafka.MissingTopicsError.
//
// The commits are asked for before the ends, and those of the requests last:
// what they show as finished lies below the ends, and the retry record of a
// request that is finished does, too.
func Take(ctx context.Context, scope Scope) (*Positions, error) {
	p := &Positions{At: time.Now(), First: map[string]kafka.Offsets{}, End: map[string]kafka.Offsets{}, scope: scope}
	if err := scope.Reader.Exist(ctx, scope.worked()...); err != nil {
		return nil, err
	}
	partitions := map[string][]int{}
	for _, topic := range scope.worked() {
		first, err := scope.Reader.First(ctx, topic)
		if err != nil {
			return nil, err
		}
		p.First[topic], partitions[topic] = first, slices.Sorted(maps.Keys(first))
	}
	var err error
	if p.Commits, err = ReadCommits(ctx, scope, partitions); err != nil {
		return nil, err
	}
	for _, topic := range scope.worked() {
		if p.End[topic], err = scope.Reader.End(ctx, topic); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Finished reports whether the group has finished a record, by a commit that
// speaks of this very log: what lies beyond its end speaks of another one, and
// says nothing. It does so also of offsets that no record is at.
func (p *Positions) Finished(topic string, partition int, offset int64) bool {
	c, ok := p.Commits[topic][partition]
	return ok && c.Offset <= p.End[topic][partition] && c.Finished(offset)
}

// From is where what is not finished begins in a partition.
func (p *Positions) From(topic string, partition int) int64 {
	first := p.First[topic][partition]
	if c, ok := p.Commits[topic][partition]; ok && c.Offset <= p.End[topic][partition] {
		return max(first, c.Offset)
	}
	return first
}

// Lag is how many offsets of a topic lie between what is finished and its end: at
// least as many as there are records that are not finished.
func (p *Positions) Lag(topic string) int64 { return p.from(topic).Until(p.End[topic]) }

// Records is about how many records Each reads.
func (p *Positions) Records() (n int64) {
	for _, topic := range p.scope.worked() {
		n += p.Lag(topic)
	}
	return n
}

func (p *Positions) from(topic string) kafka.Offsets {
	from := kafka.Offsets{}
	for partition := range p.End[topic] {
		from[partition] = p.From(topic, partition)
	}
	return from
}

// Open is a record that is not finished: a request that waits in a retry topic,
// or one that a worker has, or that nobody has read yet.
type Open struct {
	// Topic, Partition and Offset are where it stands, Source the request: the
	// same place but for one that waits.
	Topic     string
	Partition int
	Offset    int64
	Source    events.Source
	// Order and RequestID are what could be read of the request.
	Order     events.Order
	RequestID string
	// Requested is the timestamp of the request's record.
	Requested time.Time
	// Waiting: it stands in a retry topic, and what stands below is known of it.
	Waiting bool
	// Due is when it may be served again. Code and Reason say why it waits, and
	// WaitsFor, one of the constants of [records], that it waits for its merchant.
	Due      time.Time
	Code     string
	Reason   string
	WaitsFor string
	// Retries and Calls are how often it was put off, and how often the gateway was
	// called for it.
	Retries, Calls int
	// Replay is the replay number of the request.
	Replay int
	// Err says why nothing but its place is known: it is no retry record, or
	// (*kafka.UnreadableError, from Offset to its Last) cannot be read at all.
	Err error
}

// Each calls f for each record that is not finished, those that wait first, and
// one at a time. Its memory does not grow with how many there are. An error of f,
// of Kafka or the cause of ctx ends it.
//
// It is of the moment of [Take], as far as the group had committed: a request
// that was answered or put off a moment before may still be among them, and one
// that was put off stand there twice, with its retry record.
func (p *Positions) Each(ctx context.Context, f func(Open) error) error {
	for _, topic := range p.scope.worked() {
		if err := p.each(ctx, topic, f); err != nil {
			return err
		}
	}
	return nil
}

func (p *Positions) each(ctx context.Context, topic string, f func(Open) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var mu sync.Mutex
	open := func(o Open) error {
		mu.Lock()
		defer mu.Unlock()
		return f(o)
	}
	r := *p.scope.Reader
	r.OnGap = nil
	r.OnUnreadable = func(e *kafka.UnreadableError) {
		if err := open(Open{Topic: topic, Partition: e.Partition, Offset: e.First, Waiting: topic != p.scope.Topics.Requests, Err: e}); err != nil {
			stop(err)
		}
	}
	r.Parallel, r.FetchBytes = cmp.Or(r.Parallel, fetchParallel), cmp.Or(r.FetchBytes, fetchBytes)
	return r.Read(ctx, topic, p.from(topic), p.End[topic], func(rec kafka.Record) error {
		if p.scope.OnRead != nil {
			p.scope.OnRead(1)
		}
		if p.Finished(topic, rec.Partition, rec.Offset) {
			return nil
		}
		if topic == p.scope.Topics.Requests {
			return open(request(rec))
		}
		return open(retry(rec))
	})
}

// How much is fetched at one time: a worker's backlog is read beside workers.
const (
	fetchBytes    = 256 << 10
	fetchParallel = 4
)

// request is what is known of a request that is not finished.
func request(rec kafka.Record) Open {
	// The error matters to the worker alone: the request beside it is what
	// could be read.
	q, _ := events.DecodeRequest(rec.Message)
	return Open{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Source: rec.Source(),
		Order: q.Order(), RequestID: q.RequestID, Requested: rec.Time, Replay: q.Replay,
	}
}

// retry is what is known of a record of a retry topic.
func retry(rec kafka.Record) Open {
	o := Open{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Waiting: true}
	r, err := records.DecodeRetry(rec.Message)
	if err != nil {
		o.Err = err
		return o
	}
	q, _ := events.DecodeRequest(r.Original)
	o.Source, o.Order, o.RequestID, o.Requested = r.Source, q.Order(), q.RequestID, r.SourceTimestamp
	o.Due, o.Code, o.Reason, o.WaitsFor = r.DueAt, r.Code, r.Reason, r.WaitsFor
	o.Retries, o.Calls, o.Replay = r.Retries, r.Calls, r.Replay
	return o
}
