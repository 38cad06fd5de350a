package audit

import (
	"cmp"
	"hash/maphash"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
)

// entry is what is known of one request, in 32 bytes: a million requests take
// 32 MB. Names are kept as hashes; whoever is found guilty is read again.
type entry struct {
	order   uint64 // hash of the order, 0 where it has none
	request uint64 // hash of request_id and order, odd; of the bytes where it has neither, even
	// identity is a hash of all that an outcome must repeat of its request.
	identity uint32
	// id is a hash of the event id of its outcome; until it has one, the number of
	// its merchant.
	id      uint32
	seconds uint32 // its timestamp
	replay  uint16
	flags   uint16
}

const (
	present  uint16 = 1 << iota // there is such a record, and it is audited
	closed                      // what its outcome says: one of three
	paid                        //
	failed                      //
	safe                        // closed, and safe to reissue
	conflict                    // has outcomes that say closed and paid
	retried                     // has a retry record
	waiting                     // has one that is not finished
	dead                        // has a dead letter
	suspect                     // finished without an answer: to be read again
)

const answered = closed | paid | failed

func (e *entry) is(flags uint16) bool { return e.flags&flags != 0 }

func (e *entry) time() time.Time { return time.Unix(int64(e.seconds), 0).UTC() }

func seconds(t time.Time) uint32 { return uint32(max(0, min(t.Unix(), math.MaxUint32))) }

// chunkSize is how many offsets share an allocation.
const chunkSize = 4096

// table holds an entry for each request, by partition and offset.
type table struct {
	chunks map[chunk]*[chunkSize]entry
	seed   maphash.Seed
}

// chunk names the entries of a partition from the offset number*chunkSize on.
type chunk struct {
	partition int
	number    int64
}

func newTable() *table {
	return &table{chunks: map[chunk]*[chunkSize]entry{}, seed: maphash.MakeSeed()}
}

// add makes the entry of a record.
func (t *table) add(partition int, offset int64) *entry {
	at := chunk{partition, offset / chunkSize}
	c := t.chunks[at]
	if c == nil {
		c = new([chunkSize]entry)
		t.chunks[at] = c
	}
	e := &c[offset%chunkSize]
	e.flags |= present
	return e
}

// at returns the entry of an offset, nil where there is none. It takes any
// number: outcomes bring those of others.
func (t *table) at(partition int, offset int64) *entry {
	c := t.chunks[chunk{partition, offset / chunkSize}]
	if c == nil || offset < 0 || !c[offset%chunkSize].is(present) {
		return nil
	}
	return &c[offset%chunkSize]
}

// each calls f for every entry, by partition and offset.
func (t *table) each(f func(partition int, offset int64, e *entry)) {
	inOrder := slices.SortedFunc(maps.Keys(t.chunks), func(a, b chunk) int {
		return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.number, b.number))
	})
	for _, at := range inOrder {
		for i := range t.chunks[at] {
			if e := &t.chunks[at][i]; e.is(present) {
				f(at.partition, at.number*chunkSize+int64(i), e)
			}
		}
	}
}

// orderHash names an order, 0 for none.
func (t *table) orderHash(o events.Order) uint64 {
	if o.OutTradeNo == "" {
		return 0
	}
	return maphash.Comparable(t.seed, o) | 1
}

// requestHash names a request as events.SameRequest does, and one that names
// neither itself nor its order by its bytes: a replay has the same.
func (t *table) requestHash(requestID string, o events.Order, m events.Message) uint64 {
	if requestID == "" && o.OutTradeNo == "" {
		return t.bytesHash(m) &^ 1
	}
	return maphash.Comparable(t.seed, struct {
		id string
		o  events.Order
	}{requestID, o}) | 1
}

// bytesHash is over all of a record but what a replay adds.
func (t *table) bytesHash(m events.Message) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	part := func(b []byte) {
		maphash.WriteComparable(&h, len(b))
		h.Write(b)
	}
	part(m.Key)
	part(m.Value)
	for _, header := range m.Headers {
		if !events.OfReplay(header.Key) {
			part([]byte(header.Key))
			part(header.Value)
		}
	}
	return h.Sum64()
}

// named reports whether a request hash is that of a request that names itself.
func named(request uint64) bool { return request&1 == 1 }

// identityHash is over what an outcome repeats of its request.
func (t *table) identityHash(requestID string, o events.Order, replay int) uint32 {
	return uint32(maphash.Comparable(t.seed, struct {
		id     string
		o      events.Order
		replay int
	}{requestID, o, replay}))
}

func (t *table) textHash(s string) uint32 { return uint32(maphash.String(t.seed, s)) }
