package desk

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/records"
)

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
	// filter chooses; at most 10 000. Without a topic they are in that of the dead
	// letters.
	Only []events.Source `json:"only,omitempty"`
	// Limit is the most to send, 0 for all; MaxReplays how often a request may be
	// replayed in its life, 0 for 3, as the command's.
	Limit      int `json:"limit"`
	MaxReplays int `json:"max_replays"`
}

// mostOnly bounds Wish.Only.
const mostOnly = 10_000

// check completes a wish, or returns an *OrderError.
func (w *Wish) check(topic string) error {
	switch {
	case w.Limit < 0:
		return &OrderError{"limit", "must not be negative"}
	case w.MaxReplays < 0:
		return &OrderError{"max_replays", "must be at least 1, or 0 for 3"}
	case len(w.Only) > mostOnly:
		return &OrderError{"only", fmt.Sprintf("%d letters are named, at most %d may be; choose them by a filter", len(w.Only), mostOnly)}
	}
	if w.MaxReplays == 0 {
		w.MaxReplays = 3
	}
	only := make([]events.Source, 0, len(w.Only))
	for _, at := range w.Only {
		if at.Topic == "" {
			at.Topic = topic
		}
		if at.Topic != topic || at.Partition < 0 || at.Offset < 0 {
			return &OrderError{"only", fmt.Sprintf("%q, partition %d, offset %d is no place of a dead letter in %s", at.Topic, at.Partition, at.Offset, topic)}
		}
		only = append(only, at)
	}
	w.Only = only
	return nil
}

// Order is how a plan is carried out.
type Order struct {
	// Reason is required. Rate is the most per second, at least 0.001.
	Reason string
	Rate   float64
	// PauseAfter is after how many failed outcomes it pauses itself, 0 for never.
	PauseAfter int
}

// check returns an *OrderError for what is wrong with an order.
func (o *Order) check(id, by string) error {
	o.Reason = strings.TrimSpace(o.Reason)
	wrong := deadletters.CheckWords(records.Replay{ID: id, By: by, Reason: o.Reason})
	switch {
	case o.Reason == "":
		return &OrderError{"reason", "is required: it goes into the headers of what is sent, and into the log"}
	case wrong[deadletters.WordReason] != nil:
		return &OrderError{"reason", wrong[deadletters.WordReason].Error()}
	case wrong[deadletters.WordBy] != nil:
		return &OrderError{"by", wrong[deadletters.WordBy].Error()}
	case !(o.Rate >= 0.001) || math.IsInf(o.Rate, 0):
		return &OrderError{"rate", "must be at least 0.001 per second"}
	case o.PauseAfter < 0:
		return &OrderError{"pause_after", "must not be negative; 0 is never"}
	}
	return nil
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

	// Read of ToRead records, about, of a plan that is made: also of the one that is
	// made again before something is sent.
	Read   int64 `json:"read"`
	ToRead int64 `json:"to_read"`
	// Chosen are to be sent, Sent of them were, Left cannot be.
	Chosen  int                      `json:"chosen"`
	Sent    int                      `json:"sent"`
	Left    int                      `json:"left"`
	Skipped map[deadletters.Skip]int `json:"skipped"`

	n                     int64 // its row
	requests, deadLetters string
}

// Plan begins to plan a replay, and returns it in the state Planning. An *OrderError
// says what is wrong with the wish.
func (d *Desk) Plan(ctx context.Context, who Who, wish Wish) (Replay, error) {
	if err := wish.check(d.Topics.DeadLetters); err != nil {
		return Replay{}, err
	}
	text, err := json.Marshal(wish)
	if err != nil {
		return Replay{}, err
	}
	now := time.Now()
	id := deadletters.NewReplayID(now)
	e := entry(who, "plan", id, "", "")
	err = d.DB.Transact(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO desk_replays (id, state, made, made_by, wish, requests, dead_letters) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			id, Planning, moment(now), who.by(), string(text), d.Topics.Requests, d.Topics.DeadLetters); err != nil {
			return err
		}
		if err := d.prune(ctx, tx); err != nil {
			return err
		}
		return d.note(ctx, tx, e)
	})
	if err != nil {
		return Replay{}, err
	}
	d.log(e)
	d.begin()
	return d.Replay(ctx, id)
}

