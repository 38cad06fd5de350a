package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus"
)

// What Run waits for.
const (
	// idle lies between two rounds.
	idle = 500 * time.Millisecond
	// patience is how long Kafka may bring nothing before that is told as trouble.
	patience = 10 * time.Second
	// ask bounds one question to the cluster.
	ask = 15 * time.Second
	// firstPause and longestPause lie between tries.
	firstPause, longestPause = 250 * time.Millisecond, 5 * time.Second
	// staleCounts is from which age the numbers of partitions are asked for anew.
	staleCounts = 5 * time.Second
	// newMetadata is how long to wait for metadata that are younger than this moment:
	// a client keeps them for a second.
	newMetadata = 1100 * time.Millisecond
	// sweepEvery is how often what is too old is looked for.
	sweepEvery = time.Minute
)

// sureAfter is for how long a topic must end before what is indexed of it, until it is
// taken for another one of the same name: a new leader may not know for a moment how
// far it can be read.
var sureAfter = 5 * time.Second

// much is from how many records on they are read without lookups, which are made
// when all is there.
var much = int64(50_000)

// follower reads the topics in rounds. It belongs to the goroutine of Run.
type follower struct {
	*Index
	// next is where reading goes on, by the number of the topic; floor is from where on
	// records are kept.
	next, floor []kafka.Offsets
	counts      map[string]int // partitions of the topics that there are
	counted     time.Time
	swept       time.Time
	// lookups: the indexes that queries go by stand.
	lookups bool
	// doubt: an outcome has named a request that this client knows nothing of.
	doubt bool
	// saved are the partitions whose positions stand in the database.
	saved map[kafka.Place]bool
	// stuck are partitions of which nobody knows where what can be read goes on.
	stuck map[kafka.Place]bool
	// short is since when a topic ends before what is indexed of it, zero for not.
	short time.Time
	// compared: the requests topic is the log that was indexed, as far as can be seen.
	compared bool
	names    names
	told     kafka.Told
	began    time.Time

	gapsMu sync.Mutex
	gaps   []gap // that are not in the database yet
}

func newFollower(x *Index) *follower { return &follower{Index: x} }

// load reads where the index stands.
func (f *follower) load(ctx context.Context) error {
	f.next, f.floor, f.counts, f.saved, f.stuck = nil, nil, nil, make(map[kafka.Place]bool), make(map[kafka.Place]bool)
	f.swept, f.short, f.began, f.doubt, f.names = time.Time{}, time.Time{}, time.Time{}, false, names{}
	f.compared = false
	f.noted()
	for range f.topics {
		f.next, f.floor = append(f.next, make(kafka.Offsets)), append(f.floor, make(kafka.Offsets))
	}
	made, err := meta(ctx, f.cfg.DB.Read, "lookups")
	if err != nil {
		return err
	}
	f.lookups = made != ""
	return each(ctx, f.cfg.DB.Read, func(rows *sql.Rows) error {
		var topic, partition int
		var floor, next int64
		if err := rows.Scan(&topic, &partition, &floor, &next); err != nil {
			return err
		}
		if topic >= 0 && topic < len(f.next) {
			f.next[topic][partition], f.floor[topic][partition] = next, floor
			f.saved[kafka.Place{Topic: f.topics[topic], Partition: partition}] = true
		}
		return nil
	}, `SELECT topic, partition, floor, next FROM index_positions`)
}

// Run reads what the topics hold, goes on where it stopped, and follows them in
// rounds until ctx ends: then it returns nil. Trouble with Kafka is told by Progress
// and in the log, and tried again; the error is of the database.
func (x *Index) Run(ctx context.Context) error {
	pause := kafka.NewPause(firstPause, longestPause)
	for ctx.Err() == nil {
		more, err := x.follow.turn(ctx)
		_, broken := errors.AsType[dbError](err)
		switch {
		case ctx.Err() != nil: // what fails then fails because of that
		case broken:
			return err
		case errors.Is(err, errAgain), errors.Is(err, errDoubt), errors.Is(err, errStuck):
		case err != nil:
			x.trouble(err)
			x.follow.compared = false
			pause.Wait(ctx) //nolint:errcheck // the next turn ends with ctx
		default:
			pause.Reset()
			x.trouble(nil)
			if !more {
				kafka.Sleep(ctx, idle) //nolint:errcheck // the next turn ends with ctx
			}
		}
	}
	return nil
}

