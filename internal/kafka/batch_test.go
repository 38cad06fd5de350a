package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rec is a record at an offset relative to its batch.
func rec(delta int32, value string) kmsg.Record {
	return kmsg.Record{OffsetDelta: delta, TimestampDelta64: int64(delta), Value: []byte(value), Headers: []kmsg.Header{{Key: "h", Value: []byte("1")}}}
}

// packed encodes records, one behind the other.
func packedRecordsOf(records ...kmsg.Record) (b []byte) {
	for _, r := range records {
		body := r.AppendTo(nil)[1:] // without the length, 0
		b = append(binary.AppendVarint(b, int64(len(body))), body...)
	}
	return b
}

// batchOf encodes a batch of format 2 at a base offset; change may change what
// its header says before the checksum is made.
func batchOf(base int64, payload []byte, count, last int32, change func(*kmsg.RecordBatch)) []byte {
	b := kmsg.RecordBatch{
		FirstOffset: base, PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: last, NumRecords: count,
		FirstTimestamp: 1000, MaxTimestamp: 5000, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, Records: payload,
	}
	if change != nil {
		change(&b)
	}
	b.Length = int32(len(b.AppendTo(nil)) - behindLength)
	raw := b.AppendTo(nil)
	return sealAnew(raw)
}

// sealAnew makes the checksum right.
func sealAnew(raw []byte) []byte {
	binary.BigEndian.PutUint32(raw[crcAt:], crc32.Checksum(raw[underCRC:], castagnoli))
	return raw
}

// valuesAt is a batch of records without gaps.
func valuesAt(base int64, values ...string) []byte {
	var records []kmsg.Record
	for i, v := range values {
		records = append(records, rec(int32(i), v))
	}
	return batchOf(base, packedRecordsOf(records...), int32(len(values)), int32(len(values)-1), nil)
}

// pack compresses.
func pack(codec compress.Compression, b []byte) []byte {
	var to bytes.Buffer
	w := codec.Codec().NewWriter(&to)
	if _, err := w.Write(b); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return to.Bytes()
}

// sourceOf is a source that has fetched raw, with nothing behind it.
func sourceOf(raw []byte, offset, end int64, budget *budget) *Source {
	if budget == nil {
		budget = newBudget(0, 0)
	}
	f := &fetcher{budget: budget, brokers: make(map[int32]*fetchedBroker), batches: make(map[string]int)}
	f.life, f.end = context.WithCancel(context.Background())
	f.homing = true // nobody looks for its home
	s := &Source{fetcher: f, place: place{"t", 3}, bytes: 1 << 20, ready: make(chan struct{}, 1), position: offset, offset: offset}
	a := &asked{source: s, offset: offset, end: end, bytes: len(raw), first: true, pieces: cut(raw, offset, end)}
	s.deliver(a)
	if s.doubted { // the same comes again
		a.pieces = pieces{reason: a.reason, doubtful: true}
		s.deliver(a)
	}
	return s
}

// readAll reads what a source has, as OFFSET=VALUE, and where it would go on.
func readAll(s *Source) (records []string, next int64, err error) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		some, at, err := s.Next(ended)
		for _, r := range some {
			records = append(records, fmt.Sprintf("%d=%s", r.Offset, r.Value))
		}
		if errors.Is(err, context.Canceled) {
			return records, at, nil
		}
		if err != nil {
			return records, at, err
		}
	}
}

