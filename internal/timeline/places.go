package timeline

import (
	"context"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/closeorder/closeorder/internal/kafka"
)

const (
	// near is how far apart two records may stand that are read in one go: about what
	// one fetch brings anyway.
	near = 200
	// atOnce is how many stretches are read at one time, and stretchBytes about what one
	// fetch of them brings.
	atOnce       = 8
	stretchBytes = 128 << 10
	// timing is how many offsets are read for the time of the first record: one may be
	// a marker of a transaction.
	timing = 20
)

// stretch is a part of one partition.
type stretch struct {
	kafka.Place
	from, to int64
	// first: with its first record the partition begins, as far as can be seen.
	first bool
}

// readPlaces reads the records that the index knows, and what it has not looked at: it
// may be behind the commits and the ends of this snapshot, and what was answered since
// must not look lost.
func (f *finder) readPlaces(ctx context.Context) error {
	f.held = make(map[kafka.Place]int64)
	var stretches []stretch
	for _, topic := range f.topics {
		f.read[topic] = make(map[int]bool)
		for _, p := range slices.Sorted(maps.Keys(f.from[topic])) {
			f.read[topic][p] = true
			stretches = append(stretches, f.stretches(kafka.Place{Topic: topic, Partition: p})...)
		}
	}
	var total int64
	for _, s := range stretches {
		total += s.to - s.from
	}
	if f.options.OnTotal != nil && total > 0 {
		f.options.OnTotal(total)
	}
	if len(f.held) > 0 {
		f.note("the index does not go back as far as the topics; closeorder trace reads what stands before it")
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, s := range stretches {
		group.Go(func() error {
			began, bytes := false, 0
			if s.to-s.from <= near {
				bytes = stretchBytes
			}
			return f.readRecords(ctx, bytes, s.Topic, kafka.Offsets{s.Partition: s.from}, kafka.Offsets{s.Partition: s.to}, func(rec kafka.Record) {
				if s.first && !began {
					began = true
					f.begin(rec)
				}
			})
		})
	}
	err := group.Wait()
	f.adopt()
	return err
}

// stretches are what is to be read of a partition, in its order.
func (f *finder) stretches(at kafka.Place) (all []stretch) {
	from, to := f.from[at.Topic][at.Partition], f.to[at.Topic][at.Partition]
	known, indexed := f.scope.Places.To[at.Topic][at.Partition]
	if since := f.scope.Places.From[at.Topic][at.Partition]; indexed && since > from {
		f.held[at] = since
		from = since
	}
	if from >= to {
		return nil
	}
	if !indexed {
		return []stretch{{at, from, to, true}}
	}
	if f.timed(at) {
		all = append(all, stretch{at, from, min(from+timing, to), true})
	}
	add := func(from, to int64) {
		if n := len(all); n > 0 && from-all[n-1].to <= near {
			all[n-1].to = max(all[n-1].to, to)
			return
		}
		all = append(all, stretch{Place: at, from: from, to: to})
	}
	for _, offset := range f.scope.Places.At[at] {
		if offset >= from && offset < min(to, known) {
			add(offset, offset+1)
		}
	}
	if known < to {
		add(max(known, from), to)
	}
	return all
}

// timed reports whether it matters when the first record of a partition was written:
// something stood before it, or does.
func (f *finder) timed(at kafka.Place) bool {
	ends := at.Topic == f.scope.Topics.Requests || at.Topic == f.scope.Topics.Outcomes
	return f.held[at] > 0 || ends && f.first[at.Topic][at.Partition] > 0
}
