package desk

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/moments"
	"github.com/closeorder/closeorder/internal/records"
)

// patience is Desk.patience, as the command's; what is being written when a replay is
// paused gets so much time too.
const patience = 40 * time.Second

// carry carries a replay out that runs: for the first time, again, or after the
// console was killed in the middle. It plans again each time, and what stands in the
// topics goes before what the database says: a letter that the same replay has sent
// is found in the requests topic, whether the database knows of it or not, and is
// not sent once more. One that the database has as sent, since all in-sync replicas
// had it, is not sent again either, also where an open transaction of somebody else
// hides it now.
func (d *Desk) carry(ctx context.Context, j *job, id string) error {
	r, err := d.Replay(context.WithoutCancel(ctx), id)
	if err != nil {
		return err
	}
	if r.State != Running {
		return nil // somebody has paused or stopped it before there was a job to end
	}
	if r.deadLetters != d.Topics.DeadLetters || r.requests != d.Topics.Requests {
		return d.settles(ctx, r, Running, Paused, otherTopics(r))
	}
	m, err := d.marks(context.WithoutCancel(ctx), r)
	if err != nil {
		return err
	}
	chosen := make(map[events.Source]bool, len(m.steps))
	for at := range m.steps {
		chosen[at] = true
	}
	plan, err := d.makePlan(ctx, j, r, chosen)
	if ctx.Err() != nil {
		return nil // paused, stopped, or the console ends: then it goes on the next time
	}
	if err != nil {
		return d.settles(ctx, r, Running, Paused, err.Error())
	}
	m.compare(plan)
	if err := m.flush(ctx); err != nil {
		return err
	}
	failed, err := d.failed(ctx, r, plan)
	if err != nil {
		return err
	}
	sending, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	finish := m.keep(ctx, cancel)
	failure := deadletters.Run{
		PauseAfter: r.PauseAfter, Failed: failed, Log: d.Log, Sending: deadletters.Sending{
			Reader: d.Reader, Writer: d.Writer, Topics: d.Topics, Patience: d.patience, Rate: r.Rate,
			Replay: records.Replay{ID: r.ID, By: r.By, Reason: r.Reason},
			OnSent: func(s deadletters.Step, landed events.Source) { m.sent(s.At, landed) },
			OnLeft: func(s deadletters.Step, reason deadletters.Skip, err error) { m.left(s.At, reason, err.Error()) },
		},
	}.Do(sending, plan)
	if err := finish(); err != nil {
		return err
	}
	switch {
	case failure == nil:
		return d.settles(ctx, r, Running, Done, "")
	case ctx.Err() != nil:
		return nil
	}
	trouble := failure.Error()
	if _, much := errors.AsType[*deadletters.PausedError](failure); !much {
		trouble += "; see to it, then resume: what was sent is not sent again"
	}
	return d.settles(ctx, r, Running, Paused, trouble)
}

// failed are the failed outcomes of a replay that count when it goes on. Those that
// were there when somebody started or resumed it do not, as somebody has seen them;
// those since do, also when they came in while no console ran. In the database they are
// empty until they are counted for the first time since then: becomes empties them.
func (d *Desk) failed(ctx context.Context, r Replay, plan *deadletters.Plan) (map[string]int, error) {
	forgiven := map[string]int{}
	err := d.writeAnyway(ctx, func(within context.Context, tx *sql.Tx) error {
		var text string
		if err := tx.QueryRowContext(within, `SELECT forgiven FROM desk_replays WHERE n = ?`, r.n).Scan(&text); err != nil {
			return err
		}
		if text != "" {
			return json.Unmarshal([]byte(text), &forgiven)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it is paused: who has resumed it meanwhile may have seen more
		}
		forgiven = plan.Failed
		b, err := json.Marshal(forgiven)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(within, `UPDATE desk_replays SET forgiven = ? WHERE n = ?`, string(b), r.n)
		return err
	})
	failed := map[string]int{}
	for code, n := range plan.Failed {
		if n > forgiven[code] {
			failed[code] = n - forgiven[code]
		}
	}
	return failed, err
}

// marks are what became of the letters that a replay has chosen, in memory, and from
// there in the database: in batches, behind the sending, which does not wait for
// them. What was not written when the process was killed is found in the topics.
type marks struct {
	desk *Desk
	row  int64 // of the replay

	mu      sync.Mutex
	steps   map[events.Source]*mark
	changed map[events.Source]bool
	// landed and leftOver count the steps that were sent, and that cannot be.
	landed, leftOver int
	some             chan struct{} // something has changed
}

// mark is what became of one letter.
type mark struct {
	n      int    // of its step
	failed string // when the letter had failed, as the step has it
	landed *events.Source
	left   deadletters.Skip
	detail string
}