// What a batch's header claims is held against the bytes that came. Behind the
// batch in question stands one that is right, and before it too.
func TestABatchWhoseHeaderAndBytesDisagreeIsUnreadable(t *testing.T) {
	three := func() []byte { return valuesAt(10, "a", "b", "c") }
	with := func(at int, bytes ...byte) []byte {
		return append(three()[:at:at], append(bytes, three()[at+len(bytes):]...)...)
	}
	body := packedRecordsOf(rec(0, "a"), rec(1, "b"), rec(2, "c"))
	of := func(payload []byte, count, last int32, change func(*kmsg.RecordBatch)) []byte {
		return batchOf(10, payload, count, last, change)
	}
	codec := func(c int16) func(*kmsg.RecordBatch) { return func(b *kmsg.RecordBatch) { b.Attributes = c } }
	short := packedRecordsOf(rec(0, "a"))
	for sentence, c := range map[string]struct {
		batch  []byte
		reason string
		last   int64 // 12 is where it ends
	}{
		"a bit of a record is not what it was":         {with(70, 0xff), "the CRC does not match", 12},
		"a bit of the checksum is not":                 {with(crcAt, 1), "the CRC does not match", 12},
		"the count is not, and nothing bears it out":   {with(countAt, 0, 0, 0, 2), "the CRC does not match", 12},
		"the number of its last offset is higher":      {with(deltaAt, 0, 0, 0, 9), "the CRC does not match", -1},
		"its last offset lies beyond the log":          {with(deltaAt, 1, 0, 0, 0), "it says that it ends at offset 16777226, and the log at 1000", -1},
		"its offset was asked for before":              {with(0, 0, 0, 0, 0, 0, 0, 0, 1), "it says that it ends at offset 3, where 10 was to come", -1},
		"its offset is negative":                       {with(0, 0xff), "it says that it begins at offset -", -1},
		"its length is less than a header":             {with(lengthAt, 0, 0, 0, 12), "it claims a length of 12, less than its header", -1},
		"its length is negative":                       {with(lengthAt, 0xff), "it claims a length of -", -1},
		"its length ends it within its records":        {with(lengthAt, 0, 0, 0, 60), "the CRC does not match", 12},
		"its format does not exist":                    {with(magicAt, 3), "it says that its format is 3, which does not exist", -1},
		"its format is another one":                    {with(magicAt, 1), "the CRC does not match", 10},
		"its last offset lies before its first":        {of(body, 3, -1, nil), "it claims 3 records at 0 offsets", -1},
		"more records than offsets":                    {of(body, 4, 2, nil), "it claims 4 records at 3 offsets", -1},
		"a negative number of records":                 {of(body, -3, 2, nil), "it claims -3 records at 3 offsets", -1},
		"more records than bytes":                      {of(short[:2], 3, 2, nil), "it claims 3 records in 2 bytes", 12},
		"more records than there are":                  {of(short, 3, 2, nil), "it claims 3 records in 12 bytes", 12},
		"one record more than there are":               {of(body, 3, 2, func(b *kmsg.RecordBatch) { b.Records = packedRecordsOf(rec(0, "aaaaaaaaaaaaaaaa"), rec(1, "bbbb")) }), "it holds a record that claims 0 bytes where 0 are left", 12},
		"one record less than there are":               {of(body, 2, 2, nil), "bytes behind its 2 records", 12},
		"a record that claims more than there is":      {of(append([]byte{0x7f}, body[1:]...), 3, 2, nil), "it holds a record that claims", 12},
		"a record that is shorter than any":            {of(append([]byte{2}, body[1:]...), 3, 2, nil), "it holds a record that claims 1 bytes", 12},
		"a length of ten bytes that never ends":        {of(bytes.Repeat([]byte{0xff}, 40), 3, 2, nil), "it holds a record that claims", 12},
		"an offset that stands before its record's":    {of(packedRecordsOf(rec(1, "a"), rec(0, "b")), 2, 2, nil), "it holds offset 10 behind 11", 12},
		"an offset twice":                              {of(packedRecordsOf(rec(1, "a"), rec(1, "b")), 2, 2, nil), "it holds offset 11 behind 11", 12},
		"an offset beyond its last":                    {of(packedRecordsOf(rec(0, "a"), rec(7, "b")), 2, 2, nil), "it holds offset 17 behind 10, and says that it ends at 12", 12},
		"a codec that does not exist":                  {of(body, 3, 2, codec(5)), "it says that it is compressed with codec 5, which does not exist", 12},
		"it says gzip and is not":                      {of(body, 3, 2, codec(1)), "it cannot be unpacked", 12},
		"it says snappy and is not":                    {of(body, 3, 2, codec(2)), "it cannot be unpacked", 12},
		"it says lz4 and is not":                       {of(body, 3, 2, codec(3)), "it cannot be unpacked", 12},
		"it says zstd and is not":                      {of(body, 3, 2, codec(4)), "it cannot be unpacked", 12},
		"it is compressed and holds less than it says": {of(pack(compress.Gzip, short), 3, 2, codec(1)), "it claims 3 records in 12 bytes", 12},
		"it is compressed and cut off":                 {of(pack(compress.Gzip, body)[:20], 3, 2, codec(1)), "it cannot be unpacked", 12},
		"a key that claims more than its record":       {of(append([]byte{14, 0, 0, 0, 60, 1, 0, 0}, body...), 3, 2, nil), "claims more", 12},
		"a key of a length below null":                 {of(append([]byte{14, 0, 0, 0, 3, 1, 0, 0}, body...), 3, 2, nil), "claims more", 12},
		"more headers than there is room for":          {of(append([]byte{14, 0, 0, 0, 1, 1, 60, 0}, body...), 3, 2, nil), "claims more", 12},
		"a header that claims more than there is":      {of(append([]byte{16, 0, 0, 0, 1, 1, 2, 60, 0}, body...), 4, 3, nil), "record 1 of it has a header that claims more bytes than there are", 13},
		"a header without a name":                      {of(append([]byte{16, 0, 0, 0, 1, 1, 2, 1, 1}, body...), 4, 3, nil), "record 1 of it has a header that claims more bytes than there are", 13},
		"bytes behind the headers":                     {of(append([]byte{14, 0, 0, 0, 1, 1, 0, 9}, body...), 4, 3, nil), "record 1 of it has 1 bytes behind its headers", 13},
	} {
		raw := append(append(valuesAt(7, "x", "y", "z"), c.batch...), valuesAt(14, "after")...)
		if c.last == 12 || c.last == 10 {
			raw = append(append(valuesAt(7, "x", "y", "z"), c.batch...), valuesAt(13, "after")...)
		}
		records, next, err := readAll(sourceOf(raw, 8, 1000, nil))
		var unreadable *UnreadableError
		if !errors.As(err, &unreadable) || !strings.Contains(unreadable.Reason, c.reason) || unreadable.First != 10 || unreadable.Last != c.last || next != 10 {
			t.Errorf("%s: %v (last %v), go on at %d; want %q and %d", sentence, err, unreadable, next, c.reason, c.last)
		}
		if !slices.Equal(records, []string{"8=y", "9=z"}) {
			t.Errorf("%s: the records before it are %v", sentence, records)
		}
	}
}

