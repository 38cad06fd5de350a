package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/segmentio/kafka-go"
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
	// fence: when it has ended, the record is not sent (any more).
	fence context.Context
	// done is called once, from a goroutine of the publisher: with nil when
	// all in-sync replicas have the record, with errTooLarge when no broker
	// will ever take it, with errFencedOff when fence or the publisher ended
	// first. It must not block.
	done func(error)
}

var (
	errTooLarge  = errors.New("the record is larger than the broker takes (max.message.bytes)")
	errFencedOff = errors.New("not published: the partition was lost or the worker stopped")
)

const (
	// Most that one produce request carries. Apache Kafka refuses batches of
	// more than 1 MiB by default.
	maxBatchRecords = 1000
	maxBatchBytes   = 512 << 10
)

// publisher writes records with acks=all: one batcher per partition, one
// request of it in flight at a time, so that records of one request's partition
// keep their order. A batcher sends what has queued up while the request before was
// under way: latency when there is little, batches when there is much, and
// no timer.
//
// It never gives up: a broker that is away holds up the publications, those
// hold up the ledger, and that holds up intake. There is no idempotent
// producer in kafka-go: a retry after a lost answer writes twice, which is
// why event ids are derived.
type publisher struct {
	cluster *cluster
	// alive reports whether the membership holds, see member.alive. While it
	// does not nothing is sent: the partitions may be another's, who publishes
	// for them.
	alive  func(now time.Time) bool
	log    logrus.FieldLogger
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	topics map[string]*topicQueue
}

// topicQueue holds records until the number of partitions is known.
type topicQueue struct {
	batchers []*batcher
	unrouted []publication
	asking   bool
}

