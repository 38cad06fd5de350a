package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

const (
	// fetchWait is how long a broker may wait for records to come.
	fetchWait = 500 * time.Millisecond
	// fetchPatience is for how much longer a fetch may be under way: a frozen
	// broker must not hold up its partitions for longer than their leader takes
	// to move.
	fetchPatience = 5 * time.Second
	// defaultFetchBytes is about what one fetch brings of one partition at most,
	// and fetchTotal of all of a broker, packed: less where Config.MaxBuffered has
	// no room for that. A first batch that is larger comes whole.
	defaultFetchBytes = 1 << 20
	fetchTotal        = 8 << 20
	// leastFetch is what a fetch brings at least that is made smaller because
	// the last one did not come in time.
	leastFetch = 64 << 10
	// fetchAgain is how often a partition is asked for that the long poll under
	// way has left out.
	fetchAgain = 50 * time.Millisecond
	// lightFetch is what a fetch brings of a partition, and lightTotal of all, of
	// which nothing is there while others have all the room.
	lightFetch = 16 << 10
	lightTotal = 64 << 10
	// awayFor is for how long more than half a fetch comes ahead of a reader that
	// is away, and dropAfter for how long it keeps what others need the room of.
	awayFor   = 100 * time.Millisecond
	dropAfter = time.Second
)

// fetcher fetches for all sources of a client: for each broker one long poll at
// a time, for all partitions of it that may have more. One that is not in it, as
// it is new or its reader was behind, is asked for beside it and without a wait.
//
//	Source, homeless --metadata--> fetchedBroker: poll, hurry --batches--> Source
type fetcher struct {
	client *Client
	memory *Memory
	budget *budget
	zstds  zstdDecoder
	// most is what may wait for its readers, in bytes; 0 in tests: all.
	most int
	// uncommitted: see Config.ReadUncommitted.
	uncommitted bool

	life context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup

	// mu guards what is below, and what Source says.
	mu       sync.Mutex
	brokers  map[int32]*fetchedBroker
	sources  map[*Source]struct{} // all that are not closed
	homeless []*Source            // that want to be fetched
	homing   bool
	packed   int            // bytes that wait for their readers
	batches  map[string]int // how large the last batch of a topic was
	giant    *Source        // that has a batch for which there is no room, the only one
	// thwarted: a source was not asked for, as there is no room.
	thwarted bool
}

func newFetcher(c *Client, cfg Config) *fetcher {
	memory := newMemory(cfg.MaxBuffered)
	part := memory.bound / 8
	f := &fetcher{
		client: c, memory: memory, most: int(min(part, 1<<29)), // an int may have 32 bits
		uncommitted: cfg.ReadUncommitted,
		budget:      newBudget(cfg.UnpackedBatch, cfg.UnpackedTotal), brokers: make(map[int32]*fetchedBroker),
		sources: make(map[*Source]struct{}), batches: make(map[string]int),
	}
	f.budget.within(part)
	f.life, f.end = context.WithCancel(context.Background())
	return f
}

// close ends all fetching; sources return an error.
func (f *fetcher) close() {
	f.mu.Lock()
	f.end()
	f.mu.Unlock()
	f.wg.Wait()
}

// partMost is what a fetch brings at most of one partition.
func (f *fetcher) partMost() int { return min(max(f.most/8, lightFetch), defaultFetchBytes) }

// roundMost is what a fetch brings at most of all: a long poll and what goes
// beside it may be under way at each broker. The caller has mu.
func (f *fetcher) roundMost() int {
	return min(max(f.most/(2*max(1, len(f.brokers))), lightTotal), fetchTotal)
}

// keep reports whether there is room for bytes that have come for a source, and
// counts them. One that could never fit in is taken where nobody else has such
// a one. The caller has mu.
func (f *fetcher) keep(s *Source, bytes int) bool {
	if f.most > 0 && f.packed > 0 && f.packed+bytes > 2*f.most {
		if f.giant != nil || f.packed >= f.most {
			return false
		}
		f.giant = s
	}
	f.packed += bytes
	return true
}

// release gives the room of bytes back that a source had. The caller has mu.
func (f *fetcher) release(s *Source, bytes int) {
	f.packed -= bytes
	if f.giant == s && s.size+s.inHand == 0 {
		f.giant = nil
	}
	if f.thwarted && f.packed < f.most {
		f.thwarted = false
		for _, b := range f.brokers {
			signal(b.wake)
			signal(b.hurried)
		}
	}
}

