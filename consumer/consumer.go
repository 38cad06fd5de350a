// Package consumer is the way of a close request through Kafka: it fetches
// requests as a member of a consumer group, has each one closed, publishes
// what came of it and commits, so that nothing is lost and almost nothing is
// done twice. It knows nothing of XML, HTTP or WeChat Pay.
//
//	fetch -> take -> lane of the order -> turn: permit, Closer -> decide -> settle: publish, acks=all -> finish -> commit
//
// pipeline.go is that way, request.go what goes it. Beside it stand: lanes.go and
// partition.go (what waits for what), rest.go, atrate.go and crowd.go (who makes
// way for whom), sender.go (what is written together), ledger.go (which offsets are finished),
// breaker.go (is the gateway there), merchantholds.go and wait.go (is the
// merchant), age.go (how old an order surely is), placements.go and judgement.go
// (do the requests stand where their keys belong). decide.go says what becomes of
// a request, records.go what is written for that; both are pure.
//
// # The contract
//
// A [Worker] asks its [Closer], which answers with a [Verdict] and never with an
// error. Of each request that stood in the requests topic when its partition was
// fetched:
//
//   - Closed, Paid, Failed: the outcome is published, unless Config.ExactlyOnce
//     perhaps once more after a crash, with the same event id. Failed has a dead
//     letter too.
//   - Temporary, NoAnswer: Close is called again, after the delay of a retry
//     topic, as often as there are retry topics; then the request ends as failed.
//     It costs no try where no call was made, where the Closer was Starved, or
//     where nobody is answered at all.
//   - MerchantRefused: Close is called again once the gateway accepts the
//     merchant, however long that takes.
//   - Interrupted: Close is called again, here or by the next owner of the
//     partition.
//
// Close and Query may be repeated at any time, with the same request, by this
// worker or another one that has the partition now; both must bear that. They are
// never called side by side for one order within a worker, never for a partition
// that was taken away, and never after Run has returned. An offset is never
// committed before all that its request led to is acknowledged.
//
// [Worker.Run] returns nil when it was asked to stop, and an error for what no
// retry can heal; both leave what is not finished to the next owner.
//
// Before v1 this package makes no promise of compatibility: its Go API may change
// with any version. What is promised are the commands, the events and the
// environment variables.
package consumer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/kafka/group"
	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/trace"
)

// Kafka says how to reach the cluster.
type Kafka = kafka.Config

// Proof tells dead members of the group from silent ones.
type Proof = group.Proof

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
	// Proof tells dead members of the group from silent ones, so that a restart
	// need not wait for the session of the process before it. nil: on the
	// operating system's network what this machine knows ([group.LocalProof]),
	// with a Kafka.Dial of its own nothing.
	Proof Proof
	// Admin is host:port by which others reach this process's admin listener: the
	// group is told. Empty for none.
	Admin string
	// Grace is how long calls in flight may go on after a stop; 0 cuts them off
	// at once, and the next owner makes them again.
	Grace time.Duration
	// Start says where to begin without a committed offset; empty is
	// StartEarliest.
	Start Start
	// Skip are offsets that an operator gives up: what cannot be read there is
	// counted as finished, with an alarm. What can be read is served.
	Skip []kafka.Span
	// MaxInFlight is the number of calls at the same time, at least 1.
	MaxInFlight int
	// LongestTurn is how long Close or Query may have a call slot between two rests
	// at the most, and the probes that follow may: a worker in which one of them
	// takes longer is stuck. 0 is 45 s, and so is less.
	LongestTurn time.Duration
	// ExactlyOnce: what requests lead to and their offsets are one transaction. A
	// Kafka.ReadUncommitted does not go with it.
	ExactlyOnce bool
	// TransactionInterval is how far apart transactions begin under load, at least
	// 1 ms; TransactionTimeout is after how long the brokers abort one that is
	// still open, at least 1 s. Both are for ExactlyOnce.
	TransactionInterval time.Duration
	TransactionTimeout  time.Duration
	// MinOrderAge is how old an order must be before it is closed, when the
	// request says when it was created. 0 switches it off.
	MinOrderAge time.Duration

	Topics Topics
	Closer Closer
	Log    logrus.FieldLogger
	// Observer sees what becomes of requests; nil: nobody does.
	Observer Observer
	// Tracer makes spans of what is done; nil: none are made. The context that
	// Closer is called with has the span of the request.
	Tracer trace.Tracer
	// Now is the clock by which requests fall due, expire and are too young;
	// nil for time.Now. What must not jump (leases, probes, pauses) goes by the
	// process's own.
	Now func() time.Time
}

