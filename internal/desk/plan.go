package desk

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/moments"
)

// stepsAtOnce are written in one transaction: so that nobody waits for them long.
const stepsAtOnce = 500

// make makes a plan of a replay: of all that it wishes, or again of those letters
// that it had chosen.
func (d *Desk) makePlan(ctx context.Context, j *job, r Replay, again map[events.Source]bool) (*deadletters.Plan, error) {
	o := deadletters.Options{
		Filter: r.Wish.Filter, Limit: r.Wish.Limit, MaxReplays: r.Wish.MaxReplays, Now: time.Now(),
		OnTotal: func(n int64) { j.toRead.Add(n) },
		OnRead:  func(n int) { j.hasRead(n, d) },
		OnHeld: func(topic string) {
			d.Log.WithField("topic", topic).Info("an open transaction hides what is written: its end is waited for, ten seconds at most")
		},
	}
	switch {
	case again != nil:
		o.ReplayID, o.Only, o.Limit = r.ID, again, 0
	case len(r.Wish.Only) > 0:
		o.Only = make(map[events.Source]bool, len(r.Wish.Only))
		for _, at := range r.Wish.Only {
			o.Only[at] = true
		}
	}
	reader, done := d.reads(j)
	defer done()
	return deadletters.Make(ctx, reader, d.Topics, o)
}

// plan makes the plan of a replay that is to be planned.
func (d *Desk) plan(ctx context.Context, j *job, id string) error {
	r, err := d.Replay(context.WithoutCancel(ctx), id)
	if err != nil {
		return err
	}
	if r.State != Planning {
		return nil // somebody has stopped it before there was a job to end
	}
	if r.deadLetters != d.Topics.DeadLetters || r.requests != d.Topics.Requests {
		return d.settles(ctx, r, Planning, Unplanned, otherTopics(r))
	}
	plan, err := d.makePlan(ctx, j, r, nil)
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // stopped, or the console ends and plans again
	case err != nil:
		return d.settles(ctx, r, Planning, Unplanned, err.Error())
	}
	return d.keepPlan(ctx, r, plan)
}

func otherTopics(r Replay) string {
	return "it was planned for the topics " + r.deadLetters + " and " + r.requests + ", and the console has others now; plan it again"
}

// keepPlan writes the steps of a plan, chosen ones first, and then that it is
// planned. What is left of a plan that was not finished goes.
func (d *Desk) keepPlan(ctx context.Context, r Replay, plan *deadletters.Plan) error {
	if err := d.writeAnyway(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM desk_steps WHERE replay = ?`, r.n)
		return err
	}); err != nil {
		return err
	}
	skipped, err := json.Marshal(plan.Skipped())
	if err != nil {
		return err
	}
	steps := plan.Steps
	slices.SortStableFunc(steps, func(a, b deadletters.Step) int {
		return cmp.Compare(min(1, len(a.Skip)), min(1, len(b.Skip)))
	})
	n := 0
	for some := range slices.Chunk(steps, stepsAtOnce) {
		if ctx.Err() != nil {
			return nil
		}
		if err := d.writeAnyway(ctx, func(ctx context.Context, tx *sql.Tx) error {
			insert, err := tx.PrepareContext(ctx, `INSERT INTO desk_steps (replay, n, chosen, at_partition, at_offset, step) VALUES (?, ?, ?, ?, ?, ?)`)
			if err != nil {
				return err
			}
			defer insert.Close()
			for _, step := range some {
				step.FailedAt = moments.WritableTime(step.FailedAt)
				text, err := json.Marshal(step)
				if err != nil {
					return err
				}
				if _, err := insert.ExecContext(ctx, r.n, n, step.Skip == "", step.At.Partition, step.At.Offset, string(text)); err != nil {
					return err
				}
				n++
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return d.writeAnyway(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE desk_replays SET state = ?, steps = ?, chosen = ?, skipped = ? WHERE n = ? AND state = ?`, Planned, n, plan.Replays, string(skipped), r.n, Planning); err != nil {
			return err
		}
		return d.prune(ctx, tx)
	})
}