func TestAnErrorSaysWhereAndWhatToDo(t *testing.T) {
	for want, e := range map[string]UnreadableError{
		"topic t, partition 3: offsets 7 to 9 cannot be read: the CRC does not match; see docs/operations.md, An unreadable batch":   {Topic: "t", Partition: 3, First: 7, Last: 9, Reason: wrongCRC},
		"topic t, partition 3: offset 7 cannot be read: the CRC does not match; see docs/operations.md, An unreadable batch":         {Topic: "t", Partition: 3, First: 7, Last: 7, Reason: wrongCRC},
		"topic t, partition 3: from offset 7 on cannot be read: the CRC does not match; see docs/operations.md, An unreadable batch": {Topic: "t", Partition: 3, First: 7, Last: -1, Reason: wrongCRC},
	} {
		if e.Error() != want {
			t.Errorf("%s\nwant %s", e.Error(), want)
		}
	}
}

// What compaction has left, and markers.
func TestBatchesThatCompactionHasEmptiedArePassed(t *testing.T) {
	left := func(base int64, last int32, deltas ...int32) []byte {
		var records []kmsg.Record
		for _, d := range deltas {
			records = append(records, rec(d, "v"))
		}
		return batchOf(base, packedRecordsOf(records...), int32(len(records)), last, nil)
	}
	marker := func(at int64) []byte {
		return batchOf(at, packedRecordsOf(rec(0, "commit")), 1, 0, func(b *kmsg.RecordBatch) { b.Attributes = controlBatch | 1<<4 })
	}
	join := slices.Concat[[]byte]
	for sentence, c := range map[string]struct {
		raw     []byte
		next    int64
		records []string
	}{
		"nothing came: the same again":                 {nil, 10, nil},
		"a batch that holds the offset and is empty":   {left(4, 8), 13, nil},
		"a batch of which only older records are left": {left(4, 8, 1, 3), 13, nil},
		"an empty batch and one behind it":             {join(left(4, 8), left(20, 3, 2)), 24, []string{"22=v"}},
		"two empty batches":                            {join(left(4, 8), left(15, 4)), 20, nil},
		"an empty batch and a marker":                  {join(left(4, 8), marker(15)), 16, nil},
		"a gap within a batch and at its end":          {left(4, 15, 5, 8, 11), 20, []string{"12=v", "15=v"}},
		"a transaction marker alone":                   {marker(10), 11, nil},
		"a record and its marker":                      {join(left(10, 0, 0), marker(11)), 12, []string{"10=v"}},
		"a batch that begins below the offset":         {valuesAt(9, "a", "b", "c"), 12, []string{"10=b", "11=c"}},
		"an empty batch that says it is compressed":    {batchOf(10, nil, 0, 2, func(b *kmsg.RecordBatch) { b.Attributes = 1 }), 13, nil},
	} {
		records, next, err := readAll(sourceOf(c.raw, 10, 100, nil))
		if err != nil || next != c.next || !slices.Equal(records, c.records) {
			t.Errorf("%s: %v, go on at %d (%v); want %v and %d", sentence, records, next, err, c.records, c.next)
		}
	}
}

