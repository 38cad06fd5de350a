package world

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/sirupsen/logrus"
)

// Result is what came of a [Plan].
type Result struct {
	Report   Report
	Evidence Evidence
	// Balance of the shop, where one sells.
	Balance Balance
	// Virtual is how long it took, in virtual time.
	Virtual time.Duration
	// Faults counts what went wrong, by kind; BrokerErrors the requests that
	// brokers answered with an error for that.
	Faults       map[string]int
	BrokerErrors int
	// Trouble is what kept the run from its end: not a broken promise, but
	// nothing that may happen either.
	Trouble []error
}

// run carries out a plan.
type run struct {
	plan     Plan
	world    *World
	observer *Observer
	shop     *Shop
	seller   *Seller   // nil where none sells
	slots    []*Worker // the workers that are meant to run
	ghosts   *ghosts
	began    time.Time

	kills, brokerHits int
	faults            map[string]int
	background        sync.WaitGroup // faults that go on by themselves
	trouble           []error
	evidence          Evidence
	balance           Balance
}

// step is something to do at a time.
type step struct {
	at time.Duration
	do func()
}

const (
	// lookEvery is how often the observer looks at the commits.
	lookEvery = 30 * time.Second
	// settleFor is how long, after the last fault, the last request may wait
	// for its answer: the retries, and waits for the gateway between them.
	settleFor = time.Hour
	// sellFor is how long after that a purchase may stay open: failed requests
	// are asked again, an hour apart in the end. What a shop that makes mistakes
	// leaves open stays so.
	sellFor, sellWronglyFor = 12 * time.Hour, 2 * time.Hour
)

// Run carries out the plan inside of the current bubble: traffic and faults,
// then a time without faults until everything is answered, then a clean stop
// and a restart that must find nothing to do. log may be nil.
func (p Plan) Run(ctx context.Context, log logrus.FieldLogger) Result {
	r := &run{plan: p, began: time.Now(), faults: make(map[string]int)}
	report := r.run(ctx, log)
	return Result{
		Report: report, Evidence: r.evidence, Balance: r.balance, Virtual: time.Since(r.began), Faults: r.faults, BrokerErrors: r.brokerHits, Trouble: r.trouble,
	}
}

// note keeps an error that must not happen.
func (r *run) note(err error) {
	if err != nil {
		r.trouble = append(r.trouble, fmt.Errorf("%v: %w", time.Since(r.began).Round(time.Second), err))
	}
}

func (r *run) run(ctx context.Context, log logrus.FieldLogger) Report {
	p := r.plan
	w, err := New(Config{
		Brokers: p.Brokers, Partitions: p.Partitions, GatewayHosts: p.GatewayHosts, Gateway: p.Gateway, Log: log,
		Tune: func(c *config.Config) {
			c.MaxInFlight = p.MaxInFlight
			c.Kafka.SessionTimeout, c.Kafka.RebalanceTimeout = p.SessionTimeout, p.RebalanceTimeout
			c.Topics.RetryDelays = p.RetryDelays
			c.Gateway.Confirm = p.Confirm
			if p.Young {
				c.MinOrderAge = 0
			}
			if p.ExactlyOnce {
				c.ProcessingGuarantee = config.ExactlyOnce
			}
		},
	})
	if err != nil {
		r.note(err)
		return Report{}
	}
	r.world, r.ghosts = w, watchGhosts(w)
	defer func() { r.note(w.Close()) }()
	if p.Latency > 0 {
		w.Network.Between("", "").Slow(p.Latency, 0)
	}
	if r.observer, err = w.Observe(); err != nil {
		r.note(err)
		return Report{}
	}
	r.ghosts.observer = r.observer
	defer r.ghosts.beats.Wait()
	if r.shop, err = w.OpenShop("shop"); err != nil {
		r.note(err)
		return Report{}
	}
	r.slots = make([]*Worker, p.Workers)
	for i := range r.slots {
		r.note(r.start(i))
	}
	asked := make(chan error, 1)
	p.Traffic.Begin = time.Now()
	go func() { asked <- r.shop.Ask(ctx, p.Traffic.Publications()) }()
	if p.Sales.Purchases > 0 {
		if r.seller, err = w.Sell(p.Sales, r.shop); err != nil {
			r.note(err)
			return Report{}
		}
	}

	r.live(ctx)
	r.note(<-asked)
	r.background.Wait()
	r.startAll()
	r.awaitSettled(ctx)
	r.awaitAnswers(ctx)
	r.stopAndStart(ctx)
	return r.check(ctx)
}

// start starts the worker of a slot. One that still runs there has had its
// time to stop, and is killed.
func (r *run) start(slot int) error {
	name := fmt.Sprintf("worker-%d", slot)
	if old := r.slots[slot]; old != nil && !old.hasEnded() && !old.killed.Load() {
		r.kills++
	}
	wk, err := r.world.StartWorker(name, r.tune(name))
	if err == nil {
		r.slots[slot] = wk
	}
	return err
}

func (r *run) tune(name string) func(*config.Config) {
	return func(c *config.Config) {
		if r.plan.StaticIDs {
			c.Kafka.InstanceID = name
		}
	}
}

