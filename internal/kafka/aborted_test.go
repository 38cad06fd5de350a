package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// transactionalAt is a batch of a producer's transaction.
func transactionalAt(producer, base int64, values ...string) []byte {
	var records []kmsg.Record
	for i, v := range values {
		records = append(records, rec(int32(i), v))
	}
	return batchOf(base, packedRecordsOf(records...), int32(len(values)), int32(len(values)-1), func(b *kmsg.RecordBatch) {
		b.Attributes, b.ProducerID, b.ProducerEpoch, b.FirstSequence = transactional, producer, 3, 0
	})
}

// markerAt is a batch that ends a transaction of a producer: the key of its
// record is a version and 0 for ABORT, 1 for COMMIT.
func markerAt(producer, at int64, key ...byte) []byte {
	return batchOf(at, packedRecordsOf(kmsg.Record{Key: key, Value: []byte{0, 0, 0, 0, 0, 0}}), 1, 0, func(b *kmsg.RecordBatch) {
		b.Attributes, b.ProducerID, b.ProducerEpoch = transactional|controlBatch, producer, 3
	})
}

func abortAt(producer, at int64) []byte  { return markerAt(producer, at, 0, 0, 0, 0) }
func commitAt(producer, at int64) []byte { return markerAt(producer, at, 0, 0, 0, 1) }

// answered is what a fetch of one source has brought.
type answered struct {
	raw          []byte
	high, stable int64
	aborted      []fetch.ResponseTransaction
	code         int16
}

// answers has a source read what a broker answers to its fetches, one after the
// other, as far as it is read.
func answers(s *Source, committed bool, all ...answered) error {
	for _, one := range all {
		r := &round{req: &fetchRequest{}, asked: []asked{{source: s, offset: s.position, first: true}}, committed: committed}
		if err := r.read(&fetchResponse{Topics: []fetchTopic{{Topic: s.topic, Partitions: []fetchPartition{{
			Partition: int32(s.partition), HighWatermark: one.high, LastStableOffset: one.stable, ErrorCode: one.code,
			AbortedTransactions: slices.Clone(one.aborted), Records: packedRecords{one.raw},
		}}}}}); err != nil {
			return err
		}
		s.deliver(&r.asked[0])
	}
	return nil
}