// trouble tells why it does not get on, nil for that it does.
func (x *Index) trouble(err error) {
	text := ""
	if err != nil {
		text = err.Error()
		if x.follow.told.Due("index", err) {
			x.cfg.Log.WithError(err).Warn("index: the topics cannot be read; it is tried again")
		}
	}
	x.tell(func(p *Progress) bool {
		was := p.Trouble
		p.Trouble = text
		return (was == "") != (text == "")
	})
}

// turn is one round with what goes before and after it. more: there is more to be
// read already. The error is errAgain where it was left because the index is begun
// anew, at whatever it was.
func (f *follower) turn(ctx context.Context) (more bool, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f.mu.Lock()
	f.stop = stop
	again := f.again
	f.again = false
	f.mu.Unlock()
	more, err = f.take(ctx, again)
	if err != nil && errors.Is(context.Cause(ctx), errAgain) {
		err = errAgain
	}
	return more, err
}

// take takes a turn, for an index that is begun anew first where again says so.
func (f *follower) take(ctx context.Context, again bool) (more bool, err error) {
	if again {
		if err := f.anew(ctx, "as somebody wished"); err != nil {
			return false, err
		}
	}
	if f.began.IsZero() {
		f.began = time.Now()
	}
	r, err := f.look(ctx)
	if err != nil {
		return false, err
	}
	if !f.compared {
		if err := f.compare(ctx); err != nil {
			return false, err
		}
		f.compared = true
	}
	w := newWriter(ctx, f, r)
	defer w.drop()
	if err := f.read(ctx, r, w); err != nil {
		f.doubt = errors.Is(err, errDoubt)
		return false, err
	}
	f.doubt = false
	if err := w.commit(); err != nil {
		return false, err
	}
	if !f.lookups {
		if err := f.makeLookups(ctx); err != nil {
			return false, err
		}
	}
	f.atEnds(ctx, w.entered)
	if time.Since(f.swept) >= sweepEvery {
		if err := f.sweep(ctx); err != nil {
			return false, err
		}
		f.swept = time.Now()
	}
	return w.entered > 1000, nil
}

// anew drops all and begins anew.
func (f *follower) anew(ctx context.Context, why string) error {
	f.cfg.Log.WithField("why", why).Info("index: it is begun anew")
	if err := f.cfg.DB.Drop(ctx, part); err != nil {
		return dbError{err}
	}
	if err := f.Index.load(ctx); err != nil {
		return f.broken(err)
	}
	f.tell(func(*Progress) bool { return true })
	return nil
}

// atEnds tells that all is read that was there when the round began.
func (f *follower) atEnds(ctx context.Context, entered int64) {
	first := false
	f.tell(func(p *Progress) bool {
		first = !p.CaughtUp
		p.CaughtUp, p.At = true, time.Now().UTC()
		return first || entered > 0
	})
	if !first {
		return
	}
	if p, err := f.Progress(ctx); err == nil {
		f.cfg.Log.WithFields(logrus.Fields{
			"requests": p.Requests, "dead_letters": p.DeadLetters, "bytes": p.Bytes, "read": p.Read, "took": time.Since(f.began).Round(time.Millisecond),
		}).Info("index: it has caught up, and follows")
	}
}

