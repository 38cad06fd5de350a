package desk

import (
	"context"
	"database/sql"
	"time"

	"github.com/closeorder/closeorder/internal/deadletters"
)

// Impatient has a desk say soon that Kafka is away. It is called before Run.
func (d *Desk) Impatient() { d.patience, d.silence = time.Second, 100*time.Millisecond }

// KeepSteps sets how many steps are kept of replays that are over.
func (d *Desk) KeepSteps(n int) { d.steps = n }

// KeepEntries sets how many entries of the log are kept of each kind.
func (d *Desk) KeepEntries(n int) { d.entries = n }

// MostEntries is how many are.
const MostEntries = mostEntries

// CarryLate carries a replay out as Run does that has just seen it running.
func (d *Desk) CarryLate(ctx context.Context, id string) error {
	j, working := d.take(ctx, id, Running)
	defer d.leave(id, j)
	return d.carry(working, j, id)
}

// PlanLate plans one as Run does that has just seen it being planned.
func (d *Desk) PlanLate(ctx context.Context, id string) error {
	j, working := d.take(ctx, id, Planning)
	defer d.leave(id, j)
	return d.plan(working, j, id)
}

// WriteAnyway is writeAnyway.
func (d *Desk) WriteAnyway(ctx context.Context, do func(context.Context, *sql.Tx) error) error {
	return d.writeAnyway(ctx, do)
}

// KeepPlan keeps a plan of a replay that is to be planned.
func (d *Desk) KeepPlan(ctx context.Context, id string, plan *deadletters.Plan) error {
	r, err := d.Replay(ctx, id)
	if err != nil {
		return err
	}
	return d.keepPlan(ctx, r, plan)
}

// Failed are the failed outcomes that count when a replay goes on, of those of a plan.
func (d *Desk) Failed(ctx context.Context, id string, of map[string]int) (map[string]int, error) {
	r, err := d.Replay(context.WithoutCancel(ctx), id)
	if err != nil {
		return nil, err
	}
	return d.failed(ctx, r, &deadletters.Plan{Failed: of})
}
