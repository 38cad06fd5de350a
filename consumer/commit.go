package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/kafka/group"
	"github.com/sirupsen/logrus"
)

// committer commits the watermarks of partitions: as soon as one has something
// new, all that have go into one request, and the next one begins commitEvery
// after it was answered. It is safe for concurrent use.
type committer struct {
	client *kafka.Client
	group  string
	log    logrus.FieldLogger
	wake   chan struct{}

	mu sync.Mutex
	// gen is what commits are made under; nil between generations. The
	// coordinator refuses commits of an older one: that is the last fence.
	gen   *group.Generation
	dirty map[*partition]struct{}
	// pending is since when something of it is there; zero without.
	pending time.Time
	// unsure are those that a request without an answer was about: it may still
	// arrive, behind the one that is sent in its place, and takes the commit back.
	// A generation has no fence against that. So once they are committed they are
	// again committed after settleTime; until then they are in again.
	unsure, again map[*partition]struct{}

	// turn holds a token: one request at a time, or an older one could
	// overtake. A channel, because the holder waits for the network.
	turn       chan struct{}
	noMetadata bool // the holder's: the broker takes less metadata than we write
	told       kafka.Told
	tx         *transaction // in which commits are made; nil: each for itself
	fail       func(error)  // ends the worker
	every      time.Duration
	// observer sees commits; nil: nobody does. doing is what they do.
	observer Observer
	spans    *tracing
	doing    doing
}

// commitEvery is how long what is new is gathered after a commit. After a crash
// so much more is repeated: what was finished within that time. Who gives
// partitions up does not wait for it (flush).
const commitEvery = 50 * time.Millisecond

// settleTime is within what a broker that answers again has read all that was
// sent to it before.
const settleTime = 5 * time.Second

func newCommitter(c *kafka.Client, group string, log logrus.FieldLogger) *committer {
	return &committer{client: c, group: group, log: log, wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		every: commitEvery, dirty: make(map[*partition]struct{}), unsure: make(map[*partition]struct{}), again: make(map[*partition]struct{})}
}

// in has all commits made in transactions, which begin so far apart under load.
// fail ends the worker for what no retry heals.
func (c *committer) in(tx *transaction, every time.Duration, fail func(error)) {
	c.tx, c.every, c.fail = tx, every, fail
}

// under sets the generation that commits are made under, nil for none.
func (c *committer) under(gen *group.Generation) {
	c.mu.Lock()
	c.gen = gen
	c.mu.Unlock()
	signal(c.wake)
}

// markDirty says that the partition has something new to commit.
func (c *committer) markDirty(p *partition) {
	c.mu.Lock()
	if c.dirty[p] = struct{}{}; c.pending.IsZero() {
		c.pending = time.Now()
	}
	c.mu.Unlock()
	signal(c.wake)
}

// run commits until ctx ends.
func (c *committer) run(ctx context.Context) {
	retry := kafka.NewPause(20*time.Millisecond, 2*time.Second)
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		did, err := c.commit(ctx)
		if err != nil && ctx.Err() == nil {
			if !errors.Is(err, errBetween) && c.told.Due("", err) {
				c.log.WithError(err).Warn("commit failed: trying again")
			}
			if retry.Wait(ctx) != nil {
				return
			}
			signal(c.wake)
			continue
		}
		retry.Reset()
		switch {
		case c.tx == nil:
			if kafka.Sleep(ctx, c.every) != nil {
				return
			}
		case did:
			// What comes now is seen when the next one has been ended, which takes
			// as long as this one.
			c.tx.rest(ctx, c.every-2*time.Since(began))
		}
	}
}

// flush commits until nothing of the partitions is left to commit, or ctx ends.
// Where there is no generation to commit under it does nothing.
func (c *committer) flush(ctx context.Context, ps []*partition) error {
	retry := kafka.NewPause(20*time.Millisecond, time.Second)
	for {
		c.hasten(ps)
		_, err := c.commit(ctx)
		switch {
		case !c.unfinished(ps):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			// One of them has finished something since.
		case retry.Wait(ctx) != nil:
			return err
		}
	}
}

// unfinished says whether something of the partitions is to be committed, and can
// be.
func (c *committer) unfinished(ps []*partition) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gen != nil && slices.ContainsFunc(ps, func(p *partition) bool {
		_, dirty := c.dirty[p]
		_, again := c.again[p]
		return dirty || again
	})
}

// hasten lets what of the partitions is to be committed again be committed now.
func (c *committer) hasten(ps []*partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range ps {
		if _, again := c.again[p]; again {
			delete(c.again, p)
			c.dirty[p] = struct{}{}
		}
	}
}