func TestALastBatchThatIsNotWholeIsLeftForTheNextFetch(t *testing.T) {
	whole := valuesAt(12, "c")
	for n := range whole {
		records, next, err := readAll(sourceOf(append(valuesAt(10, "a", "b"), whole[:n]...), 10, 100, nil))
		if err != nil || next != 12 || !slices.Equal(records, []string{"10=a", "11=b"}) {
			t.Fatalf("with %d bytes of it: %v, go on at %d, %v", n, records, next, err)
		}
	}
}

// A batch alone that ends before its end: the first of an answer comes whole,
// so that after a second look it is damage.
func TestABatchThatNeverComesWholeIsUnreadable(t *testing.T) {
	raw := valuesAt(10, "a", "b")
	raw[lengthAt+1] = 7
	s := sourceOf(raw, 10, 100, nil)
	if s.failed != nil || s.starved != 1 {
		t.Fatalf("at once: %v", s.failed)
	}
	a := &asked{source: s, offset: 10, end: 100, bytes: len(raw), first: true, pieces: cut(raw, 10, 100)}
	s.deliver(a)
	var unreadable *UnreadableError
	if _, _, err := readAll(s); !errors.As(err, &unreadable) || unreadable.Last != -1 || !strings.Contains(unreadable.Reason, fmt.Sprintf("it claims a length of 458825 bytes, of which %d came", len(raw))) {
		t.Errorf("got %v", err)
	}
}

