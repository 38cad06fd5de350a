package consumer

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/closeorder/closeorder/events"
)

// place names a partition of a topic.
type place struct {
	topic string
	id    int
}

// task is one record on its way from its offset to its outcome.
type task struct {
	partition *partition
	offset    int64
	time      time.Time // the record's timestamp
	msg       events.Message
	req       events.Request
	rejected  string // why it can never work; empty when it may
	// noCall says that it can probably be settled without a call, see
	// lanes.unasked. Guarded by lanes.mu once it is in a lane.
	noCall   bool
	attempt  int  // retries so far that counted
	attempts int  // calls to the gateway before this record
	expired  bool // expires_at had passed when it was last attempted
	// rest is how long it waits in its place before it is attempted again.
	rest time.Duration
	// held is for how long workers had its request before this one took it, at
	// taken.
	held  time.Duration
	taken time.Time
	// waits is what it waits for, if it waits for its merchant: until due, or
	// until the hold is lifted.
	waits Scope
	due   time.Time
	// climbed is in how many retry topics it has waited for its merchant, this
	// one included, counted from the shortest.
	climbed int
	probes  bool // may be the prober of a hold, see holds
	// source is the record that the order service published: this one, or
	// for a record of a retry topic the one that it continues.
	source events.Source
	size   int64
}

// standing says what may happen to the tasks of a partition.
type standing int

const (
	running standing = iota // calls may start
	paused                  // none may start: the group rebalances, or the worker stops
	lost                    // another member may own it: what is not finished is forgotten
)

// order is the lane of a task. A record that names no order has one of its own.
func (t *task) order() events.Order {
	if o := t.req.Order(); o.OutTradeNo != "" {
		return o
	}
	return events.Order{OutTradeNo: fmt.Sprintf("@%s/%d/%d", t.partition.topic, t.partition.id, t.offset)}
}

// maxOpenBytes bounds the memory of the unfinished records of one partition;
// one fetch may pass it.
const maxOpenBytes = 4 << 20

// partition is one partition that this worker owns, from its assignment until
// it is lost. It stays the same over rebalances that give it back.
type partition struct {
	place
	// owned ends when the partition is lost. It is the fence: nothing is
	// published, committed or started for a partition after that.
	owned context.Context
	lose  context.CancelCauseFunc
	// intake ends when no more records are wanted; owned may go on.
	intake     context.Context
	stopIntake context.CancelFunc

	// Guarded by lanes.mu.
	standing standing
	calls    context.Context // ends the calls in flight; new after each pause
	cutCalls context.CancelCauseFunc
	inFlight int     // calls under way
	settling int     // verdicts on their way to the topics
	parked   []*lane // lanes whose next task is of this partition while it is paused

	// doubt: the log that the ledger is about may be gone, as its topic was
	// deleted. Nothing is committed, or a topic made anew would begin at the
	// offset of the old one.
	doubt atomic.Bool

	mu     sync.Mutex
	ledger *ledger // nil until the committed offset is known
	bytes  int64   // of the open tasks
	timers map[*task]*time.Timer
	claims map[events.Source]*task // the open retry of each request
	freed  chan struct{}
}

func newPartition(ctx context.Context, at place) *partition {
	p := &partition{place: at, freed: make(chan struct{}, 1), timers: make(map[*task]*time.Timer), claims: make(map[events.Source]*task)}
	p.owned, p.lose = context.WithCancelCause(ctx)
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

// open waits for room and opens t's offset. It returns false when the offset
// is finished already, and an error when intake ended first.
func (p *partition) open(t *task) (bool, error) {
	if err := p.waitRoom(t.offset); err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ledger.open(t.offset) {
		return false, nil
	}
	p.bytes += t.size
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

// finish marks t's offset as finished: its outcome is acknowledged.
func (p *partition) finish(t *task) {
	p.mu.Lock()
	p.ledger.finish(t.offset)
	p.bytes -= t.size
	p.mu.Unlock()
	signal(p.freed)
}

// claim makes t the one retry of its request that is served from this
// partition, unless there is one that has no answer yet. unclaim must come
// before what the answer leads to is published: that may be the next retry of
// the same request, in this very partition.
func (p *partition) claim(t *task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	other := p.claims[t.source]
	if other == nil {
		p.claims[t.source] = t
		return true
	}
	// A requests topic that was made again has other requests at the places of
	// the old ones: only the same record is a copy.
	return !other.time.Equal(t.time) || !bytes.Equal(other.msg.Key, t.msg.Key) || !bytes.Equal(other.msg.Value, t.msg.Value)
}

func (p *partition) unclaim(t *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.claims[t.source] == t {
		delete(p.claims, t.source)
	}
}

// position returns what to commit: the watermark and the metadata that says
// what is finished above it. ok is false when nothing is known yet.
func (p *partition) position() (watermark int64, metadata string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ledger == nil || p.doubt.Load() {
		return 0, "", false
	}
	return p.ledger.watermark, encodeMetadata(p.topic, p.id, p.ledger.watermark, p.ledger.above()), true
}

// roomy says whether a task may wait in memory without holding up intake.
func (p *partition) roomy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes < maxOpenBytes/2 && p.ledger.next-p.ledger.watermark < window/2
}

// after calls f with t when wait is over, unless the partition is lost before.
func (p *partition) after(wait time.Duration, t *task, f func(*task)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timers == nil {
		return
	}
	p.timers[t] = time.AfterFunc(wait, func() {
		p.mu.Lock()
		_, waiting := p.timers[t]
		delete(p.timers, t)
		p.mu.Unlock()
		if waiting {
			f(t)
		}
	})
}

// wake ends the wait of the tasks that wanted says yes to, and returns them by
// offset. Their f is not called any more.
func (p *partition) wake(wanted func(*task) bool) []*task {
	p.mu.Lock()
	defer p.mu.Unlock()
	var woken []*task
	for t, timer := range p.timers {
		if wanted(t) {
			timer.Stop()
			delete(p.timers, t)
			woken = append(woken, t)
		}
	}
	slices.SortFunc(woken, func(a, b *task) int { return cmp.Compare(a.offset, b.offset) })
	return woken
}

// forget lets go of the tasks that wait for their time.
func (p *partition) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, timer := range p.timers {
		timer.Stop()
	}
	p.timers = nil
}
