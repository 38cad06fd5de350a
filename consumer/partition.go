package consumer

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// standing says what may happen to the requests of a partition.
type standing int

const (
	running standing = iota // calls may start
	paused                  // none may start: it is given up
	revoked                 // another member may own it: what is not finished is forgotten
)

// maxOpenBytes bounds the unfinished records of one partition, whatever the
// process may hold: one record may pass it.
const maxOpenBytes = 4 << 20

// openCost is what a request that is open takes of memory beside the bytes of its
// record: what was decoded of it, its place in a lane, a timer.
const openCost = 1152

// partition is one partition that this worker owns, from its assignment until
// it is taken away. It stays the same over rebalances that give it back.
type partition struct {
	topicPartition
	// owned ends when the partition is taken away. It is the fence: nothing is
	// published, committed or started for a partition after that.
	owned  context.Context
	revoke context.CancelCauseFunc
	// intake ends when no more records are wanted; owned may go on.
	intake     context.Context
	stopIntake context.CancelFunc

	// share is what it has of the memory of the process: its open requests count
	// there. nil in tests.
	share *kafka.Share

	// Guarded by lanes.mu.
	standing    standing
	calls       context.Context // ends the calls in flight
	cutCalls    context.CancelCauseFunc
	inFlight    int     // calls under way
	unpublished int     // decisions on their way to the topics
	parked      []*lane // lanes whose next request is of this partition while it is paused

	// source is what it is read from, once it is; fetchError why that fails, or
	// cannot begin, at present, and stopped why somebody has to look at it: see look.go.
	source     atomic.Pointer[kafka.Source]
	fetchError atomic.Pointer[string]
	stopped    atomic.Pointer[string]

	// doubt: the log that the ledger is about may be gone, as its topic was
	// deleted. Nothing is committed, or a topic made anew would begin at the
	// offset of the old one.
	doubt atomic.Bool
	// committed is what the last transaction said of it, offset -1 before there was
	// one. Of the holder of committer.turn.
	committed kafka.Committed

	// mu guards what is below. merchantHolds.mu may be taken under it.
	mu     sync.Mutex
	ledger *ledger  // nil until the committed offset is known
	bytes  int64    // of the open requests
	first  *request // of the open requests, by offset
	last   *request
	count  int                        // of them
	timers map[*request]*time.Timer   // of what waits in memory; forget ends them, nil then
	claims map[events.Source]*request // the open retry of each request
	freed  chan struct{}
}

func newPartition(ctx context.Context, at topicPartition) *partition {
	p := &partition{topicPartition: at, committed: kafka.Committed{Offset: -1}, freed: make(chan struct{}, 1), timers: make(map[*request]*time.Timer), claims: make(map[events.Source]*request)}
	p.owned, p.revoke = context.WithCancelCause(ctx)
	p.intake, p.stopIntake = context.WithCancel(p.owned)
	p.calls, p.cutCalls = context.WithCancelCause(p.owned)
	return p
}

// begin sets the ledger, once the committed offset is known.
func (p *partition) begin(committed int64, above []span) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger = newLedger(committed, above)
}

// open waits for room and opens r's offset. It returns false when the offset
// is finished already, and an error when intake ended first.
func (p *partition) open(r *request) (bool, error) {
	if err := p.waitRoom(r.offset); err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ledger.open(r.offset) {
		return false, nil
	}
	p.bytes += r.size
	p.list(r)
	p.share.Hold(openCost + r.size)
	return true, nil
}

// skip counts the offsets below offset that were not opened as finished.
func (p *partition) skip(offset int64) (moved bool, err error) {
	if err := p.waitRoom(offset); err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.ledger.watermark
	p.ledger.skip(offset)
	return p.ledger.watermark != before, nil
}

func (p *partition) waitRoom(offset int64) error {
	for {
		p.mu.Lock()
		room := p.ledger.room(offset) && (p.bytes < maxOpenBytes || p.bytes == 0)
		p.mu.Unlock()
		if room {
			return nil
		}
		select {
		case <-p.freed:
		case <-p.intake.Done():
			return context.Cause(p.intake)
		}
	}
}