// A broker reads its high watermark before it reads the log: what was written
// in between comes with a watermark that is too low, and is no damage.
func TestABatchThatReachesBeyondTheWatermarkIsAskedForOnceMore(t *testing.T) {
	s := sourceOf(valuesAt(10, "a"), 10, 11, nil)
	answer := func(end int64, raw []byte) {
		s.deliver(&asked{source: s, offset: s.position, end: end, bytes: len(raw), first: true, pieces: cut(raw, s.position, end)})
	}
	for round, c := range []struct {
		end int64
		raw []byte
	}{
		{13, slices.Concat(valuesAt(11, "b", "c"), valuesAt(13, "d"))}, // d came meanwhile
		{14, slices.Concat(valuesAt(13, "d"), valuesAt(14, "e", "f"))}, // e and f did
		{15, valuesAt(14, "e", "f")},                                   // a second time
	} {
		if answer(c.end, c.raw); s.failed != nil && round < 2 {
			t.Fatalf("round %d: %v", round, s.failed)
		}
	}
	if records, next, err := readAll(s); !slices.Equal(records, []string{"10=a", "11=b", "12=c", "13=d"}) || next != 14 {
		t.Errorf("%v, go on at %d, %v", records, next, err)
	} else if unreadable := (*UnreadableError)(nil); !errors.As(err, &unreadable) || unreadable.Reason != "it says that it ends at offset 15, and the log at 15" || unreadable.Last != -1 {
		t.Errorf("what reaches beyond the log twice: %v", err)
	}
	s.SeekTo(14)
	answer(16, valuesAt(14, "e", "f"))
	if records, _, err := readAll(s); !slices.Equal(records, []string{"14=e", "15=f"}) || err != nil {
		t.Errorf("%v, %v", records, err)
	}
}

// A broker that remembers another offset than was meant sends what looks like
// damage: that is believed without a session alone.
func TestDamageOfASessionIsLookedAtAgain(t *testing.T) {
	raw := valuesAt(10, "a", "b")
	s := sourceOf(nil, 12, 12, nil)
	s.starved = 0
	for _, again := range []*held{{end: 12}, nil} {
		a := &asked{source: s, offset: 12, end: 12, bytes: len(raw), held: again}
		a.pieces = cut(raw, 12, 12)
		s.deliver(a)
		if unreadable := s.failed != nil; unreadable != (again == nil) || s.starved != 1 {
			t.Errorf("with a session %v: %v, starved %d", again != nil, s.failed, s.starved)
		}
	}
}

func TestRecordsHaveTheTimeOfTheirProducerOrOfTheBroker(t *testing.T) {
	body := packedRecordsOf(rec(0, "a"), rec(1, "b"), rec(2, "c"))
	for sentence, c := range map[string]struct {
		change func(*kmsg.RecordBatch)
		want   []int64
	}{
		"CreateTime: each its own":             {nil, []int64{1000, 1001, 1002}},
		"LogAppendTime: all that of the batch": {func(b *kmsg.RecordBatch) { b.Attributes = logAppendTime }, []int64{5000, 5000, 5000}},
		"compressed, LogAppendTime":            {func(b *kmsg.RecordBatch) { b.Attributes, b.Records = logAppendTime|4, pack(compress.Zstd, body) }, []int64{5000, 5000, 5000}},
		"the producer sent none: not after 1970": {func(b *kmsg.RecordBatch) {
			b.FirstTimestamp = -1
			b.Records = packedRecordsOf(kmsg.Record{}, kmsg.Record{OffsetDelta: 1}, kmsg.Record{OffsetDelta: 2})
		}, []int64{-1, -1, -1}},
		"with a delete horizon, which deltas are counted from": {func(b *kmsg.RecordBatch) { b.Attributes = 1 << 6; b.FirstTimestamp = 3000 }, []int64{3000, 3001, 3002}},
	} {
		s := sourceOf(batchOf(0, body, 3, 2, c.change), 0, 3, nil)
		records, _, err := s.Next(t.Context())
		var got []int64
		for _, r := range records {
			got = append(got, r.Time.UnixMilli())
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", sentence, got, err, c.want)
		}
	}
}

