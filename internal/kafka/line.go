package kafka

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
)

// Place is a partition of a topic.
type Place struct {
	Topic     string
	Partition int
}

func (p Place) compare(q Place) int {
	return cmp.Or(cmp.Compare(p.Topic, q.Topic), cmp.Compare(p.Partition, q.Partition))
}

// producer is whose batches a broker keeps apart (KIP-98): an id, and an epoch
// of it. Batches of a lower epoch than one that the log has are refused.
type producer struct {
	id    int64
	epoch int16
}

// nobody writes what may be written twice.
var nobody = producer{-1, -1}

// stamp is what a batch says of its producer (Kafka's documentation, Message
// Format, Record Batch).
type stamp struct {
	producer
	sequence      int32 // of its first record
	transactional bool
}

var unstamped = stamp{producer: nobody, sequence: -1}

// lines number what a producer writes, so that a broker knows a batch that
// comes a second time and does not write it again (KIP-98, idempotent producer).
// It is safe for concurrent use.
type lines struct {
	client *Client
	// transaction is a transactional id: then the producer is given, and lasts
	// as long as these lines. Empty, they ask for one when they need it.
	transaction string
	asking      turn // held by who asks

	mu      sync.Mutex
	current producer // of new lines
	without bool     // the cluster gives us none
	all     map[Place]*line
}

func newLines(c *Client, transaction string, p producer) *lines {
	return &lines{client: c, transaction: transaction, asking: newTurn(), current: p, all: make(map[Place]*line)}
}

// line is what numbers the batches of one partition. One of them is under way
// at a time, by who holds turn, which guards the rest.
//
//	sequence moves:  when a batch is acknowledged, and never before
//	epoch moves:     when something else is sent than what may have arrived
type line struct {
	turn     turn
	producer producer // nobody before the first batch, and when spent is
	next     int32    // the sequence of the next record
	spent    int64    // a producer id that must not go on
	doubt    *doubt
}

// doubt is a batch of which nobody knows whether it was written: what is sent
// under its sequence next must be the same, or the broker may take it for that
// one and drop it. An acknowledgement ends it, or another epoch.
type doubt struct {
	records int
	sum     uint64
}

var seed = maphash.MakeSeed()

// doubtOf knows the batch again. Its time of sending and its compression do not
// matter: the broker goes by numbers.
func doubtOf(b *Batch) *doubt {
	var h maphash.Hash
	h.SetSeed(seed)
	var length [8]byte
	field := func(b []byte) {
		n := len(b)
		if b == nil {
			n = -1
		}
		binary.BigEndian.PutUint64(length[:], uint64(n))
		h.Write(length[:])
		h.Write(b)
	}
	for _, m := range b.Messages {
		field(m.Key)
		field(m.Value)
		binary.BigEndian.PutUint64(length[:], uint64(len(m.Headers)))
		h.Write(length[:])
		for _, header := range m.Headers {
			field([]byte(header.Key))
			field(header.Value)
		}
	}
	return &doubt{records: len(b.Messages), sum: h.Sum64()}
}

func (d *doubt) is(b *Batch) bool { return d.records == len(b.Messages) && *d == *doubtOf(b) }

// after is the sequence behind n records; behind 2^31-1 comes 0.
func after(sequence int32, n int) int32 { return int32((int64(sequence) + int64(n)) & math.MaxInt32) }

func (ls *lines) line(at Place) *line {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.all[at]
	if l == nil {
		l = &line{turn: newTurn(), producer: nobody, spent: nobody.id}
		ls.all[at] = l
	}
	return l
}

// doubtful reports whether the fate of a batch is open. Nothing may be under
// way.
func (ls *lines) doubtful() (Place, bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for at, l := range ls.all {
		if l.doubt != nil {
			return at, true
		}
	}
	return Place{}, false
}

// errForked says that a transaction cannot go on: other records would have to
// go where some may have arrived.
var errForked = errors.New("something else was sent to the partition, and whether it arrived is not known: the transaction cannot be completed")

// stamp is what a batch has to say now. The line's turn is held.
func (l *line) stamp(ctx context.Context, ls *lines, b *Batch) (stamp, error) {
	if l.doubt != nil && !l.doubt.is(b) {
		if ls.transaction != "" {
			return stamp{}, errForked
		}
		l.renew()
	}
	if l.producer == nobody {
		p, err := ls.producer(ctx, l.spent)
		if err != nil {
			return stamp{}, err
		}
		if p == nobody { // it has just been learned
			return unstamped, nil
		}
		l.producer, l.next = p, 0
	}
	return stamp{l.producer, l.next, ls.transaction != ""}, nil
}

// renew begins again at sequence 0 in the next epoch, which no earlier batch can
// get in between: brokers take a higher epoch from a producer without
// transactions (KIP-360). Behind the last epoch comes another producer id.
func (l *line) renew() {
	l.next, l.doubt = 0, nil
	if l.producer.epoch == math.MaxInt16 {
		l.spend()
	} else {
		l.producer.epoch++
	}
}

// spend begins again with another producer id.
func (l *line) spend() {
	l.next, l.doubt = 0, nil
	l.spent, l.producer = l.producer.id, nobody
}