// What is kept of replays that have ended, or were never begun.
const (
	mostReplays = 1000
	mostSteps   = 500_000
)

// prune lets go of the oldest replays, and of the steps of old ones: mostSteps are
// kept, and beside them one plan that alone has more, until newer ones have as many. So
// the newest plan stays, however large it is: a plan without its steps cannot be
// started. None that goes on, or may go on, is touched.
func (d *Desk) prune(ctx context.Context, tx *sql.Tx) error {
	const old = `(SELECT n FROM (
			SELECT n, state, steps, sum(steps) OVER (ORDER BY n DESC) - steps AS newer, row_number() OVER (ORDER BY n DESC) AS place FROM desk_replays)
			WHERE state NOT IN ('planning', 'running', 'paused') AND (place > ?1 OR newer > ?2 OR newer + steps > ?2 AND steps <= ?2) AND steps > 0)`
	for _, statement := range []string{
		// Of plans that somebody has stopped while they were written.
		`DELETE FROM desk_steps WHERE replay IN (SELECT n FROM desk_replays WHERE steps = 0 AND state <> 'planning')`,
		`DELETE FROM desk_steps WHERE replay IN ` + old,
		`UPDATE desk_replays SET steps = 0,
			trouble = CASE WHEN state = 'planned' THEN 'its plan was let go of for newer ones; plan it again' ELSE trouble END,
			state = CASE WHEN state = 'planned' THEN 'unplanned' ELSE state END
			WHERE n IN ` + old,
		`DELETE FROM desk_replays WHERE n IN (SELECT n FROM (SELECT n, state, row_number() OVER (ORDER BY n DESC) AS place FROM desk_replays)
			WHERE state NOT IN ('planning', 'running', 'paused') AND place > ?1)`,
	} {
		if _, err := tx.ExecContext(ctx, statement, mostReplays, d.steps); err != nil {
			return err
		}
	}
	return nil
}