func TestRecordsOfAbortedTransactionsArePassedOver(t *testing.T) {
	join := slices.Concat[[]byte]
	of := func(producer, first int64) fetch.ResponseTransaction {
		return fetch.ResponseTransaction{ProducerID: producer, FirstOffset: first}
	}
	told := func(all ...fetch.ResponseTransaction) []fetch.ResponseTransaction { return all }
	damage := func(raw []byte, at int, bytes ...byte) []byte {
		copy(raw[at:], bytes)
		return raw
	}
	zip := func(raw []byte) []byte {
		packed := pack(compress.Zstd, raw[batchHeader:])
		raw = append(raw[:batchHeader:batchHeader], packed...)
		raw[underCRC+1] |= 4
		binary.BigEndian.PutUint32(raw[lengthAt:], uint32(len(raw)-behindLength))
		return sealAnew(raw)
	}
	all := func(raw []byte, aborted ...fetch.ResponseTransaction) []answered {
		return []answered{{raw: raw, high: 100, stable: 100, aborted: aborted}}
	}
	for sentence, c := range map[string]struct {
		fetches []answered
		records []string
		next    int64
		reason  string // of what is unreadable at next, up to last
		last    int64
	}{
		"a committed transaction is handed out": {
			fetches: all(join(transactionalAt(7, 10, "a", "b"), commitAt(7, 12))), records: []string{"10=a", "11=b"}, next: 13},
		"an aborted one is passed over with its marker": {
			fetches: all(join(transactionalAt(7, 10, "a", "b"), abortAt(7, 12)), of(7, 10)), next: 13},
		"what others have written in between is not": {
			fetches: all(join(transactionalAt(7, 10, "a"), transactionalAt(8, 11, "b"), valuesAt(12, "c"), commitAt(8, 13), transactionalAt(7, 14, "d"), abortAt(7, 15)), of(7, 10)),
			records: []string{"11=b", "12=c"}, next: 16},
		"a producer commits after it has aborted": {
			fetches: all(join(transactionalAt(7, 10, "a"), abortAt(7, 11), transactionalAt(7, 12, "b"), commitAt(7, 13)), of(7, 10)),
			records: []string{"12=b"}, next: 14},
		"and aborts after it has committed": {
			fetches: all(join(transactionalAt(7, 10, "a"), commitAt(7, 11), transactionalAt(7, 12, "b"), abortAt(7, 13)), of(7, 12)),
			records: []string{"10=a"}, next: 14},
		"one aborts twice, and commits in between; the broker tells the last one first": {
			fetches: all(join(transactionalAt(7, 10, "a"), abortAt(7, 11), transactionalAt(7, 12, "b"), commitAt(7, 13), transactionalAt(7, 14, "c"), abortAt(7, 15)), of(7, 14), of(7, 10)),
			records: []string{"12=b"}, next: 16},
		"the same over several fetches, each of which tells its own": {
			fetches: []answered{
				{raw: transactionalAt(7, 10, "a"), high: 100, stable: 100, aborted: told(of(7, 10))},
				{raw: join(transactionalAt(7, 11, "b"), abortAt(7, 12)), high: 100, stable: 100, aborted: told(of(7, 10))},
				{raw: transactionalAt(7, 13, "c"), high: 100, stable: 100},
				{raw: join(commitAt(7, 14), transactionalAt(7, 15, "d")), high: 100, stable: 100, aborted: told(of(7, 15))},
				{raw: abortAt(7, 16), high: 100, stable: 100, aborted: told(of(7, 15))},
			}, records: []string{"13=c"}, next: 17},
		"it began before the offset that was asked for": {
			fetches: all(join(transactionalAt(7, 10, "a"), abortAt(7, 11), transactionalAt(7, 12, "b")), of(7, 3)), records: []string{"12=b"}, next: 13},
		"it began in the batch that holds the offset": {
			fetches: all(join(transactionalAt(7, 9, "a", "b"), abortAt(7, 11)), of(7, 9)), next: 12},
		"a record outside of the transaction of the same producer is handed out": {
			fetches: all(join(transactionalAt(7, 10, "a"), batchOf(11, packedRecordsOf(rec(0, "b")), 1, 0, func(b *kmsg.RecordBatch) { b.ProducerID = 7 }), abortAt(7, 12)), of(7, 10)),
			records: []string{"11=b"}, next: 13},
		"another producer's marker ends nothing": {
			fetches: all(join(transactionalAt(7, 10, "a"), abortAt(8, 11), transactionalAt(7, 12, "b"), abortAt(7, 13)), of(7, 10), of(8, 5)), next: 14},
		"a marker that compaction has emptied ends nothing": {
			fetches: all(join(transactionalAt(7, 10, "a"), batchOf(11, nil, 0, 0, func(b *kmsg.RecordBatch) { b.Attributes, b.ProducerID = transactional|controlBatch, 7 }), transactionalAt(7, 12, "b"), abortAt(7, 13)), of(7, 10)), next: 14},
		"an aborted batch is compressed": {
			fetches: all(join(zip(transactionalAt(7, 10, "a", "b")), zip(transactionalAt(8, 12, "c")), abortAt(7, 13)), of(7, 10)), records: []string{"12=c"}, next: 14},
		"an aborted batch holds what cannot be unpacked, and its checksum is right": {
			fetches: all(join(sealAnew(damage(zip(transactionalAt(7, 10, "a")), batchHeader, 1, 2, 3)), abortAt(7, 11)), of(7, 10)), next: 12},
		"nothing but markers is left": {
			fetches: all(join(abortAt(7, 10), commitAt(8, 11)), of(7, 3)), next: 12},
		"a transaction that is told begins behind all that came": {
			fetches: all(transactionalAt(7, 10, "a"), of(7, 50)), records: []string{"10=a"}, next: 11},

		"a batch claims the id of an aborted producer, and its checksum does not match": {
			fetches: all(join(transactionalAt(7, 10, "a"), damage(transactionalAt(8, 11, "b"), producerAt+7, 7), abortAt(7, 12)), of(7, 10)), next: 11, reason: wrongCRC, last: 11},
		"a batch claims to belong to a transaction, and its checksum does not match": {
			fetches: all(join(damage(batchOf(10, packedRecordsOf(rec(0, "b")), 1, 0, func(b *kmsg.RecordBatch) { b.ProducerID = 7 }), underCRC+1, transactional), abortAt(7, 11)), of(7, 10)),
			next:    10, reason: wrongCRC, last: 10},
		"a marker's checksum does not match": {
			fetches: all(join(transactionalAt(7, 10, "a"), damage(commitAt(7, 11), batchHeader+8, 0), transactionalAt(7, 12, "b")), of(7, 10)), next: 11, reason: wrongCRC, last: 11},
		"a marker has a key that is too short": {
			fetches: all(join(transactionalAt(7, 10, "a"), markerAt(7, 11, 0, 0), transactionalAt(7, 12, "b")), of(7, 10)), next: 11, reason: "it is a transaction marker with a key of 2 bytes", last: 11},
		"a marker holds no record where it claims one": {
			fetches: all(join(transactionalAt(7, 10, "a"), batchOf(11, []byte{60, 0, 0, 0, 0, 0, 0}, 1, 0, func(b *kmsg.RecordBatch) { b.Attributes, b.ProducerID = transactional|controlBatch, 7 })), of(7, 10)),
			next:    11, reason: "it holds a record that claims 30 bytes where 6 are left", last: 11},
		"a marker is compressed": {
			fetches: all(join(transactionalAt(7, 10, "a"), zip(abortAt(7, 11))), of(7, 10)), next: 11, reason: "it is a transaction marker and compressed", last: 11},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := sourceOf(nil, 10, 10, nil)
			s.tell, s.empty = false, false
			if err := answers(s, true, c.fetches...); err != nil {
				t.Fatal(err)
			}
			records, next, err := readAll(s)
			if !slices.Equal(records, c.records) || next != c.next {
				t.Errorf("%v, go on at %d; want %v and %d", records, next, c.records, c.next)
			}
			unreadable, _ := errors.AsType[*UnreadableError](err)
			if c.reason == "" && err != nil || c.reason != "" && (unreadable == nil || unreadable.Reason != c.reason || unreadable.Last != c.last) {
				t.Errorf("got %v, want %q", err, c.reason)
			}
		})
	}
}

