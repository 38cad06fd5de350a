// Package world is a whole deployment in virtual time: an in-memory network
// of hosts that can be cut, frozen, slowed and crashed, a Kafka cluster,
// the gateway simulator, order services that ask and any number of workers.
// Inside of a testing/synctest bubble hours of it take moments. Beside it
// stands a checker that knows nothing of the workers: it compares the records
// in the topics with the gateway's order book.
//
//	order services -> requests -> workers -> gateway
//	                                 |          |
//	                              outcomes  order book
//	                                 |          |
//	                              observer -> checker -> findings
//
// It knows nothing of package testing: what it finds, it returns.
package world

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/signing"
	"github.com/sirupsen/logrus"
)

// Config says what a [World] is made of. The zero value is one broker, one
// gateway host that answers at once, and 4 partitions.
type Config struct {
	// Brokers, 0 for 1.
	Brokers int
	// Partitions of every topic but the dead letters, which have one; 0 for 4.
	Partitions int
	// GatewayHosts, 0 for 1.
	GatewayHosts int
	// Gateway is how the gateway behaves.
	Gateway gatewaysim.Config
	// Tune changes the configuration that all workers get; nil leaves it.
	Tune func(*config.Config)
	// Log takes what the workers log, nil for nobody.
	Log logrus.FieldLogger
}

// World is a deployment. Make it inside of a bubble and close it there. Its
// methods are to be called by one goroutine; Network, Kafka and Gateway are
// safe for concurrent use.
type World struct {
	Network *Network
	Kafka   *Kafka
	Gateway *Gateway
	// Config is what the workers get.
	Config config.Config
	// Topics are all topics, in no order.
	Topics []broker.Topic

	log         logrus.FieldLogger
	mu          sync.Mutex // guards workers against those who ask for proof
	workers     []*Worker
	runs        map[string]int
	clocks      map[string]*clock
	ahead       []ClockAhead
	generations *generations
	producers   *producers
	closers     []func() error
}

// New starts the cluster and the gateway. No worker runs yet.
func New(cfg Config) (*World, error) {
	w := &World{Network: NewNetwork(), Config: config.Default(), runs: make(map[string]int), clocks: make(map[string]*clock), log: cfg.Log}
	if w.log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		silent.SetLevel(logrus.PanicLevel)
		w.log = silent
	}
	c := &w.Config
	c.Merchants = merchants()
	if cfg.Tune != nil {
		cfg.Tune(c)
	}
	partitions := cmp.Or(cfg.Partitions, 4)
	w.Topics = []broker.Topic{
		{Name: c.Topics.Requests, Partitions: partitions},
		{Name: c.Topics.Outcomes, Partitions: partitions},
		{Name: c.Topics.DeadLetters, Partitions: 1},
	}
	for _, name := range c.Topics.Retries() {
		w.Topics = append(w.Topics, broker.Topic{Name: name, Partitions: partitions})
	}
	var err error
	if w.Kafka, err = StartKafka(w.Network, max(cfg.Brokers, 1), w.Topics); err != nil {
		return nil, err
	}
	w.closers = append(w.closers, w.Kafka.Close)
	w.generations = watchGenerations(w.Kafka.Cluster(), c.Kafka.Group)
	w.producers = watchProducers(w.Kafka.Cluster(), c.Kafka.Group)
	// kfake draws leaders from a source that nobody can seed.
	for _, t := range w.Topics {
		for p := range t.Partitions {
			if err := w.Kafka.MoveLeader(t.Name, p, p%w.Kafka.Nodes()); err != nil {
				return nil, errors.Join(err, w.Close())
			}
		}
	}
	if w.Gateway, err = StartGateway(w.Network, max(cfg.GatewayHosts, 1), cfg.Gateway); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	w.closers = append(w.closers, w.Gateway.Close)
	c.Kafka.Brokers = w.Kafka.Addrs()
	c.Gateway.URLs = w.Gateway.URLs()
	return w, nil
}

// Close stops whatever still runs, the last started first, and reports what
// went wrong with it and what was left open. Workers that were killed are
// waited for.
func (w *World) Close() error {
	var errs []error
	for _, wk := range w.workers {
		wk.stop()
	}
	for _, wk := range w.workers {
		if err := wk.Wait(); err != nil && !wk.killed.Load() {
			errs = append(errs, fmt.Errorf("worker %s: %w", wk.Name, err))
		}
	}
	w.mu.Lock()
	w.workers = nil
	w.mu.Unlock()
	for _, end := range slices.Backward(w.closers) {
		errs = append(errs, end())
	}
	w.closers = nil
	// Whoever was told to stop may take a moment to close its connections.
	open := w.Network.openConns()
	for i := 0; i < 100 && len(open) > 0; i++ {
		time.Sleep(100 * time.Millisecond)
		open = w.Network.openConns()
	}
	if len(open) > 0 {
		errs = append(errs, fmt.Errorf("world: connections were left open: %v", open))
	}
	return errors.Join(errs...)
}

// merchants are those of the simulator, as a worker knows them.
func merchants() []closer.Merchant {
	var all []closer.Merchant
	for _, m := range gatewaysim.DefaultMerchants() {
		all = append(all, closer.Merchant{
			MchID: m.MchID, AppID: m.AppID, Keys: []signing.Key{m.Key}, SignType: m.SignType, Institution: m.Institution,
		})
	}
	return all
}