// Start starts a replay that is planned. Before it sends it plans again, and sends
// none but the letters that the plan had chosen: what was answered meanwhile is
// left out. A *StateError says that it is in another state, a *BusyError that
// another one is sending, an *OrderError what is wrong with the order.
func (d *Desk) Start(ctx context.Context, who Who, id string, o Order) error {
	by := who.by()
	if err := o.check(id, by); err != nil {
		return err
	}
	e := entry(who, "start", id, o.Reason, fmt.Sprintf("at most %g per second, pause after %d failed outcomes", o.Rate, o.PauseAfter))
	if o.PauseAfter == 0 {
		e.Detail = fmt.Sprintf("at most %g per second, never pause by itself", o.Rate)
	}
	return d.becomes(ctx, e, Running, func(r Replay) error {
		if r.Chosen == 0 && r.State == Planned {
			return &OrderError{"replay", "nothing of it can be sent; its steps say why"}
		}
		return nil
	}, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE desk_replays SET by = ?, reason = ?, rate = ?, pause_after = ?, started = ? WHERE id = ?`, by, o.Reason, o.Rate, o.PauseAfter, moment(e.At), id)
		return err
	}, Planned)
}

// Pause pauses a replay that runs: what is being written is finished, and is
// waited for a moment.
func (d *Desk) Pause(ctx context.Context, who Who, id string) error {
	err := d.becomes(ctx, entry(who, "pause", id, "", ""), Paused, nil, nil, Running)
	if err == nil {
		d.end(ctx, id, errPaused)
	}
	return err
}

// Resume goes on with one that is paused, under the same id, as Start does.
func (d *Desk) Resume(ctx context.Context, who Who, id string) error {
	return d.becomes(ctx, entry(who, "resume", id, "", ""), Running, nil, nil, Paused)
}

// Stop ends one for good, planned ones too. What was sent is sent.
func (d *Desk) Stop(ctx context.Context, who Who, id string) error {
	err := d.becomes(ctx, entry(who, "stop", id, "", ""), Stopped, nil, nil, Planning, Planned, Running, Paused)
	if err == nil {
		d.end(ctx, id, errStopped)
	}
	return err
}

// becomes brings a replay from one of some states to another, with the line of the
// log, and whatever more is written with it.
func (d *Desk) becomes(ctx context.Context, e Entry, state State, check func(Replay) error, more func(*sql.Tx) error, from ...State) error {
	d.starting.Lock()
	defer d.starting.Unlock()
	err := d.DB.Transact(ctx, func(tx *sql.Tx) error {
		r, err := replayOf(tx.QueryRowContext(ctx, selectReplays+` WHERE id = ?`, e.Of))
		if err != nil {
			return notFound(err, "replay "+e.Of)
		}
		may := false
		var want []string
		for _, s := range from {
			may = may || r.State == s
			want = append(want, string(s))
		}
		if !may {
			return &StateError{ID: e.Of, Is: r.State, Want: strings.Join(want, " or ")}
		}
		if check != nil {
			if err := check(r); err != nil {
				return err
			}
		}
		if state == Running {
			if err := d.free(ctx, tx, e.Of); err != nil {
				return err
			}
			// Whoever starts or resumes it has seen what has failed: failed counts that.
			if _, err := tx.ExecContext(ctx, `UPDATE desk_replays SET forgiven = '' WHERE id = ?`, e.Of); err != nil {
				return err
			}
		}
		ended := int64(0)
		if state == Stopped {
			ended = moment(e.At)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE desk_replays SET state = ?, trouble = '', ended = ? WHERE id = ?`, state, ended, e.Of); err != nil {
			return err
		}
		if more != nil {
			if err := more(tx); err != nil {
				return err
			}
		}
		return d.note(ctx, tx, e)
	})
	if err != nil {
		return err
	}
	d.log(e)
	d.begin()
	return nil
}

// free is a *BusyError where another replay sends than that of the id.
func (d *Desk) free(ctx context.Context, tx *sql.Tx, id string) error {
	if other := d.sender(); other != "" && other != id {
		return &BusyError{other}
	}
	var other string
	err := tx.QueryRowContext(ctx, `SELECT id FROM desk_replays WHERE state = ? AND id <> ?`, Running, id).Scan(&other)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return &BusyError{other}
}

// settles is the end of a job: its replay has come to another state, unless somebody
// has brought it to one meanwhile. It is written also when ctx has ended.
func (d *Desk) settles(ctx context.Context, r Replay, from, to State, trouble string) error {
	var told *Entry
	err := d.writeAnyway(ctx, func(ctx context.Context, tx *sql.Tx) error {
		ended := int64(0)
		if to == Done {
			ended = moment(time.Now())
		}
		done, err := tx.ExecContext(ctx, `UPDATE desk_replays SET state = ?, trouble = ?, ended = ? WHERE n = ? AND state = ?`, to, text(trouble), ended, r.n, from)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 || to != Paused {
			return err
		}
		e := entry(Who{}, "pause", r.ID, "", trouble)
		told = &e
		return d.note(ctx, tx, e)
	})
	if err == nil && told != nil {
		d.log(*told)
	}
	return err
}

const selectReplays = `SELECT n, id, state, trouble, made, made_by, wish, requests, dead_letters, by, reason, rate, pause_after, started, ended, chosen, sent, left_over, skipped FROM desk_replays`

// row is a row of the database.
type row interface{ Scan(to ...any) error }