// settle takes note of how the request for partitions has ended: answered, or
// nobody knows.
func (c *committer) settle(sent []*partition, answered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range sent {
		_, unsure := c.unsure[p]
		switch {
		case !answered:
			c.unsure[p] = struct{}{}
			c.dirty[p] = struct{}{}
		case unsure:
			delete(c.unsure, p)
			c.again[p] = struct{}{}
			time.AfterFunc(settleTime, func() {
				c.hasten([]*partition{p})
				signal(c.wake)
			})
		}
	}
}

// commit sends one request for all that is dirty, or ends the transaction with
// it. What could not be committed is dirty again; what is of a partition that was
// taken away is forgotten. did: there was something to commit.
func (c *committer) commit(ctx context.Context) (did bool, err error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	began := c.doing.begin()
	defer func() { c.committed(ctx, began, did, err) }()
	if c.tx != nil {
		return c.transact(ctx)
	}
	c.mu.Lock()
	gen := c.gen
	if gen == nil || len(c.dirty) == 0 {
		c.mu.Unlock()
		return false, nil
	}
	dirty := c.dirty
	c.dirty = make(map[*partition]struct{})
	maps.DeleteFunc(c.unsure, func(p *partition, _ struct{}) bool { return p.owned.Err() != nil })
	c.mu.Unlock()

	sent, commits := c.positionsOf(dirty, nil)
	if len(sent) == 0 {
		return false, nil
	}
	failed, err := c.client.Commit(ctx, gen.Membership, commits)
	c.settle(sent, err == nil)
	if err != nil {
		signal(c.wake)
		return true, fmt.Errorf("commit offsets of group %s: %w", c.group, err)
	}
	return true, c.answered(gen, sent, failed)
}

// committed takes note of how a commit that was begun at a time has ended.
func (c *committer) committed(ctx context.Context, began time.Time, did bool, err error) {
	switch {
	case err != nil && ctx.Err() != nil: // given up
		c.doing.end(began, false, nil)
		return
	case errors.Is(err, errBetween): // tried again under the next generation, and until then that is why
		c.doing.end(began, false, err)
		return
	}
	c.doing.end(began, did && err == nil, err)
	aside := c.tx != nil && c.tx.setsAside()
	c.mu.Lock()
	if err == nil && len(c.dirty) == 0 {
		if c.pending = (time.Time{}); !aside {
			c.doing.idle()
		}
	} else if err == nil && did {
		c.pending = began
	}
	c.mu.Unlock()
	if did || err != nil {
		c.spans.committed(began, err)
	}
	if c.observer != nil && (did || err != nil) {
		c.observer.Committed(time.Since(began), err)
	}
}

// positionsOf is what is to be committed for partitions, with requests counted as
// finished that are when it is committed.
func (c *committer) positionsOf(dirty map[*partition]struct{}, finished map[*partition][]int64) (sent []*partition, commits []kafka.Commit) {
	for p := range dirty {
		watermark, metadata, ok := p.position(finished[p]...)
		if !ok || p.owned.Err() != nil || c.tx != nil && c.tx.isBlocked(p) {
			continue
		}
		if c.noMetadata {
			metadata = ""
		}
		position := kafka.Committed{Offset: watermark, Metadata: metadata}
		if c.tx != nil && p.committed == position {
			continue // what was finished in a transaction is in it
		}
		sent = append(sent, p)
		commits = append(commits, kafka.Commit{Topic: p.topic, Partition: p.id, Committed: position})
	}
	return sent, commits
}

// answered takes what the coordinator says of each partition that was sent. What
// it has refused is dirty again.
func (c *committer) answered(gen *group.Generation, sent []*partition, failed []error) error {
	var errs []error
	for i, p := range sent {
		err := failed[i]
		if err == nil {
			continue
		}
		c.markDirty(p)
		switch {
		case errors.Is(err, kafka.IllegalGeneration), errors.Is(err, kafka.Rebalancing):
			// Between two generations: these are ours to commit under the next
			// one, unless the membership is lost.
			if errors.Is(err, kafka.IllegalGeneration) {
				gen.End(err)
			}
			errs = append(errs, errBetween)
		case errors.Is(err, kafka.UnknownMember), errors.Is(err, kafka.FencedInstance):
			// Not ours to commit any more.
			c.leave(gen, err)
			errs = append(errs, errBetween)
		case errors.Is(err, kafka.MetadataTooLarge) && c.tx != nil:
			c.fail(errNoMetadata)
			errs = append(errs, err)
		case errors.Is(err, kafka.MetadataTooLarge):
			c.noMetadata = true
			c.log.Warn("the broker takes less commit metadata than closeorder writes (offset.metadata.max.bytes): after a crash more requests are repeated")
			errs = append(errs, err)
		default:
			if c.tx != nil { // it would hold up all others
				c.tx.block(p, func() { c.markDirty(p) })
			}
			errs = append(errs, fmt.Errorf("commit offset of %s[%d]: %w", p.topic, p.id, err))
		}
	}
	return errors.Join(errs...)
}