func TestNullAndEmptyAreToldApartAndNothingIsShared(t *testing.T) {
	raw := batchOf(0, packedRecordsOf(
		kmsg.Record{Key: []byte{}, Value: nil, Headers: []kmsg.Header{{Key: "", Value: nil}, {Key: "e", Value: []byte{}}, {Key: "v", Value: []byte("1")}}},
		kmsg.Record{OffsetDelta: 1, Key: nil, Value: []byte{}, Headers: []kmsg.Header{{Key: "", Value: []byte("2")}, {Key: "f"}}},
		kmsg.Record{OffsetDelta: 2, Key: []byte("k"), Value: []byte("v")},
	), 3, 2, nil)
	records, _, err := sourceOf(raw, 0, 3, nil).Next(t.Context())
	if err != nil || len(records) != 3 {
		t.Fatal(records, err)
	}
	clear(raw) // nothing of a record is in the bytes that came
	a, b, c := records[0], records[1], records[2]
	if a.Key == nil || len(a.Key) != 0 || a.Value != nil || fmt.Sprintf("%q", a.Headers) != `[{"" ""} {"e" ""} {"v" "1"}]` || a.Headers[0].Value != nil || a.Headers[1].Value == nil {
		t.Errorf("%#v", a.Message)
	}
	if b.Key != nil || b.Value == nil || len(b.Value) != 0 || fmt.Sprintf("%q", b.Headers) != `[{"" "2"} {"f" ""}]` {
		t.Errorf("%#v", b.Message)
	}
	if string(append(c.Key, "!"...)) != "k!" || string(c.Value) != "v" || c.Headers != nil {
		t.Errorf("%#v", c.Message)
	}
}

// messageOf encodes one of format 0 or 1.
func messageOf(magic byte, offset, time int64, attributes byte, key, value []byte) []byte {
	field := func(b, v []byte) []byte {
		if v == nil {
			return binary.BigEndian.AppendUint32(b, 0xffffffff)
		}
		return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
	}
	body := []byte{magic, attributes}
	if magic == 1 {
		body = binary.BigEndian.AppendUint64(body, uint64(time))
	}
	body = field(field(body, key), value)
	raw := binary.BigEndian.AppendUint64(nil, uint64(offset))
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(body)+4))
	raw = binary.BigEndian.AppendUint32(raw, crc32.ChecksumIEEE(body))
	return append(raw, body...)
}

func TestMessagesOfOldSegmentsAreRead(t *testing.T) {
	v := []byte("v")
	set := slices.Concat(messageOf(1, 0, 7, 0, nil, []byte("a")), messageOf(1, 1, 8, 0, []byte("k"), []byte("b")), messageOf(1, 3, 9, 0, nil, []byte("c")))
	old := slices.Concat(messageOf(0, 10, 0, 0, nil, []byte("a")), messageOf(0, 12, 0, 0, nil, []byte("b")))
	for sentence, c := range map[string]struct {
		raw     []byte
		records []string
		times   []int64
		next    int64
	}{
		"format 1":                       {slices.Concat(messageOf(1, 10, 7, 0, nil, v), messageOf(1, 11, 8, 0, nil, v)), []string{"10=v", "11=v"}, []int64{7, 8}, 12},
		"format 0 has no time":           {messageOf(0, 10, 0, 0, nil, v), []string{"10=v"}, []int64{-1}, 11},
		"compressed, offsets relative":   {messageOf(1, 13, 9, 1, nil, pack(compress.Gzip, set)), []string{"10=a", "11=b", "13=c"}, []int64{7, 8, 9}, 14},
		"compressed, with LogAppendTime": {messageOf(1, 13, 99, 2|logAppendTime, nil, pack(compress.Snappy, set)), []string{"10=a", "11=b", "13=c"}, []int64{99, 99, 99}, 14},
		"asked for from its middle on":   {messageOf(1, 12, 9, 3, nil, pack(compress.Lz4, set)), []string{"10=b", "12=c"}, []int64{8, 9}, 13},
		"format 0, offsets absolute":     {messageOf(0, 12, 0, 1, nil, pack(compress.Gzip, old)), []string{"10=a", "12=b"}, []int64{-1, -1}, 13},
		"both formats and a batch":       {slices.Concat(messageOf(0, 10, 0, 0, nil, v), messageOf(1, 11, 5, 0, nil, v), valuesAt(12, "v")), []string{"10=v", "11=v", "12=v"}, []int64{-1, 5, 1000}, 13},
	} {
		s := sourceOf(c.raw, 10, 100, nil)
		var times []int64
		records, next := []string(nil), int64(0)
		for next < c.next {
			some, at, err := s.Next(t.Context())
			if err != nil {
				t.Errorf("%s: %v", sentence, err)
				break
			}
			for _, r := range some {
				records, times = append(records, fmt.Sprintf("%d=%s", r.Offset, r.Value)), append(times, r.Time.UnixMilli())
			}
			next = at
		}
		if !slices.Equal(records, c.records) || !slices.Equal(times, c.times) || next != c.next {
			t.Errorf("%s: %v at %v, go on at %d", sentence, records, times, next)
		}
	}
}

