package consumer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus"
)

// transaction is what is written with exactly once: the records that requests
// lead to and, when the committer ends it, the offsets of these requests. Readers
// of committed records see all of it or nothing. There is one at a time:
//
//	begin: what waited is routed -> takes: more comes -> cut: no more, all acknowledged -> offsets -> committed, or aborted
//
// What comes while one is being ended waits for the next. The records of an
// aborted one are written again in the next, in their order, unless their
// partition was taken away: then their request is its next owner's. A request
// whose partition goes while its records stand in the open transaction has it
// aborted, as nobody may see them without its offset.
//
// A partition that cannot be written holds up the transaction, and with it all
// others. So what goes to it is set aside when a transaction has failed for that,
// in its order, and tried again from time to time: see troublesome.
//
// takes, settle, spoil, refuse, touch and produce are for the publisher and may be
// called concurrently; the others are for who holds committer.turn.
type transaction struct {
	publisher *publisher
	producer  *kafka.Transactions
	group     string // whose offsets are committed
	// memory is how much its requests may take, in bytes, before it is ended, beside
	// those that are not answered yet.
	memory int64
	// patience is how long records may take to be acknowledged: less than the
	// brokers leave it open.
	patience time.Duration
	log      logrus.FieldLogger
	wake     chan struct{} // the committer's
	full     chan struct{} // it is large enough to be ended
	settled  chan struct{} // nothing of it is under way

	// ready: the producer has an epoch in which nothing is open. Of the holder of
	// committer.turn.
	ready bool
	// grouping is under way while the group is added, beside what is written.
	grouping sync.WaitGroup

	// publisher.mu guards what is below.
	ctx     context.Context // ends with it, or when it cannot be committed any more
	cancel  context.CancelCauseFunc
	admits  bool
	grouped bool // the group is added, or being added
	records []publication
	bytes   int
	has     int64                  // of memory
	waiting []publication          // for the next one
	written int                    // records that are acknowledged
	unsure  int                    // records that are neither acknowledged, refused nor dropped
	pending map[topicPartition]int // the same by partition
	trouble map[topicPartition]*troublesome
	// aside is what goes to those, with all else of its requests and all of later
	// requests of their orders (G4), which are in held.
	aside []publication
	held  map[events.Order]struct{}
	// blocked are partitions whose offsets the coordinator has refused, until they
	// are tried again: what their requests lead to waits.
	blocked map[*partition]time.Time
	refused map[*deliveries]refusal
	soon    []kafka.Place // partitions that the coordinator has not been told of
	touched map[topicPartition]struct{}
}

// troublesome is a partition for which a transaction had to be aborted.
type troublesome struct {
	until time.Time // when it is tried again
	pause time.Duration
	trial bool // it is in the transaction
}

const (
	// firstTrial is when a partition that could not be written is tried again the
	// first time; each pause is twice the one before, up to lastTrial.
	firstTrial, lastTrial = 5 * time.Second, time.Minute
	// trialPatience is how long a trial may hold up what goes to other partitions.
	trialPatience = time.Second
)

// refusal is a record that the broker does not take as it is.
type refusal struct {
	publication
	err error
}

// A transaction that is as large as this is ended, however short its time was.
const (
	transactionRecords = 4 * kafka.BatchRecords
	transactionBytes   = 2 << 20
)

var (
	errSlowTransaction = errors.New("not all records were acknowledged in time")
	errTorn            = errors.New("a topic does not take one of the records of a request")
	errNoGeneration    = errors.New("the membership is lost")
	errNoOffset        = errors.New("the offset of one of its requests cannot be committed at present")
)

func newTransaction(p *publisher, producer *kafka.Transactions, group string, memory int64, timeout time.Duration, wake chan struct{}, log logrus.FieldLogger) *transaction {
	return &transaction{
		publisher: p, producer: producer, group: group, memory: memory, patience: timeout / 2, log: log, wake: wake,
		trouble: make(map[topicPartition]*troublesome), blocked: make(map[*partition]time.Time),
		full: make(chan struct{}, 1), settled: make(chan struct{}, 1), ctx: p.ctx, cancel: func(error) {},
	}
}

// takes puts the records of one decision into the transaction, to be routed.
// False: it is being ended, or one of them cannot be written at present, and they
// wait. publisher.mu is held.
func (t *transaction) takes(pubs []publication) bool {
	if !t.admits {
		signal(t.wake) // it may be that nobody has anything else to do
		t.waiting = append(t.waiting, pubs...)
		return false
	}
	if t.inTrouble(pubs) {
		t.aside = append(t.aside, pubs...)
		t.held[pubs[0].request.order()] = struct{}{}
		return false
	}
	signal(t.wake)
	t.records = append(t.records, pubs...)
	t.unsure += len(pubs)
	for _, pub := range pubs {
		t.bytes += kafka.Size(pub.msg)
	}
	t.has += openCost + pubs[0].request.size
	if len(t.records) >= transactionRecords || t.bytes >= transactionBytes || t.has >= t.memory {
		signal(t.full)
	}
	return true
}

