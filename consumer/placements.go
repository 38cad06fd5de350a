package consumer

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"
)

// placements looks at where the requests stand, and tells when requests of one
// order may stand in different partitions: then they run side by side in two
// workers (G4). It changes nothing. It is safe for concurrent use.
//
// Two things are looked for. Sure is an order that was seen in two partitions
// of this worker. Soon seen is that the keys do not stand where one partitioner
// puts them, see judge.
type placements struct {
	topic string
	log   logrus.FieldLogger

	mu         sync.Mutex // guards what is below; news.mu may be taken under it
	partitions int        // of the topic; 0 while it is not known
	looks      *rate.Limiter
	passing    int // requests to pass over before looks is asked again
	seed       maphash.Seed
	orders     []sighting
	keys       recentKeys
	told       news
}

const (
	// A look takes about a microsecond. So many requests are looked at
	// when there was nothing for a while, and so many a second after that.
	looksAtOnce    = 4096
	looksPerSecond = 500
	passOver       = 15
	// orderSlots is how many orders are remembered, at 40 bytes each.
	orderSlots = 4096
	// tellAgain is after how long a kind of finding is told once more.
	tellAgain = 24 * time.Hour
)

// sighting is where an order was seen last.
type sighting struct {
	order  uint64 // hash
	source events.Source
}

func newPlacements(topic string, log logrus.FieldLogger) *placements {
	return &placements{
		topic: topic, log: log, looks: rate.NewLimiter(looksPerSecond, looksAtOnce),
		seed: maphash.MakeSeed(), told: news{every: tellAgain},
	}
}

// count is told how many partitions the topic has. With fewer than before it
// is another topic, of which nothing is known.
func (p *placements) count(partitions int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if partitions == 0 {
		return // not known
	}
	if partitions < p.partitions {
		p.keys, p.orders = recentKeys{}, nil
	}
	p.partitions = partitions
}

// look looks at a request, as far as there is time. A retry stands where its
// request does, and a replay where the order service had put it once.
func (p *placements) look(r *request) {
	if r.partition.topic != p.topic || r.req.Replay > 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.partitions < 2 {
		return
	}
	if p.passing > 0 {
		p.passing--
		return
	}
	now := time.Now()
	if !p.looks.AllowN(now, 1) {
		p.passing = passOver
		return
	}
	p.lookAtOrder(r, now)
	if len(r.msg.Key) == 0 || !p.keys.add(maphash.Bytes(p.seed, r.msg.Key), r.msg.Key, r.source.Partition) {
		return
	}
	j := judge(p.keys.seen, p.partitions)
	if j.kind != nothing && p.told.due(string(j.kind), now) {
		j.tell(p.log.WithFields(logrus.Fields{"topic": p.topic, "partitions": p.partitions}))
	}
}

func (p *placements) lookAtOrder(r *request, now time.Time) {
	o := r.req.Order()
	if o.OutTradeNo == "" {
		return
	}
	if p.orders == nil {
		p.orders = make([]sighting, orderSlots)
	}
	hash := maphash.Comparable(p.seed, o)
	slot := &p.orders[hash%orderSlots]
	if before := slot.source; slot.order == hash && before.Topic != "" && before.Partition != r.source.Partition && p.told.due(string(astray), now) {
		p.log.WithFields(r.fields()).WithFields(logrus.Fields{"other_partition": before.Partition, "other_offset": before.Offset}).
			Warn("two requests of one order stand in two partitions: " + sideBySide +
				". Their producers use different partitioners, or keys that are not the order's, or none, or partitions were added in between; what to set is said in docs/contract.md, topics and keys")
	}
	*slot = sighting{hash, r.source}
}

// recentKeys remembers the last keys that were seen, each once: a hot key says no
// more than another.
type recentKeys struct {
	seen    []sighted
	known   map[uint64]struct{} // names of those
	next    int                 // the oldest, once there are mostKeys
	unheard int                 // since the last judgement
}

// sighted is a key, and where it was seen first.
type sighted struct {
	hashes
	partition int
	name      uint64 // hash by which it is known again
}

const (
	mostKeys = 4096
	// judgeEvery is how many new keys make another judgement, the first few
	// sooner.
	judgeEvery, judgeFirst = 256, 32
)

// add says whether the key is new and it is time for a judgement.
func (w *recentKeys) add(name uint64, key []byte, partition int) bool {
	if _, known := w.known[name]; known {
		return false
	}
	if w.known == nil {
		w.known = make(map[uint64]struct{})
	}
	w.known[name] = struct{}{}
	s := sighted{hashesOf(key), partition, name}
	if len(w.seen) < mostKeys {
		w.seen = append(w.seen, s)
	} else {
		delete(w.known, w.seen[w.next].name)
		w.seen[w.next] = s
		w.next = (w.next + 1) % mostKeys
	}
	w.unheard++
	if w.unheard < judgeFirst || w.unheard < judgeEvery && len(w.seen) > judgeEvery {
		return false
	}
	w.unheard = 0
	return true
}
