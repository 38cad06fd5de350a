package world

import (
	"context"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Transaction is one that an order service has open (KIP-98). It is written
// request by request: franz-go's own transactions need its idempotent producer,
// which a bubble's clock does not get past.
type Transaction struct {
	shop     *Shop
	id       string
	producer int64
	epoch    int16
	written  map[int]int32 // the next sequence, by partition
}

// shopTimeout is after how long the brokers end what an order service has left
// open.
const shopTimeout = 5 * time.Minute

// Begin begins a transaction, which the brokers abort after a time-out. What is
// still open of the same transactional id is aborted.
func (s *Shop) Begin(ctx context.Context, id string, timeout time.Duration) (*Transaction, error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &id, int32(timeout.Milliseconds())
	res, err := req.RequestWith(ctx, s.client)
	if err = answered(err, func() int16 { return res.ErrorCode }); err != nil {
		return nil, fmt.Errorf("begin transaction %s: %w", id, err)
	}
	return &Transaction{shop: s, id: id, producer: res.ProducerID, epoch: res.ProducerEpoch, written: make(map[int]int32)}, nil
}

// Write writes records as they are: transactions make no difference to where
// they stand.
func (t *Transaction) Write(ctx context.Context, records []Publication) error {
	byPartition := make(map[int][]Publication)
	for _, p := range records {
		at := t.shop.partition(p)
		byPartition[at] = append(byPartition[at], p)
	}
	for partition, records := range byPartition {
		if err := t.write(ctx, partition, records); err != nil {
			return fmt.Errorf("write to partition %d in transaction %s: %w", partition, t.id, err)
		}
	}
	return nil
}

func (t *Transaction) write(ctx context.Context, partition int, records []Publication) error {
	cluster, name := t.shop.world.Kafka.Cluster(), t.shop.topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = int32(partition), t.batch(t.written[partition], records)
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.Partitions = name, []kmsg.ProduceRequestTopicPartition{rp}
	if info := cluster.TopicInfo(name); info != nil {
		rt.TopicID = info.TopicID
	}
	// From version 12 on a partition is added to the transaction by itself
	// (KIP-890).
	req := kmsg.NewPtrProduceRequest()
	req.TransactionID, req.Acks, req.TimeoutMillis = &t.id, -1, 10_000
	req.Topics = []kmsg.ProduceRequestTopic{rt}
	res, err := t.shop.client.Broker(int(cluster.LeaderFor(name, rp.Partition))).Request(ctx, req)
	if err := answered(err, func() int16 { return res.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode }); err != nil {
		return err
	}
	t.written[partition] += int32(len(records))
	return nil
}

// End commits the transaction, or aborts it.
func (t *Transaction) End(ctx context.Context, commit bool) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = t.id, t.producer, t.epoch, commit
	res, err := req.RequestWith(ctx, t.shop.client)
	if err = answered(err, func() int16 { return res.ErrorCode }); err != nil {
		return fmt.Errorf("end transaction %s: %w", t.id, err)
	}
	return nil
}

// answered is what went wrong with a request: it had no answer, or one with a
// code.
func answered(err error, code func() int16) error {
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(code())
}

// transact has records in one transaction, and what went wrong done again as a
// whole. Where nobody knows whether it was committed they are there twice then,
// as with many a client; what is to be aborted never is committed.
func (s *Shop) transact(ctx context.Context, id string, records []Publication) error {
	for {
		err := s.transactOnce(ctx, id, records)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Second)
	}
}

func (s *Shop) transactOnce(ctx context.Context, id string, records []Publication) error {
	t, err := s.Begin(ctx, id, shopTimeout)
	if err == nil {
		err = t.Write(ctx, records)
	}
	if err == nil {
		err = t.End(ctx, !records[0].Aborted)
	}
	return err
}

// batch writes records as one batch of the transaction (Kafka's record batch,
// magic 2; attribute bit 4 is transactional).
func (t *Transaction) batch(sequence int32, records []Publication) []byte {
	now := time.Now()
	first := stamp(records[0], now)
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: 1 << 4,
		LastOffsetDelta: int32(len(records) - 1), FirstTimestamp: first, MaxTimestamp: first,
		ProducerID: t.producer, ProducerEpoch: t.epoch, FirstSequence: sequence, NumRecords: int32(len(records)),
	}
	for i, p := range records {
		at := stamp(p, now)
		b.MaxTimestamp = max(b.MaxTimestamp, at)
		r := kmsg.Record{Key: p.Key, Value: p.Value, TimestampDelta64: at - first, OffsetDelta: int32(i), Headers: recordHeaders(p.Headers)}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // the length 0 takes one byte
		b.Records = r.AppendTo(b.Records)
	}
	raw := b.AppendTo(nil)
	b.Length = int32(len(raw) - 12) // what stands before the length, and it
	raw = b.AppendTo(nil)
	b.CRC = int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

func stamp(p Publication, now time.Time) int64 {
	if p.Timestamp.IsZero() {
		return now.UnixMilli()
	}
	return p.Timestamp.UnixMilli()
}

func recordHeaders(hs []events.Header) []kmsg.Header {
	out := make([]kmsg.Header, len(hs))
	for i, h := range hs {
		out[i] = kmsg.Header{Key: h.Key, Value: h.Value}
	}
	return out
}