// leave has the membership given up: the partitions are another's, or what is
// committed of them has to be read again.
func (c *committer) leave(gen *group.Generation, why error) {
	c.mu.Lock()
	if c.gen == gen {
		c.gen = nil
	}
	c.mu.Unlock()
	gen.End(why)
}

// transact ends the transaction: with the positions of all that is dirty and of
// the requests whose records are in it, or not at all.
func (c *committer) transact(ctx context.Context) (did bool, err error) {
	c.mu.Lock()
	gen := c.gen
	if gen == nil {
		c.mu.Unlock()
		if c.tx.empty() {
			return false, nil
		}
		return true, c.tx.abort(ctx, errNoGeneration)
	}
	dirty := c.dirty
	c.dirty = make(map[*partition]struct{})
	c.mu.Unlock()
	if err = c.tx.begin(ctx); err == nil {
		did, err = c.endTransaction(ctx, gen, dirty)
	}
	if err != nil {
		c.mu.Lock()
		maps.Copy(c.dirty, dirty)
		c.mu.Unlock()
	}
	return did, err
}

func (c *committer) endTransaction(ctx context.Context, gen *group.Generation, dirty map[*partition]struct{}) (did bool, err error) {
	records, interrupted, err := c.tx.cut(ctx)
	if interrupted {
		return false, err
	}
	finished := make(map[*partition][]int64)
	for _, pub := range records {
		p := pub.request.partition
		if at := finished[p]; len(at) == 0 || at[len(at)-1] != pub.request.offset {
			finished[p] = append(at, pub.request.offset)
		}
		dirty[p] = struct{}{}
	}
	var sent []*partition
	var commits []kafka.Commit
	if err == nil {
		if sent, commits = c.positionsOf(dirty, finished); len(sent) == 0 && c.tx.empty() {
			c.tx.goOn()
			return false, nil
		}
		err = c.offsets(ctx, gen, sent, commits)
	}
	if err == nil && !c.tx.stands() {
		err = errFencedOff
	}
	if err == nil {
		err = c.tx.commit(ctx)
	}
	unsure, is := errors.AsType[*kafka.UnsureError](err)
	switch {
	case err == nil:
		for i, p := range sent {
			p.committed = commits[i].Committed
		}
		c.tx.end(true)
		return true, c.tx.begin(ctx)
	case is:
		// The positions of the group tell, and they are read anew.
		c.log.WithError(err).Warn("nobody knows whether a transaction was committed: the membership is given up, and the group's positions are read again")
		c.tx.ready = false
		// By their fences, too: when the group has gone on meanwhile, it may be a
		// moment until it knows, and they must not be written again.
		for _, pub := range records {
			pub.request.partition.revoke(unsure)
		}
		c.leave(gen, unsure)
		c.tx.end(false)
		return true, nil
	}
	if aborting := c.tx.abort(ctx, err); aborting != nil {
		err = fmt.Errorf("%w; abort: %w", err, aborting)
	}
	return true, fmt.Errorf("transaction of %d records is aborted, they are written again: %w", len(records), err)
}

// offsets puts positions into the transaction.
func (c *committer) offsets(ctx context.Context, gen *group.Generation, sent []*partition, commits []kafka.Commit) error {
	if len(sent) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.tx.patience)
	defer cancel()
	failed, err := c.tx.producer.Offsets(ctx, gen.Membership, commits)
	if err != nil {
		return fmt.Errorf("offsets of group %s: %w", c.group, err)
	}
	return c.answered(gen, sent, failed)
}

// errNoMetadata ends a worker with exactly once: offsets that are finished above the
// lowest one that is not could not be told, and their requests would be answered
// again after a crash.
var errNoMetadata = errors.New("processing_guarantee exactly_once: the brokers take less commit metadata than it needs; set offset.metadata.max.bytes of the brokers to 4096, their default, or more, or processing_guarantee to at_least_once")

// errBetween says that the group is between two generations.
var errBetween = errors.New("the group is joined again")

// positions returns what the group has committed for partitions, by topic and
// number; without a commit there is none. With a *kafka.UnstableError it returns
// those of the others.
func (c *committer) positions(ctx context.Context, partitions map[string][]int) (map[string]map[int]kafka.Committed, error) {
	committed, err := c.client.Committed(ctx, c.group, partitions)
	if err != nil {
		return committed, fmt.Errorf("fetch committed offsets of group %s: %w", c.group, err)
	}
	return committed, nil
}