// settled takes note of what became of a batch that was sent with a stamp, and
// returns it as the caller should see it, or again where it is to be sent again
// at once. The turn is held.
func (l *line) settled(ls *lines, b *Batch, sent stamp, done Produced) (_ Produced, again bool) {
	if sent == unstamped {
		return done, false
	}
	if done.Err == nil {
		l.next, l.doubt = after(l.next, len(b.Messages)), nil
		return done, false
	}
	code, _ := errors.AsType[kafkago.Error](done.Err)
	if _, answered := errors.AsType[*BatchError](done.Err); !answered {
		code = kafkago.Unknown
	}
	switch code {
	case kafkago.DuplicateSequenceNumber:
		if l.doubt != nil { // this very batch, or stamp had begun again
			l.next, l.doubt = after(l.next, len(b.Messages)), nil
			done.Base, done.Err = -1, nil
			return done, false
		}
		// Somebody else's: nothing of this one was written.
	case kafkago.OutOfOrderSequenceNumber, kafkago.UnknownProducerId:
		// The broker remembers another line, or none: retention took it, or a
		// disk was lost.
	case kafkago.InvalidProducerEpoch, kafkago.ProducerFenced, kafkago.InvalidProducerIDMapping:
	case kafkago.ClusterAuthorizationFailed:
		if ls.transaction == "" {
			ls.fallBack(done.Err)
			return done, true
		}
		return done, false
	default:
		if !unwritten(code) {
			l.doubt = doubtOf(b)
		}
		return done, false
	}
	if ls.transaction != "" {
		return done, false
	}
	if l.doubt != nil && ls.client.onRepeat != nil {
		ls.client.onRepeat(b.Topic, b.Partition, done.Err)
	}
	switch code {
	case kafkago.InvalidProducerEpoch, kafkago.ProducerFenced, kafkago.InvalidProducerIDMapping:
		l.spend()
	default:
		l.renew()
	}
	return done, true
}

// unwritten reports whether a broker that answers a batch with a code has
// certainly not written it. All that a leader can still say when it waits for
// its followers says nothing: NOT_LEADER_OR_FOLLOWER, UNKNOWN_TOPIC_OR_PARTITION,
// REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND, KAFKA_STORAGE_ERROR.
func unwritten(code kafkago.Error) bool {
	switch code {
	case kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge, kafkago.InvalidRecord, kafkago.InvalidTimestamp,
		kafkago.UnsupportedForMessageFormat, kafkago.InvalidMessage, kafkago.PolicyViolation, kafkago.UnsupportedCompressionType,
		kafkago.TopicAuthorizationFailed, kafkago.TransactionalIDAuthorizationFailed, kafkago.InvalidTopic,
		kafkago.NotEnoughReplicas, kafkago.UnsupportedVersion, kafkago.InvalidRequiredAcks,
		kafkago.InvalidTransactionState, transactionAbortable:
		return true
	}
	return false
}

// producer returns a producer for a line whose last one, if it had one, must not
// go on; nobody where the cluster gives us none.
func (ls *lines) producer(ctx context.Context, spent int64) (producer, error) {
	if p, ok := ls.known(spent); ok {
		return p, nil
	}
	if err := ls.asking.take(ctx); err != nil {
		return nobody, err
	}
	defer ls.asking.give()
	if p, ok := ls.known(spent); ok {
		return p, nil
	}
	p, err := ls.client.newProducer(ctx)
	switch {
	case err == nil:
		ls.mu.Lock()
		ls.current = p
		ls.mu.Unlock()
	case errors.Is(err, kafkago.UnsupportedVersion) || errors.Is(err, kafkago.ClusterAuthorizationFailed):
		ls.fallBack(err)
		return nobody, nil
	}
	return p, err
}

func (ls *lines) known(spent int64) (_ producer, ok bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.without {
		return nobody, true
	}
	return ls.current, ls.current != nobody && ls.current.id != spent
}

// fallBack goes on without a producer id, as long as the client lives.
func (ls *lines) fallBack(why error) {
	ls.mu.Lock()
	told := ls.without
	ls.without, ls.current = true, nobody
	ls.mu.Unlock()
	if tell := ls.client.onNotIdempotent; tell != nil && !told {
		tell(notIdempotent(why))
	}
}

func (ls *lines) fallenBack() bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.without
}

// producerIDRequest asks for a producer id without a transactional id, which any
// broker gives: kafka-go's would be taken to a coordinator.
type producerIDRequest initproducerid.Request

func (*producerIDRequest) ApiKey() protocol.ApiKey { return protocol.InitProducerId }

// newProducer asks for a producer id.
func (c *Client) newProducer(ctx context.Context) (producer, error) {
	pause := NewPause(20*time.Millisecond, time.Second)
	for {
		answer, err := c.transport.hedged(ctx, &producerIDRequest{ProducerID: -1, ProducerEpoch: -1})
		if err != nil {
			return nobody, fmt.Errorf("ask for a producer id: %w", err)
		}
		given := answer.(*initproducerid.Response)
		err = asError(given.ErrorCode)
		if err == nil {
			return producer{given.ProducerID, given.ProducerEpoch}, nil
		}
		err = fmt.Errorf("ask for a producer id: %w", err)
		if Lasting(err) || pause.Wait(ctx) != nil {
			return nobody, err
		}
	}
}

// turn is a lock that is waited for until a context ends.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the request before: %w", context.Cause(ctx))
	}
}

func (t turn) give() { <-t }
