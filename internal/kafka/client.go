package kafka

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Config says how to reach the cluster.
type Config struct {
	// Brokers are the bootstrap addresses, host:port.
	Brokers []string
	// ClientID names this process in the broker's logs and quotas.
	ClientID string
	// TLS, when set, is asked for the configuration of each new connection, so
	// that renewed certificates count. Calls may be concurrent.
	TLS func() (*tls.Config, error)
	// SASL, when set, is asked for what authenticates each new connection.
	// Calls may be concurrent.
	SASL func() (Mechanism, error)
	// Dial opens connections; nil means the operating system's network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// OnRetry, if set, is told of each failure that [Client.Persist] tries
	// again. partition is -1 where the whole topic is asked about. Calls may be
	// concurrent.
	OnRetry func(topic string, partition int, err error)
}

// Mechanism authenticates connections: one that [SASL] makes, or any other of
// kafka-go.
type Mechanism = sasl.Mechanism

// SASL returns what authenticates a connection: PLAIN, SCRAM-SHA-256 or
// SCRAM-SHA-512, nil for the empty mechanism. It fails on names and passwords
// that SCRAM cannot carry.
func SASL(mechanism, username, password string) (Mechanism, error) {
	switch mechanism {
	case "":
		return nil, nil
	case "PLAIN":
		return plain.Mechanism{Username: username, Password: password}, nil
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, username, password)
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, username, password)
	}
	return nil, fmt.Errorf("unknown SASL mechanism %q", mechanism)
}

// asked is a mechanism that asks anew for each connection.
type asked struct{ get func() (Mechanism, error) }

// Name is that of the mechanism as it is now; one that cannot be had fails in
// Start.
func (a asked) Name() string {
	if m, err := a.get(); err == nil {
		return m.Name()
	}
	return ""
}

func (a asked) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	m, err := a.get()
	if err != nil {
		return nil, nil, err
	}
	return m.Start(ctx)
}

// secure makes a connection one of TLS. It closes conn when it fails.
func secure(ctx context.Context, conn net.Conn, address string, get func() (*tls.Config, error)) (net.Conn, error) {
	cfg, err := get()
	if err != nil {
		conn.Close()
		return nil, err
	}
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		if cfg.ServerName, _, err = net.SplitHostPort(address); err != nil {
			cfg.ServerName = address
		}
	}
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, tlsFailed(address, err)
	}
	return secured, nil
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

// Client is one process's way to Kafka: one kafka-go Transport, whose
// connections it counts so that Close leaves none behind. It is safe for
// concurrent use.
type Client struct {
	transport *kafkago.Transport
	client    *kafkago.Client
	cancel    context.CancelFunc
	onRetry   func(topic string, partition int, err error)

	mu     sync.Mutex
	closed bool
	conns  map[*trackedConn]struct{}
}

// Open makes a client; nothing is dialled yet. topics are all the topics ever
// asked for: others do not exist for it. With none it knows them all, at the
// price of fetching the metadata of all.
func Open(cfg Config, topics ...string) *Client {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Client{cancel: cancel, onRetry: cfg.OnRetry, conns: make(map[*trackedConn]struct{})}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	// Each dial gets a share of the time, so that one dead bootstrap broker
	// does not use up the time of the others.
	share := max(dialTimeout/time.Duration(max(len(cfg.Brokers), 1)), time.Second)
	c.transport = &kafkago.Transport{
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, share)
			defer cancel()
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if conn, err = c.track(conn); err != nil || cfg.TLS == nil {
				return conn, err
			}
			return secure(ctx, conn, address, cfg.TLS)
		},
		DialTimeout:    dialTimeout,
		IdleTimeout:    2 * time.Minute,
		MetadataTTL:    metadataTTL,
		MetadataTopics: topics,
		ClientID:       cfg.ClientID,
		Context:        ctx,
	}
	if cfg.SASL != nil {
		c.transport.SASL = asked{cfg.SASL}
	}
	// Half of Timeout goes on the wire as the broker's own time-out.
	c.client = &kafkago.Client{Addr: kafkago.TCP(cfg.Brokers...), Timeout: 30 * time.Second, Transport: c.transport}
	return c
}

// Close closes every connection, those in use too, and ends the transport's
// goroutines. Requests under way fail.
func (c *Client) Close() {
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

func (c *Client) track(conn net.Conn) (net.Conn, error) {
	t := &trackedConn{Conn: conn, client: c}
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
	client *Client
}

func (t *trackedConn) Close() error {
	t.client.mu.Lock()
	delete(t.client.conns, t)
	t.client.mu.Unlock()
	return t.Conn.Close()
}

// RoundTrip sends one request of kafka-go's and bounds it: kafka-go sets the
// deadline of the connection from the context, and without one a frozen broker
// holds the request for ever. It is for package group.
func (c *Client) RoundTrip(ctx context.Context, timeout time.Duration, req kafkago.Request) (kafkago.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.transport.RoundTrip(ctx, c.client.Addr, req)
}
