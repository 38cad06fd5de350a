package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
)

// show is the part of dev that sends requests and looks at outcomes. It sees
// the topics alone, as any order service does, and nothing of the worker.
type show struct {
	app     *app
	options devOptions
	cluster *cluster
	printer *outcomePrinter
	reader  *kafka.Reader
	began   map[string]kafka.Offsets // by topic: what was there before

	mu       sync.Mutex
	sent     bool                   // all sample requests are
	open     map[events.Source]bool // sample requests without an outcome
	early    map[events.Source]bool // outcomes that came before we knew where their request landed
	next     kafka.Offsets          // of the outcome topic
	answered chan struct{}
	lastSeen time.Time
}

// begin notes where the topics end: a data folder may hold older records.
func (s *show) begin(ctx context.Context) error {
	s.reader = s.cluster.reader()
	s.printer = s.app.outcomePrinter(s.options.json, time.TimeOnly)
	s.began = map[string]kafka.Offsets{}
	s.open, s.early, s.answered = map[events.Source]bool{}, map[events.Source]bool{}, make(chan struct{})
	for _, topic := range s.cluster.topics.All() {
		at, err := where{end: true}.offsets(ctx, s.reader, topic)
		if err != nil {
			return err
		}
		s.began[topic] = at
	}
	s.next = maps.Clone(s.began[s.cluster.topics.Outcomes])
	return nil
}

// run runs work until ctx ends, or with --exit until all is answered, and
// prints the balance.
func (s *show) run(ctx context.Context, work func(context.Context) error) error {
	live, stop := context.WithCancel(ctx)
	defer stop()
	view, stopView := context.WithCancel(context.WithoutCancel(ctx))
	defer stopView()
	var group, viewing sync.WaitGroup
	var workErr, sendErr, viewErr error
	// Each of them ends the others when it cannot go on.
	group.Go(func() {
		defer stop()
		workErr = work(live)
	})
	group.Go(func() {
		if sendErr = s.send(live); sendErr != nil {
			stop()
		}
	})
	viewing.Go(func() {
		if err := s.view(view, nil); view.Err() == nil {
			viewErr = err
			stop()
		}
	})
	for _, topic := range s.cluster.topics.Retries() {
		viewing.Go(func() { s.viewRetries(view, topic) })
	}
	gaveUp := s.await(live)
	if ctx.Err() != nil {
		fmt.Fprintln(s.app.stderr, "closeorder: stopping: calls in flight are finished first; Ctrl-C again ends it at once")
	}
	stop()
	group.Wait()
	stopView()
	viewing.Wait()

	// The outcomes of calls that were in flight came after the stop.
	rest, cancel := reach(context.WithoutCancel(ctx))
	defer cancel()
	end, err := s.reader.End(rest, s.cluster.topics.Outcomes)
	if err == nil {
		err = s.view(rest, end)
	}
	return errors.Join(workErr, sendErr, viewErr, gaveUp, err, s.balance(rest))
}

// await returns when ctx ends or, with --exit, when all is answered.
func (s *show) await(ctx context.Context) error {
	if !s.options.exit {
		<-ctx.Done()
		return nil
	}
	s.mu.Lock()
	s.lastSeen = time.Now()
	s.mu.Unlock()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.answered:
			return nil
		case <-tick.C:
			s.mu.Lock()
			idle := time.Since(s.lastSeen)
			s.mu.Unlock()
			if idle > s.options.timeout {
				return fmt.Errorf("gave up, as no outcome came for %v (--timeout)", s.options.timeout)
			}
		}
	}
}

// view prints outcomes up to to, for ever when it is nil.
func (s *show) view(ctx context.Context, to kafka.Offsets) error {
	s.mu.Lock()
	from := maps.Clone(s.next)
	s.mu.Unlock()
	return s.reader.Read(ctx, s.cluster.topics.Outcomes, from, to, func(r kafka.Record) error {
		s.mu.Lock()
		s.next[r.Partition] = r.Offset + 1
		s.lastSeen = time.Now()
		s.mu.Unlock()
		o, ok := s.app.outcome(r)
		if !ok {
			return nil
		}
		if err := s.printer.print(o); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.open[o.Source] {
			s.early[o.Source] = true
		}
		delete(s.open, o.Source)
		s.check()
		return nil
	})
}

// viewRetries prints what is put off. It is for looking only: the outcomes
// are what counts, so that a failure ends nothing.
func (s *show) viewRetries(ctx context.Context, topic string) {
	err := s.reader.Read(ctx, topic, s.began[topic], nil, func(r kafka.Record) error {
		if retry, err := records.DecodeRetry(r.Message); err == nil {
			s.printer.printLater(retry, r.Time)
		}
		return nil
	})
	if ctx.Err() == nil {
		fmt.Fprintf(s.app.stderr, "closeorder: retries are not shown any more: %v\n", err)
	}
}

// landed notes where sample requests landed.
func (s *show) landed(results []kafka.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range results {
		if s.early[r.At] {
			delete(s.early, r.At)
		} else {
			s.open[r.At] = true
		}
	}
}

// check closes answered when all is; mu is held.
func (s *show) check() {
	select {
	case <-s.answered:
	default:
		if s.sent && len(s.open) == 0 {
			close(s.answered)
		}
	}
}

// balance reads the topics back and prints what they say.
func (s *show) balance(ctx context.Context) error {
	b, err := takeBalance(ctx, s.cluster, s.began)
	if err != nil {
		return err
	}
	if s.options.json {
		err = b.printJSON(s.app.stdout)
	} else {
		fmt.Fprintln(s.app.stdout)
		b.print(s.app.stdout, s.app.paint(s.app.stdout))
	}
	if err == nil && !b.adds(s.options.exit) {
		return errBadNews
	}
	return err
}
