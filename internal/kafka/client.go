package kafka

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
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
	// TLS, when set, is asked for each new connection, so that it may return
	// what has been renewed; nil means plain connections. Calls may be concurrent.
	TLS func() (*tls.Config, error)
	// SASL, when set, is asked in the same way for what authenticates a
	// connection.
	SASL func() (Mechanism, error)
	// Dial opens connections; nil means the operating system's network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// UnpackedBatch is the most bytes that one fetched batch may unpack to, 0
	// for 64 MiB: beyond that it is an *[UnreadableError].
	UnpackedBatch int64
	// UnpackedTotal is the most bytes that all fetched batches of the client may
	// take unpacked at one time, 0 for 256 MiB, and never less than one batch
	// may: who needs more waits for others. More than an eighth of MaxBuffered
	// none takes but one that is larger, alone.
	UnpackedTotal int64
	// MaxBuffered bounds what the client holds of records, in bytes, 0 for 64
	// MiB: see [Memory].
	MaxBuffered int64
	// ReadUncommitted reads records of transactions that are open or were aborted
	// too, and takes the high watermark for the end of a log. Otherwise the end is
	// the last stable offset.
	ReadUncommitted bool
	// OnRetry, if set, is told of each failure that [Client.Persist] tries
	// again. partition is -1 where the whole topic is asked about. Calls may be
	// concurrent.
	OnRetry func(topic string, partition int, err error)
	// OnThrottle, if set, is told of each answer by which a broker's quotas hold
	// this client back, and for how long; broker is its number, -1 where it is
	// not known yet. No further request goes out on that connection meanwhile,
	// but heartbeats do. It may be called often, and concurrently, and must not
	// wait.
	OnThrottle func(broker int, api string, d time.Duration)
	// OnNotIdempotent, if set, is told once why this client writes without a
	// producer id from now on, and what mends it: a batch that is tried again
	// can be written twice.
	OnNotIdempotent func(error)
	// OnRepeat, if set, is told that a batch may be written a second time: whether
	// it had arrived was not known, and the broker has forgotten what this client
	// wrote. Calls may be concurrent.
	OnRepeat func(topic string, partition int, err error)
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

const (
	// requestTimeout bounds one request that has nothing to wait for.
	requestTimeout = 10 * time.Second
	// produceTimeout bounds one produce request with acks=all.
	produceTimeout = 15 * time.Second
	// dialTimeout bounds the opening of one connection with all its
	// handshakes. Where any broker will do another one is tried long before.
	dialTimeout = 4 * time.Second
	// metadataTTL is from which age metadata are asked for anew.
	metadataTTL = time.Second
)

// Client is one process's way to Kafka: at most four connections to a broker,
// one for each of what waits there by itself (fetches for records, joins for
// other members, heartbeats for nothing) and one for all else. It is safe for
// concurrent use.
type Client struct {
	transport *transport
	client    *kafkago.Client
	onRetry   func(topic string, partition int, err error)
	fetcher   *fetcher
	lines     *lines

	onNotIdempotent func(error)
	onRepeat        func(topic string, partition int, err error)
}

// Open makes a client; nothing is dialled yet. topics are all the topics ever
// asked for: others do not exist for it. With none it knows them all, at the
// price of fetching the metadata of all.
func Open(cfg Config, topics ...string) *Client {
	c := &Client{transport: newTransport(cfg, topics), onRetry: cfg.OnRetry, onNotIdempotent: cfg.OnNotIdempotent, onRepeat: cfg.OnRepeat}
	c.lines = newLines(c, "", nobody)
	// Half of Timeout goes on the wire as the broker's own time-out.
	c.client = &kafkago.Client{Addr: kafkago.TCP(cfg.Brokers...), Timeout: 30 * time.Second, Transport: c.transport}
	c.fetcher = newFetcher(c, cfg)
	return c
}

// Close closes every connection, those in use too, and waits for the client's
// goroutines. Requests under way fail.
func (c *Client) Close() {
	c.fetcher.close()
	c.transport.close()
}

// Renew lets all connections go: new ones are made with what Config.TLS and
// Config.SASL return then, and each old one closes when its requests are
// answered.
func (c *Client) Renew() { c.transport.each((*conn).retire) }

// Memory is what the records that are handed out share in.
func (c *Client) Memory() *Memory { return c.fetcher.memory }

// Buffered returns how many bytes the client and its readers hold of records at
// the moment, and how many they may: see [Memory].
func (c *Client) Buffered() (held, most int64) {
	f := c.fetcher
	f.mu.Lock()
	held = int64(f.packed) + f.budget.taken.Load()
	f.mu.Unlock()
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	return held + f.memory.held, f.memory.bound
}

// Connections returns how many connections are open, by the address of the
// broker.
func (c *Client) Connections() map[string]int {
	open := make(map[string]int)
	c.transport.each(func(c *conn) { open[c.address]++ })
	return open
}

// Prepare opens what connections a member of a group needs to its coordinator, as
// far as they are not open: for joins, for heartbeats, for fetches. Who joined
// without a connection for heartbeats would be given partitions and lose them,
// again and again, where brokers take no more connections than there are.
func (c *Client) Prepare(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return c.transport.prepare(ctx, group{name, 0})
}

// MaxVersion returns the version in which requests of an API go to the
// coordinator of a group: the newest that it and kafka-go both know. Where they
// have none in common the error is an UNSUPPORTED_VERSION, which lasts.
func (c *Client) MaxVersion(ctx context.Context, name string, api protocol.ApiKey) (int16, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return c.transport.versionAt(ctx, group{name, 0}, api)
}

// RoundTrip sends one request of kafka-go's and bounds it: without a deadline a
// frozen broker holds it for ever. It is for package group.
func (c *Client) RoundTrip(ctx context.Context, timeout time.Duration, req kafkago.Request) (kafkago.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.transport.RoundTrip(ctx, nil, req)
}
