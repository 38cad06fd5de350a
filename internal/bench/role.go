package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/closeorder/closeorder/internal/bench/gateway"
	"github.com/closeorder/closeorder/internal/bench/peers"
	"github.com/twmb/franz-go/pkg/kfake"
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

// brokerSettings are the topics, with their partitions.
type brokerSettings map[string]int32

func brokerRole(ctx context.Context, settings []byte) error {
	var topics brokerSettings
	if err := json.Unmarshal(settings, &topics); err != nil {
		return err
	}
	options := []kfake.Opt{
		kfake.NumBrokers(1),
		// A latency is the time between two records' appends, by one clock.
		kfake.BrokerConfigs(map[string]string{"log.message.timestamp.type": "LogAppendTime"}),
	}
	for name, partitions := range topics {
		options = append(options, kfake.SeedTopics(partitions, name))
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return err
	}
	defer cluster.Close()
	if err := say(ready{Address: cluster.ListenAddrs()[0]}); err != nil {
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
