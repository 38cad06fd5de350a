package kafka

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/segmentio/kafka-go/protocol/fetch"
)

// sealed is a batch of a fetch answer as it came, or a message of the formats
// before 0.11. That its header can be true was seen; its checksum and its
// records were not looked at yet.
type sealed struct {
	// first is the lowest offset that it may hold and was asked for, last the
	// highest that it speaks of, a record or not.
	first, last int64
	// sure: other bytes than its own bear last out, so that it holds even if
	// the checksum does not.
	sure  bool
	bytes []byte
	// aborted, if not nil, are the transactions that came beside it.
	aborted *abortedTransactions
}

// What a batch of format 2 looks like (Kafka's documentation, Message Format,
// Record Batch): the offset of its first record, the length of what follows,
// the leader's epoch and the format in front of the checksum, the rest under it.
const (
	lengthAt    = 8
	magicAt     = 16
	crcAt       = 17
	underCRC    = 21
	deltaAt     = 23
	timeAt      = 27
	latestAt    = 35
	producerAt  = 43
	countAt     = 57
	batchHeader = 61
	// behindLength is where the bytes begin that the length counts.
	behindLength = 12
	// leastRecord is the length of a record with nothing in it.
	leastRecord = 7
)

// Attributes of a batch.
const (
	codecMask     = 7
	logAppendTime = 1 << 3
	transactional = 1 << 4
	controlBatch  = 1 << 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func int16At(b []byte, i int) int16 { return int16(binary.BigEndian.Uint16(b[i:])) }
func int32At(b []byte, i int) int32 { return int32(binary.BigEndian.Uint32(b[i:])) }
func int64At(b []byte, i int) int64 { return int64(binary.BigEndian.Uint64(b[i:])) }

// pieces are what a fetch has brought of one partition.
type pieces struct {
	batches []sealed
	// partial is the length that a last batch claims which is not whole, 0 where
	// there is none. That is normal, and it is left out.
	partial int
	// reason is what is wrong with the header of the batch behind the others.
	reason string
	// doubtful: the reason is that the batch reaches beyond the high watermark or
	// the last stable offset that came with it. Once that is normal: a broker looks
	// at these first and then reads the log, which may have grown
	// (Partition.readRecords of Apache Kafka). What the next fetch brings again
	// cannot reach beyond.
	doubtful bool
}

// cut divides what a fetch from the offset asked on has brought into batches. end
// is the high watermark that came with it.
func cut(raw []byte, asked, end int64) (p pieces) {
	for len(raw) > magicAt {
		claimed := int(int32At(raw, lengthAt))
		least := batchHeader - behindLength
		magic := raw[magicAt]
		if magic < 2 {
			least = leastMessage - behindLength
		}
		switch {
		case magic > 2:
			p.reason = fmt.Sprintf("it says that its format is %d, which does not exist", magic)
			return p
		case claimed < least:
			p.reason = fmt.Sprintf("it claims a length of %d, less than its header", claimed)
			return p
		case claimed > len(raw)-behindLength:
			p.partial = claimed
			return p
		}
		f := sealed{first: asked, last: int64At(raw, 0), bytes: raw[:behindLength+claimed]}
		if magic == 2 {
			if p.reason = f.place(asked); p.reason != "" {
				return p
			}
		}
		switch {
		case f.last < asked:
			p.reason = fmt.Sprintf("it says that it ends at offset %d, where %d was to come", f.last, asked)
			return p
		case end >= 0 && f.last >= end:
			p.reason, p.doubtful = fmt.Sprintf("it says that it ends at offset %d, and the log at %d", f.last, end), true
			return p
		}
		f.sure = f.sure || f.last == asked || f.last+1 == end
		raw = raw[len(f.bytes):]
		if len(raw) >= lengthAt && int64At(raw, 0) == f.last+1 {
			f.sure = true
		}
		p.batches = append(p.batches, f)
		asked = f.last + 1
	}
	p.partial = len(raw)
	return p
}

// holdBack leaves out what reaches beyond the last stable offset: it belongs to
// transactions that are open, or stands behind one. A broker does not send it to
// who reads committed. -1 is an offset that the broker does not know.
func (p *pieces) holdBack(stable int64) {
	n := len(p.batches)
	if stable < 0 || n == 0 {
		return
	}
	if last := &p.batches[n-1]; last.last < stable {
		last.sure = last.sure || last.last+1 == stable
		return
	}
	for i := range p.batches {
		if last := p.batches[i].last; last >= stable {
			*p = pieces{batches: p.batches[:i], doubtful: true,
				reason: fmt.Sprintf("it says that it ends at offset %d, and the last stable offset is %d", last, stable)}
			return
		}
	}
}

// abort tells the batches of the aborted transactions that came beside them.
func (p *pieces) abort(told []fetch.ResponseTransaction) {
	if aborted := abortedOf(told); aborted != nil {
		for i := range p.batches {
			p.batches[i].aborted = aborted
		}
	}
}

// place reads which offsets a batch of format 2 is about.
func (f *sealed) place(asked int64) (reason string) {
	base, delta, count := int64At(f.bytes, 0), int32At(f.bytes, deltaAt), int32At(f.bytes, countAt)
	switch {
	case base < 0:
		return fmt.Sprintf("it says that it begins at offset %d", base)
	case delta < 0 || count < 0 || int64(count) > int64(delta)+1:
		return fmt.Sprintf("it claims %d records at %d offsets", count, int64(delta)+1)
	}
	f.first, f.last = max(base, asked), base+int64(delta)
	// Without compaction each offset has a record: two fields say the same.
	f.sure = int64(count) == int64(delta)+1
	return ""
}

// batch is one whose checksum is right, and how its records are to be read.
type batch struct {
	magic int8
	codec int8
	// control: it holds transaction markers, and no records.
	control bool
	// producer is its producer id, negative where it has none; transactional: it
	// belongs to a transaction of that producer.
	producer      int64
	transactional bool
	// base is what the offsets of its records are counted from.
	base int64
	// time is the timestamp that those of its records are counted from, or that
	// of them all where the broker has stamped them (LogAppendTime), both in
	// milliseconds since 1970; -1 where there is none.
	time    int64
	stamped bool
	last    int64
	count   int // records, -1 where the header does not say
	packed  []byte
}

// open checks the checksum, and what the header says of the records.
func (f *sealed) open() (b batch, reason string) {
	if f.bytes[magicAt] < 2 {
		return f.openMessage()
	}
	if crc := crc32.Checksum(f.bytes[underCRC:], castagnoli); crc != uint32(int32At(f.bytes, crcAt)) {
		return b, wrongCRC
	}
	attributes := int16At(f.bytes, underCRC)
	b = batch{
		magic: 2, codec: int8(attributes & codecMask), control: attributes&controlBatch != 0,
		producer: int64At(f.bytes, producerAt), transactional: attributes&transactional != 0,
		base: int64At(f.bytes, 0), time: int64At(f.bytes, timeAt), last: f.last,
		count: int(int32At(f.bytes, countAt)), packed: f.bytes[batchHeader:],
	}
	if attributes&logAppendTime != 0 {
		b.stamped, b.time = true, int64At(f.bytes, latestAt)
	}
	switch {
	case int(b.codec) >= len(codecs):
		return b, fmt.Sprintf("it says that it is compressed with codec %d, which does not exist", b.codec)
	case b.codec == 0 && b.count > len(b.packed)/leastRecord:
		return b, fmt.Sprintf("it claims %d records in %d bytes", b.count, len(b.packed))
	}
	return b, ""
}

const wrongCRC = "the CRC does not match"
