package index

import (
	"context"
	"database/sql"
)

// sweepRows is how many rows go in one transaction.
const sweepRows = 2000

// mostGaps is how many stretches are kept that were deleted before they were read: one
// for each partition comes with each long absence.
const mostGaps = 1000

// sweep takes away what is below the floors: of requests those whose outcome is too.
func (f *follower) sweep(ctx context.Context) error {
	if err := f.floors(ctx, true); err != nil {
		return err
	}
	w := newWriter(ctx, f, nil)
	defer w.drop()
	for i := range f.topics {
		for p := range f.floor[i] {
			w.at(i, p, f.next[i][p])
		}
	}
	if err := w.commit(); err != nil { // the floors, by which it is decided
		return err
	}
	for i := range f.topics {
		for p, floor := range f.floor[i] {
			if floor == 0 {
				continue
			}
			below, ok := place(p, floor)
			if !ok {
				continue
			}
			if err := w.sweepPartition(ctx, i, int64(p)<<offsetBits, below); err != nil {
				return err
			}
		}
	}
	if _, err := w.exec(`DELETE FROM index_gaps WHERE NOT unreadable AND (SELECT count(*) FROM index_gaps) > ?`, mostGaps); err != nil {
		return w.broken(err)
	}
	return w.commit()
}

// sweepPartition takes away what is below a place of one partition.
func (w *writer) sweepPartition(ctx context.Context, topic int, from, below int64) error {
	topics := []int{topic}
	if topic == requestsTopic {
		topics = append(topics, replaced)
	}
	for _, t := range topics {
		err := w.sweepRows(ctx, func() (int64, error) {
			return w.exec(`DELETE FROM index_follows WHERE (topic, at, number) IN
				(SELECT topic, at, number FROM index_follows WHERE topic = ? AND at >= ? AND at < ? LIMIT ?)`, t, from, below, sweepRows)
		})
		if err != nil {
			return err
		}
	}
	if _, err := w.exec(`DELETE FROM index_gaps WHERE unreadable AND topic = ? AND partition = ? AND last >= 0 AND last < ?`, topic, partitionOf(from), offsetOf(below)); err != nil {
		return w.broken(err)
	}
	switch topic {
	case lettersTopic:
		return w.sweepRows(ctx, func() (int64, error) {
			n, err := w.exec(`DELETE FROM index_letters WHERE at IN (SELECT at FROM index_letters WHERE at >= ? AND at < ? LIMIT ?)`, from, below, sweepRows)
			w.letters -= n
			return n, err
		})
	case requestsTopic:
		at := from
		return w.sweepRows(ctx, func() (n int64, err error) {
			n, at, err = w.sweepRequests(at, below)
			return n, err
		})
	}
	return nil
}

// sweepRows repeats a step until it finds less than it may.
func (w *writer) sweepRows(ctx context.Context, step func() (int64, error)) error {
	for {
		n, err := step()
		if err != nil {
			return w.broken(err)
		}
		if n < sweepRows {
			return nil
		}
		if err := w.commit(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// sweepRequests takes away some requests from a place on, with what was counted of
// them, and returns how many it has looked at and where to go on.
func (w *writer) sweepRequests(from, below int64) (n, next int64, err error) {
	s, err := w.prepared(`SELECT at, requested, outcome, completed, answered IS NULL OR coalesce(answered & ` + offsetMask + ` <
		(SELECT floor FROM index_positions WHERE topic = 1 AND partition = answered >> 44), 0)
		FROM index_requests WHERE at >= ? AND at < ? ORDER BY at LIMIT ?`)
	if err != nil {
		return 0, from, err
	}
	rows, err := s.QueryContext(w.ctx, from, below, sweepRows)
	if err != nil {
		return 0, from, err
	}
	defer rows.Close()
	var old []int64
	next = from
	for rows.Next() {
		var at int64
		var requested, outcome, completed sql.NullInt64
		var answerToo bool
		if err := rows.Scan(&at, &requested, &outcome, &completed, &answerToo); err != nil {
			return n, next, err
		}
		n, next = n+1, at+1
		if !answerToo {
			continue
		}
		old = append(old, at)
		if outcome.Valid {
			w.minutes[answersOf(outcome.Int64, completed.Int64, requested)]--
		}
	}
	if err := rows.Err(); err != nil {
		return n, next, err
	}
	rows.Close()
	for _, at := range old {
		if _, err := w.exec(`DELETE FROM index_requests WHERE at = ?`, at); err != nil {
			return n, next, err
		}
	}
	w.requests -= int64(len(old))
	return n, next, nil
}

// offsetMask is mostOffset as SQL has it.
const offsetMask = `17592186044415`
