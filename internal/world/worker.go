package world

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/worker"
)

// Worker is one run of a worker process on a host of its own.
type Worker struct {
	Name string // of the host

	run    int
	host   *Host
	stop   context.CancelFunc // asks it to stop, as SIGTERM does
	ended  chan struct{}
	err    error       // of Run; read after ended
	killed atomic.Bool // by Kill
	is     *worker.Worker
}

// StartWorker starts a worker on the named host, with the world's
// configuration as changed by tune, which may be nil. A worker that runs
// there already is killed.
func (w *World) StartWorker(name string, tune func(*config.Config)) (*Worker, error) {
	cfg := w.Config
	if tune != nil {
		tune(&cfg)
	}
	for _, old := range w.workers {
		if old.Name == name && !old.hasEnded() {
			old.Kill()
		}
	}
	host := w.Network.Boot(name)
	w.runs[name]++
	cfg.Kafka.ClientID = fmt.Sprintf("%s/%d", name, w.runs[name])
	assembled, err := worker.New(cfg, worker.Deps{
		Log:         w.log.WithField("worker", name),
		Now:         w.clock(name).now,
		Proof:       &proof{world: w, host: name, run: w.runs[name]},
		DialKafka:   host.DialContext,
		DialGateway: host.DialContext,
	})
	if err != nil {
		return nil, fmt.Errorf("world: worker %s: %w", name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	wk := &Worker{Name: name, run: w.runs[name], host: host, stop: cancel, ended: make(chan struct{}), is: assembled}
	w.mu.Lock()
	w.workers = append(w.workers, wk)
	w.mu.Unlock()
	go func() {
		defer close(wk.ended)
		wk.err = assembled.Run(ctx)
	}()
	return wk, nil
}

// Stop asks the worker to stop, as SIGTERM does, waits until it has and
// returns what Run returned.
func (wk *Worker) Stop() error {
	wk.stop()
	return wk.Wait()
}

// Renew has it make its connections to Kafka anew, as SIGHUP does.
func (wk *Worker) Renew() { wk.is.Renew() }

// Kill ends the worker as SIGKILL does, as far as anybody else can tell: from
// this moment it reaches nobody. Its goroutines go on until they notice;
// [World.Close] waits for them.
func (wk *Worker) Kill() {
	wk.killed.Store(true)
	wk.host.Crash()
	wk.stop()
}

// Wait waits until the worker has ended and returns what Run returned.
func (wk *Worker) Wait() error {
	<-wk.ended
	return wk.err
}

func (wk *Worker) hasEnded() bool {
	select {
	case <-wk.ended:
		return true
	default:
		return false
	}
}

// proof is what a run of a worker knows of those on its host before it: that they
// were killed. It is what group.LocalProof is to processes of one machine.
type proof struct {
	world *World
	host  string
	run   int
}

func (p *proof) Record() []byte { return fmt.Appendf(nil, "%s/%d", p.host, p.run) }

func (p *proof) Dead(record []byte) bool {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	return slices.ContainsFunc(p.world.workers, func(wk *Worker) bool {
		return wk.Name == p.host && wk.killed.Load() && string(record) == fmt.Sprintf("%s/%d", wk.Name, wk.run)
	})
}
