package timeline

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
)

// Options of a search.
type Options struct {
	// OnTotal, if set, is told how many records will be read from then on, as it
	// becomes known; OnRead how many more were. Calls of OnRead may be concurrent.
	OnTotal func(n int64)
	OnRead  func(n int)
}

// Find reads the topics and says what became of the order. The error is of Kafka or
// of ctx; an order that nobody has asked about is a report without lives.
//
// The partitions that the number of the order leads to are read first, by the rule
// of every client of Kafka that is known, and in the other topics those with the
// numbers of the partitions where the requests were found. The rest is read with
// Scope.All, or where nothing was found. With Scope.Places all partitions count as
// read: the index has.
func (s *Snapshot) Find(ctx context.Context, o Options) (*Report, error) {
	f := &finder{
		Snapshot: s, options: o, match: newMatcher(s.scope.OutTradeNo),
		requests: make(map[events.Source]bool), read: make(map[string]map[int]bool),
	}
	if err := f.run(ctx); err != nil {
		return nil, err
	}
	return f.report(), nil
}

type finder struct {
	*Snapshot
	options Options
	match   matcher

	mu       sync.Mutex
	entries  []Entry
	nameless []Entry                // that may be of the order, by their requests
	requests map[events.Source]bool // that are among the entries
	// read are the partitions that were read, and began is when the first record of
	// each was written that was read.
	read     map[string]map[int]bool
	began    map[kafka.Place]time.Time
	kinds    map[Kind]int         // how many there are, kept or not
	damaged  map[kafka.Place]bool // something of it cannot be read, or is gone
	replaces map[string]bool      // orders in whose place this one was to be issued
	// held is from where on an index knows partitions of which more is there.
	held map[kafka.Place]int64
}

func (f *finder) run(ctx context.Context) error {
	f.began, f.damaged, f.replaces = make(map[kafka.Place]time.Time), make(map[kafka.Place]bool), make(map[string]bool)
	f.kinds = make(map[Kind]int)
	if f.scope.Places != nil {
		if err := f.readPlaces(ctx); err != nil {
			return err
		}
		return f.readSources(ctx)
	}
	requests := f.scope.Topics.Requests
	count := len(f.first[requests])
	all, home := everyOne(count), consumer.PartitionsOf(f.match.bytes, count)
	if f.scope.All {
		home = all
	}
	if err := f.readPartitions(ctx, home, requests); err != nil {
		return err
	}
	if err := f.readPartitions(ctx, cmpOr(f.homes(), home), f.others()...); err != nil {
		return err
	}
	if f.scope.All || len(f.entries) == 0 {
		if err := f.readPartitions(ctx, all, requests); err != nil {
			return err
		}
		rest := all
		if !f.scope.All {
			rest = cmpOr(f.homes(), all)
		}
		if err := f.readPartitions(ctx, rest, f.others()...); err != nil {
			return err
		}
	}
	if f.unanswered() {
		// Where an answer would be written today says nothing about where it was
		// written when there were fewer partitions.
		if err := f.readPartitions(ctx, all, f.others()...); err != nil {
			return err
		}
	}
	if err := f.readFurther(ctx); err != nil {
		return err
	}
	return f.readSources(ctx)
}

// readFurther reads the partitions of requests that were found by what follows from them:
// topics with fewer partitions hold what belongs to several.
func (f *finder) readFurther(ctx context.Context) error {
	for {
		var further []int
		for _, at := range f.missing() {
			if !f.read[at.Topic][at.Partition] && at.Partition < len(f.first[at.Topic]) && !slices.Contains(further, at.Partition) {
				further = append(further, at.Partition)
			}
		}
		if further == nil {
			return nil
		}
		if err := f.readPartitions(ctx, further, f.scope.Topics.Requests); err != nil {
			return err
		}
		if err := f.readPartitions(ctx, further, f.others()...); err != nil {
			return err
		}
	}
}