// admits reports whether a hungry source may be asked for: fully, or where there
// is no room lightly, as nothing is there for it. What comes must then be kept:
// else it would be asked for again at once, over and over. The caller has mu.
func (f *fetcher) admits(s *Source, now time.Time) (fully, lightly bool) {
	switch {
	case f.most == 0:
		return true, false
	case s.isAway(now, awayFor) && (s.dropped || f.packed >= f.most || s.size+s.inHand >= (s.bytes+1)/2):
		return false, false
	case f.packed >= f.most:
		f.thwarted = true
		return false, s.size+s.inHand == 0 && f.needs(s) <= lightFetch && f.packed+lightFetch <= 2*f.most
	case f.giant == nil || f.packed+f.needs(s) <= 2*f.most:
		return true, false
	}
	f.thwarted = true
	return false, false
}

// needs is how large the batches of a source are, by those that came last: for it
// or, where none has come yet, for another of its topic. The caller has mu.
func (f *fetcher) needs(s *Source) int { return cmp.Or(s.needs, f.batches[s.topic]) }

// reclaim makes room by dropping what waits for readers that are away for long,
// also of those whose broker has failed. The caller has mu.
func (f *fetcher) reclaim(now time.Time) {
	for s := range f.sources {
		if s.size+s.inHand > 0 && s.isAway(now, dropAfter) {
			s.drop()
			s.dropped = true
		}
	}
}

// want has a source fetched, if it has to be. The caller has mu.
func (f *fetcher) want(s *Source) {
	switch {
	case f.life.Err() != nil || !s.hungry():
	case s.home != nil:
		signal(s.home.wake)
		signal(s.home.hurried)
	case !slices.Contains(f.homeless, s):
		f.homeless = append(f.homeless, s)
		if !f.homing {
			f.homing = true
			f.wg.Go(f.findHomes)
		}
	}
}

// findHomes finds the leaders of the homeless, until there are none.
func (f *fetcher) findHomes() {
	for {
		f.mu.Lock()
		seeking := f.homeless
		f.homeless = nil
		if len(seeking) == 0 || f.life.Err() != nil {
			f.homing = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		var topics []string
		for _, s := range seeking {
			if !slices.Contains(topics, s.topic) {
				topics = append(topics, s.topic)
			}
		}
		l, err := f.client.leaders(f.life, topics)
		f.mu.Lock()
		for _, s := range seeking {
			if s.home != nil || !s.hungry() {
				continue
			}
			leader, err := int32(-1), err
			if err == nil {
				leader, err = l.of(s.place)
			}
			if err != nil {
				s.fail(err)
				continue
			}
			f.broker(leader).add(s)
		}
		f.mu.Unlock()
	}
}

// broker returns what fetches from a broker. The caller has mu.
func (f *fetcher) broker(id int32) *fetchedBroker {
	b := f.brokers[id]
	if b == nil {
		b = &fetchedBroker{
			fetcher: f, id: id, most: fetchTotal,
			wake: make(chan struct{}, 1), hurried: make(chan struct{}, 1), left: make(chan struct{}),
		}
		f.brokers[id] = b
		if f.life.Err() == nil {
			f.wg.Go(b.poll)
			f.wg.Go(b.hurry)
		}
	}
	return b
}

// fetchedBroker fetches from one broker, as long as a source has it as home.
type fetchedBroker struct {
	*fetcher
	id            int32
	wake, hurried chan struct{}
	left          chan struct{} // closed when the last source has left

	// Guarded by mu.
	sources []*Source
	turn    int
	polling bool
	most    int // bytes of one fetch
	some    []*Source

	// Of the goroutine that polls:
	session session
	polled  round
}

func (b *fetchedBroker) add(s *Source) {
	s.home = b
	b.sources = append(b.sources, s)
	signal(b.wake)
	signal(b.hurried)
}

func (b *fetchedBroker) remove(s *Source) {
	s.home = nil
	if i := slices.Index(b.sources, s); i >= 0 {
		b.sources = slices.Delete(b.sources, i, i+1)
	}
	signal(b.wake)
}

// poll makes one long poll after the other.
func (b *fetchedBroker) poll() {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		b.mu.Lock()
		if len(b.sources) == 0 || b.life.Err() != nil {
			delete(b.brokers, b.id)
			close(b.left)
			b.mu.Unlock()
			return
		}
		r := b.ask(time.Time{})
		b.polling = r != nil
		if r == nil && b.thwarted {
			again.Reset(fetchAgain) // then somebody may have been away for long
		}
		b.mu.Unlock()
		if r != nil {
			b.fetch(r, fetchWait)
			continue
		}
		select {
		case <-b.wake:
		case <-again.C:
		case <-b.life.Done():
		}
	}
}