// live lets the faults happen, and looks at the commits all the while.
func (r *run) live(ctx context.Context) {
	var steps []step
	last := r.plan.Traffic.Over
	for _, f := range r.plan.Faults {
		kind := faultKinds[slices.IndexFunc(faultKinds[:], func(k faultKind) bool { return k.name == f.Kind })]
		steps = insert(steps, step{f.At, func() {
			r.faults[f.Kind]++
			end, err := kind.begin(r, f)
			r.note(err)
			if end != nil {
				steps = insert(steps, step{time.Since(r.began) + f.For, end})
			}
		}})
		// In the middle of trouble and at its end commits say most.
		for _, at := range []time.Duration{f.At + time.Second, f.At + f.For/2, f.At + f.For} {
			steps = insert(steps, step{at, func() { r.look(ctx) }})
		}
		last = max(last, f.At+f.For)
	}
	for at := lookEvery; at < last; at += lookEvery {
		steps = insert(steps, step{at, func() { r.look(ctx) }})
	}
	for len(steps) > 0 {
		next := steps[0]
		steps = steps[1:]
		if !sleepUntil(ctx, r.began.Add(next.at)) {
			return
		}
		next.do()
	}
}

// insert puts a step behind those of the same time.
func insert(steps []step, s step) []step {
	i := len(steps)
	for i > 0 && steps[i-1].at > s.at {
		i--
	}
	return slices.Insert(steps, i, s)
}

func sleepUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *run) look(ctx context.Context) {
	// A frozen network does not reach the observer: it looks within moments.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	_, err := r.observer.Look(ctx)
	r.note(err)
	r.note(r.ghosts.evict(ctx, r.observer))
}

// startAll starts the workers that have ended.
func (r *run) startAll() {
	for i, wk := range r.slots {
		if wk.hasEnded() {
			if wk.err != nil && !wk.killed.Load() {
				r.note(fmt.Errorf("%s gave up: %w", wk.Name, wk.err))
			}
			r.note(r.start(i))
		}
	}
}

// awaitSettled waits until every purchase is paid or given up, or the time is up:
// then the shop is closed, and its money counted.
func (r *run) awaitSettled(ctx context.Context) {
	if r.seller == nil {
		return
	}
	most := sellFor
	if r.seller.Rules != Careful {
		most = sellWronglyFor
	}
	end := time.Now().Add(most)
	for r.seller.unsettled() > 0 && time.Now().Before(end) && sleepUntil(ctx, time.Now().Add(10*lookEvery)) {
		r.look(ctx)
	}
	r.note(r.seller.shut())
	r.balance = r.seller.Balance(r.world.Gateway.Book())
}

// awaitAnswers waits until every request has its outcome, or the time is up.
func (r *run) awaitAnswers(ctx context.Context) {
	w := r.world
	most := settleFor
	if r.seller != nil {
		most = sellFor // a shop that reissues all through an outage leaves a mountain
	}
	end := time.Now().Add(most)
	for ; time.Now().Before(end); sleepUntil(ctx, time.Now().Add(lookEvery)) {
		r.look(ctx)
		if r.observer.unanswered(w) == 0 && !r.observer.heldUp() {
			return
		}
	}
}

// stopAndStart stops all workers cleanly and starts one again.
func (r *run) stopAndStart(ctx context.Context) {
	for _, wk := range r.world.workers {
		wk.stop()
	}
	for _, wk := range r.world.workers {
		if err := wk.Wait(); err != nil && !wk.killed.Load() {
			r.note(fmt.Errorf("%s: %w", wk.Name, err))
		}
	}
	r.look(ctx)
	if looks := r.observer.Looks(); len(looks) > 0 {
		looks[len(looks)-1].Stopped = true
	}
	r.note(r.start(0))
	sleepUntil(ctx, time.Now().Add(2*time.Minute))
	r.look(ctx)
}

// errTooManyRepeats is for duplicates without end.
var errTooManyRepeats = errors.New("more duplicates than the faults explain")

func (r *run) check(ctx context.Context) Report {
	e := r.world.Evidence(r.observer)
	e.Settled = true
	// It reissues all through an outage. In the mountain that this leaves a request
	// is read from its retry topic only when it is due, so that little of its wait
	// is measured as held: its order stays young, and the retries end before.
	e.OutagesMayFail = r.plan.Sales.Rules == SilenceIsSafe
	var err error
	e.Aborted, err = r.observer.Aborted(ctx, r.world.Config.Topics.Requests)
	r.note(err)
	// Every worker that ever ran may have been alive at one time with guests.
	e.MaxInFlight = r.plan.MaxInFlight * (len(r.slots) + 3)
	r.evidence = e
	report := Check(e)
	if !report.Balanced() {
		r.note(fmt.Errorf("the counts do not add up: %v", report))
	}
	disturbed := r.kills + r.brokerHits
	for range r.faults {
		disturbed++
	}
	if most := (1 + disturbed) * 2 * r.plan.MaxInFlight; report.Duplicates > most {
		r.note(fmt.Errorf("%w: %d, at most %d", errTooManyRepeats, report.Duplicates, most))
	}
	return report
}
