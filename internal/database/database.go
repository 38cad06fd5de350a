// Package database is the one file of a console: an SQLite database, in a folder
// or in memory. It knows no table: rooms bring their own as parts.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/closeorder/closeorder/internal/folderlock"
	_ "modernc.org/sqlite" // the driver called sqlite
)

// Name is the file in the folder. Beside it lie, while it is open or after a crash,
// console.db-wal with what was committed last, console.db-shm, and console.lock.
const Name = "console.db"

// What bounds a database.
const (
	// readers is how many questions are answered at one time.
	readers = 4
	// writeCache and readCache are the most memory of the pages that a connection
	// keeps, in KiB.
	writeCache, readCache = 48 << 10, 8 << 10
	// patience is how long a connection waits for another one's lock, in
	// milliseconds: only in memory do readers wait for a writer.
	patience = 60_000
	// mostLog is how much of the write-ahead log stays on disk when its pages are in
	// the file, in bytes.
	mostLog = 32 << 20
	// application is in the head of the file, so that no other program's database is
	// taken for ours: "clOs".
	application = 0x636c4f73
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	// Write has one connection, so that writers wait for each other; Read has
	// several, and refuses to write. Readers do not wait for a writer and see what
	// was committed when their statement or transaction began; in memory they wait,
	// so that a transaction there should be short.
	Write, Read *sql.DB

	path   string  // of the file, empty for in memory
	keep   *sql.DB // in memory: a connection for as long as the database is to be there
	held   *sql.Conn
	unlock func() error
}

// memories numbers the databases in memory of this process: by its name each has
// its own.
var memories atomic.Int64

// Open opens the database in a folder, which is made where it is missing and
// locked while in use; without a folder it is in memory, 1 GiB of it at most. The
// error names the file, and what to do.
func Open(ctx context.Context, dir string) (*DB, error) {
	db := &DB{unlock: func() error { return nil }}
	if dir != "" {
		if err := db.take(dir); err != nil {
			return nil, err
		}
	}
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(db.Explain(err), db.Close())
	}
	return db, nil
}

// take takes the folder for this process and makes sure that the file is there, and
// nobody else's to read: it has numbers of orders in it.
func (db *DB) take(dir string) error {
	unlock, err := folderlock.Lock(dir, "console.lock", 0o700)
	switch {
	case errors.Is(err, folderlock.ErrInUse):
		return fmt.Errorf("data directory %s is in use by another console; stop it, or choose another with --data-dir", dir)
	case err != nil:
		return fmt.Errorf("data directory %s: %w; choose another with --data-dir", dir, err)
	}
	db.unlock, db.path = unlock, filepath.Join(dir, Name)
	f, err := os.OpenFile(db.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(f.Close(), os.Chmod(db.path, 0o600))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("data directory %s: %w; choose another with --data-dir", dir, err), unlock())
	}
	return nil
}

func (db *DB) open(ctx context.Context) (err error) {
	memory := fmt.Sprintf("/closeorder-console-%d", memories.Add(1))
	if db.path == "" {
		if db.keep, err = sql.Open("sqlite", db.source(memory)); err != nil {
			return err
		}
		if db.held, err = db.keep.Conn(ctx); err != nil {
			return err
		}
	}
	// Each commit is on the disk when it returns: the log of who did what is in here.
	if db.Write, err = sql.Open("sqlite", db.source(memory, "synchronous(full)",
		fmt.Sprintf("journal_size_limit(%d)", mostLog), fmt.Sprintf("cache_size(-%d)", writeCache))+"&_txlock=immediate"); err != nil {
		return err
	}
	db.Write.SetMaxOpenConns(1)
	if err := db.claim(ctx); err != nil {
		return err
	}
	if db.Read, err = sql.Open("sqlite", db.source(memory, "query_only(1)", fmt.Sprintf("cache_size(-%d)", readCache))); err != nil {
		return err
	}
	db.Read.SetMaxOpenConns(readers)
	db.Read.SetMaxIdleConns(readers)
	return db.Read.PingContext(ctx)
}

