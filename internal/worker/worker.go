// Package worker assembles one closeorder worker: a closer for the gateway,
// a consumer for Kafka, and the adapter between them. It is used by the
// commands and by the virtual-time test world alike, so that what is tested is
// what runs. It decides nothing.
//
//	config.Config -> closer.Closer -> adapter -> consumer.Worker
package worker

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/merchants"
	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/trace"
)

// Deps is what a worker takes from its surroundings. Log is required.
type Deps struct {
	Log logrus.FieldLogger
	// Merchants replaces the merchants of the configuration, for a set that
	// changes while the worker runs; nil takes those.
	Merchants closer.Merchants
	// Observe sees each call to the gateway; nil: nobody does.
	Observe closer.Observer
	// ObserveBare: Observe needs no replies, see closer.Config.
	ObserveBare bool
	// Observer sees what becomes of requests, see consumer.Config; nil: nobody
	// does.
	Observer consumer.Observer
	// Tracer makes spans, see consumer.Config; nil: none are made.
	Tracer trace.Tracer
	// Now is the clock by which requests fall due, see consumer.Config; nil
	// for time.Now.
	Now func() time.Time
	// Proof tells dead members of the group from silent ones, see
	// consumer.Config.
	Proof consumer.Proof
	// Admin is host:port by which others reach the admin listener; empty for none.
	Admin string
	// DialKafka and DialGateway replace the network, for tests.
	DialKafka   func(ctx context.Context, network, addr string) (net.Conn, error)
	DialGateway func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Worker serves close requests. Make one with [New].
type Worker struct {
	closer   *closer.Closer
	consumer *consumer.Worker
	log      logrus.FieldLogger
}

// New assembles a worker; nothing is dialled. cfg is what config.Load
// returned.
func New(cfg config.Config, deps Deps) (*Worker, error) {
	c, err := NewCloser(cfg, deps)
	if err != nil {
		return nil, err
	}
	refused := told{log: deps.Log} // each new connection reads them
	kafka, err := cfg.Kafka.Client(refused.file)
	if err != nil {
		return nil, err
	}
	kafka.Dial = deps.DialKafka
	topics := consumer.Topics{Requests: cfg.Topics.Requests, Outcomes: cfg.Topics.Outcomes, DeadLetters: cfg.Topics.DeadLetters}
	for _, delay := range cfg.Topics.RetryDelays {
		topics.Retries = append(topics.Retries, consumer.Tier{Topic: cfg.Topics.Retry(delay), Delay: delay})
	}
	w, err := consumer.New(consumer.Config{
		Kafka: kafka,
		Group: cfg.Kafka.Group, InstanceID: cfg.Kafka.InstanceID,
		SessionTimeout: cfg.Kafka.SessionTimeout, RebalanceTimeout: cfg.Kafka.RebalanceTimeout,
		Start: consumer.Start(cfg.Kafka.Start), Skip: cfg.Kafka.Skip,
		Grace: cfg.ShutdownGrace, MaxInFlight: cfg.MaxInFlight,
		MinOrderAge: cfg.MinOrderAge,
		ExactlyOnce: cfg.ProcessingGuarantee == config.ExactlyOnce, TransactionInterval: cfg.TransactionInterval, TransactionTimeout: cfg.Kafka.TransactionTimeout,
		Topics:      topics,
		Closer:      adapter{c},
		Log:         deps.Log,
		Observer:    deps.Observer,
		Tracer:      deps.Tracer,
		LongestTurn: longestTurn(cfg.Gateway.Budget, cfg.Gateway.AttemptTimeout),
		Now:         deps.Now,
		Proof:       deps.Proof,
		Admin:       deps.Admin,
	})
	if err != nil {
		return nil, err
	}
	return &Worker{closer: c, consumer: w, log: deps.Log}, nil
}

// Run serves until ctx ends and everything in flight is drained; see
// [consumer.Worker.Run]. It leaves no goroutine and no connection behind.
func (w *Worker) Run(ctx context.Context) error {
	defer w.closer.CloseIdleConnections()
	watching, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); w.watchHosts(watching) }()
	defer func() { stop(); <-done }()
	return w.consumer.Run(ctx)
}

// Renew has all connections to Kafka made anew, see [consumer.Worker.Renew].
func (w *Worker) Renew() { w.consumer.Renew() }

// longestTurn is how long a request may keep its call slot without a rest: it waits
// for its host, and then its first call is made, which comes before any rest. Or two
// probes follow, each of which waits for its host, and may be made twice.
func longestTurn(budget, attempt time.Duration) time.Duration {
	return max(budget+2*attempt, 6*attempt)
}

// State is what the worker does at this moment, see [consumer.Worker.State].
func (w *Worker) State() consumer.State { return w.consumer.State() }

// Hosts is how the gateway's hosts do at this moment.
func (w *Worker) Hosts() []closer.HostHealth { return w.closer.Hosts() }

// NewCloser assembles the closer of a worker alone: of deps it takes what is
// about the gateway.
func NewCloser(cfg config.Config, deps Deps) (*closer.Closer, error) {
	gateway, err := GatewayConfig(cfg.Gateway)
	if err != nil {
		return nil, err
	}
	if gateway.Merchants = deps.Merchants; gateway.Merchants == nil {
		gateway.Merchants = merchants.ByID(cfg.Merchants)
	}
	gateway.Observe, gateway.ObserveBare = deps.Observe, deps.ObserveBare
	gateway.DialContext = deps.DialGateway
	return closer.New(gateway)
}

// GatewayConfig is the part of a closer's configuration that can be set.
func GatewayConfig(g config.Gateway) (closer.Config, error) {
	c := closer.Config{
		Hosts:          g.URLs,
		Confirm:        closer.Confirm(g.Confirm),
		Budget:         g.Budget,
		AttemptTimeout: g.AttemptTimeout,
		SettleAge:      g.SettleAge,
		Rate:           g.Rate,
		MaxConcurrency: g.MaxConcurrency,
		CAPEM:          g.CAPEM,
	}
	if proxy := g.Proxy.Reveal(); proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil {
			return closer.Config{}, fmt.Errorf("gateway.proxy: not a URL")
		}
		c.Proxy = u
	}
	return c, nil
}
