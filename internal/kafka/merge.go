package kafka

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// ReadByTime is [Reader.Read] up to to, with the calls in the order of the
// records' timestamps as far as each partition is in that order itself. It
// fetches all partitions at one time, whatever Parallel says, since any of
// them may hold the next record.
func (r *Reader) ReadByTime(ctx context.Context, topic string, from, to Offsets, each func(Record) error) error {
	group, ctx := errgroup.WithContext(ctx)
	var heads []*head
	for _, p := range r.between(topic, from, to) {
		batches := make(chan []Record)
		heads = append(heads, &head{batches: batches})
		group.Go(func() error {
			defer close(batches)
			return p.read(ctx, batches)
		})
	}
	group.Go(func() error {
		for _, h := range heads {
			h.pop(0)
		}
		for {
			var first *head
			for _, h := range heads {
				if len(h.batch) > 0 && (first == nil || h.batch[0].Time.Before(first.batch[0].Time)) {
					first = h
				}
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if first == nil {
				return nil
			}
			if err := each(first.batch[0]); err != nil {
				return err
			}
			first.pop(1)
		}
	})
	return group.Wait()
}

// head is where one partition stands in the merge.
type head struct {
	batches <-chan []Record
	batch   []Record // empty at the end
}

// pop drops n records and waits for more when none is left.
func (h *head) pop(n int) {
	if h.batch = h.batch[n:]; len(h.batch) == 0 {
		h.batch = <-h.batches // closed at the end, and when the reading fails
	}
}