// Reading uncommitted all of it comes, whatever the broker tells.
func TestReadingUncommittedHandsOutAll(t *testing.T) {
	s := sourceOf(nil, 10, 10, nil)
	s.tell, s.empty = false, false
	raw := slices.Concat(transactionalAt(7, 10, "a"), abortAt(7, 11), transactionalAt(7, 12, "b"))
	if err := answers(s, false, answered{raw: raw, high: 13, stable: 12, aborted: []fetch.ResponseTransaction{{ProducerID: 7, FirstOffset: 10}}}); err != nil {
		t.Fatal(err)
	}
	if records, next, err := readAll(s); !slices.Equal(records, []string{"10=a", "12=b"}) || next != 13 || err != nil {
		t.Errorf("%v, go on at %d, %v", records, next, err)
	}
}

// A broker that reads its last stable offset before it reads the log sends what
// was committed in between; one that is wrong sends what is open. Neither is
// handed out before the broker says that it is stable.
func TestNothingIsHandedOutAtTheLastStableOffsetOrBehind(t *testing.T) {
	join := slices.Concat[[]byte]
	beyond := "it says that it ends at offset 11, and the last stable offset is 11"
	for sentence, c := range map[string]struct {
		fetches []answered
		records []string
		next    int64
		reason  string
		starved int
	}{
		"a transaction is open at the end": {
			fetches: []answered{{raw: valuesAt(10, "a"), high: 12, stable: 11}}, records: []string{"10=a"}, next: 11},
		"it is sent all the same, once": {
			fetches: []answered{{raw: join(valuesAt(10, "a"), transactionalAt(7, 11, "b")), high: 12, stable: 11}, {high: 12, stable: 11}}, records: []string{"10=a"}, next: 11},
		"the broker has read its offset before the log": {
			fetches: []answered{
				{raw: join(valuesAt(10, "a"), transactionalAt(7, 11, "b")), high: 12, stable: 11},
				{raw: join(transactionalAt(7, 11, "b"), commitAt(7, 12)), high: 13, stable: 13},
			}, records: []string{"10=a", "11=b"}, next: 13},
		"it is sent again and again": {
			fetches: []answered{
				{raw: join(valuesAt(10, "a"), transactionalAt(7, 11, "b")), high: 12, stable: 11},
				{raw: transactionalAt(7, 11, "b"), high: 12, stable: 11},
			}, records: []string{"10=a"}, next: 11, reason: beyond},
		"a batch claims to reach beyond it, and did not the first time": {
			fetches: []answered{{raw: valuesAt(10, "a", "b"), high: 12, stable: 11}, {raw: valuesAt(10, "a"), high: 12, stable: 11}}, records: []string{"10=a"}, next: 11},
		"nothing is there up to it: that is no lack of room": {
			fetches: []answered{{high: 12, stable: 10}}, next: 10},
		"something is there up to it, and did not come": {
			fetches: []answered{{high: 12, stable: 11}}, next: 10, starved: 1},
		"the broker does not know it: it holds back by itself": {
			fetches: []answered{{raw: transactionalAt(7, 10, "a"), high: 12, stable: -1}}, records: []string{"10=a"}, next: 11},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := sourceOf(nil, 10, 10, nil)
			s.tell, s.empty = false, false
			if err := answers(s, true, c.fetches...); err != nil {
				t.Fatal(err)
			}
			if s.starved != c.starved {
				t.Errorf("there was no room %d times, want %d", s.starved, c.starved)
			}
			records, next, err := readAll(s)
			if !slices.Equal(records, c.records) || next != c.next {
				t.Errorf("%v, go on at %d; want %v and %d", records, next, c.records, c.next)
			}
			unreadable, _ := errors.AsType[*UnreadableError](err)
			if c.reason == "" && err != nil || c.reason != "" && (unreadable == nil || unreadable.Reason != c.reason || unreadable.Last != -1) {
				t.Errorf("got %v, want %q", err, c.reason)
			}
		})
	}
}

