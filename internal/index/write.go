package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

var (
	// errDoubt: an outcome names a request behind the ends that are known. The round is
	// done again, by numbers of partitions that are younger than the outcome.
	errDoubt = errors.New("an outcome names a request that is not known yet")
	// errStuck: nobody knows where a partition can be read again. The round is done again
	// without it.
	errStuck = errors.New("a partition cannot be read")
)

// What is handed from reading to decoding to writing at one time.
const (
	batchRecords = 256
	batchBytes   = 1 << 20
)

// entry is what a record says, ready to be written.
type entry func(w *writer) error

// batch is some records in their order, and then what they say.
type batch struct {
	records []kafka.Record
	bytes   int
	entries []entry
	done    chan struct{}
}

// readTopic reads stretches of one topic. Records are decoded on all processors, and
// written in the order in which they were read.
func (f *follower) readTopic(ctx context.Context, topic int, from, to kafka.Offsets, w *writer) error {
	r := *f.cfg.Reader
	r.Patience, r.OnGap, r.OnUnreadable = patience, f.gap, f.unreadable
	group, ctx := errgroup.WithContext(ctx)
	queue := make(chan *batch, runtime.GOMAXPROCS(0))
	group.Go(func() error {
		defer close(queue)
		decoders := new(errgroup.Group)
		decoders.SetLimit(runtime.GOMAXPROCS(0))
		defer decoders.Wait() //nolint:errcheck // there is none
		b := new(batch)
		hand := func() error {
			if len(b.records) == 0 {
				return nil
			}
			full := b
			full.done = make(chan struct{})
			b = &batch{records: make([]kafka.Record, 0, batchRecords)}
			decoders.Go(func() error {
				full.decode(f.Index, topic)
				return nil
			})
			select {
			case queue <- full:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		err := r.Read(ctx, f.topics[topic], from, to, func(rec kafka.Record) error {
			b.records = append(b.records, rec)
			b.bytes += len(rec.Value)
			if len(b.records) < batchRecords && b.bytes < batchBytes {
				return nil
			}
			return hand()
		})
		if err != nil {
			return err
		}
		return hand()
	})
	group.Go(func() error {
		for b := range queue {
			<-b.done
			for i, enter := range b.entries {
				if err := w.enter(topic, b.records[i].Partition, b.records[i].Offset, enter); err != nil {
					return err
				}
			}
			f.tell(func(p *Progress) bool {
				if !p.CaughtUp {
					p.Read += int64(len(b.entries))
				}
				return false
			})
		}
		return nil
	})
	err := group.Wait()
	if unreadable, is := errors.AsType[*kafka.UnreadableError](err); is {
		f.unreadable(unreadable)
		f.stuck[kafka.Place{Topic: unreadable.Topic, Partition: unreadable.Partition}] = true
		return errStuck
	}
	return err
}

func (b *batch) decode(x *Index, topic int) {
	b.entries = make([]entry, len(b.records))
	for i := range b.records {
		rec := &b.records[i]
		b.entries[i] = x.entry(topic, rec)
		rec.Message = events.Message{} // what is needed of it was copied
	}
	close(b.done)
}

// most is how many records go into one transaction. In memory readers wait for its end.
const (
	most         = 20_000
	mostInMemory = 1000
)

// writer writes what a round reads, in one transaction, or in several where it is much.
type writer struct {
	*follower
	ctx   context.Context // without an end: what is being written is finished
	round *round
	most  int64

	tx         *sql.Tx
	statements map[string]*sql.Stmt
	// Of the transaction that is open:
	moved             []kafka.Offsets
	minutes           map[answers]int64
	requests, letters int64
	inside            int64
	// entered counts the records of the round.
	entered int64
}

// answers are the requests that were answered in one minute with one result, and took
// about equally long.
type answers struct {
	minute, outcome, bucket int64
}

func newWriter(ctx context.Context, f *follower, r *round) *writer {
	w := &writer{follower: f, ctx: context.WithoutCancel(ctx), round: r, most: most}
	if f.cfg.DB.InMemory() {
		w.most = mostInMemory
	}
	w.clean()
	return w
}

func (w *writer) clean() {
	w.tx, w.statements, w.minutes, w.moved = nil, make(map[string]*sql.Stmt), make(map[answers]int64), make([]kafka.Offsets, len(w.topics))
	w.requests, w.letters, w.inside = 0, 0, 0
}

// drop gives up what is not committed.
func (w *writer) drop() {
	if w.tx != nil {
		w.tx.Rollback() //nolint:errcheck // nothing of it is used
		w.clean()
		w.names = names{} // some of which were written in it
	}
}

// at says that a partition is entered before an offset.
func (w *writer) at(topic, partition int, next int64) {
	if w.moved[topic] == nil {
		w.moved[topic] = make(kafka.Offsets)
	}
	w.moved[topic][partition] = next
}

// enter writes what one record says.
func (w *writer) enter(topic, partition int, offset int64, e entry) error {
	if err := e(w); err != nil {
		if errors.Is(err, errDoubt) {
			return err
		}
		return w.broken(err)
	}
	w.at(topic, partition, offset+1)
	w.entered++
	if w.inside++; w.inside >= w.most {
		return w.commit()
	}
	return nil
}

// prepared is a statement of the transaction.
func (w *writer) prepared(query string) (*sql.Stmt, error) {
	if s := w.statements[query]; s != nil {
		return s, nil
	}
	if w.tx == nil {
		tx, err := w.cfg.DB.Write.BeginTx(w.ctx, nil)
		if err != nil {
			return nil, err
		}
		w.tx = tx
	}
	s, err := w.tx.PrepareContext(w.ctx, query)
	if err != nil {
		return nil, err
	}
	w.statements[query] = s
	return s, nil
}

// exec returns how many rows a statement has changed.
func (w *writer) exec(query string, args ...any) (int64, error) {
	s, err := w.prepared(query)
	if err != nil {
		return 0, err
	}
	done, err := s.ExecContext(w.ctx, args...)
	if err != nil {
		return 0, err
	}
	return done.RowsAffected()
}

// row reads at most one row; false where there is none.
func (w *writer) row(query string, args []any, to ...any) (bool, error) {
	s, err := w.prepared(query)
	if err != nil {
		return false, err
	}
	err = s.QueryRowContext(w.ctx, args...).Scan(to...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// commit writes what was entered with the offsets up to which it was.
func (w *writer) commit() error {
	gaps := w.noted()
	if err := w.finish(gaps); err != nil {
		for _, g := range gaps {
			w.note(g)
		}
		return w.broken(err)
	}
	for i, moved := range w.moved {
		for p, next := range moved {
			w.next[i][p] = next
			w.saved[kafka.Place{Topic: w.topics[i], Partition: p}] = true
		}
	}
	requests, letters := w.requests, w.letters
	w.clean()
	w.tell(func(p *Progress) bool {
		p.Requests += requests
		p.DeadLetters += letters
		return false
	})
	return nil
}

func (w *writer) finish(gaps []gap) error {
	for i, moved := range w.moved {
		for p, next := range moved {
			if _, err := w.exec(`INSERT OR REPLACE INTO index_positions (topic, partition, floor, next) VALUES (?, ?, ?, ?)`, i, p, w.floor[i][p], next); err != nil {
				return err
			}
		}
	}
	if err := w.count(w.minutes); err != nil {
		return err
	}
	var news []string
	for _, g := range gaps {
		n, err := w.exec(`INSERT OR IGNORE INTO index_gaps (topic, partition, first, last, unreadable, says) VALUES (?, ?, ?, ?, ?, ?)`,
			g.topic, g.partition, g.first, g.last, g.unreadable, g.says)
		if err != nil {
			return err
		}
		if n > 0 {
			news = append(news, g.says)
		}
	}
	if w.tx == nil {
		return nil
	}
	if err := w.tx.Commit(); err != nil {
		return err
	}
	w.tx = nil
	for _, says := range news {
		w.cfg.Log.Warn("index: " + says)
	}
	w.tell(func(p *Progress) bool {
		p.Gaps = append(p.Gaps, news...)
		return len(news) > 0
	})
	return nil
}

// count adds to the counts of minutes, or takes away.
func (w *writer) count(minutes map[answers]int64) error {
	for a, n := range minutes {
		if n == 0 {
			continue
		}
		if _, err := w.exec(`INSERT INTO index_minutes (minute, outcome, bucket, n) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET n = n + excluded.n`, a.minute, a.outcome, a.bucket, n); err != nil {
			return err
		}
		if n < 0 {
			if _, err := w.exec(`DELETE FROM index_minutes WHERE minute = ? AND outcome = ? AND bucket = ? AND n <= 0`, a.minute, a.outcome, a.bucket); err != nil {
				return err
			}
		}
	}
	return nil
}

// names are the numbers of merchants and codes, as far as they are known.
type names struct {
	merchants map[events.Order]int64 // without a number
	codes     map[string]int64
}

// mostNames is how many of each are kept in memory: anything may stand in a record.
const mostNames = 50_000

func (w *writer) merchant(o events.Order) (int64, error) {
	o.OutTradeNo = ""
	if n, known := w.names.merchants[o]; known {
		return n, nil
	}
	n, err := w.number(`SELECT id FROM index_merchants WHERE mch_id = ? AND sub_mch_id = ?`, `INSERT INTO index_merchants (mch_id, sub_mch_id) VALUES (?, ?) RETURNING id`, o.MchID, o.SubMchID)
	if len(w.names.merchants) >= mostNames || w.names.merchants == nil {
		w.names.merchants = make(map[events.Order]int64)
	}
	w.names.merchants[o] = n
	return n, err
}

// code is the number of a code, nil for none.
func (w *writer) code(code string) (any, error) {
	if code == "" {
		return nil, nil
	}
	if n, known := w.names.codes[code]; known {
		return n, nil
	}
	n, err := w.number(`SELECT id FROM index_codes WHERE code = ?`, `INSERT INTO index_codes (code) VALUES (?) RETURNING id`, code)
	if len(w.names.codes) >= mostNames || w.names.codes == nil {
		w.names.codes = make(map[string]int64)
	}
	w.names.codes[code] = n
	return n, err
}

func (w *writer) number(find, add string, args ...any) (n int64, err error) {
	if found, err := w.row(find, args, &n); found || err != nil {
		return n, err
	}
	added, err := w.row(add, args, &n)
	if err == nil && !added {
		err = fmt.Errorf("%q was not added", args)
	}
	return n, err
}

// bucketBase is by how much one bucket of latencies is wider than the one before: the
// middle of a bucket is within a tenth of all in it.
const bucketBase = 1.2

var bucketLog = math.Log(bucketBase)

// bucketOf is the bucket of a latency in milliseconds; those below 1 ms are in that of
// 1 ms.
func bucketOf(ms int64) int64 {
	if ms <= 1 {
		return 0
	}
	return int64(math.Log(float64(ms)) / bucketLog)
}

// middle is a latency in milliseconds for all of a bucket.
func middle(bucket int64) int64 {
	return int64(math.Round(math.Pow(bucketBase, float64(bucket)+0.5)))
}
