package main

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/topics"
)

// reachTimeout is how long a command waits for brokers that do not answer.
const reachTimeout = 20 * time.Second

// patience is how long a command that reads to an end waits for Kafka to bring
// more: long enough for a broker that is restarted.
const patience = 2 * time.Minute

// cluster is a command's way to Kafka, and what the workers use there.
type cluster struct {
	client *kafka.Client
	topics config.Topics
	group  string
	// exactlyOnce is how the workers are set to answer, by processing_guarantee.
	exactlyOnce        bool
	transactionTimeout time.Duration
}

// cluster makes one; nothing is dialled. close it to end its goroutines.
func (a *app) cluster(cfg config.Config) (*cluster, error) { return a.clusterBy(cfg, nil) }

// clusterBy makes one that dials by the function, nil for the network.
func (a *app) clusterBy(cfg config.Config, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*cluster, error) {
	to, err := cfg.Kafka.Client(func(err error) { fmt.Fprintf(a.stderr, "closeorder: warning: %v\n", err) })
	if err != nil {
		return nil, err
	}
	to.Dial = dial
	to.OnRetry = a.notifier(strings.Join(to.Brokers, ","))
	to.OnNotIdempotent = func(err error) { fmt.Fprintf(a.stderr, "closeorder: warning: %s\n", plain(err)) }
	return newCluster(to, cfg), nil
}

// newCluster is the way to where to points.
func newCluster(to kafka.Config, cfg config.Config) *cluster {
	c := &cluster{topics: cfg.Topics, group: cfg.Kafka.Group, exactlyOnce: cfg.ProcessingGuarantee == config.ExactlyOnce, transactionTimeout: cfg.Kafka.TransactionTimeout}
	known := cfg.Topics.All()
	if c.exactlyOnce {
		known = append(known, topics.StateLog)
	}
	c.client = kafka.Open(to, known...)
	return c
}

// connect makes the cluster of the settings, when nothing is wrong with them
// nor with the rest of the call.
func (s *settings) connect(wrong *misuse) (*cluster, error) {
	cfg, err := s.load()
	wrong.add(err)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	return s.app.cluster(cfg)
}

func (c *cluster) close() { c.client.Close() }

// notifier says that Kafka is in trouble, each kind of it once and then each
// minute.
func (a *app) notifier(brokers string) func(string, int, error) {
	var told kafka.Told
	return func(topic string, partition int, err error) {
		if told.Due(topic, err) {
			fmt.Fprintf(a.stderr, "closeorder: Kafka at %s, topic %s: %s; trying again\n", brokers, topic, plain(err))
		}
	}
}

// method is how kafka-go begins its errors.
var method = regexp.MustCompile(`kafka\.\(\*\w+\)\.\w+: `)

// plain is an error for people: without the names of Go methods.
func plain(err error) string { return method.ReplaceAllString(err.Error(), "") }

func (c *cluster) reader() *kafka.Reader {
	return &kafka.Reader{Client: c.client, Patience: patience}
}

func (c *cluster) writer() *kafka.Writer {
	return &kafka.Writer{Client: c.client}
}

// exist names all topics that are missing, if the cluster can be reached.
func (c *cluster) exist(ctx context.Context, topics ...string) error {
	ctx, cancel := reach(ctx)
	defer cancel()
	return c.reader().Exist(ctx, topics...)
}
