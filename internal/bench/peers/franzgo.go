package peers

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// FranzGo is what an expert writes by hand on franz-go: MaxInFlight goroutines
// that keep their stacks, asynchronous publishing in batches, requests finished
// in any order with a watermark for each partition, commits every 200 ms.
func FranzGo(ctx context.Context, cfg Config) error {
	post, err := cfg.poster()
	if err != nil {
		return err
	}
	f := &franzGo{closer: closer{cfg.Key, post}, marks: make(map[int32]*watermark)}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ConsumerGroup(cfg.Group), kgo.ConsumeTopics(cfg.Requests),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(time.Second),
		kgo.BlockRebalanceOnPoll(), kgo.AutoCommitMarks(), kgo.AutoCommitInterval(200*time.Millisecond),
		kgo.OnPartitionsRevoked(func(ctx context.Context, cl *kgo.Client, lost map[string][]int32) {
			f.drop(lost, true)
			if err := cl.CommitMarkedOffsets(ctx); err != nil {
				log.Printf("franz-go: commit before a rebalance: %v", err)
			}
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { f.drop(lost, false) }),
		kgo.DefaultProduceTopic(cfg.Outcomes), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(2*time.Millisecond), kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err != nil {
		return err
	}

	calls, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	jobs := make(chan job)
	var workers sync.WaitGroup
	for range cfg.MaxInFlight {
		workers.Go(func() {
			for j := range jobs {
				if err := f.serve(calls, client, j); err != nil {
					cut(err)
				}
			}
		})
	}
	for ctx.Err() == nil && calls.Err() == nil {
		fetches := client.PollRecords(ctx, 4*cfg.MaxInFlight)
		fetches.EachError(func(topic string, partition int32, err error) {
			if ctx.Err() == nil {
				log.Printf("franz-go: fetch %s[%d]: %v", topic, partition, err)
			}
		})
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			w := f.watermark(r.Partition)
			w.begin(r.Offset)
			jobs <- job{r, w}
		}
		client.AllowRebalance()
	}
	close(jobs)
	workers.Wait()
	if err := context.Cause(calls); err != nil {
		return err // without leaving the group, which would wait for what was not published
	}
	err = client.CommitMarkedOffsets(context.WithoutCancel(ctx))
	client.CloseAllowingRebalance()
	return err
}

type franzGo struct {
	closer closer

	mu    sync.Mutex
	marks map[int32]*watermark
}

type job struct {
	record    *kgo.Record
	watermark *watermark
}

func (f *franzGo) watermark(partition int32) *watermark {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.marks[partition] == nil {
		f.marks[partition] = newWatermark()
	}
	return f.marks[partition]
}

// drop forgets partitions, when all of theirs is finished where that may be waited for.
func (f *franzGo) drop(lost map[string][]int32, wait bool) {
	for _, partitions := range lost {
		for _, p := range partitions {
			f.mu.Lock()
			w := f.marks[p]
			delete(f.marks, p)
			f.mu.Unlock()
			if w != nil && wait {
				w.wait()
			}
		}
	}
}

// serve returns an error when the outcome could not be published: nothing behind
// it may be committed.
func (f *franzGo) serve(ctx context.Context, client *kgo.Client, j job) error {
	out, err := f.closer.handle(ctx, j.record.Value)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		log.Printf("franz-go: left out: partition %d, offset %d: %v", j.record.Partition, j.record.Offset, err)
	} else {
		acked := make(chan error, 1)
		client.Produce(ctx, &kgo.Record{Key: j.record.Key, Value: out}, func(_ *kgo.Record, err error) { acked <- err })
		if err := <-acked; err != nil {
			return fmt.Errorf("franz-go: publish: %w", err)
		}
	}
	if commit, moved := j.watermark.finish(j.record.Offset); moved {
		client.MarkCommitOffsets(map[string]map[int32]kgo.EpochOffset{j.record.Topic: {j.record.Partition: {Epoch: -1, Offset: commit}}})
	}
	return nil
}
