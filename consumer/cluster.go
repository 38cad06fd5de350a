package consumer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/sasl"
)

// Kafka says how to reach the cluster.
type Kafka struct {
	// Brokers are the bootstrap addresses, host:port.
	Brokers []string
	// ClientID names this process in the broker's logs and quotas.
	ClientID string
	// TLS, when set, is used for every connection.
	TLS *tls.Config
	// SASL, when set, authenticates every connection.
	SASL sasl.Mechanism
	// Dial opens connections; nil means the operating system's network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	// requestTimeout bounds one request that has nothing to wait for.
	requestTimeout = 10 * time.Second
	// produceTimeout bounds one produce request with acks=all.
	produceTimeout = 15 * time.Second
	// dialTimeout bounds the opening of one connection with all its
	// handshakes. A frozen bootstrap broker costs this much, then another
	// one of the list is tried: kafka-go shuffles them.
	dialTimeout = 4 * time.Second
	// metadataTTL bounds how long a moved leader goes unnoticed.
	metadataTTL = time.Second
)

// cluster is one process's way to Kafka: one kafka-go Transport, whose
// connections it counts so that close leaves none behind. It is safe for
// concurrent use.
type cluster struct {
	addr      net.Addr
	transport *kafka.Transport
	client    *kafka.Client
	cancel    context.CancelFunc

	mu     sync.Mutex
	closed bool
	conns  map[*trackedConn]struct{}
}

// openCluster makes a cluster; nothing is dialled yet. topics are all the
// topics ever asked for: metadata of others is not fetched.
func openCluster(cfg Kafka, topics []string) *cluster {
	ctx, cancel := context.WithCancel(context.Background())
	c := &cluster{cancel: cancel, conns: make(map[*trackedConn]struct{})}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	// Each dial gets a share of the time, so that one dead bootstrap broker
	// does not use up the time of the others.
	share := max(dialTimeout/time.Duration(max(len(cfg.Brokers), 1)), time.Second)
	c.transport = &kafka.Transport{
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, share)
			defer cancel()
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return c.track(conn)
		},
		DialTimeout:    dialTimeout,
		IdleTimeout:    2 * time.Minute,
		MetadataTTL:    metadataTTL,
		MetadataTopics: topics,
		ClientID:       cfg.ClientID,
		TLS:            cfg.TLS,
		SASL:           cfg.SASL,
		Context:        ctx,
	}
	c.addr = kafka.TCP(cfg.Brokers...)
	// Half of Timeout goes on the wire as the broker's own time-out.
	c.client = &kafka.Client{Addr: c.addr, Timeout: 30 * time.Second, Transport: c.transport}
	return c
}

// close closes every connection, those in use too, and ends the transport's
// goroutines. Requests under way fail.
func (c *cluster) close() {
	c.cancel()
	c.mu.Lock()
	c.closed = true
	conns := c.conns
	c.conns = nil
	c.mu.Unlock()
	for conn := range conns {
		conn.Conn.Close()
	}
	c.transport.CloseIdleConnections()
}

func (c *cluster) track(conn net.Conn) (net.Conn, error) {
	t := &trackedConn{Conn: conn, cluster: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	c.conns[t] = struct{}{}
	return t, nil
}

type trackedConn struct {
	net.Conn
	cluster *cluster
}

func (t *trackedConn) Close() error {
	t.cluster.mu.Lock()
	delete(t.cluster.conns, t)
	t.cluster.mu.Unlock()
	return t.Conn.Close()
}

// roundTrip sends one request and bounds it. kafka-go sets the deadline of
// the connection from the context: without one a frozen broker holds the
// request for ever.
func (c *cluster) roundTrip(ctx context.Context, timeout time.Duration, req kafka.Request) (kafka.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.transport.RoundTrip(ctx, c.addr, req)
}

// topicsMissing is the error of topics that the cluster says do not exist.
type topicsMissing struct{ topics []string }

func (e *topicsMissing) Error() string {
	return fmt.Sprintf("missing in Kafka: %s; create with `closeorder topics create`", strings.Join(e.topics, ", "))
}

// partitionCounts returns the number of partitions of each topic, from
// metadata that is at most metadataTTL old. Topics that do not exist are one
// *topicsMissing error.
func (c *cluster) partitionCounts(ctx context.Context, topics ...string) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	meta, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(topics))
	var missing topicsMissing
	for _, t := range meta.Topics {
		switch {
		case errors.Is(t.Error, kafka.UnknownTopicOrPartition):
			missing.topics = append(missing.topics, t.Name)
		case t.Error != nil:
			return nil, fmt.Errorf("metadata of topic %s: %w", t.Name, t.Error)
		default:
			counts[t.Name] = len(t.Partitions)
		}
	}
	if missing.topics != nil {
		return nil, &missing
	}
	return counts, nil
}

// logStart and logEnd are the timestamps that ask ListOffsets for the first
// offset still in the log and for the offset after the last.
const (
	logStart = -2
	logEnd   = -1
)

// offsetAt asks the leader of a partition for logStart or logEnd. It goes
// round Client.ListOffsets, which hides failures.
func (c *cluster) offsetAt(ctx context.Context, topic string, partition int, which int64) (int64, error) {
	res, err := c.roundTrip(ctx, requestTimeout, &listoffsets.Request{
		ReplicaID: -1,
		Topics: []listoffsets.RequestTopic{{Topic: topic, Partitions: []listoffsets.RequestPartition{{
			Partition: int32(partition), CurrentLeaderEpoch: -1, Timestamp: which,
		}}}},
	})
	if err != nil {
		return 0, err
	}
	for _, t := range res.(*listoffsets.Response).Topics {
		for _, p := range t.Partitions {
			if t.Topic == topic && int(p.Partition) == partition {
				if p.ErrorCode != 0 {
					return 0, kafka.Error(p.ErrorCode)
				}
				return p.Offset, nil
			}
		}
	}
	return 0, errors.New("the broker's answer to ListOffsets lacks the partition")
}

// sleep waits for d and returns nil, or at once with the cause when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