func newPublisher(c *cluster, alive func(time.Time) bool, log logrus.FieldLogger) *publisher {
	p := &publisher{cluster: c, alive: alive, log: log, topics: make(map[string]*topicQueue)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// close ends all batchers; what is not acknowledged is done with errFencedOff.
func (p *publisher) close() {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.topics {
		for _, pub := range q.unrouted {
			pub.done(errFencedOff)
		}
		q.unrouted = nil
	}
}

// publish queues a record. It does not block: what is under way is bounded by
// the ledgers.
func (p *publisher) publish(pub publication) {
	p.mu.Lock()
	if p.ctx.Err() != nil {
		p.mu.Unlock()
		pub.done(errFencedOff)
		return
	}
	defer p.mu.Unlock()
	p.route(pub)
}

func (p *publisher) route(pub publication) {
	q := p.topics[pub.topic]
	if q == nil {
		q = &topicQueue{}
		p.topics[pub.topic] = q
	}
	if len(q.batchers) == 0 {
		q.unrouted = append(q.unrouted, pub)
		if !q.asking {
			q.asking = true
			p.wg.Go(func() { p.resolve(pub.topic) })
		}
		return
	}
	q.batchers[pub.to%len(q.batchers)].add(pub)
}

// leaseLook is how often a batcher looks whether the membership holds again.
const leaseLook = 100 * time.Millisecond

// resolve finds out how many partitions a topic has, starts its batchers and
// routes what has waited.
func (p *publisher) resolve(topic string) {
	retry := newPause(50*time.Millisecond, 5*time.Second)
	for {
		counts, err := p.cluster.partitionCounts(p.ctx, topic)
		if err == nil && counts[topic] > 0 {
			p.mu.Lock()
			defer p.mu.Unlock()
			q := p.topics[topic]
			q.asking = false
			p.extend(topic, q, counts[topic])
			unrouted := q.unrouted
			q.unrouted = nil
			for _, pub := range unrouted {
				p.route(pub)
			}
			return
		}
		if p.ctx.Err() != nil {
			return
		}
		p.log.WithField("topic", topic).WithError(err).Error("cannot publish: intake is held, nothing is lost")
		if retry.wait(p.ctx) != nil {
			return
		}
	}
}

// grow starts batchers for partitions that known topics have got since: a retry
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

// extend starts batchers until a topic has n. p.mu is held.
func (p *publisher) extend(topic string, q *topicQueue, n int) {
	for id := len(q.batchers); id < n; id++ {
		b := &batcher{publisher: p, place: place{topic, id}, wake: make(chan struct{}, 1)}
		q.batchers = append(q.batchers, b)
		p.wg.Go(b.run)
	}
}

// batcher writes the records of one partition.
type batcher struct {
	publisher *publisher
	place
	wake chan struct{}

	mu    sync.Mutex
	queue queue[publication]
}

func (b *batcher) add(pub publication) {
	b.mu.Lock()
	b.queue.push(pub)
	b.mu.Unlock()
	signal(b.wake)
}

func (b *batcher) run() {
	ctx := b.publisher.ctx
	var batch []publication
	for {
		if batch = b.take(batch[:0]); len(batch) > 0 {
			b.send(ctx, batch)
			clear(batch)
			continue
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
			for batch = b.take(batch[:0]); len(batch) > 0; batch = b.take(batch[:0]) {
				finishAll(batch, errFencedOff)
			}
			return
		}
	}
}

// take moves what is queued, up to a batch, into batch.
func (b *batcher) take(batch []publication) []publication {
	b.mu.Lock()
	defer b.mu.Unlock()
	for bytes := 0; b.queue.len() > 0 && len(batch) < maxBatchRecords; {
		bytes += sizeOf(b.queue.first().msg)
		if len(batch) > 0 && bytes > maxBatchBytes {
			break
		}
		batch = append(batch, b.queue.pop())
	}
	return batch
}

// send writes a batch and answers each of its records.
func (b *batcher) send(ctx context.Context, batch []publication) {
	retry := newPause(20*time.Millisecond, 2*time.Second)
	failing := false
	for {
		live := batch[:0]
		for _, pub := range batch {
			if pub.fence.Err() != nil {
				pub.done(errFencedOff)
				continue
			}
			live = append(live, pub)
		}
		if batch = live; len(batch) == 0 {
			return
		}
		if !b.publisher.alive(time.Now()) {
			if sleep(ctx, leaseLook) != nil {
				finishAll(batch, errFencedOff)
				return
			}
			continue
		}
		err := b.produce(ctx, batch)
		switch {
		case err == nil:
			if failing {
				b.logger().Info("publishing again")
			}
			finishAll(batch, nil)
			return
		case ctx.Err() != nil:
			finishAll(batch, errFencedOff)
			return
		case tooLarge(err):
			if len(batch) == 1 {
				batch[0].done(errTooLarge)
				return
			}
			// Which record it is the broker does not say: halve.
			half := len(batch) / 2
			b.send(ctx, batch[:half])
			b.send(ctx, batch[half:])
			return
		}
		if b.retired(batch) {
			return
		}
		if !failing {
			failing = true
			b.logger().WithError(err).Warn("publishing fails: trying until it is acknowledged, intake is held when too much waits")
		}
		if retry.wait(ctx) != nil {
			finishAll(batch, errFencedOff)
			return
		}
	}
}

// retired says whether the partition is gone: the topic was made again with
// fewer. Then the batch and the queue have been handed to the partitions that
// there are.
func (b *batcher) retired(batch []publication) bool {
	p := b.publisher
	counts, err := p.cluster.partitionCounts(p.ctx, b.topic)
	if err != nil || counts[b.topic] == 0 || b.id < counts[b.topic] {
		return false
	}
	b.logger().Warn("the topic has fewer partitions now: publishing to those")
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.topics[b.topic]
	q.batchers = q.batchers[:min(counts[b.topic], len(q.batchers))]
	b.mu.Lock() // nothing is added any more: route does not know the batcher now
	defer b.mu.Unlock()
	for _, pub := range batch {
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

// produce sends one request. The records are built anew each time: kafka-go
// reads them empty.
func (b *batcher) produce(ctx context.Context, batch []publication) error {
	ctx, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	now := time.Now()
	records := make([]kafka.Record, len(batch))
	for i, pub := range batch {
		records[i] = kafka.Record{
			Time:    now,
			Key:     kafka.NewBytes(pub.msg.Key),
			Value:   kafka.NewBytes(pub.msg.Value),
			Headers: kafkaHeaders(pub.msg.Headers),
		}
	}
	res, err := b.publisher.cluster.client.Produce(ctx, &kafka.ProduceRequest{
		Topic: b.topic, Partition: b.id, RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(records...),
	})
	if err != nil {
		return err
	}
	if res.Error != nil {
		return fmt.Errorf("produce: %w", res.Error)
	}
	return nil
}

// tooLarge says whether the broker refuses a batch for its size for good.
// Every other error is worth another try.
func tooLarge(err error) bool {
	return errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge)
}

func finishAll(batch []publication, err error) {
	for _, pub := range batch {
		pub.done(err)
	}
}

func kafkaHeaders(headers []events.Header) []kafka.Header {
	if headers == nil {
		return nil
	}
	out := make([]kafka.Header, len(headers))
	for i, h := range headers {
		out[i] = kafka.Header{Key: h.Key, Value: h.Value}
	}
	return out
}

// sizeOf is about what a record takes on the wire and in memory.
func sizeOf(m events.Message) int {
	n := len(m.Key) + len(m.Value) + 64
	for _, h := range m.Headers {
		n += len(h.Key) + len(h.Value) + 8
	}
	return n
}
