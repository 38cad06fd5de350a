package consumer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus"
)

// publication is one record to be written.
type publication struct {
	topic string
	msg   events.Message
	// to is the number of a partition, modulo how many the topic has: that of
	// the request. What follows from requests of one order, which stand in one
	// partition, so stands in one partition too, whatever partitioner the
	// order service has.
	to int
	// request is what it came of, and of what it belongs to: for transactions.
	request *request
	of      *deliveries
	// fence: when it has ended, the record is not sent (any more).
	fence context.Context
	// done is called once, from a goroutine of the publisher: with nil when
	// all in-sync replicas have the record (with transactions, when it is
	// committed), with a *kafka.RefusedError when the broker does not take it as
	// it is, with errFencedOff when fence or the publisher ended first. It must
	// not block.
	done func(error)
}

var errFencedOff = errors.New("not published: the partition was lost or the worker stopped")

// publisher writes records with acks=all: a batcher per partition, which has one
// batch under way at a time, so that records of one request's partition keep
// their order, and a sender per broker, which has one request under way, and
// others beside it while those are slow. A sender takes what has queued up for all partitions of its broker while the request
// before was under way, and under load within two milliseconds: latency when
// there is little, batches when there is much. What is refused of one partition,
// or fails, that batcher tries again by itself, apart from the others.
//
// It never gives up: a broker that is away holds up the publications, those
// hold up the ledger, and that holds up intake. A write that is tried again is
// written once (see [kafka.Client.ProduceMany]).
type publisher struct {
	client *kafka.Client
	// tx is nil where records are not written in transactions.
	tx *transaction
	// leaseValid reports whether the membership holds, see group.Member. While it
	// does not nothing is sent: the partitions may be another's, who publishes
	// for them.
	leaseValid func(now time.Time) bool
	log        logrus.FieldLogger
	ctx        context.Context
	cancel     context.CancelFunc
	wg         sync.WaitGroup

	// observer sees requests that write; nil: nobody does. doing is what they do.
	observer Observer
	doing    doing
	told     kafka.Told

	mu      sync.Mutex
	topics  map[string]*topicQueue
	senders map[int]*sender // by broker
}

// topicQueue holds records until the number of partitions is known.
type topicQueue struct {
	batchers  []*batcher
	unrouted  []publication
	resolving bool
}