// missing are the requests that an entry names as its own and that were not found.
func (f *finder) missing() []events.Source {
	missing := make(map[events.Source]bool)
	for i := range f.entries {
		if at := f.entries[i].source; at.Topic == f.scope.Topics.Requests && !f.requests[at] {
			missing[at] = true
		}
	}
	return slices.SortedFunc(maps.Keys(missing), func(a, b events.Source) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
}

// unanswered reports whether a request is finished, and nothing says how.
func (f *finder) unanswered() bool {
	open := make(map[events.Source]bool)
	for i := range f.entries {
		switch e := &f.entries[i]; {
		case e.Kind == Answered || e.Kind == PutOff && !e.Finished:
			open[e.source] = false
		default:
			if _, known := open[e.source]; !known {
				open[e.source] = true
			}
		}
	}
	for at, is := range open {
		if is && f.progress != nil && f.progress.Finished(at.Topic, at.Partition, at.Offset) {
			return true
		}
	}
	return false
}

func everyOne(count int) []int {
	all := make([]int, count)
	for i := range all {
		all[i] = i
	}
	return all
}

func cmpOr(a, b []int) []int {
	if len(a) > 0 {
		return a
	}
	return b
}

// others are the topics that workers write.
func (f *finder) others() []string {
	return slices.DeleteFunc(slices.Clone(f.topics), func(topic string) bool { return topic == f.scope.Topics.Requests })
}

// homes are the partitions in which requests of the order were found.
func (f *finder) homes() []int {
	found := make(map[int]bool)
	for at := range f.requests {
		found[at.Partition] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// abreast is how many topics are read at one time.
const abreast = 3

// readPartitions reads what was not read yet of some partitions: of topics that have
// fewer, those that take their numbers.
func (f *finder) readPartitions(ctx context.Context, partitions []int, topics ...string) error {
	type stretch struct {
		topic string
		from  kafka.Offsets
	}
	var stretches []stretch
	var total int64
	for _, topic := range topics {
		from := make(kafka.Offsets)
		for _, p := range partitions {
			if n := len(f.first[topic]); topic != f.scope.Topics.Requests && n > 0 {
				p %= n
			}
			if begin, ok := f.from[topic][p]; ok && !f.read[topic][p] {
				from[p] = begin
				if f.read[topic] == nil {
					f.read[topic] = make(map[int]bool)
				}
				f.read[topic][p] = true
			}
		}
		for p, begin := range from {
			total += max(f.to[topic][p]-begin, 0)
		}
		stretches = append(stretches, stretch{topic, from})
	}
	if f.options.OnTotal != nil && total > 0 {
		f.options.OnTotal(total)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(abreast)
	for _, s := range stretches {
		group.Go(func() error { return f.readStretch(ctx, s.topic, s.from) })
	}
	err := group.Wait()
	f.adopt()
	return err
}

// reportEvery is how many records go by between two reports of progress.
const reportEvery = 1000

func (f *finder) readStretch(ctx context.Context, topic string, from kafka.Offsets) error {
	began := make([]bool, len(f.first[topic]))
	return f.readRecords(ctx, 0, topic, from, f.to[topic], func(rec kafka.Record) {
		if !began[rec.Partition] {
			began[rec.Partition] = true
			f.begin(rec)
		}
	})
}

// begin takes note of the first record of a partition.
func (f *finder) begin(rec kafka.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.began[kafka.Place{Topic: rec.Topic, Partition: rec.Partition}] = rec.Time.UTC()
}

// readRecords looks at the records of some partitions, about so many bytes in one
// fetch, 0 for the reader's own; seen is called with each one before.
func (f *finder) readRecords(ctx context.Context, bytes int, topic string, from, to kafka.Offsets, seen func(kafka.Record)) error {
	r := *f.scope.Reader
	r.FetchBytes = cmp.Or(bytes, r.FetchBytes)
	r.OnGap = func(g kafka.Gap) {
		f.lost(topic, g.Partition, "%s[%d]: offsets %d to %d were deleted while they were to be read", topic, g.Partition, g.From, g.To-1)
	}
	r.OnUnreadable = func(e *kafka.UnreadableError) {
		f.lost(topic, e.Partition, "%v; what stands there is not here", e)
	}
	n, look := 0, f.look(topic)
	told := func() {
		if f.options.OnRead != nil && n > 0 {
			f.options.OnRead(n)
		}
		n = 0
	}
	defer told()
	return r.Read(ctx, topic, from, to, func(rec kafka.Record) error {
		if n++; n == reportEvery {
			told()
		}
		seen(rec)
		look(rec)
		return nil
	})
}

// lost takes note of what cannot be read.
func (f *finder) lost(topic string, partition int, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.damaged[kafka.Place{Topic: topic, Partition: partition}] = true
	f.note(format, args...)
}

// look is what is done with a record of a topic.
func (f *finder) look(topic string) func(kafka.Record) {
	switch topic {
	case f.scope.Topics.Requests:
		return f.request
	case f.scope.Topics.Outcomes:
		return f.outcome
	case f.scope.Topics.DeadLetters:
		return f.deadLetter
	}
	return f.retry
}

// mostOfAKind is how many records of one kind are kept: a producer in a loop may have asked
// a million times.
const mostOfAKind = 5000

func (f *finder) add(e Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kinds[e.Kind]++; f.kinds[e.Kind] > mostOfAKind {
		return
	}
	f.entries = append(f.entries, e)
	if e.Kind == Requested || e.Kind == Replayed {
		f.requests[e.source] = true
	}
}

// mostNameless is how many records are kept that name no order.
const mostNameless = 10_000

// keep keeps a record that names no order, until its request is found.
func (f *finder) keep(e Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch len(f.nameless) {
	case mostNameless:
	case mostNameless - 1:
		f.note("more than %d outcomes and dead letters name no order; those behind them are not looked at", mostNameless-1)
		fallthrough
	default:
		f.nameless = append(f.nameless, e)
	}
}

// adopt makes entries of what names no order and follows from a request that was found.
func (f *finder) adopt() {
	f.nameless = slices.DeleteFunc(f.nameless, func(e Entry) bool {
		if f.requests[e.source] {
			f.entries = append(f.entries, e)
		}
		return f.requests[e.source]
	})
}

func (f *finder) request(rec kafka.Record) {
	if !f.match.may(&rec.Message) {
		return
	}
	q, err := events.DecodeRequest(rec.Message)
	switch {
	case f.match.request(&q, rec.Key):
		if f.scope.wants(rec.Time) {
			f.add(requestEntry(rec, &q, err))
		}
	case q.ReplacementOutTradeNo == f.match.number:
		f.mu.Lock()
		f.replaces[q.OutTradeNo] = true
		f.mu.Unlock()
	}
}

func (f *finder) outcome(rec kafka.Record) {
	if f.match.otherSubject(&rec.Message) || !f.match.may(&rec.Message) && f.hasOrder(&rec.Message) {
		return
	}
	o, err := events.DecodeOutcome(rec.Message)
	switch {
	case err != nil:
		f.unreadable(rec, err)
	case f.match.outcome(&o):
		f.add(outcomeEntry(rec, &o))
	case o.OutTradeNo == "":
		f.keep(outcomeEntry(rec, &o))
	}
}

// hasOrder reports whether an outcome names an order: one that does not is known by
// its request alone.
func (f *finder) hasOrder(m *events.Message) bool {
	return bytes.Contains(m.Value, []byte(`"out_trade_no"`))
}

func (f *finder) retry(rec kafka.Record) {
	if !f.match.may(&rec.Message) {
		return
	}
	r, err := records.DecodeRetry(rec.Message)
	if err != nil {
		f.unreadable(rec, err)
		return
	}
	if q, _ := events.DecodeRequest(r.Original); f.match.request(&q, r.Original.Key) {
		e := retryEntry(rec, &r, &q)
		e.Finished = f.progress != nil && f.progress.Finished(rec.Topic, rec.Partition, rec.Offset)
		f.add(e)
	}
}

func (f *finder) deadLetter(rec kafka.Record) {
	// Of a request that was too large its place alone may be left.
	if !f.match.may(&rec.Message) && rec.Value != nil {
		return
	}
	d, err := records.DecodeDeadLetter(rec.Message)
	if err != nil {
		f.unreadable(rec, err)
		return
	}
	switch q, _ := events.DecodeRequest(d.Original); {
	case f.match.request(&q, d.Original.Key):
		f.add(deadLetterEntry(rec, &d, &q))
	case q.OutTradeNo == "":
		f.keep(deadLetterEntry(rec, &d, &q))
	}
}

// unreadable takes note of a record that is not what its topic holds, where its key
// says that it is of the order.
func (f *finder) unreadable(rec kafka.Record, err error) {
	if string(rec.Key) == f.match.number {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.note("%s[%d]@%d has this key and cannot be read: %v", rec.Topic, rec.Partition, rec.Offset, err)
	}
}

// mostSources is how many requests are read one by one.
const mostSources = 100

// readSources reads the requests that were found by what follows from them alone: they
// say in a way of their own which order they are about.
func (f *finder) readSources(ctx context.Context) error {
	requests, sources := f.scope.Topics.Requests, f.missing()
	if len(sources) > mostSources {
		f.note("%d requests were found by what follows from them; the first %d were read", len(sources), mostSources)
		sources = sources[:mostSources]
	}
	r := *f.scope.Reader
	r.OnGap = func(kafka.Gap) {} // it is no longer there
	r.OnUnreadable = func(e *kafka.UnreadableError) {
		if !f.damaged[kafka.Place{Topic: e.Topic, Partition: e.Partition}] { // else it is said already
			f.lost(e.Topic, e.Partition, "%v; what stands there is not here", e)
		}
	}
	for _, at := range sources {
		if first, ok := f.first[requests][at.Partition]; !ok || at.Offset < first || at.Offset >= f.to[requests][at.Partition] {
			continue // it is no longer there, or of another log
		}
		err := r.Read(ctx, requests, kafka.Offsets{at.Partition: at.Offset}, kafka.Offsets{at.Partition: at.Offset + 1}, func(rec kafka.Record) error {
			q, err := events.DecodeRequest(rec.Message)
			if q.OutTradeNo == "" || q.OutTradeNo == f.match.number { // else the log was made anew
				f.add(requestEntry(rec, &q, err))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the request: %w", err)
		}
	}
	f.adopt()
	return nil
}
