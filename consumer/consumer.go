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
// its offset.
package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus"
)

// Topics names the topics of a worker. All are required.
type Topics struct {
	Requests    string
	Outcomes    string
	DeadLetters string
}

// Config is what a [Worker] is made of. Zero durations and numbers mean the
// default.
type Config struct {
	Kafka Kafka
	// Group is the consumer group.
	Group string
	// InstanceID makes the membership static (group.instance.id): a restart
	// within SessionTimeout moves no partition. It must be unique in the group.
	InstanceID string
	// SessionTimeout is how long a member may be silent before its partitions
	// go to others. Default 45 s.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long a rebalance waits for a member; half of it
	// is the time that calls in flight get to finish. Default 60 s.
	RebalanceTimeout time.Duration
	// Grace is how long calls in flight may go on after a stop. Default 25 s.
	Grace time.Duration
	// MaxInFlight is the number of calls at the same time. Default 256.
	MaxInFlight int

	Topics Topics
	Closer Closer
	Log    logrus.FieldLogger
}

// Worker serves close requests. Make one with [New].
type Worker struct {
	closer           Closer
	topics           Topics
	grace            time.Duration
	rebalanceTimeout time.Duration
	log              logrus.FieldLogger
	cfg              Config

	// Made by Run.
	cluster   *cluster
	lanes     *lanes
	publisher *publisher
	committer *committer
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
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = 45 * time.Second
	}
	if cfg.RebalanceTimeout == 0 {
		cfg.RebalanceTimeout = 60 * time.Second
	}
	if cfg.Grace == 0 {
		cfg.Grace = 25 * time.Second
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 256
	}
	need(len(cfg.Kafka.Brokers) > 0, "no brokers")
	need(cfg.Group != "", "no group")
	need(cfg.SessionTimeout >= time.Second, "session time-out %v is below 1s", cfg.SessionTimeout)
	need(cfg.RebalanceTimeout >= time.Second, "rebalance time-out %v is below 1s", cfg.RebalanceTimeout)
	need(cfg.Grace > 0, "grace %v is negative", cfg.Grace)
	need(cfg.MaxInFlight > 0, "max in flight %d is negative", cfg.MaxInFlight)
	need(cfg.Topics.Requests != "" && cfg.Topics.Outcomes != "" && cfg.Topics.DeadLetters != "", "a topic has no name: %+v", cfg.Topics)
	need(cfg.Closer != nil, "no Closer")
	need(cfg.Log != nil, "no Log")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Worker{
		closer: cfg.Closer, topics: cfg.Topics, grace: cfg.Grace, rebalanceTimeout: cfg.RebalanceTimeout,
		log: cfg.Log, cfg: cfg,
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
	w.cluster = openCluster(w.cfg.Kafka, []string{w.topics.Requests, w.topics.Outcomes, w.topics.DeadLetters})
	m := &member{
		cluster: w.cluster, group: w.cfg.Group, instanceID: w.cfg.InstanceID,
		topics:  []string{w.topics.Requests},
		session: w.cfg.SessionTimeout, rebalance: w.cfg.RebalanceTimeout, log: w.log,
	}
	w.lanes = newLanes(w.cfg.MaxInFlight, m.alive)
	w.lanes.call = w.call
	m.renewed = w.lanes.poke
	w.publisher = newPublisher(w.cluster, w.log)
	w.committer = newCommitter(w.cluster, w.cfg.Group, w.log)
	w.wg.Go(func() { w.committer.run(life) })

	own := &assignment{worker: w, parts: make(map[place]*partition)}
	err := m.run(ctx, own)

	// Backwards: no partition is owned any more, so no call starts, those in
	// flight are cut off, and what they would publish is fenced off.
	end(errStopped)
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
	f := &fetcher{cluster: w.cluster, partition: p, take: w.take, moved: w.committer.touch, log: log}
	f.run(from.offset)
}

// take decodes a record and sends it on its way.
func (w *Worker) take(t *task) {
	req, err := events.DecodeRequest(t.msg)
	t.req = req
	if err != nil {
		w.settle(t, Answer{Disposition: Failed, Code: events.CodeInvalidRequest, Message: err.Error()})
		return
	}
	w.lanes.add(t)
}

// call has one request closed and settles the answer. The slot is free again
// when the answer is in, not when its outcome is acknowledged.
func (w *Worker) call(ctx context.Context, t *task) {
	answer := w.closer.Close(ctx, t.req)
	if answer.Disposition == Interrupted {
		w.lanes.finished(t, true)
		return
	}
	w.settle(t, answer)
	w.lanes.finished(t, false)
}

var (
	errRebalance  = errors.New("the group rebalances")
	errReassigned = errors.New("the partition was assigned to another member")
)