// source is how a driver finds the database, with what each connection is set to.
func (db *DB) source(memory string, pragmas ...string) string {
	q := url.Values{"_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", patience)}, pragmas...)}
	if db.path == "" {
		q.Set("vfs", "memdb")
		q.Add("_pragma", "temp_store(memory)") // there may be no folder at all that can be written
		return "file:" + memory + "?" + q.Encode()
	}
	path := filepath.ToSlash(db.path)
	if filepath.IsAbs(db.path) && !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/folder
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// claim makes the file a console's, where it is new.
func (db *DB) claim(ctx context.Context) error {
	var whose, tables int64
	if err := db.Write.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_master)`).Scan(&whose, &tables); err != nil {
		return err
	}
	if whose != application && (whose != 0 || tables > 0) {
		return fmt.Errorf("%s is the database of another program; choose another folder with --data-dir", db.path)
	}
	// It stands in the file; the database of another program was not to be changed.
	if _, err := db.Write.ExecContext(ctx, `PRAGMA journal_mode = wal`); err != nil {
		return err
	}
	return db.Transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf(`PRAGMA application_id = %d;
			CREATE TABLE IF NOT EXISTS parts (name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID`, application))
		return err
	})
}

// Part is the tables of one room.
type Part struct {
	// Name of the part; all its tables begin with it: "index" and index_requests.
	Name string
	// Version of Schema, from 1 on. Of a part that stands there with another one all
	// tables are dropped and made anew, unless Migrate knows better.
	Version int
	Schema  string
	// Migrate, if set, brings tables of an earlier version to this one. Tables of a
	// later version are an error then: they hold what cannot be made again.
	Migrate func(ctx context.Context, tx *sql.Tx, from int) error
}

// Make makes the tables of a part, and says whether they are new. All of it is one
// transaction.
func (db *DB) Make(ctx context.Context, part Part) (fresh bool, err error) {
	err = db.Transact(ctx, func(tx *sql.Tx) error {
		var version int
		err := tx.QueryRowContext(ctx, `SELECT version FROM parts WHERE name = ?`, part.Name).Scan(&version)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			fresh = true
			return remake(ctx, tx, part)
		case err != nil, version == part.Version:
			return err
		case part.Migrate == nil:
			fresh = true
			return remake(ctx, tx, part)
		case version > part.Version:
			return fmt.Errorf("%s was written by a later closeorder (%s is version %d there, %d here): run that one, or choose another folder with --data-dir",
				db.name(), part.Name, version, part.Version)
		}
		if err := part.Migrate(ctx, tx, version); err != nil {
			return fmt.Errorf("%s: %s from version %d to %d: %w", db.name(), part.Name, version, part.Version, err)
		}
		_, err = tx.ExecContext(ctx, `UPDATE parts SET version = ? WHERE name = ?`, part.Version, part.Name)
		return err
	})
	return fresh, err
}

// Drop takes a part's tables away and makes them anew.
func (db *DB) Drop(ctx context.Context, part Part) error {
	return db.Transact(ctx, func(tx *sql.Tx) error { return remake(ctx, tx, part) })
}

func remake(ctx context.Context, tx *sql.Tx, part Part) error {
	rows, err := tx.QueryContext(ctx, `SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, length(?1) + 1) = ?1 || '_'`, part.Name)
	if err != nil {
		return err
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		tables = append(tables, name)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, name := range tables {
		if _, err := tx.ExecContext(ctx, `DROP TABLE "`+strings.ReplaceAll(name, `"`, `""`)+`"`); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, part.Schema); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO parts (name, version) VALUES (?, ?)`, part.Name, part.Version)
	return err
}

// Transact does something in one transaction of Write: all of it is there when it
// returns nil, else nothing. Its error, also that of do, is explained.
func (db *DB) Transact(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := db.Write.BeginTx(ctx, nil)
	if err != nil {
		return db.Explain(err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing, else do's error says more
	if err := do(tx); err != nil {
		return db.Explain(err)
	}
	return db.Explain(tx.Commit())
}

// Size is the bytes of the file with its log, or of memory.
func (db *DB) Size(ctx context.Context) (int64, error) {
	if db.path == "" {
		var n int64
		err := db.Read.QueryRowContext(ctx, `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`).Scan(&n)
		return n, db.Explain(err)
	}
	var all int64
	for _, path := range []string{db.path, db.path + "-wal"} {
		switch info, err := os.Stat(path); {
		case err == nil:
			all += info.Size()
		case !errors.Is(err, fs.ErrNotExist):
			return 0, err
		}
	}
	return all, nil
}

// Checkpoint brings what was committed from the log into the file, and empties the
// log where no reader needs it. It also happens by itself every few MiB.
func (db *DB) Checkpoint(ctx context.Context) error {
	if db.path == "" {
		return nil
	}
	_, err := db.Write.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	return db.Explain(err)
}

// Close closes it; nothing that was committed is lost, also without it.
func (db *DB) Close() error {
	var errs []error
	for _, pool := range []*sql.DB{db.Read, db.Write} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	if db.held != nil {
		errs = append(errs, db.held.Close())
	}
	if db.keep != nil {
		errs = append(errs, db.keep.Close())
	}
	return errors.Join(append(errs, db.unlock())...)
}

// InMemory reports whether it is in no file: readers wait for the end of each
// transaction of Write then.
func (db *DB) InMemory() bool { return db.path == "" }
