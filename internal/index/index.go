// Package index keeps an index of what the topics say, so that an order is found
// at once: requests with their outcomes, dead letters, counts per minute. It is
// made of the topics alone, and can be made again of them; proofs are not its
// business: what became of an order says internal/timeline, whether anything is
// lost internal/audit.
//
//	ends: outcomes, retries, dead letters, then requests --round--> one transaction: rows and offsets
package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/changes"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/database"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus"
)

// Config is what an index is made of. All but Keep is required.
type Config struct {
	// Reader reads the topics. Its OnGap, OnUnreadable and Patience are not used.
	Reader *kafka.Reader
	Topics config.Topics
	DB     *database.DB
	Log    logrus.FieldLogger
	// Keep is how old a record may be, 0 for as old as its topic holds.
	Keep time.Duration
}

// Index is one. It is safe for concurrent use.
type Index struct {
	cfg    Config
	topics []string // by their number in rows
	follow *follower

	mu    sync.Mutex
	state Progress
	news  changes.Counter
	again bool // Rebuild was called
	stop  context.CancelCauseFunc
}

// The topics whose numbers are asked for; those behind are retries.
const (
	requestsTopic = iota
	outcomesTopic
	lettersTopic
	// replaced is the topic of an entry in index_follows that says that a request names
	// a number as its replacement.
	replaced = -1
)

// Open opens the index of a database; nothing is asked of Kafka. An index of other
// topics, or of another version, is begun anew.
func Open(ctx context.Context, cfg Config) (*Index, error) {
	x := &Index{cfg: cfg, topics: cfg.Topics.All()}
	x.news.Change() // what stands in the database is news to everybody
	x.follow = newFollower(x)
	fresh, err := cfg.DB.Make(ctx, part)
	if err != nil {
		return nil, err
	}
	if !fresh {
		err = x.compare(ctx)
	}
	if err == nil {
		err = x.load(ctx)
	}
	return x, cfg.DB.Explain(err)
}

func (x *Index) wanted() asked { return asked{x.topics, x.cfg.Keep} }

// compare begins the index anew where it is of something else.
func (x *Index) compare(ctx context.Context) error {
	text, err := meta(ctx, x.cfg.DB.Read, "asked")
	if err != nil || text == "" {
		return err
	}
	var was asked
	if err := json.Unmarshal([]byte(text), &was); err == nil && was.covers(x.wanted()) {
		return nil
	}
	x.cfg.Log.WithFields(logrus.Fields{"topics": x.topics, "keep": x.cfg.Keep}).Info("the index is of other topics, or of a shorter time: it is begun anew")
	return x.cfg.DB.Drop(ctx, part)
}

// load reads what stands in the database.
func (x *Index) load(ctx context.Context) error {
	if err := setMeta(ctx, x.cfg.DB.Write, "asked", jsonOf(x.wanted())); err != nil {
		return err
	}
	state := Progress{}
	read := x.cfg.DB.Read
	if err := read.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM index_requests), (SELECT count(*) FROM index_letters)`).Scan(&state.Requests, &state.DeadLetters); err != nil {
		return err
	}
	if err := each(ctx, read, func(rows *sql.Rows) error {
		var says string
		err := rows.Scan(&says)
		state.Gaps = append(state.Gaps, says)
		return err
	}, `SELECT says FROM index_gaps ORDER BY topic, partition, first`); err != nil {
		return err
	}
	x.mu.Lock()
	x.state = state
	x.mu.Unlock()
	return x.follow.load(ctx)
}

// Rebuild has Run begin anew; until it has caught up, less is found.
func (x *Index) Rebuild() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.again = true
	if x.stop != nil {
		x.stop(errAgain)
	}
}

// errAgain is the cause of a round that is left because the index is begun anew.
var errAgain = errors.New("the index is begun anew")

// Progress is how far an index is. As JSON its names are stable.
type Progress struct {
	// CaughtUp: it has read all that was there when it began, and follows.
	CaughtUp bool `json:"caught_up"`
	// Read of Total records, about, until it has caught up.
	Read  int64 `json:"read"`
	Total int64 `json:"total"`
	// At is when it last was at the ends of the topics, zero for never.
	At time.Time `json:"at,omitzero"`
	// Trouble is why it does not get on, empty where it does.
	Trouble string `json:"trouble,omitempty"`
	// Gaps says in words what could not be read.
	Gaps []string `json:"gaps,omitempty"`
	// Requests, DeadLetters and Bytes are what it holds.
	Requests    int64 `json:"requests"`
	DeadLetters int64 `json:"dead_letters"`
	Bytes       int64 `json:"bytes"`
	// Oldest is the timestamp of the oldest request that the topic holds.
	Oldest time.Time `json:"oldest,omitzero"`
}

// Progress says how far it is.
func (x *Index) Progress(ctx context.Context) (Progress, error) {
	x.mu.Lock()
	p := x.state
	p.Gaps = slices.Clone(p.Gaps)
	x.mu.Unlock()
	var err error
	if p.Bytes, err = x.cfg.DB.Size(ctx); err != nil {
		return p, err
	}
	// The first of each partition: timestamps are about in the order of offsets. What
	// stands below the floor is there for its outcome alone.
	var oldest sql.NullInt64
	err = x.cfg.DB.Read.QueryRowContext(ctx, `SELECT min((SELECT requested FROM index_requests
		WHERE at >= (partition << 44) + floor AND at < (partition + 1) << 44 AND requested IS NOT NULL ORDER BY at LIMIT 1)) FROM index_positions WHERE topic = 0`).Scan(&oldest)
	if oldest.Valid {
		p.Oldest = time.UnixMilli(oldest.Int64).UTC()
	}
	return p, x.cfg.DB.Explain(err)
}

// Changed waits until something is indexed after a version, or until it gets on
// again or no longer, and returns the new version; 0 is before all. The error is
// the cause of ctx.
func (x *Index) Changed(ctx context.Context, after uint64) (uint64, error) {
	return x.news.Changed(ctx, after)
}

// tell changes the state, and wakes who waits in Changed where change says so.
func (x *Index) tell(change func(*Progress) (news bool)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if change(&x.state) {
		x.news.Change()
	}
}

// Request is one record of the requests topic, and what is said of it. As JSON its
// names are those of an outcome.
type Request struct {
	Partition  int    `json:"partition"`
	Offset     int64  `json:"offset"`
	MchID      string `json:"mch_id,omitempty"`
	SubMchID   string `json:"sub_mch_id,omitempty"`
	OutTradeNo string `json:"out_trade_no,omitempty"`
	RequestID  string `json:"request_id,omitempty"`
	Replay     int    `json:"replay"`
	// Requested is its timestamp; zero where Gone: the record itself is no longer in
	// the index, and what is known comes from its outcome.
	Requested time.Time `json:"requested_at,omitzero"`
	Gone      bool      `json:"gone,omitempty"`
	// Outcome is the first one that names this order, request and place, empty for
	// none so far: it waits, is in flight or lost, which the index does not know.
	Outcome       events.Result `json:"outcome,omitempty"`
	Code          string        `json:"code,omitempty"`
	SafeToReissue bool          `json:"safe_to_reissue"`
	CompletedAt   time.Time     `json:"completed_at,omitzero"`
	TransactionID string        `json:"transaction_id,omitempty"`
}

// dbError is an error of the database, which ends Run.
type dbError struct{ error }

func (e dbError) Unwrap() error { return e.error }

// broken makes an error of the database one, nil for nil.
func (x *Index) broken(err error) error {
	if err == nil {
		return nil
	}
	return dbError{fmt.Errorf("index: %w", x.cfg.DB.Explain(err))}
}