// hurry asks for what the long poll under way has left out.
func (b *fetchedBroker) hurry() {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		b.mu.Lock()
		var r *round
		if now := time.Now(); b.polling {
			if r = b.ask(now); r == nil && slices.ContainsFunc(b.sources, func(s *Source) bool {
				fully, lightly := b.admits(s, now)
				return s.hungry() && (fully || lightly || b.thwarted)
			}) {
				again.Reset(fetchAgain)
			}
		}
		b.mu.Unlock()
		if r != nil {
			b.fetch(r, 0)
			continue
		}
		select {
		case <-b.hurried:
		case <-again.C:
		case <-b.left:
			return
		}
	}
}

// round is one request, and whom it is for.
type round struct {
	req   *fetchRequest
	asked []asked // in the order of the request, where that names them all
	most  int     // bytes of all
	part  int     // bytes of one partition
	// session, if not nil, is what the broker remembers: it says nothing of those
	// of which there is nothing new.
	session *session
	// committed: records of transactions come when these are committed.
	committed bool
}

// asked is a source as it was when it was asked for.
type asked struct {
	source *Source
	epoch  int
	offset int64
	first  bool  // of the request
	held   *held // by the session, nil without one
	// What came.
	answered bool
	leftOut  bool // there was no room for it in the answer
	code     int16
	// end is how far the log can be read: the high watermark, or when reading
	// committed the last stable offset, if that is lower.
	end   int64
	bytes int
	pieces
}

// ask makes a round of the sources that may have more, nil for none. With now
// given, those are left out that were asked for a moment ago. Where a source has
// got less than a batch the request names them all, that one first: the first of
// a request gets its batch however large that is. The caller has mu, and without
// now is who polls.
func (b *fetchedBroker) ask(now time.Time) *round {
	b.turn++
	at := time.Now()
	if b.thwarted {
		b.thwarted = false
		b.reclaim(at)
	}
	some, starved, light := b.some[:0], false, false
	for i := range b.sources {
		s := b.sources[(b.turn+i)%len(b.sources)]
		if !s.hungry() || !now.IsZero() && now.Before(s.notBefore) {
			continue
		}
		if fully, lightly := b.admits(s, at); fully || lightly {
			some = append(some, s)
			starved = starved || s.starved > 0
			light = light || lightly
		}
	}
	b.some = some
	defer clear(some)
	if len(some) == 0 {
		return nil
	}
	r := new(round)
	if now.IsZero() {
		r = &b.polled
		clear(r.asked)
		*r = round{asked: r.asked[:0]}
	}
	r.most, r.part, r.committed = min(b.most, b.roundMost()), b.most, !b.uncommitted
	if light {
		r.most, r.part = lightTotal, lightFetch
	}
	r.req = &fetchRequest{broker: b.id, ReplicaID: -1, MinBytes: 1, MaxBytes: int32(r.most), SessionEpoch: -1}
	if r.committed {
		r.req.IsolationLevel = readCommitted
	}
	if now.IsZero() && !starved && !light {
		r.session = &b.session
		r.session.begin(r.req)
		for _, s := range some {
			if h, named, there := r.session.ask(s.place, s.position, r.partMost(s)); !there {
				r.add(s, h, named)
			}
		}
		r.session.forget(r.req, len(r.asked))
		return r
	}
	slices.SortStableFunc(some, func(a, b *Source) int { return cmp.Compare(b.starved, a.starved) })
	there := make(map[place]bool, len(some))
	for _, s := range some {
		if !there[s.place] { // and not another reader of the same partition
			there[s.place] = true
			r.add(s, nil, true)
		}
	}
	return r
}

// partMost is how many bytes a source is asked for.
func (r *round) partMost(s *Source) int32 { return int32(min(s.bytes, r.part)) }

// add has a source asked for, and names it in the request where it has to be.
func (r *round) add(s *Source, h *held, named bool) {
	r.asked = append(r.asked, asked{source: s, epoch: s.epoch, offset: s.position, first: h == nil && len(r.asked) == 0, held: h})
	s.asking = true
	if !named {
		return
	}
	i := slices.IndexFunc(r.req.Topics, func(t fetch.RequestTopic) bool { return t.Topic == s.topic })
	if i < 0 {
		i = len(r.req.Topics)
		r.req.Topics = append(r.req.Topics, fetch.RequestTopic{Topic: s.topic})
	}
	t := &r.req.Topics[i]
	t.Partitions = append(t.Partitions, fetch.RequestPartition{
		Partition: int32(s.partition), CurrentLeaderEpoch: -1, FetchOffset: s.position, LogStartOffset: -1,
		PartitionMaxBytes: r.partMost(s),
	})
}

