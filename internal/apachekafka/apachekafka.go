// Package apachekafka starts a real Apache Kafka for tests: one node, or three
// brokers with a controller of their own, on the loopback interface, from jars
// that Maven fetches once; in KRaft mode, or with a ZooKeeper in the controller's
// place where the version is older than that. Brokers can be killed, stopped
// and started again on the same ports with the same data, and the Java console
// tools of the same jars are at hand as a foreign client.
//
//	jars (Maven, cached) -> format -> java per node -> ready -> kill, stop, restart -> Close
//
// It needs Linux or another Unix, Java 17 or later and, until the jars are
// cached, Maven. Tests that use it carry the build tag apachekafka, so that
// "go test ./..." needs nothing but Go; "make test" sets the tag wherever
// [Available] says nil. It knows nothing of close requests.
package apachekafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says what to start. The zero value is one node that is broker and
// controller at once.
type Config struct {
	// Version is one of [Versions]; empty means the pinned one, the newest.
	Version string
	// Brokers is 1 or 3; 0 means 1. Three brokers have a fourth process
	// beside them as controller, so that killing a broker is just that.
	Brokers int
	// Properties are further settings of the brokers (and the controller);
	// they win over this package's. Without any a topic has as many replicas
	// as there are brokers, and min.insync.replicas is 1 of one and 2 of three.
	Properties map[string]string
	// Secure, if set, is the security protocol of a second listener of each
	// broker, SECURE: SSL, SASL_PLAINTEXT or SASL_SSL. What it takes, such as
	// listener.name.secure.ssl.keystore.location, is among Properties. The first
	// listener stays what it is, for the console tools and whoever sets things up.
	Secure string
	// Also are further listeners of each broker, a security protocol for each
	// name, in capitals: MTLS, SSL. They are set up as SECURE is, by settings that
	// begin with listener.name and the name in small letters.
	Also map[string]string
	// JVM are further options of Java for the brokers.
	JVM []string
}

// Cluster is a running Apache Kafka. Its methods are safe for concurrent use.
type Cluster struct {
	cfg   Config
	java  java
	dir   string
	nodes []*node // brokers first; a controller of its own, or a ZooKeeper, is the last
}

// startTries bounds how often Start chooses other ports after another process
// has taken one of its own.
const startTries = 3

// Start starts a cluster and returns when it serves every API, consumer groups
// included. It takes 3 to 10 s, and minutes when the jars are fetched first;
// ctx bounds all of that and nothing later. The error tells what is missing, or
// ends with what the brokers logged last. The caller must call Close.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	cfg.Brokers = cmp.Or(cfg.Brokers, 1)
	if cfg.Brokers != 1 && cfg.Brokers != 3 {
		return nil, fmt.Errorf("apache kafka: %d brokers: 1 or 3 are possible", cfg.Brokers)
	}
	java, err := findJava(ctx, cfg.Version)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		c := &Cluster{cfg: cfg, java: java}
		err := c.start(ctx)
		if err == nil {
			return c, nil
		}
		taken := c.portTaken()
		err = errors.Join(err, c.Close())
		if !taken || try == startTries {
			return nil, fmt.Errorf("apache kafka: %w", err)
		}
	}
}

func (c *Cluster) start(ctx context.Context) error {
	var err error
	if c.dir, err = os.MkdirTemp("", "closeorder-apache-kafka-"); err != nil {
		return err
	}
	if c.nodes, err = layout(c.cfg, c.java.version, c.dir); err != nil {
		return err
	}
	if err := c.format(ctx); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.start(c.java); err != nil {
			return err
		}
	}
	return c.WaitReady(ctx)
}

// format prepares the data folders of all nodes at the same time. What runs with
// a ZooKeeper formats them itself.
func (c *Cluster) format(ctx context.Context) error {
	formats, ctx := errgroup.WithContext(ctx)
	for _, n := range c.nodes {
		formats.Go(func() error {
			if err := os.WriteFile(n.properties, []byte(renderProperties(c.cfg, c.java.version, n)), 0o644); err != nil {
				return err
			}
			if c.java.version.zookeeper() {
				return os.MkdirAll(n.data, 0o755)
			}
			args := []string{"format", "-t", clusterID, "-c", n.properties}
			if n.isController && !c.java.version.before(firstStandalone) {
				args = append(args, "--standalone") // the only voter
			}
			_, err := c.java.run(ctx, "kafka.tools.StorageTool", args...)
			return err
		})
	}
	return formats.Wait()
}

// clusterID is the same for every cluster: they never meet, each knows only
// its own ports.
const clusterID = "Y2xvc2VvcmRlci10ZXN0cw"

// Addrs returns the addresses of all brokers, host:port, also of those that do
// not run; the index is that of KillBroker and its like.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, n := range c.brokers() {
		addrs = append(addrs, n.addr())
	}
	return addrs
}

// Bootstrap returns the same addresses as the console tools want them,
// separated by commas.
func (c *Cluster) Bootstrap() string { return strings.Join(c.Addrs(), ",") }