// What ends at the last stable offset is borne out by it, as by the watermark.
func TestTheLastStableOffsetBearsOutWhereABatchEnds(t *testing.T) {
	raw := batchOf(10, packedRecordsOf(rec(0, "a")), 1, 4, nil) // four more are compacted
	raw[batchHeader] ^= 1
	for stable, last := range map[int64]int64{15: 14, 16: -1} {
		s := sourceOf(nil, 10, 10, nil)
		s.tell, s.empty = false, false
		if err := answers(s, true, answered{raw: slices.Clone(raw), high: 20, stable: stable}); err != nil {
			t.Fatal(err)
		}
		_, _, err := readAll(s)
		if unreadable, _ := errors.AsType[*UnreadableError](err); unreadable == nil || unreadable.Last != last {
			t.Errorf("stable up to %d: %v, want last %d", stable, err, last)
		}
	}
}

// A reader whose memory has room for little reads a committed batch in parts,
// among aborted ones; what it has not read is dropped in between, and comes again
// with what a broker tells then.
func TestAbortedTransactionsAreReadInPartsAndAgain(t *testing.T) {
	many := func(producer, base int64) (raw []byte, values []string) {
		for i := range 100 {
			values = append(values, strings.Repeat(string(rune('a'+i%26)), 500))
		}
		return transactionalAt(producer, base, values...), values
	}
	kept, values := many(8, 41)
	lost, _ := many(7, 141)
	raw := slices.Concat(transactionalAt(7, 40, "x"), kept, lost, abortAt(7, 241), transactionalAt(7, 242, "last"), commitAt(7, 243), commitAt(8, 244))
	aborted := []fetch.ResponseTransaction{{ProducerID: 7, FirstOffset: 40}}
	for _, drops := range []bool{false, true} {
		s := sourceOf(nil, 40, 40, nil)
		s.tell, s.empty = false, false
		memory := newMemory(24 << 10)
		s.fetcher.memory = memory
		s.Share = memory.Share(100)
		var got []string
		calls := 0
		for ; s.offset < 245; calls++ {
			if calls > 200 {
				t.Fatalf("it stands at offset %d", s.offset)
			}
			s.fetcher.mu.Lock()
			if drops && calls%2 == 1 {
				s.drop()
			}
			if fresh := s.size+s.inHand == 0; fresh {
				rest := raw
				for len(rest) > 0 { // the batch that holds the offset and those behind it
					length := behindLength + int(int32At(rest, lengthAt))
					if int64At(rest, 0)+int64(int32At(rest, deltaAt)) >= s.position {
						break
					}
					rest = rest[length:]
				}
				told := aborted
				if s.position > 241 {
					told = nil
				}
				if err := answers(s, true, answered{raw: slices.Clone(rest), high: 245, stable: 245, aborted: told}); err != nil {
					t.Fatal(err)
				}
			}
			s.fetcher.mu.Unlock()
			records, _, err := s.Next(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				got = append(got, string(r.Value))
				n := int64(100 + Size(r.Message))
				s.Share.Hold(n)
				s.Share.Release(n)
			}
		}
		if want := append(slices.Clone(values), "last"); !slices.Equal(got, want) {
			t.Errorf("dropped in between: %v: %d records, want %d", drops, len(got), len(want))
		}
		if calls < 6 {
			t.Errorf("all of it came in %d parts: nothing was tested", calls)
		}
		s.Share.Close()
	}
}