func newPublisher(c *kafka.Client, leaseValid func(time.Time) bool, log logrus.FieldLogger) *publisher {
	p := &publisher{client: c, leaseValid: leaseValid, log: log, topics: make(map[string]*topicQueue), senders: make(map[int]*sender)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// close ends all senders; what is not acknowledged is done with errFencedOff.
func (p *publisher) close() {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.wg.Wait() // from here on nobody queues or routes
	if unsent := p.unsent(); p.tx == nil {
		finishAll(unsent, errFencedOff)
	} else {
		p.tx.close()
	}
}

// unsent takes what is queued and not in a batch yet. p.mu is held, or the
// publisher is closed.
func (p *publisher) unsent() (all []publication) {
	for _, q := range p.topics {
		all = append(all, q.unrouted...)
		q.unrouted = nil
		for _, b := range q.batchers {
			for b.queue.len() > 0 {
				all = append(all, b.queue.pop())
			}
		}
	}
	return all
}

// publish queues the records of one decision. It does not block: what is under
// way is bounded by the ledgers.
func (p *publisher) publish(pubs ...publication) {
	p.mu.Lock()
	if p.ctx.Err() != nil {
		p.mu.Unlock()
		finishAll(pubs, errFencedOff)
		return
	}
	defer p.mu.Unlock()
	if p.tx != nil && !p.tx.takes(pubs) {
		return // the next one does
	}
	for _, pub := range pubs {
		p.route(pub)
	}
}

// under is what records that are sent now go under: it ends with the
// transaction, or the publisher.
func (p *publisher) under() context.Context {
	if p.tx == nil {
		return p.ctx
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tx.ctx
}

// acknowledged is told of records that all in-sync replicas have.
func (b *batcher) acknowledged(batch []publication) {
	if tx := b.publisher.tx; tx != nil {
		tx.acknowledged(b.topicPartition, batch)
		return
	}
	finishAll(batch, nil)
}

// produce writes batches, see [kafka.Client.ProduceMany].
func (p *publisher) produce(ctx context.Context, batches []kafka.Batch) []kafka.Produced {
	began := p.doing.begin()
	write := p.client.ProduceMany
	if p.tx != nil {
		write = p.tx.produce
	}
	produced := write(ctx, batches)
	p.published(ctx, began, batches, produced)
	return produced
}

// published takes note of how a request that was begun at a time has ended.
func (p *publisher) published(ctx context.Context, began time.Time, batches []kafka.Batch, produced []kafka.Produced) {
	var failed error
	acknowledged := false
	took := time.Since(began)
	for i, one := range produced {
		switch {
		case one.Err == nil:
			acknowledged = true
		case ctx.Err() != nil:
			continue // given up
		case kafka.Refused(one.Err): // the broker is well, and does not take the record as it is
		default:
			failed = one.Err
		}
		if p.observer != nil {
			p.observer.Published(batches[i].Topic, len(batches[i].Messages), took, one.Err)
		}
	}
	p.doing.end(began, acknowledged, failed)
}

func (p *publisher) route(pub publication) {
	q := p.topics[pub.topic]
	if q == nil {
		q = &topicQueue{}
		p.topics[pub.topic] = q
	}
	if len(q.batchers) == 0 {
		if !q.resolving {
			q.resolving = true
			p.wg.Go(func() { p.resolve(pub.topic) })
		}
		q.unrouted = append(q.unrouted, pub)
		return
	}
	b := q.batchers[pub.to%len(q.batchers)]
	if p.tx != nil {
		p.tx.touch(b.topicPartition)
	}
	b.add(pub)
}

// placeOf is the partition that a record goes to, with the number -1 while it is
// not known how many the topic has. p.mu is held.
func (p *publisher) placeOf(pub publication) topicPartition {
	if q := p.topics[pub.topic]; q != nil && len(q.batchers) > 0 {
		return q.batchers[pub.to%len(q.batchers)].topicPartition
	}
	return topicPartition{pub.topic, -1}
}

// leaseLook is how often it is looked at whether the membership holds again.
const leaseLook = 100 * time.Millisecond

// resolve finds out how many partitions a topic has, makes its batchers and
// routes what has waited.
func (p *publisher) resolve(topic string) {
	retry := kafka.NewPause(50*time.Millisecond, 5*time.Second)
	for {
		counts, err := p.client.Partitions(p.ctx, topic)
		if err == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			q := p.topics[topic]
			p.extend(topic, q, counts[topic])
			unrouted := q.unrouted
			q.unrouted, q.resolving = nil, false
			for _, pub := range unrouted {
				p.route(pub)
			}
			return
		}
		if p.ctx.Err() != nil {
			return
		}
		p.doing.failed(err)
		if p.told.Due(topic, err) {
			p.log.WithField("topic", topic).WithError(err).Error("cannot publish: intake is held, nothing is lost")
		}
		if retry.Wait(p.ctx) != nil {
			return
		}
	}
}

// grow makes batchers for partitions that known topics have got since: a retry
// must go to the partition number of its request, also when that is a new one.
func (p *publisher) grow(counts map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	for topic, n := range counts {
		if q := p.topics[topic]; q != nil && len(q.batchers) > 0 {
			p.extend(topic, q, n)
		}
	}
}

// extend makes batchers until a topic has n. p.mu is held.
func (p *publisher) extend(topic string, q *topicQueue, n int) {
	for id := len(q.batchers); id < n; id++ {
		q.batchers = append(q.batchers, &batcher{publisher: p, topicPartition: topicPartition{topic, id}, leader: kafka.NoLeader})
	}
}

// batcher has the records of one partition. publisher.mu guards it.
type batcher struct {
	publisher *publisher
	topicPartition
	leader int // the broker that it was written to last
	queue  queue[publication]
	busy   bool // a sender has it in its list, or a batch of it is under way
}

// add queues a record. p.mu is held.
func (b *batcher) add(pub publication) {
	b.queue.push(pub)
	if !b.busy {
		b.busy = true
		b.publisher.list(b)
	}
}

// next goes on with what has queued up behind a batch that is done, at the
// broker that leads the partition now, as far as is known.
func (b *batcher) next(leader int) {
	b.publisher.mu.Lock()
	defer b.publisher.mu.Unlock()
	b.leader = leader
	if b.busy = b.queue.len() > 0; b.busy {
		b.publisher.list(b)
	}
}

// take moves what is queued, up to a batch, into one. p.mu is held.
func (b *batcher) take() (batch []publication, bytes int) {
	n := min(b.queue.len(), kafka.BatchRecords)
	batch = make([]publication, 0, n)
	for len(batch) < n {
		size := kafka.Size(b.queue.first().msg)
		if len(batch) > 0 && bytes+size > kafka.BatchBytes {
			break
		}
		bytes += size
		batch = append(batch, b.queue.pop())
	}
	return batch, bytes
}

// alone writes a batch apart from those of other partitions, err being what
// became of its first try, if there was one.
func (b *batcher) alone(batch []publication, err error) {
	b.publisher.wg.Go(func() {
		b.send(b.publisher.under(), batch, err)
		b.next(kafka.NoLeader)
	})
}

// send writes a batch of one partition until it is acknowledged, and answers
// each of its records. first, if not nil, is what became of a try of the whole
// batch before.
func (b *batcher) send(ctx context.Context, batch []publication, first error) {
	retry := kafka.NewPause(20*time.Millisecond, 2*time.Second)
	failing, told := false, false
	write := func(part []publication) (err error) {
		if err, first = first, nil; err == nil {
			err = b.produce(ctx, part, kafka.Uncompressed)
		}
		if len(part) == 1 && kafka.TooLarge(err) {
			// What counts is the size on the wire, and the producer of an
			// original may have compressed it.
			err = b.produce(ctx, part, kafka.Gzip)
		}
		return err
	}
	refuse := func(pub publication, err error) {
		refused := &kafka.RefusedError{Topic: b.topic, Partition: b.id, Bytes: kafka.Size(pub.msg), Err: err}
		if tx := b.publisher.tx; tx != nil {
			tx.refuse(b.topicPartition, pub, refused)
			return
		}
		pub.done(refused)
	}
	for {
		var err error
		batch, err = kafka.Halve(batch, write, kafka.Refused, refuse)
		switch {
		case err == nil:
			if told {
				b.logger().Info("publishing again")
			}
			return
		case ctx.Err() != nil, errors.Is(err, errFencedOff):
		case errors.Is(err, errLeaseOver):
			_ = kafka.Sleep(ctx, leaseLook)
		case b.retired(ctx, batch):
			return
		default:
			if !failing {
				failing = true
				if told = b.publisher.told.Due("", err); told { // a broker that goes away concerns dozens
					b.logger().WithError(err).Warn("publishing fails: trying until it is acknowledged, intake is held when too much waits; more of the kind are not told of for a minute")
				}
			}
			_ = retry.Wait(ctx)
		}
		if batch = slices.DeleteFunc(batch, func(pub publication) bool { return b.fencedOff(ctx, pub) }); len(batch) == 0 {
			return
		}
	}
}

// fencedOff says whether a record may not be sent any more, and drops it then.
func (b *batcher) fencedOff(ctx context.Context, pub publication) bool {
	if ctx.Err() == nil && pub.fence.Err() == nil {
		return false
	}
	if tx := b.publisher.tx; tx != nil {
		tx.spoil(errFencedOff)
		tx.settle(b.topicPartition, 1)
	} else {
		pub.done(errFencedOff)
	}
	return true
}

// retired says whether the partition is gone: the topic was made again with
// fewer. Then the batch and the queue have been handed to the partitions that
// there are.
func (b *batcher) retired(ctx context.Context, batch []publication) bool {
	p := b.publisher
	counts, err := p.client.Partitions(ctx, b.topic)
	if err != nil || b.id < counts[b.topic] {
		return false
	}
	b.logger().Warn("the topic has fewer partitions now: publishing to those")
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.topics[b.topic]
	q.batchers = q.batchers[:min(counts[b.topic], len(q.batchers))]
	if p.tx != nil {
		p.tx.pending[b.topicPartition] = 0 // all that it has is routed anew
	}
	for _, pub := range batch { // route does not know this batcher any more
		p.route(pub)
	}
	for b.queue.len() > 0 {
		p.route(b.queue.pop())
	}
	return true
}

func (b *batcher) logger() logrus.FieldLogger {
	return b.publisher.log.WithFields(logrus.Fields{"topic": b.topic, "partition": b.id})
}

// errLeaseOver says that the membership does not hold at present.
var errLeaseOver = errors.New("not published: the partition may be another's")

// produce sends one request if all fences stand, and finishes its records when
// they are acknowledged.
func (b *batcher) produce(ctx context.Context, batch []publication, compression kafka.Compression) error {
	messages := make([]events.Message, len(batch))
	for i, pub := range batch {
		if pub.fence.Err() != nil {
			return errFencedOff
		}
		messages[i] = pub.msg
	}
	if !b.publisher.leaseValid(time.Now()) {
		return errLeaseOver
	}
	if err := b.publisher.produce(ctx, []kafka.Batch{{Topic: b.topic, Partition: b.id, Messages: messages, Compression: compression}})[0].Err; err != nil {
		return err
	}
	b.acknowledged(batch)
	return nil
}

func finishAll(batch []publication, err error) {
	for _, pub := range batch {
		pub.done(err)
	}
}