// finish marks r's offset as finished: its outcome is acknowledged.
func (p *partition) finish(r *request) {
	p.mu.Lock()
	p.ledger.finish(r.offset)
	p.bytes -= r.size
	p.unlist(r)
	p.mu.Unlock()
	p.letGo(r)
	signal(p.freed)
}

// list adds r, whose offset is the highest, to the open requests. p.mu is held.
func (p *partition) list(r *request) {
	if r.before = p.last; r.before != nil {
		r.before.behind = r
	} else {
		p.first = r
	}
	p.last, r.listed = r, true
	p.count++
}

// unlist takes r out of them, if it is there. p.mu is held.
func (p *partition) unlist(r *request) {
	if !r.listed || p.timers == nil {
		return
	}
	if r.before != nil {
		r.before.behind = r.behind
	} else {
		p.first = r.behind
	}
	if r.behind != nil {
		r.behind.before = r.before
	} else {
		p.last = r.before
	}
	r.before, r.behind, r.listed = nil, nil, false
	p.count--
}

// letGo gives the memory of a request back, once: for others to be read in its
// place.
func (p *partition) letGo(r *request) {
	if !r.letGo {
		r.letGo = true
		p.share.Release(openCost + r.size)
	}
}

// claim makes r the one retry of its request that is served from this
// partition, unless there is one that has no answer yet. unclaim must come
// before what the answer leads to is published: that may be the next retry of
// the same request, in this very partition.
func (p *partition) claim(r *request) bool {
	if !r.continues() {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	other := p.claims[r.source]
	if other == nil {
		p.claims[r.source] = r
		return true
	}
	// A requests topic that was made again has other requests at the places of
	// the old ones: only the same record is a copy.
	return !other.time.Equal(r.time) || !bytes.Equal(other.msg.Key, r.msg.Key) || !bytes.Equal(other.msg.Value, r.msg.Value)
}

func (p *partition) unclaim(r *request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.claims[r.source] == r {
		delete(p.claims, r.source)
	}
}

// position returns what to commit: the watermark and the metadata that says
// what is finished above it. ok is false when nothing is known yet.
// Offsets that are finished with the commit count already.
func (p *partition) position(finished ...int64) (watermark int64, metadata string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ledger == nil || p.doubt.Load() {
		return 0, "", false
	}
	l := p.ledger
	if len(finished) > 0 {
		then := *l
		for _, offset := range finished {
			then.finish(offset)
		}
		l = &then
	}
	return l.watermark, encodeMetadata(p.topic, p.id, l.watermark, l.above()), true
}

// roomy says whether a request may wait in memory without holding up intake.
func (p *partition) roomy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.share.Roomy() && p.bytes < maxOpenBytes/2 && p.ledger.next-p.ledger.watermark < window/2
}

// after calls f with r when wait is over, unless the partition is taken away before.
func (p *partition) after(wait time.Duration, r *request, f func(*request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timers == nil {
		return
	}
	p.timers[r] = time.AfterFunc(wait, func() {
		p.mu.Lock()
		_, waiting := p.timers[r]
		delete(p.timers, r)
		p.mu.Unlock()
		if waiting {
			f(r)
		}
	})
}

// wake ends the wait of the requests that wanted says yes to, and returns them by
// offset. Their f is not called any more.
func (p *partition) wake(wanted func(*request) bool) []*request {
	p.mu.Lock()
	defer p.mu.Unlock()
	var woken []*request
	for r, timer := range p.timers {
		if wanted(r) {
			timer.Stop()
			delete(p.timers, r)
			woken = append(woken, r)
		}
	}
	slices.SortFunc(woken, func(a, b *request) int { return cmp.Compare(a.offset, b.offset) })
	return woken
}

// forget lets go of the requests that wait for their time, and of the memory of
// all; their spans end with why.
func (p *partition) forget() {
	p.share.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, timer := range p.timers {
		timer.Stop()
	}
	p.timers = nil
	for r := p.first; r != nil; {
		if r.stage.Load() != int32(unread) {
			r.done(context.Cause(p.owned))
		}
		behind := r.behind
		r.before, r.behind = nil, nil // or the last one that is in somebody's hand would keep all
		r = behind
	}
	p.first, p.last, p.count = nil, nil, 0
}
