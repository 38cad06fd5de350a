package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/database"
)

// part is the tables of the index. A place is a partition and an offset in one
// number (place); a topic is its number in config.Topics.All. Times are in
// nanoseconds since 1970, but for the timestamps of records, of which Kafka has
// milliseconds. What is made of the topics can be made again: there is no Migrate.
var part = database.Part{Name: "index", Version: 1, Schema: `
CREATE TABLE index_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- How far each partition is indexed: from floor on, before next.
CREATE TABLE index_positions (
	topic INTEGER NOT NULL, partition INTEGER NOT NULL, floor INTEGER NOT NULL, next INTEGER NOT NULL,
	PRIMARY KEY (topic, partition)) STRICT, WITHOUT ROWID;

CREATE TABLE index_merchants (id INTEGER PRIMARY KEY, mch_id TEXT NOT NULL, sub_mch_id TEXT NOT NULL, UNIQUE (mch_id, sub_mch_id)) STRICT;
CREATE TABLE index_codes (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE) STRICT;

-- A record of the requests topic, and the first outcome that names it. requested is
-- NULL where the record itself was never read; request_id is NULL where it is the one
-- that is made of the order.
CREATE TABLE index_requests (
	at INTEGER PRIMARY KEY, requested INTEGER, merchant INTEGER NOT NULL, out_trade_no TEXT NOT NULL, request_id TEXT, replay INTEGER NOT NULL,
	outcome INTEGER, code INTEGER, safe INTEGER, completed INTEGER, transaction_id TEXT, answered INTEGER) STRICT;

-- All other records: retries, outcomes that are not the first or name something else
-- than the record that they answer, and records that are known by their key or by the
-- number that is to be issued in the place of another (topic -1). number is empty
-- where source, the request, tells which order it is about.
CREATE TABLE index_follows (
	topic INTEGER NOT NULL, at INTEGER NOT NULL, source INTEGER, number TEXT NOT NULL,
	PRIMARY KEY (topic, at, number)) STRICT, WITHOUT ROWID;

-- Dead letters. listed is a deadletters.Listed; code is folded; since is the first
-- final outcome of the same request.
CREATE TABLE index_letters (
	at INTEGER PRIMARY KEY, failed INTEGER NOT NULL, code TEXT NOT NULL, mch_id TEXT NOT NULL, sub_mch_id TEXT NOT NULL,
	out_trade_no TEXT NOT NULL, request_id TEXT, replay INTEGER NOT NULL, source INTEGER,
	since INTEGER, since_replay INTEGER, listed TEXT NOT NULL) STRICT;
CREATE INDEX index_letters_number ON index_letters (out_trade_no) WHERE out_trade_no <> '';
CREATE INDEX index_letters_request ON index_letters (request_id) WHERE out_trade_no = '';
CREATE INDEX index_letters_source ON index_letters (source);
CREATE INDEX index_letters_failed ON index_letters (failed);

-- How many requests were answered so in a minute, and how long they took: bucket, -1
-- where that is not known.
CREATE TABLE index_minutes (
	minute INTEGER NOT NULL, outcome INTEGER NOT NULL, bucket INTEGER NOT NULL, n INTEGER NOT NULL,
	PRIMARY KEY (minute, outcome, bucket)) STRICT, WITHOUT ROWID;

-- Offsets that could not be read. unreadable: they are still there.
CREATE TABLE index_gaps (
	topic INTEGER NOT NULL, partition INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, unreadable INTEGER NOT NULL, says TEXT NOT NULL,
	PRIMARY KEY (topic, partition, first)) STRICT, WITHOUT ROWID;
`}

