package apachekafka

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// renderProperties renders the server.properties of a node. What differs from
// Kafka's defaults makes tests quick, small or strict, not the broker special.
func renderProperties(cfg Config, version release, n *node) string {
	if !n.isBroker && !n.isController {
		return render(zookeeperProperties(n))
	}
	var roles, listeners []string
	if n.isBroker {
		roles = append(roles, "broker")
		listeners = append(listeners, "PLAINTEXT://"+n.addr())
	}
	if n.isController {
		roles = append(roles, "controller")
		listeners = append(listeners, fmt.Sprintf("CONTROLLER://127.0.0.1:%d", n.controllerPort))
	}
	protocols, advertised := "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT", "PLAINTEXT://"+n.addr()
	if cfg.Secure != "" {
		protocols += ",SECURE:" + cfg.Secure
		if n.isBroker {
			listeners = append(listeners, "SECURE://"+n.secureAddr())
			advertised += ",SECURE://" + n.secureAddr()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Also)) {
		protocols += "," + name + ":" + cfg.Also[name]
		if n.isBroker {
			listeners = append(listeners, name+"://"+n.alsoAddr(name))
			advertised += "," + name + "://" + n.alsoAddr(name)
		}
	}
	replicas := strconv.Itoa(cfg.Brokers)
	minISR := strconv.Itoa((cfg.Brokers + 1) / 2)
	p := map[string]string{
		"node.id":                             strconv.Itoa(n.id),
		"process.roles":                       strings.Join(roles, ","),
		"listeners":                           strings.Join(listeners, ","),
		"listener.security.protocol.map":      protocols,
		"controller.listener.names":           "CONTROLLER",
		"controller.quorum.bootstrap.servers": fmt.Sprintf("127.0.0.1:%d", n.controllerPort),
		"log.dirs":                            n.data,

		"auto.create.topics.enable":                        "false",
		"default.replication.factor":                       replicas,
		"min.insync.replicas":                              minISR,
		"offsets.topic.replication.factor":                 replicas,
		"offsets.topic.num.partitions":                     replicas, // several coordinators where there are several brokers
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    minISR,
		"transaction.state.log.num.partitions":             "1",
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            minISR,
		"share.coordinator.state.topic.num.partitions":     "1",

		// A group of one member need not wait 3 s for more, and a test of a
		// lost member need not wait 6 s.
		"group.initial.rebalance.delay.ms": "0",
		"group.min.session.timeout.ms":     "1000",

		// How long a killed broker stays leader, and how long its successor
		// with the same id is refused. The default is 9 s.
		"broker.session.timeout.ms":    "4000",
		"broker.heartbeat.interval.ms": "500",

		// The default takes half of a small heap.
		"log.cleaner.dedupe.buffer.size": "4194304",
		"num.network.threads":            "2",
		"num.io.threads":                 "4",
	}
	if n.isBroker {
		p["advertised.listeners"] = advertised
	}
	if version.before(firstStandalone) {
		delete(p, "controller.quorum.bootstrap.servers")
		// The controller is the last node.
		p["controller.quorum.voters"] = fmt.Sprintf("%d@127.0.0.1:%d", voter(cfg), n.controllerPort)
	}
	if version.zookeeper() {
		maps.DeleteFunc(p, func(name, _ string) bool { return kraftAlone(name) })
		p["broker.id"] = strconv.Itoa(n.id)
		p["listener.security.protocol.map"] = strings.ReplaceAll(protocols, ",CONTROLLER:PLAINTEXT", "")
		p["zookeeper.connect"] = fmt.Sprintf("127.0.0.1:%d", n.controllerPort)
		p["zookeeper.session.timeout.ms"] = strconv.FormatInt(zookeeperSession.Milliseconds(), 10)
		p["zookeeper.connection.timeout.ms"] = "60000" // it starts at the same time
	}
	maps.Copy(p, cfg.Properties)
	return render(p)
}

// voter is the id of the controller.
func voter(cfg Config) int {
	if cfg.Brokers > 1 {
		return cfg.Brokers + 1
	}
	return 1
}

// kraftAlone reports whether a setting means nothing to a broker that runs with
// a ZooKeeper.
func kraftAlone(name string) bool {
	switch name {
	case "node.id", "process.roles", "broker.session.timeout.ms", "broker.heartbeat.interval.ms":
		return true
	}
	return strings.HasPrefix(name, "controller.") || strings.HasPrefix(name, "share.")
}

// zookeeperSession is how long a killed broker stays a member.
const zookeeperSession = 4 * time.Second

// zookeeperProperties are the zoo.cfg of a ZooKeeper.
func zookeeperProperties(n *node) map[string]string {
	return map[string]string{
		"dataDir": n.data, "clientPortAddress": "127.0.0.1", "clientPort": strconv.Itoa(n.controllerPort),
		"tickTime": "500", "maxClientCnxns": "0", "admin.enableServer": "false",
	}
}

func render(p map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s=%s\n", k, escape(p[k]))
	}
	return b.String()
}

// escape keeps a backslash from being read as the start of an escape sequence.
func escape(value string) string { return strings.ReplaceAll(value, `\`, `\\`) }
