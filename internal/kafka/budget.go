package kafka

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// budget bounds what batches of all sources take unpacked, at one time. A batch
// stays unpacked between two calls of its reader, but where others need its room
// for a moment only: it can be unpacked again, and a reader may stay away for
// hours.
type budget struct {
	batch int64 // the most for one
	total int64
	room  *semaphore.Weighted
	taken atomic.Int64 // of it

	mu      sync.Mutex
	waiting int
	idle    []*unpacked // the longest unused first
}

// unpacked is what a batch unpacks to.
type unpacked struct {
	data []byte
	size int64 // the most that it may unpack to
	// weight is what it takes of the budget: the memory that it lies in.
	weight int64
	// buffer is what data lies in if that goes back to rooms.
	buffer *[]byte
	// since is when it was parked, and expires ends that where others need the
	// room.
	since   time.Time
	expires *time.Timer
}

// idleFor is for how long a batch stays unpacked whose room others need, between
// two calls of its reader: readers in turn would unpack it for each few records.
const idleFor = 50 * time.Millisecond

// rooms are buffers for most batches, to be used again, by their size.
var rooms = [...]struct {
	size int64
	pool *sync.Pool
}{pooled(16 << 10), pooled(192 << 10)}

func pooled(size int64) (r struct {
	size int64
	pool *sync.Pool
}) {
	r.size, r.pool = size, &sync.Pool{New: func() any { buffer := make([]byte, 0, size); return &buffer }}
	return r
}

// weigh is how much memory is taken for a batch of at most size bytes.
func weigh(size int64) int64 {
	for _, r := range rooms {
		if size <= r.size {
			return r.size
		}
	}
	return size
}

// room is where a batch may be unpacked to.
func (u *unpacked) room() []byte {
	for _, r := range rooms {
		if u.size <= r.size {
			u.buffer = r.pool.Get().(*[]byte)
			return (*u.buffer)[:0:u.size]
		}
	}
	return make([]byte, 0, u.size)
}

// newBudget makes one of the bytes that one batch and all together may take; 0
// is the default.
func newBudget(batch, total int64) *budget {
	batch = cmp.Or(batch, defaultUnpackedBatch)
	b := &budget{batch: batch, total: max(cmp.Or(total, defaultUnpackedTotal), batch)}
	b.room = semaphore.NewWeighted(b.total)
	return b
}

// within makes the budget smaller than it would be. A batch that is larger has
// it alone.
func (b *budget) within(total int64) {
	b.total = min(b.total, total)
	b.room = semaphore.NewWeighted(b.total)
}

// take gets room for size bytes. Where wait is false it returns nil if there is
// none at the moment.
func (b *budget) take(ctx context.Context, size int64, wait bool) (taken *unpacked, err error) {
	u := &unpacked{size: size, weight: min(weigh(size), b.total)}
	defer func() {
		if taken != nil {
			b.taken.Add(u.weight)
		}
	}()
	if b.room.TryAcquire(u.weight) {
		return u, nil
	}
	b.mu.Lock()
	b.waiting++
	for _, u := range slices.Clone(b.idle) {
		b.expire(u)
	}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.waiting--
		b.mu.Unlock()
	}()
	if b.room.TryAcquire(u.weight) {
		return u, nil
	}
	if !wait {
		return nil, nil
	}
	if b.room.Acquire(ctx, u.weight) != nil {
		return nil, context.Cause(ctx)
	}
	return u, nil
}

// expire drops a parked batch, now or as soon as it was idle for long enough.
// The caller has mu.
func (b *budget) expire(u *unpacked) {
	if left := idleFor - time.Since(u.since); left > 0 {
		if u.expires == nil {
			u.expires = time.AfterFunc(left, func() { b.forget(u) })
		}
		return
	}
	b.dropIdle(slices.Index(b.idle, u))
}

func (b *budget) dropIdle(i int) {
	u := b.idle[i]
	b.unlist(i)
	b.drop(u)
}

func (b *budget) unlist(i int) {
	if u := b.idle[i]; u.expires != nil {
		u.expires.Stop()
		u.expires = nil
	}
	b.idle = slices.Delete(b.idle, i, i+1)
}

// drop gives the room back of a batch that its reader has.
func (b *budget) drop(u *unpacked) {
	if u.buffer != nil {
		for _, r := range rooms {
			if int64(cap(*u.buffer)) == r.size {
				r.pool.Put(u.buffer)
			}
		}
	}
	u.data, u.buffer = nil, nil
	b.taken.Add(-u.weight)
	b.room.Release(u.weight)
}

// park keeps a batch until its reader comes back, or for a moment if somebody
// waits for room.
func (b *budget) park(u *unpacked) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u.since = time.Now()
	b.idle = append(b.idle, u)
	if b.waiting > 0 {
		b.expire(u)
	}
}

// back gets a parked batch back, if it is still there.
func (b *budget) back(u *unpacked) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.idle, u)
	if i >= 0 {
		b.unlist(i)
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