// marks reads those of a replay.
func (d *Desk) marks(ctx context.Context, r Replay) (*marks, error) {
	m := &marks{desk: d, row: r.n, steps: map[events.Source]*mark{}, changed: map[events.Source]bool{}, some: make(chan struct{}, 1)}
	rows, err := d.DB.Read.QueryContext(ctx, `SELECT n, at_partition, at_offset, landed_partition, landed_offset, left_why, detail, coalesce(json_extract(step, '$.FailedAt'), '') FROM desk_steps WHERE replay = ? AND chosen = 1`, r.n)
	if err != nil {
		return nil, d.DB.Explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		at := events.Source{Topic: r.deadLetters}
		s := &mark{}
		var partition, offset *int64
		if err := rows.Scan(&s.n, &at.Partition, &at.Offset, &partition, &offset, &s.left, &s.detail, &s.failed); err != nil {
			return nil, d.DB.Explain(err)
		}
		if partition != nil && offset != nil {
			s.landed = &events.Source{Topic: r.requests, Partition: int(*partition), Offset: *offset}
			m.landed++
		}
		if s.left != "" {
			m.leftOver++
		}
		m.steps[at] = s
	}
	return m, d.DB.Explain(rows.Err())
}

// compare brings the marks and a plan that was made anew together: what the topics
// say was sent is marked, what cannot be sent any more is left, and what is marked
// as sent is not sent again.
func (m *marks) compare(plan *deadletters.Plan) {
	there := make(map[events.Source]bool, len(plan.Steps))
	for i := range plan.Steps {
		s := &plan.Steps[i]
		there[s.At] = true
		if at, sent := plan.Landed[s.At]; sent {
			m.sent(s.At, at)
			continue
		}
		if m.steps[s.At].landed != nil {
			if s.Skip == "" {
				s.Skip, s.Why = deadletters.Replayed, "this very replay has sent it"
				plan.Replays--
			}
			continue
		}
		if failed, err := time.Parse(time.RFC3339Nano, m.steps[s.At].failed); err == nil && !failed.Equal(moments.WritableTime(s.FailedAt)) {
			if s.Skip == "" {
				plan.Replays--
			}
			s.Skip, s.Why = deadletters.Deleted, "another dead letter stands in its place, which nobody has chosen: the topic was made anew since the plan was made"
		}
		m.left(s.At, s.Skip, s.Why)
	}
	for at, s := range m.steps {
		if !there[at] && s.landed == nil {
			m.left(at, deadletters.Deleted, "the dead letter was deleted since the plan was made")
		}
	}
}

// sent: the replay of a letter has landed there.
func (m *marks) sent(at, landed events.Source) {
	m.change(at, func(s *mark) bool {
		same := s.landed != nil && *s.landed == landed
		s.landed, s.left, s.detail = &landed, "", ""
		return !same
	})
}

// left: it cannot be sent, for a reason; empty: it can be.
func (m *marks) left(at events.Source, reason deadletters.Skip, detail string) {
	m.change(at, func(s *mark) bool {
		same := s.left == reason && s.detail == detail
		s.left, s.detail = reason, detail
		return !same
	})
}

func (m *marks) change(at events.Source, do func(*mark) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.steps[at]
	m.count(s, -1)
	if do(s) {
		m.changed[at] = true
		select {
		case m.some <- struct{}{}:
		default:
		}
	}
	m.count(s, 1)
}

// count is called with mu held.
func (m *marks) count(s *mark, by int) {
	if s.landed != nil {
		m.landed += by
	}
	if s.left != "" {
		m.leftOver += by
	}
}

// between is how long marks are gathered before they are written.
const between = 100 * time.Millisecond

// keep writes marks as they come, until finish is called, which writes the rest and
// returns the error of the database. That ends the sending, too.
func (m *marks) keep(ctx context.Context, cancel context.CancelCauseFunc) (finish func() error) {
	over, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-m.some:
			case <-over:
				done <- m.flush(ctx)
				return
			}
			if err := m.flush(ctx); err != nil {
				cancel(err)
				done <- err
				return
			}
			pause := time.NewTimer(between)
			select {
			case <-pause.C:
			case <-over:
				pause.Stop()
			}
		}
	}()
	return func() error { close(over); return <-done }
}

// flush writes what has changed, also when ctx has ended.
func (m *marks) flush(ctx context.Context) error {
	for {
		m.mu.Lock()
		batch := make([]mark, 0, min(len(m.changed), stepsAtOnce))
		for at := range m.changed {
			if len(batch) == stepsAtOnce {
				break
			}
			delete(m.changed, at)
			batch = append(batch, *m.steps[at])
		}
		landed, leftOver := m.landed, m.leftOver
		m.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		if err := m.desk.writeAnyway(ctx, func(ctx context.Context, tx *sql.Tx) error {
			update, err := tx.PrepareContext(ctx, `UPDATE desk_steps SET landed_partition = ?, landed_offset = ?, left_why = ?, detail = ? WHERE replay = ? AND n = ?`)
			if err != nil {
				return err
			}
			defer update.Close()
			for _, s := range batch {
				var partition, offset any
				if s.landed != nil {
					partition, offset = s.landed.Partition, s.landed.Offset
				}
				if _, err := update.ExecContext(ctx, partition, offset, s.left, text(s.detail), m.row, s.n); err != nil {
					return err
				}
			}
			_, err = tx.ExecContext(ctx, `UPDATE desk_replays SET sent = ?, left_over = ? WHERE n = ?`, landed, leftOver, m.row)
			return err
		}); err != nil {
			return err
		}
		m.desk.changed()
	}
}
