package world

import (
	"context"
	"fmt"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/worker"
)

// Worker is one run of a worker process on a host of its own.
type Worker struct {
	Name string // of the host

	host   *Host
	stop   context.CancelFunc // asks it to stop, as SIGTERM does
	ended  chan struct{}
	err    error // of Run; read after ended
	killed bool  // by Kill
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
		DialKafka:   host.DialContext,
		DialGateway: host.DialContext,
	})
	if err != nil {
		return nil, fmt.Errorf("world: worker %s: %w", name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	wk := &Worker{Name: name, host: host, stop: cancel, ended: make(chan struct{})}
	w.workers = append(w.workers, wk)
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

// Kill ends the worker as SIGKILL does, as far as anybody else can tell: from
// this moment it reaches nobody. Its goroutines go on until they notice;
// [World.Close] waits for them.
func (wk *Worker) Kill() {
	wk.killed = true
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
