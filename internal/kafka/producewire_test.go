package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// theirs is the request as kafka-go has it.
func (r *produceRequest) theirs() *produce.Request {
	req := &produce.Request{Acks: r.Acks, Timeout: r.Timeout}
	for i, topic := range r.Topics {
		req.Topics = append(req.Topics, produce.RequestTopic{Topic: topic.Topic})
		for _, b := range r.batches[i] {
			records := make([]kafkago.Record, len(b.Messages))
			for j, m := range b.Messages {
				records[j] = kafkago.Record{Time: r.now, Key: kafkago.NewBytes(m.Key), Value: kafkago.NewBytes(m.Value)}
				for _, h := range m.Headers {
					records[j].Headers = append(records[j].Headers, kafkago.Header(h))
				}
			}
			req.Topics[i].Partitions = append(req.Topics[i].Partitions, produce.RequestPartition{Partition: int32(b.Partition), RecordSet: protocol.RecordSet{
				Attributes: protocol.Attributes(b.Compression), Records: kafkago.NewRecordReader(records...),
			}})
		}
	}
	return req
}

// someMessages are n with any lengths, among them those where a length takes a
// byte more, and with all that may be missing missing.
func someMessages(random *rand.Rand, n int) []events.Message {
	field := func() []byte {
		lengths := []int{-1, 0, 1, 63, 64, 65, 8191, 8192, random.IntN(300)}
		if n > 100 {
			lengths = lengths[:6]
		}
		length := lengths[random.IntN(len(lengths))]
		if length < 0 {
			return nil
		}
		return bytes.Repeat([]byte{byte(random.Int())}, length)
	}
	all := make([]events.Message, n)
	for i := range all {
		all[i] = events.Message{Key: field(), Value: field()}
		for range random.IntN(4) * random.IntN(20) {
			all[i].Headers = append(all[i].Headers, events.Header{Key: string(field()), Value: field()})
		}
	}
	return all
}

func TestAProduceRequestIsTheSameAsKafkaGosByteForByte(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 25 {
		r := &produceRequest{now: time.UnixMilli(random.Int64N(1 << 42)), Request: produce.Request{Acks: -1, Timeout: random.Int32()}}
		for range 1 + random.IntN(3) {
			n := []int{1, 2, 63, 64, 65, 130}[random.IntN(6)]
			r.add(&Batch{Topic: fmt.Sprint("topic", random.IntN(3)), Partition: random.IntN(70), Messages: someMessages(random, n)}, unstamped)
		}
		for version := int16(produceHeaders); version <= 8; version++ {
			ours, err := encode(r, version, "closeorder")
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := encode(r.theirs(), version, "closeorder")
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(ours.buffer.Bytes(), theirs.buffer.Bytes()) {
				t.Fatalf("round %d, version %d: they differ, of %d and %d bytes", round, version, ours.buffer.Len(), theirs.buffer.Len())
			}
			if size, about := ours.buffer.Len(), r.size(); size > about || ours.answered != theirs.answered || ours.api != theirs.api {
				t.Errorf("takes %d bytes and about %d, answered %v, API %v", size, about, ours.answered, ours.api)
			}
			ours.free()
			theirs.free()
		}
	}
}

