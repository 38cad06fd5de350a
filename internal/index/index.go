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
	"errors"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/database"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus"
)

// Config is what an index is made of. All but Keep is required.
type Config struct {
	Reader *kafka.Reader
	Topics config.Topics
	DB     *database.DB
	Log    logrus.FieldLogger
	// Keep is how old a record may be, 0 for as old as its topic holds.
	Keep time.Duration
}

// Index is one. It is safe for concurrent use.
type Index struct{}

// Open opens the index of a database; nothing is asked of Kafka. An index of other
// topics, or of another version, is begun anew.
func Open(_ context.Context, _ Config) (*Index, error) { return nil, errors.New("not yet") }

// Run reads what the topics hold, goes on where it stopped, and follows them in
// rounds until ctx ends. Trouble with Kafka is told by Progress and in the log, and
// tried again; the error is of the database.
func (x *Index) Run(_ context.Context) error { return errors.New("not yet") }

// Rebuild has Run begin anew; until it has caught up, less is found.
func (x *Index) Rebuild() {}

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
	// Oldest is the timestamp of the oldest request in it.
	Oldest time.Time `json:"oldest,omitzero"`
}

// Progress says how far it is.
func (x *Index) Progress(_ context.Context) (Progress, error) { return Progress{}, nil }

// Changed waits until something is indexed after a version, and returns the new
// version; 0 is before all. The error is the cause of ctx.
func (x *Index) Changed(_ context.Context, _ uint64) (uint64, error) { return 0, nil }

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

// Search finds requests by out_trade_no, request_id or transaction_id, whole, the
// newest first, and then those whose out_trade_no begins so; at most limit. An
// empty text finds the newest.
func (x *Index) Search(_ context.Context, _ string, _ int) ([]Request, error) { return nil, nil }

// At is what became of the records at some places of the requests topic: of those
// that were sent by a replay. A place that is not indexed yet is not in it.
func (x *Index) At(_ context.Context, _ []events.Source) (map[events.Source]Request, error) {
	return nil, nil
}

// Places are all records of an order in all topics, for timeline.Scope.Places.
// MchID and SubMchID narrow it where they are set.
func (x *Index) Places(_ context.Context, _ events.Order) (map[kafka.Place][]int64, error) {
	return nil, nil
}

// Letter is a dead letter as it is listed, and what became of its request since.
type Letter struct {
	deadletters.Listed
	// Since is the final outcome of the same request by now, closed or paid, empty
	// where there is none; by the replay of that number.
	Since       events.Result `json:"since,omitempty"`
	SinceReplay int           `json:"since_replay,omitempty"`
}

// Letters is a view of the dead letters.
type Letters struct {
	// Total is how many match, Letters the newest of them first.
	Total   int64    `json:"total"`
	Letters []Letter `json:"dead_letters"`
}

// LetterFilter chooses dead letters.
type LetterFilter struct {
	deadletters.Filter
	SubMchID string
	// Open leaves out those whose request has a final outcome by now.
	Open bool
}

// Letters lists dead letters, the newest first: limit of them behind the first skip.
func (x *Index) Letters(_ context.Context, _ LetterFilter, _, _ int) (Letters, error) {
	return Letters{}, nil
}

// Group is the dead letters of one code, of one merchant, or of both, or of an age.
type Group struct {
	Code   string    `json:"code,omitempty"`
	MchID  string    `json:"mch_id,omitempty"`
	Day    string    `json:"day,omitempty"` // 2026-01-31, in UTC
	Count  int64     `json:"count"`
	Open   int64     `json:"open"` // without a final outcome by now
	First  time.Time `json:"first"`
	Latest time.Time `json:"latest"`
	// Message is that of the latest one.
	Message string `json:"message,omitempty"`
}

// By is what dead letters are grouped by.
type By string

// What they can be grouped by.
const (
	ByCode     By = "code"
	ByMerchant By = "merchant"
	ByBoth     By = "code_and_merchant"
	ByDay      By = "day"
)

// Groups groups the dead letters that match, the largest first, of days the newest
// first; at most limit.
func (x *Index) Groups(_ context.Context, _ LetterFilter, _ By, _ int) ([]Group, error) {
	return nil, nil
}

// Minute counts the requests that were answered in one minute, by completed_at: of
// each request its first outcome.
type Minute struct {
	At     time.Time `json:"at"` // its beginning
	Closed int64     `json:"closed"`
	Paid   int64     `json:"paid"`
	Failed int64     `json:"failed"`
	// Half and Most are how long requests took, from their timestamp to
	// completed_at, in milliseconds: the quantiles 0.5 and 0.99, within a tenth.
	Half int64 `json:"p50_ms"`
	Most int64 `json:"p99_ms"`
}

// Minutes are those of a time, from since to before until, also those without an
// outcome.
func (x *Index) Minutes(_ context.Context, _, _ time.Time) ([]Minute, error) { return nil, nil }
