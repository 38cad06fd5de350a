package consumer

import (
	"context"
	"errors"
	"time"

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
// takes, settle, spoil, refuse, touch and produce are for the publisher and may be
// called concurrently; the others are for who holds committer.turn.
type transaction struct {
	publisher *publisher
	producer  *kafka.Transactions
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

	// publisher.mu guards what is below.
	ctx     context.Context // ends with it, or when it cannot be committed any more
	cancel  context.CancelCauseFunc
	admits  bool
	records []publication
	bytes   int
	waiting []publication // for the next one
	unsure  int           // records that are neither acknowledged, refused nor dropped
	refused map[*deliveries]refusal
	soon    []kafka.Place // partitions that the coordinator has not been told of
	touched map[topicPartition]struct{}
}

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
)

func newTransaction(p *publisher, producer *kafka.Transactions, timeout time.Duration, wake chan struct{}, log logrus.FieldLogger) *transaction {
	return &transaction{
		publisher: p, producer: producer, patience: timeout / 2, log: log, wake: wake,
		full: make(chan struct{}, 1), settled: make(chan struct{}, 1), ctx: p.ctx, cancel: func(error) {},
	}
}

// takes puts the records of one decision into the transaction, to be routed.
// False: it is being ended, and they wait for the next one. publisher.mu is held.
func (t *transaction) takes(pubs []publication) bool {
	signal(t.wake)
	if !t.admits {
		t.waiting = append(t.waiting, pubs...)
		return false
	}
	t.records = append(t.records, pubs...)
	t.unsure += len(pubs)
	for _, pub := range pubs {
		t.bytes += kafka.Size(pub.msg)
	}
	if len(t.records) >= transactionRecords || t.bytes >= transactionBytes {
		signal(t.full)
	}
	return true
}

// touch notes a partition that will be written. publisher.mu is held.
func (t *transaction) touch(at topicPartition) {
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
	for _, one := range done {
		if one.Err != nil && kafka.Fenced(one.Err) {
			t.spoil(one.Err)
			break
		}
	}
	return done
}

// settle counts records that need no more waiting for.
func (t *transaction) settle(n int) {
	t.publisher.mu.Lock()
	defer t.publisher.mu.Unlock()
	t.settleLocked(n)
}

func (t *transaction) settleLocked(n int) {
	if t.unsure -= n; t.unsure == 0 {
		signal(t.settled)
	}
}

// refuse sets a record aside that the broker does not take, with those that are
// never written without it.
func (t *transaction) refuse(pub publication, err error) {
	t.publisher.mu.Lock()
	defer t.publisher.mu.Unlock()
	if _, is := t.refused[pub.of]; !is {
		t.refused[pub.of] = refusal{pub, err}
	}
	t.settleLocked(1)
}

// spoil says that the transaction cannot be committed: nothing more of it is
// sent. Only the first reason counts.
func (t *transaction) spoil(why error) {
	t.publisher.mu.Lock()
	defer t.publisher.mu.Unlock()
	t.cancel(why)
	if n := len(t.publisher.unsent()); n > 0 {
		t.settleLocked(n)
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
	t.publisher.mu.Lock()
	if t.admits || t.publisher.ctx.Err() != nil {
		t.publisher.mu.Unlock()
		return nil
	}
	t.ctx, t.cancel = context.WithCancelCause(t.publisher.ctx)
	t.refused, t.touched = make(map[*deliveries]refusal), make(map[topicPartition]struct{})
	late := t.admit()
	t.publisher.mu.Unlock()
	finishAll(late, errFencedOff)
	return nil
}

// admit lets what waits into the transaction, but for what lost its partition
// meanwhile. publisher.mu is held.
func (t *transaction) admit() (late []publication) {
	t.admits = true
	waiting := t.waiting
	t.waiting = nil
	for _, pub := range waiting {
		if pub.fence.Err() != nil {
			late = append(late, pub)
			continue
		}
		t.takes([]publication{pub})
		t.publisher.route(pub)
	}
	return late
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
	late := time.NewTimer(t.patience)
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
		case <-late.C:
			t.spoil(errSlowTransaction)
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
	t.records, t.bytes, t.refused, t.soon = nil, 0, nil, nil
	t.cancel(nil)
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
			again = append(again, pub)
		}
	}
	t.waiting = append(again, t.waiting...)
	p.mu.Unlock()
	finishAll(done, nil)
	finishAll(over, errFencedOff)
	for _, one := range refused {
		one.done(one.err)
	}
}

// abort lets nobody see what was written. Where that is not sure, begin asks
// again.
func (t *transaction) abort(ctx context.Context, why error) error {
	t.spoil(why)
	for {
		t.publisher.mu.Lock()
		t.admits = false
		unsure := t.unsure
		t.publisher.mu.Unlock()
		if unsure == 0 {
			break
		}
		<-t.settled // what is under way ends with t.ctx
	}
	t.end(false)
	t.ready = false
	if err := t.producer.Abort(ctx); err != nil {
		return err
	}
	t.ready = true
	return nil
}

// rest waits for the next one to be ended: for d, or until it is large.
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
	for _, pub := range append(t.records, t.waiting...) {
		pub.done(errFencedOff)
	}
	if len(t.records) > 0 || !t.ready {
		// Readers would be held until the brokers abort it.
		ctx, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		if err := t.producer.Abort(ctx); err != nil {
			t.log.WithError(err).Warn("the last transaction is left to the brokers: readers of committed records are held up for kafka.transaction_timeout at most")
		}
	}
	t.records, t.waiting = nil, nil
}