// fetch makes the request of a round and gives each source what came for it.
func (b *fetchedBroker) fetch(r *round, wait time.Duration) {
	r.req.MaxWaitTime = int32(wait.Milliseconds())
	answer, err := b.client.RoundTrip(b.life, wait+fetchPatience, r.req)
	res, _ := answer.(*fetchResponse)
	lost := false // a session, and nothing else: all are asked for again at once
	if err == nil {
		lost = r.session != nil && r.session.lost(res)
		err = r.read(res)
	}
	if r.session != nil {
		if err != nil {
			res = nil
		}
		r.session.next(res)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait > 0 {
		b.polling = false
	} else {
		// The long poll may have ended meanwhile and found nobody to ask for.
		defer signal(b.wake)
	}
	// What did not come in time is asked for in smaller pieces.
	if late := (net.Error)(nil); errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late) && late.Timeout() {
		b.most = max(r.most/4, leastFetch)
	} else if err == nil {
		b.most = min(2*b.most, fetchTotal)
	}
	for i := range r.asked {
		a := &r.asked[i]
		s := a.source
		if s.epoch != a.epoch {
			a.pieces = pieces{}
			continue // it reads elsewhere now
		}
		s.asking = false
		switch {
		case s.closed || lost:
		case err != nil:
			b.remove(s)
			s.fail(err)
		case a.code != 0:
			if ledElsewhere(kafkago.Error(a.code)) {
				b.remove(s)
			}
			s.fail(Explain(asError(a.code), "Fetch", "topic "+s.topic))
		case a.answered:
			s.deliver(a)
			if wait == 0 && len(a.batches) == 0 {
				s.notBefore = time.Now().Add(fetchAgain)
			}
		case a.leftOut:
			s.starved++
		}
		a.pieces = pieces{} // the round is kept, and they must not be
	}
}

// read takes out of an answer what came for each.
func (r *round) read(res *fetchResponse) error {
	if err := asError(res.ErrorCode); err != nil {
		return err
	}
	left, at, came := len(r.asked), 0, 0
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			a := r.find(t.Topic, int(p.Partition), &at)
			if a == nil || a.answered {
				continue
			}
			left--
			a.answered, a.code, a.end = true, p.ErrorCode, p.HighWatermark
			if r.committed && p.LastStableOffset >= 0 {
				a.end = min(a.end, p.LastStableOffset)
			}
			if a.held != nil {
				a.held.end = a.end
			}
			if a.code == 0 {
				a.bytes = len(p.Records.bytes)
				came += a.bytes
				a.pieces = cut(p.Records.bytes, a.offset, p.HighWatermark)
				if r.committed {
					a.holdBack(p.LastStableOffset)
					a.abort(p.AbortedTransactions)
				}
			}
		}
	}
	switch {
	case left == 0:
	case res.ThrottleTimeMs > 0 && len(res.Topics) == 0:
		// By its quotas the broker answers nothing, and that nothing is wrong.
	case r.session != nil && r.session.id != 0:
		for i := range r.asked {
			if a := &r.asked[i]; !a.answered && a.held.end >= 0 {
				a.answered, a.end = true, a.held.end
			}
		}
	case came > 0:
		// The embedded broker leaves out those for which the answer had no room;
		// Apache Kafka has them all in it.
		for i := range r.asked {
			a := &r.asked[i]
			a.leftOut = !a.answered
		}
	default:
		return fmt.Errorf("the broker's answer to Fetch lacks %d of %d partitions", left, len(r.asked))
	}
	return nil
}

// find returns who was asked for, looking from at on: answers have the order of
// their request, mostly.
func (r *round) find(topic string, partition int, at *int) *asked {
	for i := range r.asked {
		i = (*at + i) % len(r.asked)
		if a := &r.asked[i]; a.source.partition == partition && a.source.topic == topic {
			*at = i + 1
			return a
		}
	}
	return nil
}

// ledElsewhere reports whether a partition may be led by another broker now.
func ledElsewhere(code kafkago.Error) bool {
	switch code {
	case kafkago.UnknownTopicOrPartition, kafkago.LeaderNotAvailable, kafkago.NotLeaderForPartition, kafkago.ReplicaNotAvailable,
		kafkago.KafkaStorageError, kafkago.FencedLeaderEpoch, kafkago.UnknownLeaderEpoch, kafkago.PreferredLeaderNotAvailable:
		return true
	}
	return false
}

// signal wakes who waits for ch, or does next.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
