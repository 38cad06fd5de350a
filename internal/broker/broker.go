// Package broker is an embedded Kafka broker for development and tests:
// kfake, the fake cluster of franz-go, listening on the loopback interface
// unless it is told otherwise, with closeorder's topics in it. It keeps its data
// in memory, or in a folder that survives a restart and a crash. It knows nothing
// of close requests.
//
// It is not a broker for production: one process, no replication, no
// authentication.
package broker

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// minSessionTimeout is the shortest session time-out that a group member may
// ask for. Apache Kafka's own default is 6 s, too long for tests of a
// rebalance in real time.
const minSessionTimeout = 100 * time.Millisecond

// Config says what to start. The zero value is one broker in memory on any
// free port, with [DefaultTopics].
type Config struct {
	// Host is the address to listen on, such as 0.0.0.0; empty for 127.0.0.1.
	Host string
	// Port on Host, 0 for any free one. The second broker takes Port+1
	// and so on.
	Port int
	// Advertise is what clients are told to connect to, as HOST, with the port
	// that is listened on, or as HOST:PORT where something in between maps ports.
	// It is needed where Host is no address that a client can connect to, and goes
	// with one broker.
	Advertise string
	// Brokers is the size of the cluster, 0 for 1.
	Brokers int
	// DataDir keeps topics, records, groups and committed offsets over
	// restarts; it is created when missing and locked while in use. A crash of
	// the machine (not of the process) may lose the newest records. Empty
	// keeps them in memory.
	DataDir string
	// Topics to create where they are missing; nil for [DefaultTopics]. A
	// topic that DataDir holds already is left as it is.
	Topics []Topic
	// ListenFn takes the place of [net.Listen], for an in-memory network. It
	// is called with "tcp" and "HOST:PORT". Members that are killed
	// as they join are left to the caller then.
	ListenFn func(network, address string) (net.Listener, error)
	// Errorf is told what goes wrong while running (a full disk, say); nil
	// drops it. Calls may be concurrent.
	Errorf func(format string, args ...any)
}

// Broker is a running cluster. Its methods are safe for concurrent use.
type Broker struct {
	cluster *kfake.Cluster
	addrs   []string
	near    map[string]string // where to dial for an address that is advertised
	close   func() error
}

// Start starts the cluster and creates the topics. It returns when clients
// can connect. The error says every wrong setting at once, or which port is
// taken and how to choose another.
func Start(cfg Config) (*Broker, error) {
	cfg.Brokers = cmp.Or(cfg.Brokers, 1)
	if cfg.Topics == nil {
		cfg.Topics = DefaultTopics()
	}
	if err := check(cfg); err != nil {
		return nil, err
	}
	unlock, err := lockDir(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	listeners := &listeners{cfg: cfg, near: map[string]string{}}
	cluster, err := kfake.NewCluster(append(options(cfg), kfake.ListenFn(listeners.listen))...)
	if err != nil {
		return nil, errors.Join(startError(cfg, err), unlock())
	}
	tellAborted(cluster, cfg.DataDir != "")
	b := &Broker{cluster: cluster, addrs: cluster.ListenAddrs(), near: listeners.near}
	endSessions := func() {}
	b.close = sync.OnceValue(func() error {
		endSessions()
		cluster.Close()
		return unlock()
	})
	if cfg.ListenFn == nil {
		client, err := kgo.NewClient(kgo.SeedBrokers(b.addrs...), kgo.Dialer(b.Dial), kgo.DisableClientMetrics())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("embedded broker: %w", err), b.Close())
		}
		end := beginSessions(cluster, client)
		endSessions = func() { end(); client.Close() }
	}
	for _, t := range cfg.Topics {
		err := cluster.CreateTopic(t.Name, int32(t.Partitions), t.Configs)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return nil, errors.Join(fmt.Errorf("embedded broker: create topic %s: %w", t.Name, err), b.Close())
		}
	}
	return b, nil
}

func check(cfg Config) error {
	var errs []error
	if cfg.Brokers < 1 {
		errs = append(errs, fmt.Errorf("embedded broker: %d brokers; at least 1 is needed", cfg.Brokers))
	}
	if last := cfg.Port + cfg.Brokers - 1; cfg.Port < 0 || cfg.Port > 0 && last > 65535 {
		errs = append(errs, fmt.Errorf("embedded broker: port %d is not between 0 and %d; choose another with --kafka-port", cfg.Port, 65536-cfg.Brokers))
	}
	if err := checkAddresses(cfg); err != nil {
		errs = append(errs, err)
	}
	seen := make(map[string]bool, len(cfg.Topics))
	for _, t := range cfg.Topics {
		if seen[t.Name] {
			errs = append(errs, fmt.Errorf("embedded broker: topic %s is given twice", t.Name))
		}
		seen[t.Name] = true
		if !topicName.MatchString(t.Name) {
			errs = append(errs, fmt.Errorf("embedded broker: topic name %q: 1 to 249 letters, digits, dots, underscores and hyphens are allowed", t.Name))
		}
		if t.Partitions < 1 {
			errs = append(errs, fmt.Errorf("embedded broker: topic %s: %d partitions; at least 1 is needed", t.Name, t.Partitions))
		}
	}
	return errors.Join(errs...)
}

func options(cfg Config) []kfake.Opt {
	ports := make([]int, cfg.Brokers)
	for i := range ports {
		if cfg.Port > 0 {
			ports[i] = cfg.Port + i
		}
	}
	opts := []kfake.Opt{
		kfake.ClusterID("closeorder-embedded"),
		kfake.Ports(ports...),
		kfake.GroupMinSessionTimeout(minSessionTimeout),
	}
	if cfg.DataDir != "" {
		opts = append(opts, kfake.DataDir(cfg.DataDir))
	}
	if cfg.Errorf != nil {
		opts = append(opts, kfake.WithLogger(errorLogger(cfg.Errorf)))
	}
	return opts
}

// errorLogger passes on what kfake logs as an error, nothing else.
type errorLogger func(format string, args ...any)

func (l errorLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	if level == kfake.LogLevelError {
		l("embedded broker: "+format, args...)
	}
}

// startError says which port is taken and how to get round it.
func startError(cfg Config, err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("embedded broker: %w", err)
	}
	addr := net.JoinHostPort(cfg.host(), strconv.Itoa(cfg.Port))
	var op *net.OpError
	if errors.As(err, &op) && op.Addr != nil {
		addr = op.Addr.String() // of several brokers, the one that failed
	}
	return fmt.Errorf("embedded broker: port %s is taken by another program; stop it, or choose another port with --kafka-port (0 for any free one): %w", addr, err)
}

// Addr is the address to bootstrap from, as host:port: the one that is
// advertised.
func (b *Broker) Addr() string { return b.addrs[0] }

// Addrs are the addresses of all brokers, as host:port.
func (b *Broker) Addrs() []string { return slices.Clone(b.addrs) }

// Cluster gives tests the fake cluster itself, for faults, leader moves and
// group states. Never close it: close the Broker.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close cuts all connections, writes the state to DataDir and frees the
// ports and the lock. Closing again returns the first result.
func (b *Broker) Close() error { return b.close() }