// lookups are the indexes that are made when all is read for the first time: a
// million requests take six times as long with them. Until then all is found by
// looking at every row.
var lookups = []string{
	`CREATE INDEX index_requests_number ON index_requests (out_trade_no) WHERE out_trade_no <> ''`,
	`CREATE INDEX index_requests_request ON index_requests (request_id) WHERE request_id IS NOT NULL`,
	`CREATE INDEX index_requests_transaction ON index_requests (transaction_id) WHERE transaction_id IS NOT NULL`,
	`CREATE INDEX index_follows_source ON index_follows (source) WHERE source IS NOT NULL`,
	`CREATE INDEX index_follows_number ON index_follows (number) WHERE number <> ''`,
}

// The outcomes, as rows have them.
var (
	results = map[events.Result]int64{events.Closed: 1, events.Paid: 2, events.Failed: 3}
	words   = map[int64]events.Result{1: events.Closed, 2: events.Paid, 3: events.Failed}
)

// final is what the outcomes that stay have in rows.
const final = `(1, 2)`

// offsetBits are those of an offset in a place; a partition has the ones above.
const (
	offsetBits    = 44
	mostOffset    = 1<<offsetBits - 1
	mostPartition = 1<<(63-offsetBits) - 1
)

// place is a partition and an offset in one number, by which rows stand in the order
// of the log; false where they are no record's.
func place(partition int, offset int64) (int64, bool) {
	if partition < 0 || partition > mostPartition || offset < 0 || offset > mostOffset {
		return 0, false
	}
	return int64(partition)<<offsetBits | offset, true
}

func partitionOf(place int64) int { return int(place >> offsetBits) }

func offsetOf(place int64) int64 { return place & mostOffset }

// moment is a time in nanoseconds, the first or the last that there is where it lies
// beyond; the zero time is the first.
func moment(t time.Time) int64 {
	switch {
	case t.IsZero() || t.Year() < 1678:
		return math.MinInt64
	case t.Year() > 2261:
		return math.MaxInt64
	}
	return t.UnixNano()
}

func momentOf(n int64) time.Time {
	if n == math.MinInt64 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// madeRequestID is the request_id that a request gets that brings none
// (events.DecodeRequest), empty where none can be made.
func madeRequestID(o events.Order) string {
	switch {
	case o.MchID == "" || o.OutTradeNo == "":
		return ""
	case o.SubMchID != "":
		return "order/" + o.MchID + "/" + o.SubMchID + "/" + o.OutTradeNo
	}
	return "order/" + o.MchID + "/" + o.OutTradeNo
}

// packed is a request_id as rows have it: nothing for one that is made of the order.
func packed(requestID string, o events.Order) any {
	if requestID != "" && requestID == madeRequestID(o) {
		return nil
	}
	return requestID
}

// unpacked is the reverse.
func unpacked(requestID sql.NullString, o events.Order) string {
	if !requestID.Valid {
		return madeRequestID(o)
	}
	return requestID.String
}

// asked is what an index was made of; one of something else is begun anew.
type asked struct {
	Topics []string      `json:"topics"`
	Keep   time.Duration `json:"keep"` // 0 is for as long as there is
}

// covers reports whether an index of a has all that one of b wants.
func (a asked) covers(b asked) bool {
	if len(a.Topics) != len(b.Topics) {
		return false
	}
	for i := range a.Topics {
		if a.Topics[i] != b.Topics[i] {
			return false
		}
	}
	return a.Keep == 0 || b.Keep != 0 && b.Keep <= a.Keep
}

// meta reads one value, empty for none.
func meta(ctx context.Context, q querier, name string) (value string, err error) {
	err = q.QueryRowContext(ctx, `SELECT value FROM index_meta WHERE name = ?`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

func setMeta(ctx context.Context, q querier, name, value string) error {
	_, err := q.ExecContext(ctx, `INSERT OR REPLACE INTO index_meta (name, value) VALUES (?, ?)`, name, value)
	return err
}

// querier is an *sql.DB or an *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// each calls do for every row.
func each(ctx context.Context, q querier, do func(*sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func jsonOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // times and texts can be written, but for a year that JSON has not
		return "{}"
	}
	return string(text)
}