// inTrouble reports whether one of the records of a request goes where none can be
// written, or must stay behind one that does. publisher.mu is held.
func (t *transaction) inTrouble(pubs []publication) bool {
	if t.noOffset(pubs[0].request.partition) {
		return true
	}
	if len(t.trouble) == 0 {
		return false
	}
	if _, behind := t.held[pubs[0].request.order()]; behind || pubs[0].of.taken {
		return behind
	}
	return slices.ContainsFunc(pubs, func(pub publication) bool {
		p := t.trouble[t.publisher.placeOf(pub)]
		return p != nil && !p.trial
	})
}

// noOffset reports whether the offsets of a partition cannot be committed at
// present: they are refused, or the topic may be gone. What its requests lead to
// must not be seen without them. publisher.mu is held.
func (t *transaction) noOffset(p *partition) bool {
	return p != nil && (p.doubt.Load() || len(t.blocked) > 0 && time.Now().Before(t.blocked[p]))
}

// block has the requests of a partition wait whose offset was refused, and calls
// again when it is tried once more.
func (t *transaction) block(p *partition, again func()) {
	t.publisher.mu.Lock()
	defer t.publisher.mu.Unlock()
	maps.DeleteFunc(t.blocked, func(p *partition, _ time.Time) bool { return p.owned.Err() != nil })
	t.blocked[p] = time.Now().Add(firstTrial)
	time.AfterFunc(firstTrial, again)
}

// isBlocked reports whether the offset of a partition is not to be committed now.
func (t *transaction) isBlocked(p *partition) bool {
	t.publisher.mu.Lock()
	defer t.publisher.mu.Unlock()
	return t.noOffset(p)
}

// touch notes a partition that a record is routed to. publisher.mu is held.
func (t *transaction) touch(at topicPartition) {
	t.pending[at]++
	if _, known := t.touched[at]; !known {
		t.touched[at] = struct{}{}
		t.soon = append(t.soon, kafka.Place{Topic: at.topic, Partition: at.id})
	}
}

// produce writes batches in the transaction. An error that no other try heals
// spoils it.
func (t *transaction) produce(ctx context.Context, batches []kafka.Batch) []kafka.Produced {
	t.publisher.mu.Lock()
	soon := t.soon
	t.soon = nil
	t.publisher.mu.Unlock()
	done := t.producer.ProduceMany(ctx, batches, soon)
	t.addGroup(ctx)
	for _, one := range done {
		if one.Err != nil && kafka.Fenced(one.Err) {
			t.spoil(one.Err)
			break
		}
	}
	return done
}

// addGroup adds the group as soon as something was written: less is left to do
// when the transaction ends, and nothing else is written.
func (t *transaction) addGroup(ctx context.Context) {
	t.publisher.mu.Lock()
	first := !t.grouped
	t.grouped = true
	t.publisher.mu.Unlock()
	if first {
		t.grouping.Go(func() { _ = t.producer.AddGroup(ctx, t.group) }) // if it fails Offsets tells
	}
}

// acknowledged counts records that all in-sync replicas have. What their requests
// take is the transaction's from here on: others may be read meanwhile.
func (t *transaction) acknowledged(at topicPartition, batch []publication) {
	for _, pub := range batch {
		if len(pub.of.together) == 1 {
			pub.request.partition.letGo(pub.request)
		}
	}
	t.publisher.mu.Lock()
	defer t.publisher.mu.Unlock()
	t.written += len(batch)
	t.settleLocked(at, len(batch))
}

// settle counts records of a partition that need no more waiting for.
func (t *transaction) settle(at topicPartition, n int) {
	t.publisher.mu.Lock()
	defer t.publisher.mu.Unlock()
	t.settleLocked(at, n)
}

func (t *transaction) settleLocked(at topicPartition, n int) {
	t.pending[at] -= n
	if t.unsure -= n; t.unsure == 0 {
		signal(t.settled)
	}
}

// refuse sets a record aside that the broker does not take, with those that are
// never written without it.
func (t *transaction) refuse(at topicPartition, pub publication, err error) {
	t.publisher.mu.Lock()
	defer t.publisher.mu.Unlock()
	if _, is := t.refused[pub.of]; !is {
		t.refused[pub.of] = refusal{pub, err}
	}
	t.settleLocked(at, 1)
}

// spoil says that the transaction cannot be committed: nothing more of it is
// sent. Only the first reason counts.
func (t *transaction) spoil(why error) {
	t.publisher.mu.Lock()
	defer t.publisher.mu.Unlock()
	t.cancel(why)
	if n := len(t.publisher.unsent()); n > 0 {
		if t.unsure -= n; t.unsure == 0 {
			signal(t.settled)
		}
	}
}

