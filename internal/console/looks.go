package console

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/changes"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/status"
)

const (
	// lookPause is the shortest time between two looks, and lookShare times what the
	// last one took the shortest, too: a backlog of a million is not read all the time.
	lookPause = 2 * time.Second
	lookShare = 9
	// wantedFor is for how long after somebody asked looks are taken.
	wantedFor = 10 * time.Second
	// firstLook is how long a page waits for one that is not too old.
	firstLook = 3 * time.Second
	// stuckAfter is after how long without an answer of Kafka's a look is given up.
	stuckAfter = 10 * time.Second
	// mostPiles is how many piles of what waits are listed.
	mostPiles = 50

	// sampleEvery is how often the backlog is measured, and samplesFor how long that
	// is remembered.
	sampleEvery = 10 * time.Second
	samplesFor  = time.Hour
)

// Sample is how large the backlog was at a moment; what could not be known is left
// out. As JSON its names are stable.
type Sample struct {
	At time.Time `json:"at"`
	// Lag are the offsets of the requests topic that are not finished, Waiting those
	// of the retry topics.
	Lag     *int64 `json:"lag,omitempty"`
	Waiting *int64 `json:"waiting,omitempty"`
	// DueNow and InFlight are what the workers say of themselves, all together.
	DueNow   *int64 `json:"due_now,omitempty"`
	InFlight *int64 `json:"in_flight,omitempty"`
}

// looks are looks at the whole, one for all viewers, taken while somebody wants to
// see them; and samples of the backlog, taken always, which costs little. It is safe
// for concurrent use.
type looks struct {
	scope status.Scope
	look  func(context.Context, status.Scope) (*status.Report, error)
	// asked wakes run.
	asked chan struct{}

	mu      sync.Mutex
	running bool
	wanted  time.Time
	is      lookedAt
	next    time.Time // the earliest time of the next look
	sampled time.Time
	samples []Sample
	news    changes.Counter // of looks
}

// lookedAt is the last look.
type lookedAt struct {
	// Report is the last one that succeeded, nil for none.
	Report *status.Report
	// Ended is when it was there, Took how long it took.
	Ended time.Time
	Took  time.Duration
	// Trouble is why there is no newer one, empty where the last one succeeded.
	Trouble string
}

func newLooks(cfg Config) *looks {
	return &looks{
		scope: status.Scope{Reader: cfg.Reader, Group: cfg.Group, Topics: cfg.Topics, Admins: cfg.Workers, Piles: mostPiles},
		look:  status.Look, asked: make(chan struct{}, 1),
	}
}

// run takes looks and samples until ctx ends.
func (l *looks) run(ctx context.Context) {
	l.mu.Lock()
	l.running = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.running = false
		l.mu.Unlock()
	}()
	for ctx.Err() == nil {
		whole, wait := l.due(time.Now())
		if wait <= 0 {
			l.take(ctx, whole)
			continue
		}
		select {
		case <-ctx.Done():
		case <-l.asked:
		case <-time.After(wait):
		}
	}
}

// due says what is to be done next, a whole look or a sample, and when.
func (l *looks) due(now time.Time) (whole bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait = l.sampled.Add(sampleEvery).Sub(now)
	if now.Sub(l.wanted) > wantedFor {
		return false, wait
	}
	if next := l.next.Sub(now); next <= 0 || next < wait {
		return true, next
	}
	return false, wait
}

// errStuck is why a look is given up.
var errStuck = errors.New("Kafka does not answer within " + stuckAfter.String())

// take takes one look, or a sample alone.
func (l *looks) take(ctx context.Context, whole bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stuck := time.AfterFunc(stuckAfter, func() { cancel(errStuck) })
	defer stuck.Stop()
	scope, began := l.scope, time.Now()
	scope.Since, scope.LagOnly = began, !whole // what was answered stands in the index
	scope.OnTotal = func(int64) { stuck.Reset(stuckAfter) }
	scope.OnRead = func(int) { stuck.Reset(stuckAfter) }
	report, err := l.look(ctx, scope)
	if err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), errStuck) {
		return // the console ends
	}
	if errors.Is(err, context.Canceled) {
		err = errStuck
	}
	l.put(began, time.Now(), whole, report, err)
}

// put keeps what a look has shown.
func (l *looks) put(began, ended time.Time, whole bool, report *status.Report, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := ended.Sub(began)
	switch {
	case err != nil:
		l.is.Trouble = err.Error()
	case whole:
		l.is = lookedAt{Report: report, Ended: ended, Took: took}
	default:
		l.is.Trouble = ""
	}
	if whole && err == nil {
		l.next = ended.Add(max(lookPause, lookShare*took))
	} else if whole {
		l.next = ended.Add(lookPause) // it waited, and read nothing
	}
	if whole || err != nil {
		l.news.Change()
	}
	if ended.Sub(l.sampled) >= sampleEvery {
		l.sampled = ended
		l.samples = append(slices.DeleteFunc(l.samples, func(s Sample) bool { return ended.Sub(s.At) > samplesFor }), sampleOf(ended, l.scope.Topics, report))
	}
}

// sampleOf takes the sizes of the backlog from a report, nil for none.
func sampleOf(at time.Time, topics config.Topics, r *status.Report) Sample {
	s := Sample{At: at.UTC()}
	if r == nil {
		return s
	}
	s.Lag, s.Waiting = new(int64), new(int64)
	for _, t := range r.Topics {
		if t.Topic == topics.Requests {
			*s.Lag += t.Lag
		} else {
			*s.Waiting += t.Lag
		}
	}
	s.DueNow, s.InFlight = said(r)
	return s
}

// said is what the workers say of themselves, all together; nil where none does.
func said(r *status.Report) (dueNow, inFlight *int64) {
	for _, m := range r.Members {
		if m.Says == nil || m.Says.Stuck != "" {
			continue
		}
		if dueNow == nil {
			dueNow, inFlight = new(int64), new(int64)
		}
		*dueNow += m.Says.State.DueNow
		*inFlight += int64(m.Says.State.Lanes.InFlight)
	}
	return dueNow, inFlight
}

// latest is the last look, and that somebody wants to see it. Where there is none,
// or an old one, it waits a moment for the next.
func (l *looks) latest(ctx context.Context) (lookedAt, []Sample) {
	now := time.Now()
	l.mu.Lock()
	l.wanted = now
	old := l.running && now.Sub(l.is.Ended) > wantedFor+(lookShare+1)*l.is.Took && l.is.Trouble == ""
	version := l.news.Version()
	l.mu.Unlock()
	select {
	case l.asked <- struct{}{}:
	default:
	}
	if old {
		ctx, cancel := context.WithTimeout(ctx, firstLook)
		defer cancel()
		_, _ = l.Changed(ctx, version) // what there is, is shown
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.is, slices.Clone(l.samples)
}

// Changed waits until there is a look after a version, and returns the new one. The
// error is the cause of ctx.
func (l *looks) Changed(ctx context.Context, after uint64) (uint64, error) {
	return l.news.Changed(ctx, after)
}