// SecureBootstrap returns the addresses of the listeners of Config.Secure,
// separated by commas.
func (c *Cluster) SecureBootstrap() string {
	var addrs []string
	for _, n := range c.brokers() {
		addrs = append(addrs, n.secureAddr())
	}
	return strings.Join(addrs, ",")
}

// ListenerBootstrap returns the addresses of the listeners of one name of
// Config.Also, separated by commas.
func (c *Cluster) ListenerBootstrap(name string) string {
	var addrs []string
	for _, n := range c.brokers() {
		addrs = append(addrs, n.alsoAddr(name))
	}
	return strings.Join(addrs, ",")
}

// KillBroker kills broker i with SIGKILL, as a crash does, and returns when it
// is gone. What it had acknowledged but not yet written to disk survives: the
// page cache is the kernel's. It is an error if the broker does not run.
func (c *Cluster) KillBroker(i int) error { return c.brokers()[i].end(syscall.SIGKILL) }

// StopBroker stops broker i with SIGTERM: it hands its partitions over and
// closes its logs. It returns when the broker is gone, and kills it with an
// error when that takes more than a minute.
func (c *Cluster) StopBroker(i int) error { return c.brokers()[i].end(syscall.SIGTERM) }

// RestartBroker starts broker i again after KillBroker or StopBroker, with the
// same ports and data. It does not wait: [Cluster.WaitReady] does. After a kill
// the controller lets the broker in again when its old registration has run
// out, 4 s after the kill, or, in a cluster of one, 4 s after the new start. With
// a ZooKeeper the broker would end instead: there RestartBroker waits until 6 s
// after the kill.
func (c *Cluster) RestartBroker(i int) error {
	n := c.brokers()[i]
	if c.java.version.zookeeper() {
		time.Sleep(time.Until(n.killedAt().Add(zookeeperForgets)))
	}
	return n.start(c.java)
}

// zookeeperForgets is how long after its death a broker is surely no member any
// more: its session there, the ticks that sessions are counted by, and some more.
const zookeeperForgets = zookeeperSession + 2*time.Second

// SignalBroker sends broker i a signal that does not end it, such as SIGSTOP or
// SIGCONT. It is an error if the broker does not run.
func (c *Cluster) SignalBroker(i int, sig syscall.Signal) error { return c.brokers()[i].signal(sig) }

// BrokerPID is the process id of broker i, or 0 if it is not meant to run.
func (c *Cluster) BrokerPID(i int) int { return c.brokers()[i].pid() }

func (c *Cluster) brokers() []*node { return c.nodes[:c.cfg.Brokers] }

// LogFiles returns the files that the nodes log to, restarts included. Close
// removes them.
func (c *Cluster) LogFiles() []string {
	var files []string
	for _, n := range c.nodes {
		files = append(files, n.log)
	}
	return files
}

// LogTail returns the last lines of each node's log.
func (c *Cluster) LogTail() string {
	var b strings.Builder
	for _, n := range c.nodes {
		fmt.Fprintf(&b, "--- node %d, last lines of its log:\n%s\n", n.id, tail(n.log, 60))
	}
	return b.String()
}

// Close kills all nodes, waits until they are gone and removes their data. It
// may be called more than once.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.nodes {
		if err := n.end(syscall.SIGKILL); err != nil && !errors.Is(err, errNotRunning) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

// layout chooses ports and folders of all nodes.
func layout(cfg Config, version release, dir string) ([]*node, error) {
	count, ports := cfg.Brokers, cfg.Brokers+1
	if cfg.Brokers > 1 || version.zookeeper() {
		count++
	}
	if cfg.Secure != "" {
		ports += cfg.Brokers
	}
	also := slices.Sorted(maps.Keys(cfg.Also))
	first := ports
	free, err := freePorts(ports + len(also)*cfg.Brokers)
	if err != nil {
		return nil, err
	}
	controllerPort := free[cfg.Brokers]
	nodes := make([]*node, count)
	for i := range nodes {
		n := &node{
			id:             i + 1,
			isBroker:       i < cfg.Brokers,
			isController:   i == count-1 && !version.zookeeper(),
			class:          "kafka.Kafka",
			controllerPort: controllerPort,
			heapMiB:        brokerHeapMiB,
			data:           filepath.Join(dir, fmt.Sprintf("node-%d", i+1)),
			properties:     filepath.Join(dir, fmt.Sprintf("node-%d.properties", i+1)),
			log:            filepath.Join(dir, fmt.Sprintf("node-%d.log", i+1)),
		}
		if n.isBroker {
			n.port = free[i]
			if cfg.Secure != "" {
				n.securePort = free[cfg.Brokers+1+i]
			}
			n.jvm, n.alsoPorts = cfg.JVM, make(map[string]int)
			for j, name := range also {
				n.alsoPorts[name] = free[first+j*cfg.Brokers+i]
			}
		} else if n.isController {
			n.heapMiB = controllerHeapMiB
		} else {
			n.heapMiB, n.class = zookeeperHeapMiB, "org.apache.zookeeper.server.quorum.QuorumPeerMain"
		}
		nodes[i] = n
	}
	return nodes, nil
}
