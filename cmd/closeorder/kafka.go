package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/topicreader"
	"github.com/closeorder/closeorder/internal/topicwriter"
	"github.com/segmentio/kafka-go"
)

// reachTimeout is how long a command waits for brokers that do not answer.
const reachTimeout = 20 * time.Second

// patience is how long a command that reads to an end waits for Kafka to bring
// more: long enough for a broker that is restarted.
const patience = 2 * time.Minute

// cluster is a command's way to Kafka.
type cluster struct {
	client *kafka.Client
	notify func(topic string, partition int, err error)
	close  func()
}

// cluster makes one; nothing is dialled. close it to end its goroutines.
func (a *app) cluster(cfg config.Config) (*cluster, error) {
	sasl, err := cfg.Kafka.SASL.Client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	transport := &kafka.Transport{
		Dial:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MetadataTTL:    time.Second,
		MetadataTopics: cfg.Topics.All(),
		ClientID:       cfg.Kafka.ClientID,
		TLS:            cfg.Kafka.TLS.Config(),
		SASL:           sasl,
		Context:        ctx,
	}
	return &cluster{
		client: &kafka.Client{Addr: kafka.TCP(cfg.Kafka.Brokers...), Timeout: 30 * time.Second, Transport: transport},
		notify: a.notifier(strings.Join(cfg.Kafka.Brokers, ",")),
		close: func() {
			cancel()
			transport.CloseIdleConnections()
		},
	}, nil
}

// notifier says that Kafka is in trouble, once for each kind of it.
func (a *app) notifier(brokers string) func(string, int, error) {
	var mu sync.Mutex
	last := ""
	return func(topic string, partition int, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err.Error() != last {
			last = err.Error()
			fmt.Fprintf(a.stderr, "closeorder: Kafka at %s, topic %s: %v; trying again\n", brokers, topic, err)
		}
	}
}

func (c *cluster) reader() *topicreader.Reader {
	return &topicreader.Reader{Client: c.client, Patience: patience, OnRetry: c.notify}
}

func (c *cluster) writer() *topicwriter.Writer {
	return &topicwriter.Writer{Client: c.client, OnRetry: c.notify}
}

// exist names all topics that are missing, if the cluster can be reached.
func (c *cluster) exist(ctx context.Context, topics ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, errUnreached)
	defer cancel()
	return c.reader().Exist(ctx, topics...)
}
