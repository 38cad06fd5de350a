package consumer

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/kafka/group"
	"github.com/sirupsen/logrus"
)

// assignment is the partitions this worker owns, over generations: its
// [group.Assignee]. A rebalance takes only those away that move; the others keep
// their ledger, their buffered records and their calls.
type assignment struct {
	worker *Worker
	mu     sync.Mutex // guards parts against whoever looks; the member's goroutine alone changes it
	parts  map[topicPartition]*partition
	warned map[string]bool // topics that were warned of
	apart  apart
}

func newAssignment(w *Worker) *assignment {
	return &assignment{
		worker: w, parts: make(map[topicPartition]*partition), warned: make(map[string]bool),
		apart: apart{topics: w.cfg.Topics, patience: w.cfg.RebalanceTimeout, log: w.cfg.Log, wg: &w.wg},
	}
}

// all returns the partitions. Safe for concurrent use.
func (a *assignment) all() []*partition {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.parts))
}

func (a *assignment) Assign(gen group.Generation) {
	w := a.worker
	a.compare(gen.Counts)
	a.apart.look(w.life, gen.Assigned, gen.Counts)
	w.publisher.grow(gen.Counts)
	w.placed.count(gen.Counts[w.cfg.Topics.Requests])
	var fresh []*partition
	a.mu.Lock()
	for topic, ids := range gen.Assigned {
		for _, id := range ids {
			at := topicPartition{topic, id}
			if a.parts[at] != nil {
				continue
			}
			p := newPartition(w.life, at)
			if tiers(w.cfg.Topics.Retries).index(topic) >= 0 {
				p.share = w.client.Memory().ShareOfDelayed(openCost)
			} else {
				p.share = w.client.Memory().Share(openCost)
			}
			a.parts[at] = p
			fresh = append(fresh, p)
		}
	}
	a.mu.Unlock()
	if w.cfg.Observer != nil {
		leaving := 0
		for _, ids := range gen.Leaving {
			leaving += len(ids)
		}
		w.cfg.Observer.Assigned(len(fresh), leaving)
	}
	w.wg.Go(func() { w.serveAll(fresh, gen) })
}

// compare warns of retry topics that are not partitioned like the requests.
func (a *assignment) compare(counts map[string]int) {
	w := a.worker
	for _, tier := range w.cfg.Topics.Retries {
		if want, got := counts[w.cfg.Topics.Requests], counts[tier.Topic]; got != want && !a.warned[tier.Topic] {
			a.warned[tier.Topic] = true
			w.cfg.Log.WithFields(logrus.Fields{"topic": tier.Topic, "partitions": got, "want": want}).
				Warn("the retry topic has another number of partitions than the requests topic: records of one order may be served by two workers at a time; give it as many")
		}
	}
}

func (a *assignment) Revoke(ctx, stop context.Context, partitions map[string][]int) {
	var ps []*partition
	for topic, ids := range partitions {
		for _, id := range ids {
			if p := a.parts[topicPartition{topic, id}]; p != nil {
				p.stopIntake()
				ps = append(ps, p)
			}
		}
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(stop, cancel)()
	// The rest of the rebalance time-out is for joining.
	a.drain(running, ps, a.worker.cfg.RebalanceTimeout/2, errRebalance)
	if stop.Err() != nil && ctx.Err() == nil {
		return // they have the same grace period as the others
	}
	a.mu.Lock()
	for _, p := range ps {
		delete(a.parts, p.topicPartition)
	}
	a.mu.Unlock()
	a.worker.lanes.revoke(ps, errReassigned)
}

func (a *assignment) Stop(ctx context.Context) {
	for _, p := range a.parts {
		p.stopIntake()
	}
	a.drain(ctx, a.all(), a.worker.cfg.Grace, errStopped)
	a.Lose(errStopped)
}

// drain lets calls of partitions in flight finish for up to budget, then cuts
// them off; what is finished is published and committed. Other partitions go on.
// When ctx ends it returns at once, and cuts nothing off.
func (a *assignment) drain(ctx context.Context, ps []*partition, budget time.Duration, why error) {
	w := a.worker
	w.lanes.pause(ps)
	inFlight, settling := w.lanes.load(ps)
	began := time.Now()
	soft, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	if !w.lanes.drain(soft, ps) && ctx.Err() == nil {
		left, unpublished := w.lanes.load(ps)
		w.cfg.Log.WithFields(logrus.Fields{"calls": left, "unpublished": unpublished, "budget": budget}).
			Warn("not all calls finished, or not all answers were published, in time: the requests are served again by the next owner")
		w.lanes.cut(ps, why)
		// A call that is cut off returns at once; what it had finished
		// deserves one more try.
		last, cancel := context.WithTimeout(ctx, time.Second)
		w.lanes.drain(last, ps)
		cancel()
	}
	commit, cancelCommit := context.WithTimeout(ctx, 5*time.Second)
	defer cancelCommit()
	if err := w.committer.flush(commit, ps); err != nil && ctx.Err() == nil {
		w.cfg.Log.WithError(err).Warn("could not commit all that is finished: the next owner repeats it")
	}
	if w.cfg.Observer != nil {
		w.cfg.Observer.Drained(len(ps), time.Since(began))
	}
	w.cfg.Log.WithFields(logrus.Fields{"in_flight": inFlight, "unpublished": settling, "took": time.Since(began).Round(time.Millisecond)}).Debug("drained")
}

func (a *assignment) Lose(why error) {
	w := a.worker
	a.apart.forget()
	w.committer.under(nil)
	w.lanes.revoke(a.all(), why)
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.parts)
}