// late is called when the transaction has waited for its records for long: it
// cannot be committed. What goes to the partitions in question is set aside if
// others could be written: else it is the coordinator, or the membership, that is
// waited for. Partitions that are only tried may hold it up for less long.
func (t *transaction) late(trials bool) {
	t.publisher.mu.Lock()
	any, others := false, t.written > 0 && t.publisher.leaseValid(time.Now())
	for topic, q := range t.publisher.topics {
		if len(q.unrouted) > 0 {
			t.pending[topicPartition{topic, -1}] = len(q.unrouted)
		}
	}
	for at, n := range t.pending {
		p := t.trouble[at]
		if n == 0 || !others || trials && (p == nil || !p.trial) {
			continue
		}
		any = true
		pause := firstTrial
		if p == nil {
			t.log.WithFields(logrus.Fields{"topic": at.topic, "partition": at.id}).
				Warn("a partition cannot be written: requests that lead to it wait, the others go on")
		} else {
			pause = min(2*p.pause, lastTrial)
		}
		t.setAside(at, pause)
	}
	t.publisher.mu.Unlock()
	if any || !trials {
		t.spoil(errSlowTransaction)
	}
}

// begin makes ready for a transaction, and lets what waits into it.
func (t *transaction) begin(ctx context.Context) error {
	if !t.ready {
		if err := t.producer.Begin(ctx); err != nil {
			return err
		}
		t.ready = true
	}
	t.open()
	return nil
}

// open lets what waits into the transaction.
func (t *transaction) open() {
	t.publisher.mu.Lock()
	var over []publication
	switch {
	case t.publisher.ctx.Err() != nil:
	case !t.admits:
		t.ctx, t.cancel = context.WithCancelCause(t.publisher.ctx)
		t.written, t.grouped = 0, false
		t.refused, t.touched, t.pending = make(map[*deliveries]refusal), make(map[topicPartition]struct{}), make(map[topicPartition]int)
		over = t.admit()
	case len(t.aside) > 0:
		over = t.admit()
	}
	t.publisher.mu.Unlock()
	finishAll(over, errFencedOff)
}

// admit lets what waits into the transaction, but for what lost its partition
// meanwhile, and for what goes to partitions whose time has not come. publisher.mu
// is held.
func (t *transaction) admit() (over []publication) {
	t.admits = true
	now := time.Now()
	for _, p := range t.trouble {
		p.trial = !now.Before(p.until)
	}
	waiting := slices.Concat(t.aside, t.waiting)
	t.aside, t.waiting, t.held = nil, nil, make(map[events.Order]struct{})
	for len(waiting) > 0 {
		n := 1 // those of one decision stand together
		for n < len(waiting) && waiting[n].of == waiting[0].of {
			n++
		}
		some := waiting[:n]
		if waiting = waiting[n:]; some[0].fence.Err() != nil {
			over = append(over, some...)
		} else if t.takes(some) {
			for _, pub := range some {
				t.publisher.route(pub)
			}
		}
	}
	return over
}

// cut lets nothing more into the transaction, waits until all of it is
// acknowledged, and returns its records but for those of requests of which one
// was refused. An error says why it cannot be committed; interrupted, that ctx
// ended first and it goes on.
func (t *transaction) cut(ctx context.Context) (records []publication, interrupted bool, err error) {
	p := t.publisher
	p.mu.Lock()
	t.admits = false
	p.mu.Unlock()
	trials, late := time.NewTimer(min(trialPatience, t.patience)), time.NewTimer(t.patience)
	defer trials.Stop()
	defer late.Stop()
	for {
		p.mu.Lock()
		if t.unsure == 0 {
			records, err = t.whole()
			p.mu.Unlock()
			return records, false, err
		}
		p.mu.Unlock()
		select {
		case <-t.settled:
		case <-trials.C:
			t.late(true)
		case <-late.C:
			t.late(false)
		case <-ctx.Done():
			p.mu.Lock()
			over := t.admit()
			p.mu.Unlock()
			finishAll(over, errFencedOff)
			return nil, true, context.Cause(ctx)
		}
	}
}

// whole returns the records of the transaction if it can be committed with them.
// publisher.mu is held.
func (t *transaction) whole() ([]publication, error) {
	if t.ctx.Err() != nil {
		return nil, context.Cause(t.ctx)
	}
	records := make([]publication, 0, len(t.records))
	for _, pub := range t.records {
		if pub.fence.Err() != nil {
			return nil, errFencedOff
		}
		if t.noOffset(pub.request.partition) {
			return nil, errNoOffset
		}
		if _, refused := t.refused[pub.of]; !refused {
			records = append(records, pub)
		} else if len(pub.of.together) > 1 {
			return nil, errTorn // another one of the request may be written
		}
	}
	return records, nil
}

