package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/bench/gateway"
	"github.com/closeorder/closeorder/internal/bench/peers"
)

// roles are what this program is when it has started itself: bench ROLE JSON. Each
// runs until ctx ends or its work is done, and says in one line of JSON on
// standard output what the lab must know.
var roles = map[string]func(ctx context.Context, settings []byte) error{
	"broker":  brokerRole,
	"gateway": gatewayRole,
	"peer":    peerRole,
	"floor":   floorRole,
}

// ready is what a broker and a gateway say when they can be called.
type ready struct {
	Address string
	// Roots is the PEM of what to trust there, for TLS.
	Roots []byte `json:",omitempty"`
}

func say(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

type brokerSettings struct {
	// Kind is kfakeBroker or apacheKafka.
	Kind string
	// Topics, with their partitions.
	Topics map[string]int32
	// Dir is where an Apache Kafka keeps its files.
	Dir string
}

// brokerConfigs are those of either broker: a latency is the time between two
// records' appends, by one clock.
var brokerConfigs = map[string]string{"log.message.timestamp.type": "LogAppendTime"}

func brokerRole(ctx context.Context, settings []byte) error {
	var s brokerSettings
	if err := json.Unmarshal(settings, &s); err != nil {
		return err
	}
	if s.Kind == apacheKafka {
		return apacheRole(ctx, s)
	}
	options := []kfake.Opt{kfake.NumBrokers(1), kfake.BrokerConfigs(brokerConfigs)}
	for name, partitions := range s.Topics {
		options = append(options, kfake.SeedTopics(partitions, name))
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return err
	}
	defer cluster.Close() // its files are in Dir, which goes
	if err := say(ready{Address: cluster.ListenAddrs()[0]}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// apacheRole has an Apache Kafka of one node as its child, for as long as it runs
// itself.
func apacheRole(ctx context.Context, s brokerSettings) error {
	if err := os.Setenv("TMPDIR", s.Dir); err != nil {
		return err
	}
	cluster, err := apachekafka.Start(ctx, apachekafka.Config{Properties: brokerConfigs})
	if err != nil {
		return err
	}
	defer cluster.Close() // its files are in Dir, which goes
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...))
	if err != nil {
		return err
	}
	defer client.Close()
	for name, partitions := range s.Topics {
		if _, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, name); err != nil {
			return fmt.Errorf("topic %s: %w", name, err)
		}
	}
	if err := say(ready{Address: cluster.Addrs()[0]}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

type gatewaySettings struct {
	gateway.Config

	TLS bool
}

func gatewayRole(ctx context.Context, settings []byte) error {
	var s gatewaySettings
	if err := json.Unmarshal(settings, &s); err != nil {
		return err
	}
	ln, roots, err := gateway.Listen(s.TLS)
	if err != nil {
		return err
	}
	if err := say(ready{Address: ln.Addr().String(), Roots: roots}); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- gateway.Server(s.Config).Serve(ln) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return nil // its clients are gone or going: nothing is worth waiting for
	}
}

type peerSettings struct {
	peers.Config

	Peer string
}

func peerRole(ctx context.Context, settings []byte) error {
	var s peerSettings
	if err := json.Unmarshal(settings, &s); err != nil {
		return err
	}
	run := peers.Peers[s.Peer]
	if run == nil {
		return fmt.Errorf("no peer %q", s.Peer)
	}
	return run(ctx, s.Config)
}
