package topicreader

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"golang.org/x/sync/errgroup"
)

// offsets asks the leader of every partition for one offset. when is
// kafka.FirstOffset, kafka.LastOffset or a time in milliseconds, for which
// the answer is -1 where no record is as young.
func (r *Reader) offsets(ctx context.Context, topic string, when int64) (Offsets, error) {
	ids, err := r.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	all := make(Offsets, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.parallel())
	for _, id := range ids {
		group.Go(func() error {
			offset, err := r.offset(ctx, topic, id, when)
			mu.Lock()
			defer mu.Unlock()
			all[id] = offset
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return all, nil
}

func (r *Reader) offset(ctx context.Context, topic string, partition int, when int64) (int64, error) {
	var offset int64
	err := r.persist(ctx, topic, partition, func(ctx context.Context, _ time.Time) error {
		var err error
		offset, err = r.ask(ctx, topic, partition, when)
		return err
	})
	return offset, err
}

// ask goes round Client.ListOffsets, which makes one answer of several and
// hides failures in a field of it.
func (r *Reader) ask(ctx context.Context, topic string, partition int, when int64) (int64, error) {
	res, err := r.transport().RoundTrip(ctx, r.Client.Addr, &listoffsets.Request{
		ReplicaID: -1,
		Topics: []listoffsets.RequestTopic{{
			Topic:      topic,
			Partitions: []listoffsets.RequestPartition{{Partition: int32(partition), CurrentLeaderEpoch: -1, Timestamp: when}},
		}},
	})
	if err != nil {
		return 0, err
	}
	answer, ok := res.(*listoffsets.Response)
	if !ok {
		return 0, errors.New("not an answer to ListOffsets")
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if t.Topic == topic && int(p.Partition) == partition {
				if p.ErrorCode != 0 {
					return 0, kafka.Error(p.ErrorCode)
				}
				return p.Offset, nil
			}
		}
	}
	return 0, errors.New("the answer to ListOffsets lacks the partition")
}

func (r *Reader) transport() kafka.RoundTripper {
	if r.Client.Transport != nil {
		return r.Client.Transport
	}
	return kafka.DefaultTransport
}

func (r *Reader) parallel() int {
	if r.Parallel > 0 {
		return r.Parallel
	}
	return 8
}