func TestAnOldMessageThatDisagreesWithItselfIsUnreadable(t *testing.T) {
	good := messageOf(1, 10, 7, 0, []byte("k"), []byte("v"))
	anew := func(at int, b ...byte) []byte {
		raw := slices.Clone(good)
		copy(raw[at:], b)
		binary.BigEndian.PutUint32(raw[behindLength:], crc32.ChecksumIEEE(raw[magicAt:]))
		return raw
	}
	inner := messageOf(1, 0, 7, 1, nil, pack(compress.Gzip, messageOf(1, 0, 7, 0, nil, nil)))
	for sentence, c := range map[string]struct {
		raw    []byte
		reason string
	}{
		"a bit is not what it was":            {append(good[:len(good)-1:len(good)-1], 0), "the CRC does not match"},
		"a key that is longer than all":       {anew(26, 0, 0, 9), "it claims a key or value that is longer"},
		"a key of a length below null":        {anew(26, 0xff, 0xff, 0xff, 0xfe), "it claims a key or value that is longer"},
		"a key that ends where a value stood": {anew(26, 0, 0, 0, 4), "it ends behind"},
		"bytes behind its value":              {anew(31, 0, 0, 0, 0), "it has 1 bytes behind its value"},
		"too short for its format":            {batchLike(10, 14, 1), "it ends behind 26 bytes"},
		"zstd, which its format has not":      {messageOf(1, 10, 7, 4, nil, []byte("v")), "codec 4"},
		"compressed, and holds nothing":       {messageOf(1, 10, 7, 1, nil, pack(compress.Gzip, nil)), "holds nothing"},
		"compressed, and no value":            {messageOf(1, 10, 7, 1, nil, nil), "holds nothing"},
		"compressed twice":                    {messageOf(1, 10, 7, 1, nil, pack(compress.Gzip, inner)), "it is compressed and holds a message of format 1 and codec 1"},
		"compressed, and cut off":             {messageOf(1, 10, 7, 1, nil, pack(compress.Gzip, good[:20])), "it ends within a message"},
		"compressed, and one claims more":     {messageOf(1, 10, 7, 1, nil, pack(compress.Gzip, good[:30])), "claims a length of"},
		"compressed batches of format 2":      {messageOf(1, 10, 7, 1, nil, pack(compress.Gzip, valuesAt(0, "a"))), "it holds a message of format 2"},
		"its offsets go back":                 {messageOf(1, 11, 7, 1, nil, pack(compress.Gzip, append(slices.Clone(messageOf(1, 1, 7, 0, nil, nil)), messageOf(1, 0, 7, 0, nil, nil)...))), "it holds offset 0 behind 1"},
	} {
		var unreadable *UnreadableError
		_, _, err := readAll(sourceOf(c.raw, 10, 100, nil))
		if !errors.As(err, &unreadable) || !strings.Contains(unreadable.Reason, c.reason) {
			t.Errorf("%s: %v, want %s", sentence, err, c.reason)
		}
	}
}

