package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// produceRequest is kafka-go's, which finds its broker, with the batches beside
// it: kafka-go writes a record in dozens of calls through interfaces and
// reflection, and a worker writes one for each request it serves. So the whole
// request is rendered here, in one pass.
type produceRequest struct {
	produce.Request // its partitions have no records
	// batches are what goes to its partitions: by topic, then partition, as
	// there.
	batches [][]stamped
	now     time.Time // the timestamp of all records
}

// stamped is a batch with what it says of its producer.
type stamped struct {
	*Batch
	stamp
}

// add lets a batch go with the request.
func (r *produceRequest) add(batch *Batch, by stamp) {
	b, p := stamped{batch, by}, produce.RequestPartition{Partition: int32(batch.Partition)}
	for i := range r.Topics {
		if r.Topics[i].Topic == b.Topic {
			r.Topics[i].Partitions = append(r.Topics[i].Partitions, p)
			r.batches[i] = append(r.batches[i], b)
			return
		}
	}
	r.Topics = append(r.Topics, produce.RequestTopic{Topic: b.Topic, Partitions: []produce.RequestPartition{p}})
	r.batches = append(r.batches, []stamped{b})
}

// size is about how many bytes the request takes, and seldom less.
func (r *produceRequest) size() int {
	n := 64 + len(r.TransactionalID)
	for i, topic := range r.batches {
		n += 16 + len(r.Topics[i].Topic)
		for _, b := range topic {
			n += 8 + batchHeader
			for _, m := range b.Messages {
				n += Size(m)
			}
		}
	}
	return n
}

// appendTo appends the request as it goes over the wire, but for its correlation
// id: versions 3 to 8, which are alike (Kafka's ProduceRequest.json; kafka-go
// knows none later, see [versions.both]).
func (r *produceRequest) appendTo(out []byte, version int16, clientID string) ([]byte, error) {
	if version < produceHeaders || version > 8 {
		return nil, fmt.Errorf("version %d: %w", version, kafkago.UnsupportedVersion)
	}
	from := len(out)
	out = append(out, 0, 0, 0, 0) // its length, to come
	out = binary.BigEndian.AppendUint16(out, uint16(r.ApiKey()))
	out = binary.BigEndian.AppendUint16(out, uint16(version))
	out = append(out, 0, 0, 0, 0) // the correlation id
	out = appendName(out, clientID)
	if r.TransactionalID == "" {
		out = append(out, 0xff, 0xff)
	} else {
		out = appendName(out, r.TransactionalID)
	}
	out = binary.BigEndian.AppendUint16(out, uint16(r.Acks))
	out = binary.BigEndian.AppendUint32(out, uint32(r.Timeout))
	out = binary.BigEndian.AppendUint32(out, uint32(len(r.Topics)))
	var err error
	for i, topic := range r.Topics {
		out = appendName(out, topic.Topic)
		out = binary.BigEndian.AppendUint32(out, uint32(len(r.batches[i])))
		for _, b := range r.batches[i] {
			out = binary.BigEndian.AppendUint32(out, uint32(b.Partition))
			at := len(out)
			out = append(out, 0, 0, 0, 0)
			if out, err = b.appendTo(out, r.now.UnixMilli()); err != nil {
				return nil, err
			}
			binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-4))
		}
	}
	binary.BigEndian.PutUint32(out[from:], uint32(len(out)-from-4))
	return out, nil
}

// appendName appends a text as the versions before the compact ones have it.
func appendName(out []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(out, uint16(len(s))), s...)
}

// transactionalBatch is the attribute of a batch that is part of a transaction.
const transactionalBatch = 1 << 4

// appendTo appends the batch in format 2 (see batch.go), of a time in
// milliseconds since 1970.
func (b stamped) appendTo(out []byte, now int64) ([]byte, error) {
	from, last := len(out), len(b.Messages)-1
	out = append(out, 0, 0, 0, 0, 0, 0, 0, 0) // the broker gives the offset
	out = append(out, 0, 0, 0, 0)             // the length, to come
	out = append(out, 0xff, 0xff, 0xff, 0xff) // no leader's epoch
	out = append(out, 2)
	out = append(out, 0, 0, 0, 0) // the checksum, to come
	attributes := uint16(b.Compression)
	if b.transactional {
		attributes |= transactionalBatch
	}
	out = binary.BigEndian.AppendUint16(out, attributes)
	out = binary.BigEndian.AppendUint32(out, uint32(last))
	out = binary.BigEndian.AppendUint64(out, uint64(now))
	out = binary.BigEndian.AppendUint64(out, uint64(now))
	out = binary.BigEndian.AppendUint64(out, uint64(b.id))
	out = binary.BigEndian.AppendUint16(out, uint16(b.epoch))
	out = binary.BigEndian.AppendUint32(out, uint32(b.sequence))
	out = binary.BigEndian.AppendUint32(out, uint32(last+1))
	if b.Compression == Uncompressed {
		out = b.appendRecords(out)
	} else {
		codec := b.Compression.Codec()
		if codec == nil {
			return nil, fmt.Errorf("compression %d does not exist", b.Compression)
		}
		packed := bytes.NewBuffer(out)
		w := codec.NewWriter(packed)
		_, err := w.Write(b.appendRecords(nil))
		if closing := w.Close(); err == nil {
			err = closing
		}
		if err != nil {
			return nil, fmt.Errorf("compress a batch: %w", err)
		}
		out = packed.Bytes()
	}
	binary.BigEndian.PutUint32(out[from+lengthAt:], uint32(len(out)-from-behindLength))
	binary.BigEndian.PutUint32(out[from+crcAt:], crc32.Checksum(out[from+underCRC:], castagnoli))
	return out, nil
}

// appendRecords appends the records of the batch, all of its own time.
func (b *Batch) appendRecords(out []byte) []byte {
	for i := range b.Messages {
		m := &b.Messages[i]
		length := 2 + varintLen(i) + fieldLen(m.Key) + fieldLen(m.Value) + varintLen(len(m.Headers))
		for _, h := range m.Headers {
			length += varintLen(len(h.Key)) + len(h.Key) + fieldLen(h.Value)
		}
		out = binary.AppendVarint(out, int64(length))
		out = append(out, 0, 0) // no attributes, no milliseconds later
		out = binary.AppendVarint(out, int64(i))
		out = appendField(appendField(out, m.Key), m.Value)
		out = binary.AppendVarint(out, int64(len(m.Headers)))
		for _, h := range m.Headers {
			out = binary.AppendVarint(out, int64(len(h.Key)))
			out = appendField(append(out, h.Key...), h.Value)
		}
	}
	return out
}

// appendField appends bytes with their length in front, -1 for nil.
func appendField(out, field []byte) []byte {
	if field == nil {
		return append(out, 1) // -1 in zigzag
	}
	return append(binary.AppendVarint(out, int64(len(field))), field...)
}

func fieldLen(field []byte) int {
	if field == nil {
		return 1
	}
	return varintLen(len(field)) + len(field)
}

// varintLen is how many bytes a number that is not negative takes in zigzag.
func varintLen(n int) int {
	length := 1
	for n >>= 6; n > 0; n >>= 7 {
		length++
	}
	return length
}
