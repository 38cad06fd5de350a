// Package consumer is the way of a close request through Kafka: it fetches
// requests as a member of a consumer group, has each one closed, publishes
// what came of it and commits, so that nothing is lost and almost nothing is
// done twice. It knows Kafka and nothing of XML, HTTP or WeChat Pay.
//
//	fetch -> ledger: open -> lane of the order -> Closer -> settle: publish, acks=all -> ledger: finished -> commit
//
// Each arrow has a file: fetch.go, ledger.go, lanes.go, settle.go,
// publish.go, commit.go. Who owns which partition is told by member.go, and
// carried out by assignment.go. metadata.go is what a commit remembers beside
// its offset. Requests that wait: gate.go while the gateway is silent, holds.go
// and wait.go while it refuses a merchant, retry.go for everything else. age.go
// is how old an order surely is.
package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus"
)

// Topics names the topics of a worker. All are required.
type Topics struct {
	Requests    string
	Outcomes    string
	DeadLetters string
	// Retries are the retry topics, the shortest delay first; at least one.
	// Each should have as many partitions as Requests: then one member has all
	// records of an order.
	Retries []Tier
}

// Config is what a [Worker] is made of. It has no defaults: a zero is a zero,
// or refused where it makes no sense.
type Config struct {
	Kafka Kafka
	// Group is the consumer group.
	Group string
	// InstanceID makes the membership static (group.instance.id): a restart
	// within SessionTimeout moves no partition. It must be unique in the group.
	InstanceID string
	// SessionTimeout is how long a member may be silent before its partitions
	// go to others, at least 1 s.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long a rebalance waits for a member, at least 1 s;
	// half of it is the time that calls in flight get to finish.
	RebalanceTimeout time.Duration
	// Grace is how long calls in flight may go on after a stop; 0 cuts them off
	// at once, and the next owner makes them again.
	Grace time.Duration
	// MaxInFlight is the number of calls at the same time, at least 1.
	MaxInFlight int
	// MinOrderAge is how old an order must be before it is closed, when the
	// request says when it was created. 0 switches it off.
	MinOrderAge time.Duration

	Topics Topics
	Closer Closer
	Log    logrus.FieldLogger
	// Now is the clock by which requests fall due, expire and are too young;
	// nil for time.Now. What must not jump (leases, probes, pauses) goes by the
	// process's own.
	Now func() time.Time
}

// Worker serves close requests. Make one with [New].
type Worker struct {
	closer           Closer
	topics           Topics
	grace            time.Duration
	rebalanceTimeout time.Duration
	minOrderAge      time.Duration
	retries          tiers
	log              logrus.FieldLogger
	now              func() time.Time
	cfg              Config

	// Made by Run.
	cluster   *cluster
	lanes     *lanes
	publisher *publisher
	committer *committer
	holds     *holds
	placed    *placements
	clockNews news
	trouble   trouble
	life      context.Context // ends when Run is over; parent of all partitions
	wg        sync.WaitGroup
}

// New checks cfg; nothing is dialled. The error names every mistake.
func New(cfg Config) (*Worker, error) {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("consumer: "+format, args...))
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	need(len(cfg.Kafka.Brokers) > 0, "no brokers")
	need(cfg.Group != "", "no group")
	need(cfg.SessionTimeout >= time.Second, "session time-out is %v, want 1s or more", cfg.SessionTimeout)
	need(cfg.RebalanceTimeout >= time.Second, "rebalance time-out is %v, want 1s or more", cfg.RebalanceTimeout)
	need(cfg.Grace >= 0, "grace is %v, want 0s or more", cfg.Grace)
	need(cfg.MaxInFlight >= 1, "max in flight is %d, want 1 or more", cfg.MaxInFlight)
	need(cfg.Topics.Requests != "" && cfg.Topics.Outcomes != "" && cfg.Topics.DeadLetters != "", "a topic has no name: %+v", cfg.Topics)
	need(len(cfg.Topics.Retries) > 0, "no retry topics")
	for i, r := range cfg.Topics.Retries {
		need(r.Topic != "" && r.Delay > 0 && (i == 0 || r.Delay > cfg.Topics.Retries[i-1].Delay), "retry topics must have names and rising delays: %+v", cfg.Topics.Retries)
	}
	need(cfg.MinOrderAge >= 0, "min order age %v is negative", cfg.MinOrderAge)
	need(cfg.Closer != nil, "no Closer")
	need(cfg.Log != nil, "no Log")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Worker{
		closer: cfg.Closer, topics: cfg.Topics, grace: cfg.Grace, rebalanceTimeout: cfg.RebalanceTimeout,
		minOrderAge: cfg.MinOrderAge, retries: cfg.Topics.Retries, log: cfg.Log, now: cfg.Now, cfg: cfg,
	}, nil
}

