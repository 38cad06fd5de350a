package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite", which needs no C compiler
)

//go:embed schema.sql
var schema string

// database is PostgreSQL or SQLite: the statements here are the same for both.
type database struct{ *sql.DB }

// openDatabase opens postgres://... or a file of SQLite, and makes the tables
// that are not there.
func openDatabase(ctx context.Context, where string) (*database, error) {
	driver := "pgx"
	if strings.Contains(where, "=") && !strings.Contains(where, "://") {
		return nil, errors.New("database (-db): want a file, or PostgreSQL as postgres://USER@HOST/NAME") // and no file with a password in its name
	}
	if !strings.HasPrefix(where, "postgres://") && !strings.HasPrefix(where, "postgresql://") {
		driver = "sqlite"
		where = "file:" + (&url.URL{Path: where}).EscapedPath() + "?" + url.Values{
			"_pragma": {
				"busy_timeout(10000)", // two processes may have one file open
				"journal_mode(WAL)",   // who reads does not wait for who writes
				"synchronous(FULL)",   // what we told the gateway is taken has survived a power cut
				"foreign_keys(ON)",
			},
			// A transaction that reads first and writes then would be refused when
			// another one wrote in between. So each one takes its turn at BEGIN.
			"_txlock": {"immediate"},
		}.Encode()
	}
	db, err := sql.Open(driver, where)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8)
	// Again, as of two that make the tables at the same time one may fail.
	for tries := 3; ; tries-- {
		if _, err = db.ExecContext(ctx, schema); err == nil {
			return &database{db}, nil
		}
		if tries == 1 || !pause(ctx, time.Second) {
			return nil, errors.Join(fmt.Errorf("database (-db): make the tables: %w", err), db.Close())
		}
	}
}

// change runs do in a transaction: all of what it does, or nothing. Where it
// returns an error nothing has happened, and the caller tries again. (A commit
// whose answer was lost may have happened all the same. Everything here can be
// done again: it looks first at what is there.)
func (d *database) change(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := d.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// neverHolds reports whether the database refuses what was to be written, as
// PostgreSQL does a text with a NUL (class 22, data exception). To try again is in
// vain.
func neverHolds(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && strings.HasPrefix(refused.Code, "22")
}

// shopName is the name that this database has had since it was made. Numbers
// have it in them, as two shops must never use one out_trade_no of a merchant.
func (d *database) shopName(ctx context.Context) (name string, err error) {
	_, err = d.ExecContext(ctx, `INSERT INTO shop (one, name) VALUES (1, $1) ON CONFLICT DO NOTHING`, rand.Text()[:8])
	if err == nil {
		err = d.QueryRowContext(ctx, `SELECT name FROM shop`).Scan(&name)
	}
	return name, err
}

// now is a time as the database keeps it.
func now() int64 { return time.Now().UnixMilli() }

// in is now and a pause.
func in(pause time.Duration) int64 { return time.Now().Add(pause).UnixMilli() }
