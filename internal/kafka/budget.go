package kafka

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"
)

// budget bounds what batches of all sources take unpacked, at one time. A batch
// stays unpacked between two calls of its reader only as long as nobody else
// needs its room: it can be unpacked again, and a reader may stay away for hours.
type budget struct {
	batch int64 // the most for one
	room  *semaphore.Weighted

	mu      sync.Mutex
	waiting int
	idle    []*unpacked // the longest unused first
}

// unpacked is what a batch unpacks to.
type unpacked struct {
	data []byte
	size int64 // its share of the budget
	// buffer is what data lies in if that goes back to small.
	buffer *[smallRoom]byte
}

// small are buffers for most batches, to be used again.
var small = sync.Pool{New: func() any { return new([smallRoom]byte) }}

const smallRoom = 192 << 10

// room is where a batch may be unpacked to.
func (u *unpacked) room() []byte {
	if u.size > smallRoom {
		return make([]byte, 0, u.size)
	}
	u.buffer = small.Get().(*[smallRoom]byte)
	return u.buffer[:0:u.size]
}

// newBudget makes one of the bytes that one batch and all together may take; 0
// is the default.
func newBudget(batch, total int64) *budget {
	batch = cmp.Or(batch, defaultUnpackedBatch)
	return &budget{batch: batch, room: semaphore.NewWeighted(max(cmp.Or(total, defaultUnpackedTotal), batch))}
}

// take gets room for size bytes. Where wait is false it returns nil if there is
// none at the moment.
func (b *budget) take(ctx context.Context, size int64, wait bool) (*unpacked, error) {
	u := &unpacked{size: size}
	if b.room.TryAcquire(size) {
		return u, nil
	}
	b.mu.Lock()
	b.waiting++ // from here on nobody parks
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.waiting--
		b.mu.Unlock()
	}()
	for b.evict() {
		if b.room.TryAcquire(size) {
			return u, nil
		}
	}
	if !wait {
		return nil, nil
	}
	if b.room.Acquire(ctx, size) != nil {
		return nil, context.Cause(ctx)
	}
	return u, nil
}

// evict drops the batch that was not used for longest.
func (b *budget) evict() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.idle) == 0 {
		return false
	}
	b.dropIdle(0)
	return true
}

func (b *budget) dropIdle(i int) {
	u := b.idle[i]
	b.idle = slices.Delete(b.idle, i, i+1)
	b.drop(u)
}

// drop gives the room back of a batch that its reader has.
func (b *budget) drop(u *unpacked) {
	if u.buffer != nil {
		small.Put(u.buffer)
	}
	u.data, u.buffer = nil, nil
	b.room.Release(u.size)
}

// park keeps a batch until its reader comes back, if nobody waits for room.
func (b *budget) park(u *unpacked) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting > 0 {
		b.drop(u)
		return
	}
	b.idle = append(b.idle, u)
}

// back gets a parked batch back, if it is still there.
func (b *budget) back(u *unpacked) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.idle, u)
	if i >= 0 {
		b.idle = slices.Delete(b.idle, i, i+1)
	}
	return i >= 0
}

// forget drops a parked batch for good.
func (b *budget) forget(u *unpacked) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.idle, u); i >= 0 {
		b.dropIdle(i)
	}
}
