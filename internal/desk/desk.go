// Package desk keeps what the people at a console have begun: replays of dead
// letters, and audits. Both go on in the background, and over a restart of the
// console: what is to be sent is decided by internal/deadletters, by the same rules
// as the command's, and what was sent is read from the topics. It keeps the log of
// who did what and why, too.
//
//	filter or letters --Plan--> planned --Start: who, why, rate--> running <-> paused --> done | stopped
package desk

import (
	"context"
	"errors"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/database"
	"github.com/closeorder/closeorder/internal/deadletters"
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
type Desk struct{}

// Open opens the desk of a database; nothing is asked of Kafka.
func Open(_ context.Context, _ Config) (*Desk, error) { return nil, errors.New("not yet") }

// Run goes on with the replays that were running when the console ended, and works
// until ctx ends: then it stops as a pause does, but what ran goes on the next time.
func (d *Desk) Run(_ context.Context) error { return errors.New("not yet") }

// Changed waits until something changes after a version, and returns the new one.
func (d *Desk) Changed(_ context.Context, _ uint64) (uint64, error) { return 0, nil }

// Who does something at the desk.
type Who struct {
	// Name is the user's, empty where nobody logs in; Remote the address.
	Name, Remote string
}

// State is where a replay stands.
type State string

// The states of a replay. The words are stable.
const (
	Planning  State = "planning"  // the topics are read
	Planned   State = "planned"   // it may be started
	Unplanned State = "unplanned" // the plan could not be made: Replay.Trouble says why
	Running   State = "running"
	Paused    State = "paused"  // by somebody, or by itself: Replay.Trouble says why
	Stopped   State = "stopped" // by somebody, for good
	Done      State = "done"
)

// Wish is what somebody wants to replay.
type Wish struct {
	deadletters.Filter
	// Only, if not empty, are the places of the letters wanted, of those that the
	// filter chooses.
	Only []events.Source
	// Limit is the most to send, 0 for all; MaxReplays how often a request may be
	// replayed in its life, 0 for 3, as the command's.
	Limit, MaxReplays int
}

// Order is how a plan is carried out.
type Order struct {
	// Reason is required. Rate is the most per second, at least 0.001.
	Reason string
	Rate   float64
	// PauseAfter is after how many failed outcomes it pauses itself, 0 for never.
	PauseAfter int
}

// Replay is one. As JSON its names are stable.
type Replay struct {
	ID      string    `json:"replay_id"`
	State   State     `json:"state"`
	Trouble string    `json:"trouble,omitempty"`
	Made    time.Time `json:"made_at"`
	MadeBy  string    `json:"made_by,omitempty"`
	Wish    Wish      `json:"wish"`

	By         string    `json:"by,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Rate       float64   `json:"rate,omitempty"`
	PauseAfter int       `json:"pause_after,omitempty"`
	Started    time.Time `json:"started_at,omitzero"`
	Ended      time.Time `json:"ended_at,omitzero"`

	// Read of ToRead records, about, of a plan that is made.
	Read   int64 `json:"read"`
	ToRead int64 `json:"to_read"`
	// Chosen are to be sent, Sent of them were, Left cannot be.
	Chosen  int                      `json:"chosen"`
	Sent    int                      `json:"sent"`
	Left    int                      `json:"left"`
	Skipped map[deadletters.Skip]int `json:"skipped"`
}

// Step is one dead letter of a plan.
type Step struct {
	deadletters.Step
	// Sent is where its replay landed, nil where it was not sent, or is not yet.
	Sent *events.Source `json:"landed,omitempty"`
	// Left is why it could not be sent though it was chosen.
	Left   deadletters.Skip `json:"left,omitempty"`
	Detail string           `json:"detail,omitempty"`
}

// Plan begins to plan a replay, and returns it in the state Planning.
func (d *Desk) Plan(_ context.Context, _ Who, _ Wish) (Replay, error) {
	return Replay{}, errors.New("not yet")
}

// Start starts a replay that is planned. Before it sends it plans again, and sends
// none but the letters that the plan had chosen: what was answered meanwhile is
// left out. A *StateError says that it is in another state, an *OrderError what is
// wrong with the order.
func (d *Desk) Start(_ context.Context, _ Who, _ string, _ Order) error {
	return errors.New("not yet")
}

// Pause pauses a replay that runs: what is being written is finished.
func (d *Desk) Pause(_ context.Context, _ Who, _ string) error { return errors.New("not yet") }

// Resume goes on with one that is paused, under the same id.
func (d *Desk) Resume(_ context.Context, _ Who, _ string) error { return errors.New("not yet") }

// Stop ends one for good, planned ones too. What was sent is sent.
func (d *Desk) Stop(_ context.Context, _ Who, _ string) error { return errors.New("not yet") }

// Replay returns one; a *MissingError where there is none.
func (d *Desk) Replay(_ context.Context, _ string) (Replay, error) { return Replay{}, nil }

// Replays are the last ones, the newest first.
func (d *Desk) Replays(_ context.Context, _ int) ([]Replay, error) { return nil, nil }

// Steps are those of a replay in the order of the failures, chosen ones before
// skipped ones: limit of them behind the first skip.
func (d *Desk) Steps(_ context.Context, _ string, _, _ int) ([]Step, error) { return nil, nil }

// Audit is a run of audit. As JSON its names are stable.
type Audit struct {
	ID    int64     `json:"id"`
	By    string    `json:"by,omitempty"`
	Since time.Time `json:"since,omitzero"` // of the requests, as audit --since
	Began time.Time `json:"began_at"`
	Ended time.Time `json:"ended_at,omitzero"` // zero while it runs
	Read  int64     `json:"read"`
	// ToRead is about how many records there are to read.
	ToRead int64 `json:"to_read"`
	// Trouble is why there is no report.
	Trouble string        `json:"trouble,omitempty"`
	Report  *audit.Report `json:"report,omitempty"`
}

// RunAudit begins an audit; where one runs, that one is returned.
func (d *Desk) RunAudit(_ context.Context, _ Who, _ time.Time) (Audit, error) {
	return Audit{}, errors.New("not yet")
}

// Audit returns one; 0 is the newest that has a report. A *MissingError where there is none.
func (d *Desk) Audit(_ context.Context, _ int64) (Audit, error) { return Audit{}, nil }

// Audits are the last ones, the newest first, without their findings.
func (d *Desk) Audits(_ context.Context, _ int) ([]Audit, error) { return nil, nil }

// Entry is a line of the log of who did what.
type Entry struct {
	At     time.Time `json:"at"`
	Who    string    `json:"who,omitempty"`
	Remote string    `json:"remote,omitempty"`
	// Did is one of the words: plan, start, pause, resume, stop, audit, rebuild,
	// log_in, log_out, refused.
	Did    string `json:"did"`
	Of     string `json:"of,omitempty"` // the id of a replay or an audit
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Note writes a line of that log, and of the program's own.
func (d *Desk) Note(_ context.Context, _ Who, _, _, _, _ string) error { return errors.New("not yet") }

// Entries are the last lines, the newest first.
func (d *Desk) Entries(_ context.Context, _ int) ([]Entry, error) { return nil, nil }

// StateError says that a replay is not in the state that is needed.
type StateError struct {
	ID   string
	Is   State
	Want string
}

func (e *StateError) Error() string {
	return "replay " + e.ID + " is " + string(e.Is) + "; only one that is " + e.Want + " can be"
}

// OrderError says what is wrong with an order to start.
type OrderError struct{ Field, What string }

func (e *OrderError) Error() string { return e.Field + ": " + e.What }

// MissingError says that there is no such replay or audit.
type MissingError struct{ What string }

func (e *MissingError) Error() string { return "there is no " + e.What }
