// Package database is the one file of a console: an SQLite database, in a folder
// or in memory. It knows no table: rooms bring their own as parts.
package database

import (
	"context"
	"database/sql"
	"errors"
)

// Name is the file in the folder.
const Name = "console.db"

// DB is an open database. It is safe for concurrent use.
type DB struct {
	// Write has one connection, so that writers wait for each other; Read has
	// several, and refuses to write.
	Write, Read *sql.DB
}

// Open opens the database in a folder, which is made where it is missing and
// locked while in use; without a folder it is in memory.
func Open(_ context.Context, _ string) (*DB, error) { return nil, errors.New("not yet") }

// Part is the tables of one room.
type Part struct {
	// Name of the part; all its tables begin with it: "index" and index_requests.
	Name string
	// Version of Schema. Of a part that stands there with another one all tables are
	// dropped and made anew, unless Migrate knows better.
	Version int
	Schema  string
	// Migrate, if set, brings tables of an earlier version to this one.
	Migrate func(ctx context.Context, tx *sql.Tx, from int) error
}

// Make makes the tables of a part, and says whether they are new.
func (db *DB) Make(_ context.Context, _ Part) (fresh bool, err error) {
	return false, errors.New("not yet")
}

// Drop takes a part's tables away and makes them anew.
func (db *DB) Drop(_ context.Context, _ Part) error { return errors.New("not yet") }

// Size is the bytes of the file, or of memory.
func (db *DB) Size(_ context.Context) (int64, error) { return 0, nil }

// Close closes it; nothing that was committed is lost, also without it.
func (db *DB) Close() error { return nil }
