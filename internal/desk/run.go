package desk

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"golang.org/x/sync/errgroup"
)

// job is something that goes on in the background. What it asks of the database it
// asks also when its context has ended: an error of that is always one of the
// database.
type job struct {
	kind   State // Planning, Running, or auditing
	cancel context.CancelCauseFunc
	done   chan struct{}

	read, toRead atomic.Int64
	reading      atomic.Bool  // records are read, no more than that
	moved        atomic.Int64 // when the last one was read, as moment has it
	told         atomic.Int64 // when those who show it were told last
}

// auditing is the kind of a job that is an audit.
const auditing State = "audit"

// silence is Desk.silence.
const silence = 15 * time.Second

// trouble is what a job has to say while it works.
func (d *Desk) trouble(j *job) string {
	if since := time.Since(timeOf(j.moved.Load())); j.reading.Load() && since > d.silence {
		return fmt.Sprintf("Kafka has brought nothing for %v; see whether its brokers run; tried again until they answer", since.Round(time.Second))
	}
	return ""
}

// reads: a job begins to read. Its reader waits for an outage to end, and trouble says
// so until it has read all.
func (d *Desk) reads(j *job) (reader *kafka.Reader, done func()) {
	j.moved.Store(moment(time.Now()))
	j.reading.Store(true)
	patient := *d.Reader
	patient.Patience = 0
	return &patient, func() { j.reading.Store(false) }
}

// hasRead: n more records were read.
func (j *job) hasRead(n int, d *Desk) {
	now := moment(time.Now())
	j.read.Add(int64(n))
	j.moved.Store(now)
	if last := j.told.Load(); now-last > int64(250*time.Millisecond/time.Microsecond) && j.told.CompareAndSwap(last, now) {
		d.changed()
	}
}

// Reasons why a job ends before it is done.
var (
	errPaused  = errors.New("paused")
	errStopped = errors.New("stopped")
)

// plansAtOnce is how many plans are made at one time: each one reads all outcomes.
const plansAtOnce = 2

// Run goes on with what was going on when the console ended, and works until ctx
// ends: then it stops as a pause does, but what ran goes on the next time. The error
// is of the database. It leaves no goroutine behind.
func (d *Desk) Run(ctx context.Context) error {
	group, working := errgroup.WithContext(ctx)
	group.Go(func() error {
		slow := time.NewTicker(d.silence / 3) // silence is told by nobody
		defer slow.Stop()
		for {
			if err := d.look(working, group); err != nil && working.Err() == nil {
				return err
			}
			select {
			case <-d.wake:
			case <-slow.C:
				d.tellSilence()
			case <-working.Done():
				return nil
			}
		}
	})
	return group.Wait()
}

// look begins what the database says is to go on, and does not.
func (d *Desk) look(ctx context.Context, group *errgroup.Group) error {
	rows, err := d.DB.Read.QueryContext(ctx, `
		SELECT id, state FROM desk_replays WHERE state IN (?, ?)
		UNION ALL SELECT CAST(id AS TEXT), ? FROM desk_audits WHERE ended = 0`, Planning, Running, auditing)
	if err != nil {
		return d.DB.Explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var state State
		if err := rows.Scan(&id, &state); err != nil {
			return d.DB.Explain(err)
		}
		work := map[State]func(context.Context, *job, string) error{Planning: d.plan, Running: d.carry, auditing: d.audit}[state]
		if j, working := d.take(ctx, id, state); j != nil {
			group.Go(func() error {
				err := work(working, j, id)
				d.leave(id, j)
				return err
			})
		}
	}
	return d.DB.Explain(rows.Err())
}

// take takes on a job, nil where it is done already, or not to be done now.
func (d *Desk) take(ctx context.Context, id string, kind State) (*job, context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.jobs[id] != nil {
		return nil, nil
	}
	same := 0
	for _, j := range d.jobs {
		if j.kind == kind {
			same++
		}
	}
	if same == map[State]int{Planning: plansAtOnce, Running: 1, auditing: 1}[kind] {
		return nil, nil
	}
	j := &job{kind: kind, done: make(chan struct{})}
	ctx, j.cancel = context.WithCancelCause(ctx)
	d.jobs[id] = j
	return j, ctx
}

// leave is the end of a job. What it has left to do, or others had to wait for, is
// looked for.
func (d *Desk) leave(id string, j *job) {
	d.mu.Lock()
	delete(d.jobs, id)
	d.mu.Unlock()
	j.cancel(nil)
	close(j.done)
	d.begin()
}

// begin has Run look at what is to be done, and those who show it see what has
// changed.
func (d *Desk) begin() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
	d.changed()
}

// job is one that goes on, nil for none.
func (d *Desk) job(id string) *job {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.jobs[id]
}

// sender is the id of a replay that sends, or is about to end that; empty for none.
func (d *Desk) sender() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, j := range d.jobs {
		if j.kind == Running {
			return id
		}
	}
	return ""
}

// end ends a job and waits for it, a moment at most: what is being written is
// finished.
func (d *Desk) end(ctx context.Context, id string, why error) {
	j := d.job(id)
	if j == nil {
		return
	}
	j.cancel(why)
	patience := time.NewTimer(2 * time.Second)
	defer patience.Stop()
	select {
	case <-j.done:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// tellSilence tells those who show it that a job waits for Kafka.
func (d *Desk) tellSilence() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.jobs {
		if d.trouble(j) != "" {
			d.changed()
			return
		}
	}
}