// stands reports whether all requests of the transaction are still ours.
func (t *transaction) stands() bool {
	t.publisher.mu.Lock()
	defer t.publisher.mu.Unlock()
	_, err := t.whole()
	return err == nil
}

// commit makes all of it seen. See [kafka.Transactions.Commit].
func (t *transaction) commit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitWithin)
	defer cancel()
	t.grouping.Wait()
	return t.producer.Commit(ctx)
}

// commitWithin is how long a coordinator may leave open whether a transaction is
// committed, when another one has to take over from it, say.
const commitWithin = time.Minute

// goOn lets more into the transaction that was cut, as there is nothing to end.
func (t *transaction) goOn() {
	t.publisher.mu.Lock()
	over := t.admit()
	t.publisher.mu.Unlock()
	finishAll(over, errFencedOff)
}

// end answers the records of the transaction: it is committed, or they wait for
// the next one.
func (t *transaction) end(committed bool) {
	p := t.publisher
	p.mu.Lock()
	records, refused := t.records, t.refused
	torn := t.tear(committed)
	t.records, t.bytes, t.has, t.refused, t.soon = nil, 0, 0, nil, nil
	t.cancel(nil)
	if committed { // what was tried is well
		maps.DeleteFunc(t.trouble, func(at topicPartition, p *troublesome) bool { return p.trial })
	}
	var done, over, again []publication
	for _, pub := range records {
		_, aside := refused[pub.of]
		switch {
		case aside: // all of its request, below
		case committed:
			done = append(done, pub)
		case pub.fence.Err() != nil:
			over = append(over, pub)
		default:
			pub.of.taken = torn
			again = append(again, pub)
		}
	}
	// What was set aside stands behind what was let in, of its orders at least.
	t.waiting, t.aside = slices.Concat(again, t.aside, t.waiting), nil
	p.mu.Unlock()
	finishAll(done, nil)
	finishAll(over, errFencedOff)
	for _, one := range refused {
		one.done(one.err)
	}
}

// tear reports whether the transaction is aborted because it is torn, and sets
// aside what goes to where a record was refused: else each one that comes would
// tear the next. What was taken in this transaction need not wait for that.
// publisher.mu is held.
func (t *transaction) tear(committed bool) (torn bool) {
	if committed || t.unsure > 0 || t.ctx.Err() != nil && !errors.Is(context.Cause(t.ctx), errTorn) {
		return false
	}
	for of, one := range t.refused {
		if len(of.together) > 1 {
			torn = true
			t.setAside(t.publisher.placeOf(one.publication), firstTrial)
		}
	}
	return torn
}

// setAside has nothing written to a partition for a while. publisher.mu is held.
func (t *transaction) setAside(at topicPartition, pause time.Duration) {
	t.trouble[at] = &troublesome{until: time.Now().Add(pause), pause: pause}
	time.AfterFunc(pause, func() { signal(t.wake) })
}

// abort lets nobody see what was written. Where that is not sure, begin asks
// again.
func (t *transaction) abort(ctx context.Context, why error) error {
	t.publisher.mu.Lock()
	t.admits = false // before spoil: what came behind it, for a topic that is not found, would be waited for
	t.publisher.mu.Unlock()
	t.spoil(why)
	for {
		t.publisher.mu.Lock()
		unsure := t.unsure
		t.publisher.mu.Unlock()
		if unsure == 0 {
			break
		}
		<-t.settled // what is under way ends with t.ctx
	}
	t.end(false)
	t.ready = false
	t.grouping.Wait()
	if err := t.producer.Abort(ctx); err != nil {
		return err
	}
	t.ready = true
	return nil
}

// rest waits until the next one is to be ended: for d, or until it is large.
func (t *transaction) rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.full:
	case <-ctx.Done():
	}
}

// empty reports whether nothing is in the transaction.
func (t *transaction) empty() bool {
	t.publisher.mu.Lock()
	defer t.publisher.mu.Unlock()
	return len(t.records) == 0
}

// goodbye bounds the end of what a worker leaves open that stops.
const goodbye = 2 * time.Second

// close answers all that it has. The publisher is closed.
func (t *transaction) close() {
	finishAll(slices.Concat(t.records, t.aside, t.waiting), errFencedOff)
	if len(t.records) > 0 || !t.ready {
		// Readers would be held until the brokers abort it.
		ctx, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		if err := t.producer.Abort(ctx); err != nil {
			t.log.WithError(err).Warn("the last transaction is left to the brokers: readers of committed records are held up for kafka.transaction_timeout at most")
		}
	}
	t.records, t.aside, t.waiting = nil, nil, nil
}