// Worker serves close requests. Make one with [New].
type Worker struct {
	cfg  Config
	made time.Time // in milliseconds, as the timestamps of records

	// Made by Run.
	client    *kafka.Client
	renewed   atomic.Pointer[kafka.Client] // the same, for Renew
	lanes     *lanes
	publisher *publisher
	committer *committer
	holds     *merchantHolds
	placed    *placements
	clockNews news
	refusals  news
	crowds    news
	shortened news
	trouble   trouble
	life      context.Context         // ends when Run is over; parent of all partitions
	fail      context.CancelCauseFunc // stops Run, which returns the cause
	member    *group.Member
	owned     *assignment
	running   atomic.Bool // all of the above is there
	stopping  atomic.Bool
	health    *health
	spans     *tracing // nil: none
	failures  *failures
	debugs    bool // whether answers are told at level debug
	dueNow    dueNow
	throttled recent
	refused   atomic.Int64  // records that rest because their topic does not take them
	progress  atomic.Uint64 // see State
	bare      sync.Map      // topicPartition: it was told that the group has no position for it
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
	need(slices.Contains([]Start{"", StartEarliest, StartLatest, StartError}, cfg.Start), "start is %q, want earliest, latest or error", cfg.Start)
	if cfg.ExactlyOnce {
		need(!cfg.Kafka.ReadUncommitted, "exactly once and read uncommitted")
		need(cfg.TransactionInterval >= time.Millisecond, "transaction interval is %v, want 1ms or more", cfg.TransactionInterval)
		need(cfg.TransactionTimeout >= time.Second, "transaction time-out is %v, want 1s or more", cfg.TransactionTimeout)
	}
	need(cfg.MaxInFlight >= 1, "max in flight is %d, want 1 or more", cfg.MaxInFlight)
	need(cfg.Kafka.MaxBuffered >= 0, "max buffered is %d bytes, want 0 or more", cfg.Kafka.MaxBuffered)
	need(cfg.Topics.Requests != "" && cfg.Topics.Outcomes != "" && cfg.Topics.DeadLetters != "", "a topic has no name: %+v", cfg.Topics)
	need(len(cfg.Topics.Retries) > 0, "no retry topics")
	for i, r := range cfg.Topics.Retries {
		need(r.Topic != "" && r.Delay > 0 && (i == 0 || r.Delay > cfg.Topics.Retries[i-1].Delay), "retry topics must have names and rising delays: %+v", cfg.Topics.Retries)
	}
	need(cfg.MinOrderAge >= 0, "min order age %v is negative", cfg.MinOrderAge)
	need(cfg.LongestTurn >= 0, "longest turn %v is negative", cfg.LongestTurn)
	need(cfg.Closer != nil, "no Closer")
	need(cfg.Log != nil, "no Log")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Worker{cfg: cfg, made: time.Now().Truncate(time.Millisecond), clockNews: news{every: time.Minute}, refusals: news{every: refusalsEvery}, crowds: news{every: time.Minute}, shortened: news{every: time.Minute}, health: newHealth(cfg.LongestTurn), spans: newTracing(&cfg), failures: newFailures(cfg.Log), debugs: debugs(cfg.Log)}, nil
}