// makeLookups ends the first reading.
func (f *follower) makeLookups(ctx context.Context) error {
	if err := f.cfg.DB.Transact(ctx, func(tx *sql.Tx) error {
		for _, statement := range slices.Concat(lookups, answerLetters) {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return setMeta(ctx, tx, "lookups", "made")
	}); err != nil {
		return f.broken(err)
	}
	f.lookups = true
	return f.broken(f.cfg.DB.Checkpoint(ctx))
}

// round is what one round reads: of each topic from there to here.
type round struct {
	from, to []kafka.Offsets
	// requests are the ends of the requests topic, asked for after those of the
	// others; sure: by metadata that are younger than those as well.
	requests kafka.Offsets
	sure     bool
	total    int64
}

// look asks where the topics end: requests last, so that the request of every outcome
// that is read is read before it.
func (f *follower) look(ctx context.Context) (*round, error) {
	if f.counts == nil || time.Since(f.counted) > staleCounts {
		if err := f.count(ctx); err != nil {
			return nil, err
		}
	}
	if err := f.floors(ctx, time.Since(f.swept) >= sweepEvery); err != nil {
		return nil, err
	}
	r := &round{sure: f.doubt, from: make([]kafka.Offsets, len(f.topics)), to: make([]kafka.Offsets, len(f.topics))}
	if err := f.ends(ctx, r, outcomesTopic, len(f.topics)); err != nil {
		return nil, err
	}
	if r.sure {
		if err := kafka.Sleep(ctx, newMetadata); err != nil {
			return nil, err
		}
		if err := f.count(ctx); err != nil {
			return nil, err
		}
		if err := f.floors(ctx, false); err != nil {
			return nil, err
		}
	}
	if err := f.ends(ctx, r, requestsTopic, outcomesTopic); err != nil {
		return nil, err
	}
	r.requests = r.to[requestsTopic]
	for i := range f.topics {
		r.total += r.from[i].Until(r.to[i])
	}
	f.tell(func(p *Progress) bool {
		if !p.CaughtUp {
			p.Total = p.Read + r.total
		}
		return false
	})
	if f.lookups || r.total > much {
		return r, nil
	}
	// So few that it does not matter, and all is found at once.
	return r, f.makeLookups(ctx)
}

// count asks how many partitions the topics have that there are. Requests and
// outcomes must be there.
func (f *follower) count(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	client := f.cfg.Reader.Client
	counts, err := client.Partitions(ctx, f.topics...)
	if missing, is := errors.AsType[*kafka.MissingTopicsError](err); is {
		if slices.Contains(missing.Topics, f.topics[requestsTopic]) || slices.Contains(missing.Topics, f.topics[outcomesTopic]) {
			return err
		}
		if f.told.Due("missing", err) {
			f.cfg.Log.WithError(err).Warn("index: it goes on without")
		}
		there := slices.DeleteFunc(slices.Clone(f.topics), func(topic string) bool { return slices.Contains(missing.Topics, topic) })
		counts, err = client.Partitions(ctx, there...)
	}
	if err != nil {
		return err
	}
	f.counts, f.counted = counts, time.Now()
	return nil
}

// offsets asks for one offset of every partition of some topics.
func (f *follower) offsets(ctx context.Context, from, to int, when int64) (map[string]map[int]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	partitions := make(map[string][]int)
	for _, topic := range f.topics[from:to] {
		for p := range f.counts[topic] {
			partitions[topic] = append(partitions[topic], p)
		}
	}
	return f.cfg.Reader.Client.Offsets(ctx, partitions, when)
}

// ends fills in what there is to read of some topics.
func (f *follower) ends(ctx context.Context, r *round, from, to int) error {
	ends, err := f.offsets(ctx, from, to, f.cfg.Reader.Client.End())
	if err != nil {
		return err
	}
	for i := from; i < to; i++ {
		r.from[i], r.to[i] = make(kafka.Offsets), ends[f.topics[i]]
		for p, end := range r.to[i] {
			next, known := f.next[i][p]
			if !known {
				next = f.floor[i][p]
			}
			if next > end {
				return f.shorter(ctx, f.topics[i], p, end, next)
			}
			if !f.stuck[kafka.Place{Topic: f.topics[i], Partition: p}] {
				r.from[i][p] = next
			}
		}
	}
	if from == requestsTopic { // the last question of a round
		f.short = time.Time{}
	}
	return nil
}

// shorter begins the index anew when a topic goes on ending before what is indexed.
func (f *follower) shorter(ctx context.Context, topic string, partition int, end, next int64) error {
	err := fmt.Errorf("topic %s, partition %d ends at offset %d, and is indexed to offset %d: it was made anew, or records were lost", topic, partition, end, next)
	switch {
	case f.short.IsZero():
		f.short = time.Now()
	case time.Since(f.short) > sureAfter:
		if err := f.anew(ctx, err.Error()); err != nil {
			return err
		}
		return errAgain
	}
	return err
}

// compare begins the index anew where the last request that is indexed of a partition is
// not the record that stands there: the topic was made anew while nobody looked, and has
// grown beyond what was indexed of the other one. A record is known by its timestamp.
func (f *follower) compare(ctx context.Context) error {
	topic := f.topics[requestsTopic]
	want, from, to := make(map[int]int64), make(kafka.Offsets), make(kafka.Offsets)
	for p, next := range f.next[requestsTopic] {
		low, ok1 := place(p, f.floor[requestsTopic][p])
		high, ok2 := place(p, next)
		if !ok1 || !ok2 || p >= f.counts[topic] {
			continue
		}
		if err := each(ctx, f.cfg.DB.Read, func(rows *sql.Rows) error {
			var at, requested int64
			err := rows.Scan(&at, &requested)
			want[p], from[p], to[p] = requested, offsetOf(at), offsetOf(at)+1
			return err
		}, `SELECT at, requested FROM index_requests WHERE at >= ? AND at < ? AND requested IS NOT NULL ORDER BY at DESC LIMIT 1`, low, high); err != nil {
			return f.broken(err)
		}
	}
	if len(from) == 0 {
		return nil
	}
	r := *f.cfg.Reader
	// What was deleted, or cannot be read, says nothing of the others.
	r.Patience, r.OnGap, r.OnUnreadable = patience, func(kafka.Gap) {}, func(*kafka.UnreadableError) {}
	other := -1
	if err := r.Read(ctx, topic, from, to, func(rec kafka.Record) error {
		if rec.Offset == from[rec.Partition] && rec.Time.UnixMilli() != want[rec.Partition] {
			other = rec.Partition
		}
		return nil
	}); err != nil {
		return err
	}
	if other < 0 {
		return nil
	}
	if err := f.anew(ctx, fmt.Sprintf("topic %s, partition %d has another record at offset %d than was indexed: it was made anew", topic, other, from[other])); err != nil {
		return err
	}
	return errAgain
}

// floors finds out from where on records are kept, of partitions that are new, or of
// all.
func (f *follower) floors(ctx context.Context, all bool) error {
	for i, topic := range f.topics {
		for p := range f.counts[topic] {
			if _, known := f.floor[i][p]; !known {
				all = true
			}
		}
	}
	if !all {
		return nil
	}
	starts, err := f.offsets(ctx, 0, len(f.topics), kafka.LogStart)
	if err != nil {
		return err
	}
	var since, ends map[string]map[int]int64
	if f.cfg.Keep > 0 {
		if since, err = f.offsets(ctx, 0, len(f.topics), max(0, time.Now().Add(-f.cfg.Keep).UnixMilli())); err != nil {
			return err
		}
		if ends, err = f.offsets(ctx, 0, len(f.topics), f.cfg.Reader.Client.End()); err != nil {
			return err
		}
	}
	for i, topic := range f.topics {
		for p, floor := range starts[topic] {
			next, known := f.next[i][p]
			if known && next < floor {
				f.gap(kafka.Gap{Topic: topic, Partition: p, From: next, To: floor})
			}
			if since != nil {
				young := since[topic][p]
				if young < 0 {
					young = ends[topic][p] // none is as young
				}
				floor = max(floor, young)
			}
			f.floor[i][p] = max(f.floor[i][p], floor)
			f.next[i][p] = max(next, f.floor[i][p])
		}
	}
	return nil
}

// read reads a round: the requests, and then what follows from them.
func (f *follower) read(ctx context.Context, r *round, w *writer) error {
	for i := range f.topics {
		if r.from[i].Until(r.to[i]) == 0 {
			continue
		}
		if err := f.readTopic(ctx, i, r.from[i], r.to[i], w); err != nil {
			return err
		}
		for p, from := range r.from[i] {
			if to := r.to[i][p]; to > from {
				w.at(i, p, to) // behind it there may be a marker of a transaction
			}
		}
	}
	for i := range f.topics {
		for p, from := range r.from[i] {
			if !f.saved[kafka.Place{Topic: f.topics[i], Partition: p}] && r.to[i][p] == from {
				w.at(i, p, from) // that it is empty is known as well
			}
		}
	}
	return nil
}

// gap takes note of offsets that were deleted before they were read.
func (f *follower) gap(g kafka.Gap) {
	f.note(gap{topic: slices.Index(f.topics, g.Topic), partition: g.Partition, first: g.From, last: g.To - 1,
		says: fmt.Sprintf("%s[%d]: offsets %d to %d were deleted before they were read", g.Topic, g.Partition, g.From, g.To-1)})
}

// unreadable takes note of what cannot be read.
func (f *follower) unreadable(e *kafka.UnreadableError) {
	f.note(gap{slices.Index(f.topics, e.Topic), e.Partition, e.First, e.Last, true, e.Error()})
}

// gap is offsets that are not in the index.
type gap struct {
	topic, partition int
	first, last      int64
	unreadable       bool
	says             string
}

// note takes note of a gap, for the next commit. Calls may be concurrent.
func (f *follower) note(g gap) {
	f.gapsMu.Lock()
	defer f.gapsMu.Unlock()
	f.gaps = append(f.gaps, g)
}

// noted returns the gaps that were taken note of since the last call.
func (f *follower) noted() []gap {
	f.gapsMu.Lock()
	defer f.gapsMu.Unlock()
	gaps := f.gaps
	f.gaps = nil
	return gaps
}
