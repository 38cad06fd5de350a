// Package desk keeps what the people at a console have begun: replays of dead
// letters, and audits. Both go on in the background, replays also over a restart of
// the console: what is to be sent is decided by internal/deadletters, by the same
// rules as the command's, and what was sent is read from the topics. It keeps the
// log of who did what and why, too.
//
//	filter or letters --Plan--> planned --Start: who, why, rate--> running <-> paused --> done | stopped
//
// The database says what is to go on, and [Desk.Run] does it: whoever calls Plan,
// Start or Stop writes a state there, in one transaction with the line of the log.
package desk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/changes"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/database"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus"
)

// Config is what a desk is made of, all of it required.
type Config struct {
	Reader *kafka.Reader
	Writer *kafka.Writer
	Topics config.Topics
	Group  string
	// ExactlyOnce is how the workers are set to answer, for audits.
	ExactlyOnce bool
	DB          *database.DB
	Log         logrus.FieldLogger
}

// Desk is one. It is safe for concurrent use.
type Desk struct {
	Config
	news changes.Counter

	// entries is how many of the log are kept of each kind, steps how many of replays;
	// patience how long one write into the requests topic may take; silence how long
	// Kafka may bring nothing before that is said.
	entries, steps    int
	patience, silence time.Duration
	// wake has Run look at what is to be done.
	wake chan struct{}
	// starting is held while a replay is started, resumed or paused: one sends at a
	// time.
	starting sync.Mutex

	mu   sync.Mutex
	jobs map[string]*job // by the id of a replay, or of an audit
}

// Open opens the desk of a database; nothing is asked of Kafka. Audits that ran when
// the console ended have ended with it.
func Open(ctx context.Context, cfg Config) (*Desk, error) {
	d := &Desk{Config: cfg, entries: mostEntries, steps: mostSteps, patience: patience, silence: silence, wake: make(chan struct{}, 1), jobs: map[string]*job{}}
	d.changed() // what stands in the database is news to everybody
	if _, err := d.DB.Make(ctx, tables); err != nil {
		return nil, err
	}
	err := d.DB.Transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE desk_audits SET ended = ?, trouble = 'the console ended; run it again' WHERE ended = 0`, moment(time.Now()))
		return err
	})
	return d, err
}

// Who does something at the desk.
type Who struct {
	// Name is the user's, empty where nobody logs in; Remote the address.
	Name, Remote string
}

// by is how records and the pages name somebody: as the command's USER@HOST where
// nobody logs in.
func (w Who) by() string {
	switch {
	case w.Name != "":
		return w.Name
	case w.Remote != "":
		return "console@" + w.Remote
	}
	return "console"
}

// StateError says that a replay is not in the state that is needed.
type StateError struct {
	ID   string
	Is   State
	Want string
}

func (e *StateError) Error() string {
	return fmt.Sprintf("replay %s is %s; for this it must be %s", e.ID, e.Is, e.Want)
}

// BusyError says that another replay is sending. One sends at a time: so nothing
// begins by itself, at an hour that nobody has chosen.
type BusyError struct{ ID string }

func (e *BusyError) Error() string {
	return "replay " + e.ID + " is sending, and one sends at a time: wait until it is done, or pause it"
}

// OrderError says what is wrong with a wish, or with an order to start.
type OrderError struct{ Field, What string }

func (e *OrderError) Error() string { return e.Field + ": " + e.What }

// MissingError says that there is no such replay or audit.
type MissingError struct{ What string }

func (e *MissingError) Error() string { return "there is no " + e.What }

// tables are those of the desk. What stands in them cannot be made again: a new
// version migrates them.
var tables = database.Part{
	Name: "desk", Version: 1,
	Schema: `
CREATE TABLE desk_replays (
	n INTEGER PRIMARY KEY AUTOINCREMENT,
	id TEXT NOT NULL UNIQUE,
	state TEXT NOT NULL,
	trouble TEXT NOT NULL DEFAULT '',
	made INTEGER NOT NULL,
	made_by TEXT NOT NULL,
	wish TEXT NOT NULL,
	requests TEXT NOT NULL,
	dead_letters TEXT NOT NULL,
	by TEXT NOT NULL DEFAULT '',
	reason TEXT NOT NULL DEFAULT '',
	rate REAL NOT NULL DEFAULT 0,
	pause_after INTEGER NOT NULL DEFAULT 0,
	forgiven TEXT NOT NULL DEFAULT '{}',
	started INTEGER NOT NULL DEFAULT 0,
	ended INTEGER NOT NULL DEFAULT 0,
	steps INTEGER NOT NULL DEFAULT 0,
	chosen INTEGER NOT NULL DEFAULT 0,
	sent INTEGER NOT NULL DEFAULT 0,
	left_over INTEGER NOT NULL DEFAULT 0,
	skipped TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX desk_replays_state ON desk_replays (state);
CREATE TABLE desk_steps (
	replay INTEGER NOT NULL,
	n INTEGER NOT NULL,
	chosen INTEGER NOT NULL,
	at_partition INTEGER NOT NULL,
	at_offset INTEGER NOT NULL,
	step TEXT NOT NULL,
	landed_partition INTEGER,
	landed_offset INTEGER,
	left_why TEXT NOT NULL DEFAULT '',
	detail TEXT NOT NULL DEFAULT '',
	PRIMARY KEY (replay, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE desk_audits (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	by TEXT NOT NULL,
	since INTEGER NOT NULL,
	began INTEGER NOT NULL,
	ended INTEGER NOT NULL DEFAULT 0,
	read INTEGER NOT NULL DEFAULT 0,
	to_read INTEGER NOT NULL DEFAULT 0,
	trouble TEXT NOT NULL DEFAULT '',
	report TEXT
) STRICT;
CREATE TABLE desk_log (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	at INTEGER NOT NULL,
	access INTEGER NOT NULL,
	who TEXT NOT NULL,
	remote TEXT NOT NULL,
	did TEXT NOT NULL,
	of TEXT NOT NULL,
	reason TEXT NOT NULL,
	detail TEXT NOT NULL
) STRICT;
CREATE INDEX desk_log_access ON desk_log (access, id);
`,
	Migrate: func(_ context.Context, _ *sql.Tx, from int) error {
		return fmt.Errorf("no version %d is known", from)
	},
}

// lasting is how long a write may still take when its context has ended.
const lasting = 10 * time.Second

// writeAnyway does something in one transaction, also when ctx has ended: what was done
// is to be known. Before that it waits for as long as somebody else writes: an index
// that is made may do so for longer than a moment, and that is no error.
func (d *Desk) writeAnyway(ctx context.Context, do func(context.Context, *sql.Tx) error) error {
	anyway, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(lasting):
			cancel(context.DeadlineExceeded)
		case <-anyway.Done():
		}
	})
	defer stop()
	return d.DB.Transact(anyway, func(tx *sql.Tx) error { return do(anyway, tx) })
}

// moment is a time in the database: microseconds since 1970, 0 for none.
func moment(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// timeOf is the time of a moment, in UTC.
func timeOf(moment int64) time.Time {
	if moment == 0 {
		return time.Time{}
	}
	return time.UnixMicro(moment).UTC()
}

// notFound is a *MissingError where a row was not found.
func notFound(err error, what string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return &MissingError{what}
	}
	return err
}