// Run joins the group and serves requests until ctx ends. Then it starts no
// more calls, gives those in flight up to Grace to finish, publishes and
// commits what is finished, leaves the group and returns nil. It returns an
// error only for what no retry can heal; a cluster that is away is waited for.
// It leaves no goroutine behind. Call it once.
func (w *Worker) Run(ctx context.Context) error {
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	w.life = life
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	w.fail = fail
	sources := []string{w.cfg.Topics.Requests}
	for _, r := range w.cfg.Topics.Retries {
		sources = append(sources, r.Topic)
	}
	sinks := []string{w.cfg.Topics.Outcomes, w.cfg.Topics.DeadLetters}
	to := w.cfg.Kafka
	to.OnThrottle = newQuotas(w.cfg.Log, w.cfg.Observer, &w.throttled).throttled
	to.OnNotIdempotent = func(err error) {
		w.cfg.Log.WithError(err).Warn("publishing without idempotence: a record whose write is not answered may be written twice, with the same event id")
	}
	var repeats kafka.Told
	to.OnRepeat = func(topic string, partition int, err error) {
		if !repeats.Due(topic, err) {
			return
		}
		w.cfg.Log.WithFields(logrus.Fields{"topic": topic, "partition": partition}).WithError(err).
			Warn("a broker does not know any more whether it has written a batch: it is sent again, and may be there twice, with the same event ids")
	}
	w.client = kafka.Open(to, slices.Concat(sinks, sources)...)
	w.renewed.Store(w.client)
	proof, whereabouts := w.cfg.Proof, []byte(nil)
	if proof == nil && w.cfg.Kafka.Dial == nil {
		local := group.NewLocalProof(w.cfg.Admin)
		defer local.Close()
		proof, whereabouts = local, local.Whereabouts()
	}
	m := group.New(group.Config{
		Client: w.client, Group: w.cfg.Group, InstanceID: w.cfg.InstanceID,
		// The sinks too: an order must not be closed whose outcome has nowhere to go.
		Topics: sources, Needs: sinks,
		Session: w.cfg.SessionTimeout, Rebalance: w.cfg.RebalanceTimeout,
		Renewed: func() { w.lanes.poke() }, Doubted: func() { w.lanes.interrupt(errDoubted) }, Under: func(gen *group.Generation) { w.committer.under(gen) },
		Proof: proof, Whereabouts: whereabouts, Buried: w.buried, Log: w.cfg.Log,
	})
	w.lanes = newLanes(w.cfg.MaxInFlight, m.LeaseValid, w.cfg.Closer.Probe, w.cfg.Log)
	w.holds = newMerchantHolds(w.cfg.Log)
	w.placed = newPlacements(w.cfg.Topics.Requests, w.cfg.Log)
	w.lanes.turn, w.lanes.withoutCall = w.turn, w.withoutCall
	w.publisher = newPublisher(w.client, m.LeaseValid, w.cfg.Log)
	w.publisher.observer = w.cfg.Observer
	w.committer = newCommitter(w.client, w.cfg.Group, w.cfg.Log)
	w.committer.observer, w.committer.spans = w.cfg.Observer, w.spans
	w.member, w.owned = m, newAssignment(w)
	defer context.AfterFunc(running, func() { w.stopping.Store(true) })()
	var record []byte
	if proof != nil {
		record = proof.Record()
	}
	err := w.beginTransactions(running, record)
	var committing sync.WaitGroup
	committing.Go(func() { w.committer.run(life) })
	w.wg.Go(func() { w.succeedProbers(life) })
	w.running.Store(true)
	w.wg.Go(func() { w.watchHealth(life) })
	w.wg.Go(func() { w.keepPositions(life) })
	if err == nil && (!w.cfg.ExactlyOnce || w.publisher.tx != nil) {
		err = m.Run(running, w.owned)
	}
	if why := context.Cause(running); errors.Is(why, errNoMetadata) {
		err = why
	} else if refused, ok := errors.AsType[*NoPositionError](why); ok {
		err = refused
	}

	// Backwards: no partition is owned any more, so no call starts, those in
	// flight are cut off, and what they would publish is fenced off.
	end(errStopped)
	w.lanes.calls.Wait()
	w.lanes.breaker.stop()
	committing.Wait()
	w.publisher.close()
	w.client.Close()
	w.wg.Wait()
	w.failures.close()
	w.running.Store(false)
	return err
}

// transactionalID is that of a worker: of its instance id, or of where its process
// can be found, so that whoever knows one to be dead knows it.
func transactionalID(group, instance string, record []byte) string {
	switch {
	case instance != "":
		return group + "-" + instance
	case len(record) > 0:
		sum := sha256.Sum256(record)
		return group + "-" + hex.EncodeToString(sum[:16])
	}
	return group + "-" + rand.Text()
}

