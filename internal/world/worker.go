package world

import (
	"context"
	"fmt"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/worker"
)

// Worker is one run of a worker process on a host of its own.
type Worker struct {
	// Name is the host; Run counts the workers started under that name.
	Name string
	Run  int

	host     *Host
	clientID string // tells the broker which run it is
	stop     context.CancelFunc
	ended    chan struct{}
	err      error // of Run; read after ended
	killed   bool
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
	wk := &Worker{
		Name: name, Run: w.runs[name], host: host, clientID: cfg.Kafka.ClientID, stop: cancel, ended: make(chan struct{}),
	}
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

// SignalStop asks the worker to stop and does not wait.
func (wk *Worker) SignalStop() { wk.stop() }

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

// Killed reports whether the worker was ended by Kill.
func (wk *Worker) Killed() bool { return wk.killed }

func (wk *Worker) hasEnded() bool {
	select {
	case <-wk.ended:
		return true
	default:
		return false
	}
}

// EvictGhosts takes members out of the group that have been silent for longer
// than any time-out of theirs. Kafka does that by itself. kfake does not for a
// member whose connection was gone when its answer to JoinGroup or SyncGroup
// was sent: it starts no session timer for it. Nor does it end a rebalance that
// waits for such a member while the others join again and again: it counts the
// rebalance time-out anew each time, Kafka does not.
func (w *World) EvictGhosts(ctx context.Context, o *Observer) error {
	info := w.Kafka.Cluster().GroupInfo(w.Config.Kafka.Group)
	if info == nil {
		return nil
	}
	// A member that joins waits in silence for as long as the rebalance lasts.
	patience := w.Config.Kafka.SessionTimeout + w.Config.Kafka.RebalanceTimeout + 15*time.Second
	for _, m := range info.Members {
		if w.generations.silence(m.MemberID) > patience {
			if err := o.evict(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}