// Run joins the group and serves requests until ctx ends. Then it starts no
// more calls, gives those in flight up to Grace to finish, publishes and
// commits what is finished, leaves the group and returns nil. It returns an
// error only for what no retry can heal; a cluster that is away is waited for.
// It leaves no goroutine behind. Call it once.
func (w *Worker) Run(ctx context.Context) error {
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	w.life = life
	sources := []string{w.topics.Requests}
	for _, r := range w.retries {
		sources = append(sources, r.Topic)
	}
	sinks := []string{w.topics.Outcomes, w.topics.DeadLetters}
	w.cluster = openCluster(w.cfg.Kafka, slices.Concat(sinks, sources))
	m := &member{
		cluster: w.cluster, group: w.cfg.Group, instanceID: w.cfg.InstanceID,
		topics: sources, needs: sinks,
		session: w.cfg.SessionTimeout, rebalance: w.cfg.RebalanceTimeout, log: w.log,
	}
	w.lanes = newLanes(w.cfg.MaxInFlight, m.alive, w.closer.Alive, w.log)
	w.holds = newHolds(w.log)
	w.placed = newPlacements(w.topics.Requests, w.log)
	w.lanes.call, w.lanes.unasked = w.call, w.unasked
	m.renewed = w.lanes.poke
	w.publisher = newPublisher(w.cluster, m.alive, w.log)
	w.committer = newCommitter(w.cluster, w.cfg.Group, w.log)
	w.wg.Go(func() { w.committer.run(life) })
	w.wg.Go(func() { w.succeedProbers(life) })

	own := &assignment{worker: w, parts: make(map[place]*partition), warned: make(map[string]bool)}
	err := m.run(ctx, own)

	// Backwards: no partition is owned any more, so no call starts, those in
	// flight are cut off, and what they would publish is fenced off.
	end(errStopped)
	w.lanes.gate.stop()
	w.lanes.calls.Wait()
	w.publisher.close()
	w.cluster.close()
	w.wg.Wait()
	return err
}

// serve reads one partition from its committed offset on, until it is lost or
// the worker stops.
func (w *Worker) serve(p *partition) {
	log := w.log.WithFields(logrus.Fields{"topic": p.topic, "partition": p.id})
	retry := newPause(50*time.Millisecond, 2*time.Second)
	from, err := w.committer.startOf(p.intake, p.place)
	for ; err != nil; from, err = w.committer.startOf(p.intake, p.place) {
		if p.intake.Err() != nil {
			return
		}
		log.WithError(err).Warn("cannot find out where to begin: trying again")
		if retry.wait(p.intake) != nil {
			return
		}
	}
	above, err := decodeMetadata(p.topic, p.id, from.offset, from.metadata)
	if err != nil {
		log.WithError(err).WithField("offset", from.offset).Warn("commit metadata ignored: what it may have remembered is done again")
	}
	p.begin(from.offset, above)
	f := &fetcher{cluster: w.cluster, partition: p, take: w.take, moved: w.committer.touch, trouble: &w.trouble, log: log}
	f.run(from.offset)
}

// take decodes a record and sends it on its way, now or when it is due.
func (w *Worker) take(t *task) {
	t.taken = time.Now()
	var retry records.Retry
	if t.partition.topic != w.topics.Requests {
		var err error
		if retry, err = t.unpack(); err != nil {
			w.reject(t, "not a retry record: "+err.Error())
			return
		}
		if !t.partition.claim(t) {
			// A produce that was tried again has written the record twice,
			// and the other copy is still to be served here.
			w.finish(t)
			return
		}
	}
	req, err := events.DecodeRequest(t.msg)
	t.req = req
	w.placed.look(t)
	if err != nil {
		w.reject(t, err.Error())
		return
	}
	wait := min(retry.DueAt.Sub(w.now()), w.retries.delayOf(t.partition.topic))
	switch t.waits = scopeOf(retry.WaitsFor, req); {
	case t.waits != Scope{}:
		t.climbed = w.retries.index(t.partition.topic) + 1
		w.await(t, wait)
	case wait > 0:
		t.partition.after(wait, t, w.enter)
	default:
		w.enter(t)
	}
}

// enter lets a request wait for its turn.
func (w *Worker) enter(t *task) {
	_, refused := w.closer.Refuse(t.req)
	t.noCall = refused || t.rejected != ""
	w.lanes.add(t)
}

// reject sends a record that can never work the same way as the others, so
// that a drain ends although such records keep coming.
func (w *Worker) reject(t *task, why string) {
	t.rejected, t.noCall = why, true
	w.lanes.add(t)
}