// buried ends the transaction that a dead member may have left open: the brokers
// would, after its time-out.
func (w *Worker) buried(ctx context.Context, record []byte) {
	if !w.cfg.ExactlyOnce {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, beginWithin)
	defer cancel()
	id := transactionalID(w.cfg.Group, "", record)
	if err := w.client.Transactions(id, w.cfg.TransactionTimeout).Abort(ctx); err != nil {
		w.cfg.Log.WithField("transactional_id", id).WithError(err).Warn("a transaction of a dead worker is left to the brokers: readers of committed records may be held up for kafka.transaction_timeout")
	}
}

// beginTransactions makes sure that there can be transactions, before anything is
// served: it tries until they can begin, ctx ends, or no try will heal what is
// wrong. It does nothing where there are to be none. record is where this process
// can be found.
func (w *Worker) beginTransactions(ctx context.Context, record []byte) error {
	if !w.cfg.ExactlyOnce {
		return nil
	}
	id := transactionalID(w.cfg.Group, w.cfg.InstanceID, record)
	tx := newTransaction(w.publisher, w.client.Transactions(id, w.cfg.TransactionTimeout), w.cfg.Group, 2*w.client.Memory().Most(), w.cfg.TransactionTimeout, w.committer.wake, w.cfg.Log)
	retry := kafka.NewPause(100*time.Millisecond, 5*time.Second)
	var told kafka.Told
	for {
		once, cancel := context.WithTimeout(ctx, beginWithin)
		err := tx.begin(once)
		cancel()
		switch {
		case err == nil:
			w.publisher.tx = tx
			w.committer.in(tx, w.cfg.TransactionInterval, w.fail)
			w.cfg.Log.WithFields(logrus.Fields{"transactional_id": id, "transaction_timeout": w.cfg.TransactionTimeout}).Info("exactly once: outcomes and offsets are written in transactions")
			return nil
		case ctx.Err() != nil:
			return nil //nolint:nilerr // asked to stop: Run does that
		case kafka.Lasting(err) && !kafka.AnotherToken(err):
			return fmt.Errorf("processing_guarantee exactly_once: %w", err)
		case told.Due("", err):
			w.cfg.Log.WithError(err).Warn("cannot begin transactions: trying again, nothing is served before that")
		}
		_ = retry.Wait(ctx) // when it has ended Begin says so
	}
}

// beginWithin is how long one try to begin transactions may take.
const beginWithin = 15 * time.Second

// Renew has all connections to Kafka made anew, with certificates and passwords
// as they are now; each old one closes when its requests are answered. It does
// nothing before Run. Safe for concurrent use.
func (w *Worker) Renew() {
	if client := w.renewed.Load(); client != nil {
		client.Renew()
	}
}

// serve reads one partition from an offset on, until it is taken away or the
// worker stops. It does not wait for that.
func (w *Worker) serve(p *partition, from kafka.Committed) {
	log := w.cfg.Log.WithFields(logrus.Fields{"topic": p.topic, "partition": p.id})
	above, err := decodeMetadata(p.topic, p.id, from.Offset, from.Metadata)
	if err != nil {
		log.WithError(err).WithField("offset", from.Offset).Warn("commit metadata ignored: what it may have remembered is done again")
	}
	p.begin(from.Offset, above)
	source := w.client.Source(p.topic, p.id, from.Offset)
	source.Share = p.share
	p.source.Store(source)
	p.fetchError.Store(nil)
	f := &fetcher{
		source: source, partition: p,
		offset: func(ctx context.Context, at int64) (int64, error) { return w.client.Offset(ctx, p.topic, p.id, at) },
		take:   w.take, moved: w.committer.markDirty, trouble: &w.trouble, log: log, observer: w.cfg.Observer, spans: w.spans,
	}
	for _, s := range w.cfg.Skip {
		if s.Topic == p.topic && s.Partition == p.id {
			f.skips = append(f.skips, s)
		}
	}
	w.wg.Go(func() { f.run(from.Offset) })
}

var (
	errStopped    = errors.New("the worker stops")
	errRebalance  = errors.New("the group rebalances")
	errDoubted    = errors.New("the partition may be another member's")
	errReassigned = errors.New("the partition was assigned to another member")
)
