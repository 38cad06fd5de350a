package database

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// name is what errors call the database.
func (db *DB) name() string {
	if db.path == "" {
		return "the database in memory"
	}
	return db.path
}

// Explain says of an error of Read, of Write or of a transaction which file it is
// about, and what to do. Other errors, nil and those that are explained already among
// them, come back as they are. Rooms give each error of theirs to it.
func (db *DB) Explain(err error) error {
	told, is := errors.AsType[*sqlite.Error](err)
	if _, already := errors.AsType[*explainedError](err); !is || already {
		return err
	}
	return &explainedError{fmt.Errorf("%s: %w%s", db.name(), err, db.advice(told.Code()&0xff))}
}

// explainedError is an error of SQLite that says which file it is about.
type explainedError struct{ error }

func (e *explainedError) Unwrap() error { return e.error }

// anew is what to do about a file that cannot be saved.
const anew = "restore it from a copy, or move it away with its -wal and run the console again: its index is made again of the topics, " +
	"but what it had of replays, audits, sessions and the log of who did what is only in there"

// advice is what to do about a code of SQLite, as the end of a sentence.
func (db *DB) advice(code int) string {
	switch code {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM:
		if db.path == "" {
			return "; more than 1 GiB, or than there is, is not kept in memory: set --data-dir, or a shorter --keep"
		}
		return "; the disk is full: make room, set a shorter --keep, or choose another folder with --data-dir, then run the console again"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return "; the file is damaged, or no database: " + anew
	case sqlite3.SQLITE_IOERR:
		return "; the disk cannot be read or written, or is full: see to it, then run the console again; where the file stays unreadable, " + anew
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return "; the console must be able to write the file and its folder: change their owner or mode, or choose another folder with --data-dir"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return "; another program holds it: end that one (a copy is made with the console stopped, or by VACUUM INTO), then run the console again"
	}
	return ""
}