// unasked settles a request that needs no call, and returns false where it needs
// one: its merchant has become known, say. It waits for no gateway, and the
// merchants are those of this moment.
func (w *Worker) unasked(t *task) (settled bool) {
	defer func() {
		if settled {
			w.holds.leave(t)
		}
	}()
	if t.rejected != "" {
		w.settle(t, Answer{Disposition: Failed, Code: events.CodeInvalidRequest, Message: t.rejected})
		return true
	}
	a, refused := w.closer.Refuse(t.req)
	if !refused {
		return false
	}
	w.warnOfClock(t)
	now := w.now()
	t.expired = t.expiredAt(now)
	if !t.expired && w.early(t, now) {
		return true
	}
	w.settle(t, a)
	return true
}

// early puts a request off that may not be served yet, and returns true then.
func (w *Worker) early(t *task, now time.Time) bool {
	until, code := w.waitFor(t)
	if !until.After(now) {
		return false
	}
	w.postpone(t, Answer{Code: code, Message: "waits until " + until.UTC().Format(time.RFC3339)}, until)
	return true
}

// call has one request closed and settles the answer. The slot is free again
// when the answer is in, not when its outcome is acknowledged.
func (w *Worker) call(ctx context.Context, t *task, leave pass) {
	again := w.attempt(ctx, t, leave)
	if !again {
		w.holds.leave(t)
	}
	w.lanes.finished(t, again)
}

// expiredAt says whether expires_at has passed.
func (t *task) expiredAt(now time.Time) bool {
	return !t.req.ExpiresAt.IsZero() && !now.Before(t.req.ExpiresAt)
}

// attempt decides whether a request may be served now, has it closed and
// settles the answer. It returns true when the request keeps its place
// instead: it was cut off, or nobody can be served at present.
func (w *Worker) attempt(ctx context.Context, t *task, leave pass) (again bool) {
	w.warnOfClock(t)
	now := w.now()
	t.expired = t.expiredAt(now)
	closeOrAsk := w.closer.Close
	if t.expired {
		// Not closed any more, but asked about: this may be the repeat of a
		// request that was closed in time, by a worker that died before it
		// could commit (G2).
		closeOrAsk = w.closer.Ask
	} else {
		if w.early(t, now) {
			leave.unused()
			return false
		}
		if w.handOver(t) {
			leave.unused()
			t.rest = w.soonest(t, 2*probeEvery)
			return true
		}
		if scope, why, held := w.holds.held(t, time.Now()); held {
			leave.unused()
			return w.wait(t, Answer{Disposition: Held, Code: "MERCHANT_HELD", Message: why, Scope: scope})
		}
	}
	req := w.aged(t)
	a := closeOrAsk(ctx, req, t.attempts > 0)
	answered := func() {
		leave.answered(req)
		// A query says nothing of what closes are refused for, and a forged
		// reply nothing at all.
		if !t.expired && !a.Unproven {
			w.resume(w.holds.served(t.req, time.Now()))
		}
	}
	switch a.Disposition {
	case Interrupted:
		leave.unused()
		t.attempts += a.Attempts
		return true
	case Unanswered:
		if a.Attempts == 0 { // no call could be made: that says nothing
			leave.unused()
			return true
		}
		switch leave.unanswered(ctx, req, a.LastCall) {
		case nobodyKnows:
			// It may be its order, which others must not wait for.
			w.holds.leave(t)
			fallthrough
		case cutOff, itIsTheGateway:
			t.attempts += a.Attempts // calls were made: the next answer is in doubt
			return true
		case itIsTheMerchant:
			w.holds.unanswered(t, time.Now())
			if !t.expired {
				a.Disposition, a.Scope = Held, Scope{MchID: t.req.MchID}
				return w.wait(t, a)
			}
		case itIsTheOrder:
			w.resume(w.holds.heard(t.req.MchID, time.Now()))
		}
		if a.NoTry {
			w.postpone(t, a, w.now().Add(max(a.RetryAfter, time.Second)))
			return false
		}
	case Held:
		if a.Attempts > 0 {
			leave.answered(req)
		} else {
			leave.unused() // the merchant lacks what it takes to call
		}
		if w.holds.blames(t, a.Scope) {
			// It costs its order a try, like any answer that is not for good.
			a.Disposition, t.waits = Later, Scope{}
			break
		}
		w.holds.refused(t, a, time.Now())
		return w.wait(t, a)
	case Later:
		if a.Attempts == 0 {
			leave.unused()
		} else {
			answered()
		}
		if a.Attempts == 0 && t.partition.roomy() {
			// The merchant's own rate, say: as long as there is room it waits
			// here, not in a topic that would be written and read all the time.
			t.rest = max(a.RetryAfter, time.Second)
			return true
		}
		if a.NoTry || a.Attempts == 0 {
			w.postpone(t, a, w.now().Add(max(a.RetryAfter, time.Second)))
			return false
		}
	default:
		if a.Attempts == 0 {
			leave.unused()
		} else {
			answered()
		}
	}
	w.settle(t, a)
	return false
}

var (
	errRebalance  = errors.New("the group rebalances")
	errReassigned = errors.New("the partition was assigned to another member")
)
