package apachekafka

import (
	"strings"
	"testing"
)

func TestProperties(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg     Config
		version release
		node    int
		want    []string
		not     []string
	}{
		"before 3.9 the voters are named": {
			cfg: Config{Brokers: 3}, version: release{3, 3}, node: 0,
			want: []string{"process.roles=broker"},
			not:  []string{"quorum.bootstrap.servers"},
		},
		"before KRaft a broker has a ZooKeeper": {
			cfg: Config{Brokers: 1}, version: release{2, 8}, node: 0,
			want: []string{"broker.id=1", "listener.security.protocol.map=PLAINTEXT:PLAINTEXT", "zookeeper.session.timeout.ms=4000"},
			not:  []string{"node.id", "process.roles", "CONTROLLER", "controller.", "share."},
		},
		"which is the last node": {
			cfg: Config{Brokers: 1}, version: release{2, 8}, node: 1,
			want: []string{"dataDir=/data/node-2", "clientPortAddress=127.0.0.1", "admin.enableServer=false"},
			not:  []string{"broker.id", "listeners"},
		},
		"one node is broker and controller": {
			cfg: Config{Brokers: 1}, version: release{4, 3}, node: 0,
			want: []string{"process.roles=broker,controller", "offsets.topic.replication.factor=1", "min.insync.replicas=1"},
			not:  []string{"message.max.bytes"},
		},
		"three brokers replicate three times and need two": {
			cfg: Config{Brokers: 3}, version: release{4, 3}, node: 2,
			want: []string{"node.id=3", "process.roles=broker", "offsets.topic.replication.factor=3", "min.insync.replicas=2"},
			not:  []string{"CONTROLLER://"},
		},
		"the fourth process is the controller": {
			cfg: Config{Brokers: 3}, version: release{4, 3}, node: 3,
			want: []string{"node.id=4", "process.roles=controller"},
			not:  []string{"PLAINTEXT://", "advertised.listeners"},
		},
		"the caller's settings win": {
			cfg: Config{Brokers: 1, Properties: map[string]string{"message.max.bytes": "5000", "auto.create.topics.enable": "true", "x": `a\b`}}, version: release{4, 3}, node: 0,
			want: []string{"message.max.bytes=5000", "auto.create.topics.enable=true", `x=a\\b`},
			not:  []string{"auto.create.topics.enable=false"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			nodes, err := layout(tt.cfg, tt.version, "/data")
			if err != nil {
				t.Fatal(err)
			}
			got := renderProperties(tt.cfg, tt.version, nodes[tt.node])
			for _, line := range tt.want {
				if !strings.Contains("\n"+got, "\n"+line+"\n") {
					t.Errorf("no line %q in\n%s", line, got)
				}
			}
			for _, part := range tt.not {
				if strings.Contains(got, part) {
					t.Errorf("%q in\n%s", part, got)
				}
			}
		})
	}
}

func TestMistakesInTheConfigAreRefused(t *testing.T) {
	for name, cfg := range map[string]Config{
		"two brokers":                  {Brokers: 2},
		"a negative number of brokers": {Brokers: -1},
	} {
		if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "1 or 3 are possible") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPortsAreNotThoseOfOutgoingConnections(t *testing.T) {
	ports, err := freePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for _, p := range ports {
		if p < lowestPort || p >= ephemeralFrom() {
			t.Errorf("port %d is not between %d and %d", p, lowestPort, ephemeralFrom())
		}
		if seen[p] {
			t.Errorf("port %d twice", p)
		}
		seen[p] = true
	}
}
