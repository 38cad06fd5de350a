package main

import (
	"context"
	"database/sql"
	"time"
)

// remember puts a line on a person's list, in the caller's transaction. The same
// thing twice is one line, with what was said last. What a person has done stays
// done where a notice comes again; a close is told of once for each outcome, and
// so is news.
func (s *shop) remember(ctx context.Context, tx *sql.Tx, kind, subject, what string) error {
	s.log.Printf("to do: %s %s: %s", kind, subject, what)
	_, err := tx.ExecContext(ctx, `INSERT INTO todo (kind, subject, what, since) VALUES ($1, $2, $3, $4)
		ON CONFLICT (kind, subject) DO UPDATE SET what = excluded.what,
			done_at = CASE WHEN todo.kind <> 'close' AND todo.what = excluded.what THEN todo.done_at END`, kind, subject, what, now())
	return err
}

// solved takes a failed close off the list: the number is closed or paid now.
func solved(ctx context.Context, tx *sql.Tx, outTradeNo string) error {
	_, err := tx.ExecContext(ctx, `UPDATE todo SET done_at = $1 WHERE kind = 'close' AND subject = $2 AND done_at IS NULL`, now(), outTradeNo)
	return err
}

// task is a line of the list.
type task struct {
	Kind    string    `json:"kind"`
	Subject string    `json:"subject"`
	What    string    `json:"what"`
	Since   time.Time `json:"since"`
}

// todo is what a person still has to do, the oldest first.
func (s *shop) todo(ctx context.Context) ([]task, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT kind, subject, what, since FROM todo WHERE done_at IS NULL ORDER BY since, kind, subject`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []task{} // and not null, in JSON
	for rows.Next() {
		var t task
		var since int64
		if err := rows.Scan(&t.Kind, &t.Subject, &t.What, &since); err != nil {
			return nil, err
		}
		t.Since = time.UnixMilli(since).UTC()
		list = append(list, t)
	}
	return list, rows.Err()
}
