package world

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/closeorder/closeorder/internal/gatewaysim"
)

const gatewayPort = 80

// Gateway is the gateway simulator on one or more hosts of one gateway, with
// one order book: gateway-0, gateway-1 and so on.
type Gateway struct {
	*gatewaysim.Simulator
	network *Network
	hosts   int
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

// StartGateway starts the gateway.
func StartGateway(n *Network, hosts int, cfg gatewaysim.Config) (*Gateway, error) {
	sim, err := gatewaysim.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("world: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &Gateway{Simulator: sim, network: n, hosts: hosts, cancel: cancel}
	for i := range hosts {
		l, err := n.Boot(GatewayName(i)).Listen(gatewayPort)
		if err != nil {
			return nil, errors.Join(err, g.Close())
		}
		g.wg.Go(func() {
			if err := sim.Serve(ctx, l); err != nil {
				g.mu.Lock()
				g.errs = append(g.errs, err)
				g.mu.Unlock()
			}
		})
	}
	return g, nil
}

// GatewayName is a host of the gateway.
func GatewayName(i int) string { return fmt.Sprintf("gateway-%d", i) }

// URLs are the hosts' base URLs, the main one first.
func (g *Gateway) URLs() []string {
	urls := make([]string, g.hosts)
	for i := range urls {
		urls[i] = "http://" + GatewayName(i)
	}
	return urls
}

// Host is all that a host of the gateway has to do with anybody.
func (g *Gateway) Host(i int) Path { return g.network.Between(GatewayName(i), "") }

// Close stops the gateway, after the calls in progress have had a few seconds
// to finish.
func (g *Gateway) Close() error {
	g.cancel()
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.errs...)
}