func replayOf(row row) (r Replay, err error) {
	var made, started, ended int64
	var wish, skipped string
	err = row.Scan(&r.n, &r.ID, &r.State, &r.Trouble, &made, &r.MadeBy, &wish, &r.requests, &r.deadLetters, &r.By, &r.Reason, &r.Rate, &r.PauseAfter, &started, &ended, &r.Chosen, &r.Sent, &r.Left, &skipped)
	if err != nil {
		return r, err
	}
	r.Made, r.Started, r.Ended = timeOf(made), timeOf(started), timeOf(ended)
	if err := json.Unmarshal([]byte(wish), &r.Wish); err != nil {
		return r, fmt.Errorf("replay %s: its wish: %w", r.ID, err)
	}
	if err := json.Unmarshal([]byte(skipped), &r.Skipped); err != nil {
		return r, fmt.Errorf("replay %s: what it skips: %w", r.ID, err)
	}
	return r, nil
}

// seen is a replay with what its job says.
func (d *Desk) seen(r Replay) Replay {
	if j := d.job(r.ID); j != nil {
		r.Read, r.ToRead = j.read.Load(), j.toRead.Load()
		if r.Trouble == "" {
			r.Trouble = d.trouble(j)
		}
	}
	return r
}

// Replay returns one; a *MissingError where there is none.
func (d *Desk) Replay(ctx context.Context, id string) (Replay, error) {
	r, err := replayOf(d.DB.Read.QueryRowContext(ctx, selectReplays+` WHERE id = ?`, id))
	if err != nil {
		return Replay{}, d.DB.Explain(notFound(err, "replay "+id))
	}
	return d.seen(r), nil
}

// Replays are the last ones: those that go on first, then the newest.
func (d *Desk) Replays(ctx context.Context, limit int) ([]Replay, error) {
	rows, err := d.DB.Read.QueryContext(ctx, selectReplays+`
		ORDER BY CASE state WHEN 'running' THEN 0 WHEN 'paused' THEN 1 WHEN 'planning' THEN 2 ELSE 3 END, n DESC LIMIT ?`, limit)
	if err != nil {
		return nil, d.DB.Explain(err)
	}
	defer rows.Close()
	all := []Replay{}
	for rows.Next() {
		r, err := replayOf(rows)
		if err != nil {
			return nil, d.DB.Explain(err)
		}
		all = append(all, d.seen(r))
	}
	return all, d.DB.Explain(rows.Err())
}

// Step is one dead letter of a plan.
type Step struct {
	deadletters.Step
	// Sent is where its replay landed, nil where it was not sent, or is not yet.
	Sent *events.Source
	// Left is why it could not be sent though it was chosen.
	Left   deadletters.Skip
	Detail string
}

// Told is the step as a line of "deadletters replay --json".
func (s Step) Told() deadletters.Told {
	told := s.Step.Told()
	switch {
	case s.Sent != nil:
		return told.Sent(*s.Sent)
	case s.Left != "":
		return told.LeftFor(s.Left, s.Detail)
	}
	return told
}

// Steps are those of a replay in the order of the failures, chosen ones before
// skipped ones: limit of them behind the first skip. A *MissingError says that there
// is no such replay; of old ones no step may be left.
func (d *Desk) Steps(ctx context.Context, id string, limit, skip int) ([]Step, error) {
	r, err := d.Replay(ctx, id)
	if err != nil {
		return nil, err
	}
	rows, err := d.DB.Read.QueryContext(ctx, `SELECT step, landed_partition, landed_offset, left_why, detail FROM desk_steps WHERE replay = ? AND n >= ? ORDER BY n LIMIT ?`, r.n, skip, limit)
	if err != nil {
		return nil, d.DB.Explain(err)
	}
	defer rows.Close()
	all := []Step{}
	for rows.Next() {
		var s Step
		var step string
		var partition, offset *int64
		if err := rows.Scan(&step, &partition, &offset, &s.Left, &s.Detail); err != nil {
			return nil, d.DB.Explain(err)
		}
		if err := json.Unmarshal([]byte(step), &s.Step); err != nil {
			return nil, fmt.Errorf("replay %s: a step: %w", id, err)
		}
		if partition != nil && offset != nil {
			s.Sent = &events.Source{Topic: r.requests, Partition: int(*partition), Offset: *offset}
		}
		all = append(all, s)
	}
	return all, d.DB.Explain(rows.Err())
}