func TestACompressedBatchIsReadByKafkaGoAndByUs(t *testing.T) {
	want := someMessages(rand.New(rand.NewPCG(5, 6)), 50)
	r := &produceRequest{now: time.UnixMilli(1764158400123), Request: produce.Request{Acks: -1}}
	r.add(&Batch{Topic: "t", Partition: 7, Messages: want, Compression: Gzip}, unstamped)
	f, err := encode(r, 8, "closeorder")
	if err != nil {
		t.Fatal(err)
	}
	defer f.free()
	_, _, _, msg, err := protocol.ReadRequest(bytes.NewReader(f.buffer.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	set := msg.(*produce.Request).Topics[0].Partitions[0].RecordSet
	if set.Attributes != protocol.Gzip || set.Version != 2 {
		t.Errorf("attributes %v, format %d", set.Attributes, set.Version)
	}
	for i, m := range want {
		rec, err := set.Records.ReadRecord()
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		key, _ := protocol.ReadAll(rec.Key)
		value, _ := protocol.ReadAll(rec.Value)
		if !bytes.Equal(key, m.Key) || !bytes.Equal(value, m.Value) || !rec.Time.Equal(r.now) ||
			!slices.EqualFunc(rec.Headers, m.Headers, func(a kafkago.Header, b events.Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }) {
			t.Errorf("record %d is another", i)
		}
	}
	packed, err := r.batches[0][0].appendTo(nil, r.now.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	found := cut(packed, 0, int64(len(want)))
	if len(found.batches) != 1 || found.reason != "" || found.partial != 0 {
		t.Fatalf("%+v", found)
	}
	if b, reason := found.batches[0].open(); reason != "" || b.count != len(want) || b.codec != int8(Gzip) || b.time != r.now.UnixMilli() {
		t.Errorf("%+v, %s", b, reason)
	}
}

// kafka-go writes no producer, so that franz-go's messages, which are made from
// Kafka's own definition, say what is right: only what a stamp says differs.
func TestAStampIsWhereKafkaReadsIt(t *testing.T) {
	messages := someMessages(rand.New(rand.NewPCG(9, 10)), 3)
	for _, c := range []struct {
		stamp       stamp
		transaction string
		attributes  int16
	}{
		{unstamped, "", int16(Gzip)},
		{stamp{producer{1<<62 + 5, 7}, 1<<31 - 1, false}, "", int16(Gzip)},
		{stamp{producer{42, 1<<15 - 1}, 3, true}, "g-instance", int16(Gzip) | 1<<4},
	} {
		r := &produceRequest{now: time.UnixMilli(1764158400123), Request: produce.Request{Acks: -1, Timeout: 9, TransactionalID: c.transaction}}
		r.add(&Batch{Topic: "t", Partition: 7, Messages: messages, Compression: Gzip}, c.stamp)
		for version := int16(produceHeaders); version <= 8; version++ {
			f, err := encode(r, version, "closeorder")
			if err != nil {
				t.Fatal(err)
			}
			read := kmsg.ProduceRequest{Version: version}
			header := 4 + 2 + 2 + 4 + 2 + len("closeorder")
			if err := read.ReadFrom(f.buffer.Bytes()[header:]); err != nil {
				t.Fatal(err)
			}
			var batch kmsg.RecordBatch
			if err := batch.ReadFrom(read.Topics[0].Partitions[0].Records); err != nil {
				t.Fatal(err)
			}
			if id := read.TransactionID; (id == nil) != (c.transaction == "") || id != nil && *id != c.transaction || read.Acks != -1 || read.TimeoutMillis != 9 {
				t.Errorf("version %d: %+v", version, read)
			}
			if got := (stamp{producer{batch.ProducerID, batch.ProducerEpoch}, batch.FirstSequence, batch.Attributes&transactionalBatch != 0}); got != c.stamp || batch.Attributes != c.attributes || batch.NumRecords != 3 {
				t.Errorf("version %d: %+v, attributes %b, want %+v", version, got, batch.Attributes, c.stamp)
			}
			f.free()
		}
	}
}

func TestAProduceRequestIsWrittenInNoVersionThatDropsHeaders(t *testing.T) {
	r := &produceRequest{Request: produce.Request{Acks: -1}}
	r.add(&Batch{Topic: "t", Messages: []events.Message{{}}}, unstamped)
	for _, version := range []int16{0, 2, 9} {
		if _, err := encode(r, version, "c"); !errors.Is(err, kafkago.UnsupportedVersion) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

// A buffer of a request before is used again: the request lies in it as it is.
func TestAProduceRequestIsRenderedInPlace(t *testing.T) {
	r := &produceRequest{now: time.UnixMilli(1), Request: produce.Request{Acks: -1}}
	r.add(&Batch{Topic: "t", Messages: someMessages(rand.New(rand.NewPCG(7, 8)), 20)}, unstamped)
	out := make([]byte, 0, r.size())
	if got := testing.AllocsPerRun(100, func() {
		if _, err := r.appendTo(out, 8, "closeorder"); err != nil {
			t.Fatal(err)
		}
	}); got > 0 {
		t.Errorf("%v allocations", got)
	}
	full, err := r.appendTo(out, 8, "closeorder")
	if err != nil || int(binary.BigEndian.Uint32(full)) != len(full)-4 {
		t.Errorf("%d bytes say that they are %d, %v", len(full)-4, binary.BigEndian.Uint32(full), err)
	}
}

// BenchmarkProduceRequest renders 16 outcomes of two partitions, as we do and as
// kafka-go does.
func BenchmarkProduceRequest(b *testing.B) {
	message := events.Message{Key: []byte("T20251123000001"), Value: make([]byte, 420)}
	for _, name := range []string{"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject", "content-type"} {
		message.Headers = append(message.Headers, events.Header{Key: name, Value: make([]byte, 20)})
	}
	r := &produceRequest{now: time.UnixMilli(1), Request: produce.Request{Acks: -1}}
	for p := range 2 {
		r.add(&Batch{Topic: "t", Partition: p, Messages: slices.Repeat([]events.Message{message}, 8)}, unstamped)
	}
	for name, req := range map[string]func() protocol.Message{
		"ours":     func() protocol.Message { return r },
		"kafka-go": func() protocol.Message { return r.theirs() },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, err := encode(req(), 8, "closeorder")
				if err != nil {
					b.Fatal(err)
				}
				f.free()
			}
		})
	}
}