// batchLike is a message of nothing but a header with a right checksum.
func batchLike(offset int64, length int, magic byte) []byte {
	raw := make([]byte, behindLength+length)
	binary.BigEndian.PutUint64(raw, uint64(offset))
	binary.BigEndian.PutUint32(raw[lengthAt:], uint32(length))
	raw[magicAt] = magic
	binary.BigEndian.PutUint32(raw[behindLength:], crc32.ChecksumIEEE(raw[magicAt:]))
	return raw
}

// FuzzBatch gives the guard and what reads records any bytes: whatever comes, it
// ends, nothing is read twice, and no record is longer than what came. Nothing
// here is compressed, and nothing reaches kafka-go.
func FuzzBatch(f *testing.F) {
	f.Add(valuesAt(10, "a", "b", "c"), true)
	f.Add(slices.Concat(valuesAt(10, "a"), valuesAt(11, "b")), false)
	f.Add(slices.Concat(messageOf(1, 10, 7, 0, []byte("k"), []byte("v")), messageOf(0, 11, 0, 0, nil, nil)), false)
	f.Add(slices.Concat(transactionalAt(7, 10, "a"), abortAt(7, 11)), true)
	f.Add(abortAt(7, 10), true)
	f.Fuzz(func(t *testing.T, raw []byte, anew bool) {
		raw = slices.Clone(raw)
		if anew && len(raw) > batchHeader && raw[magicAt] == 2 {
			binary.BigEndian.PutUint32(raw[lengthAt:], uint32(len(raw)-behindLength))
			sealAnew(raw) // so that more than the checksum is tried
		}
		batches := cut(raw, 10, -1).batches
		last := int64(9)
		for _, b := range batches {
			opened, reason := b.open()
			aborted := abortedOf([]fetch.ResponseTransaction{{ProducerID: opened.producer}})
			if over, _ := aborted.passesOver(&opened); over && (opened.control || !opened.transactional || opened.producer < 0) {
				t.Fatal("a batch that belongs to no transaction is passed over")
			}
			if reason != "" || opened.codec != 0 || opened.check(opened.packed) != "" {
				continue
			}
			total := 0
			for at, n := 0, opened.count; n != 0 && at < len(opened.packed); n-- {
				e, length, reason := opened.at(opened.packed[at:])
				if reason != "" || length <= 0 {
					t.Fatalf("%q (%d) in what was checked", reason, length)
				}
				m := e.copyOut(nil)
				total += len(m.Key) + len(m.Value)
				at += length
			}
			if total > len(opened.packed) || b.last <= last && b.last < 10 {
				t.Fatalf("%d bytes of %d, up to offset %d behind %d", total, len(opened.packed), b.last, last)
			}
			last = b.last
		}
	})
}

// BenchmarkRead is the way of a record from the bytes that came.
func BenchmarkRead(b *testing.B) {
	var records []kmsg.Record
	value := []byte(strings.Repeat(`{"out_trade_no":"T000001","mch_id":"1900000109"}`, 4))
	for i := range 1000 {
		records = append(records, kmsg.Record{OffsetDelta: int32(i), Key: []byte("T000001"), Value: value, Headers: []kmsg.Header{
			{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte("0123456789abcdef")}, {Key: "ce_type", Value: []byte("closeorder.requested")},
		}})
	}
	body := packedRecordsOf(records...)
	for _, codec := range []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		payload := body
		if codec != compress.None {
			payload = pack(codec, body)
		}
		raw := batchOf(0, payload, 1000, 999, func(b *kmsg.RecordBatch) { b.Attributes = int16(codec) })
		b.Run(codec.String(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			budget := newBudget(0, 0)
			for b.Loop() {
				s := sourceOf(raw, 0, 1000, budget)
				got, _, err := s.Next(context.Background())
				if err != nil || len(got) != 1000 {
					b.Fatal(len(got), err)
				}
			}
		})
	}
}
