package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

const gatewayPort = 80

// Gateway is the gateway simulator on one or more hosts of one gateway, with
// one order book: gateway-0, gateway-1 and so on. It keeps the calls as their
// callers saw them.
type Gateway struct {
	*gatewaysim.Simulator
	network *Network
	servers []*http.Server
	wg      sync.WaitGroup // servers and calls
	cut     context.CancelFunc

	mu       sync.Mutex
	closed   bool
	errs     []error
	calls    []*Call
	byRemote map[string]*Call // the call that goes on over a connection
}

// Call is one call of a worker. It is in progress from Start to End: until
// its reply begins to go out, or until the caller gives up or is no more. The
// gateway itself may work longer on a call that nobody waits for.
type Call struct {
	// Order is empty where the gateway refused the call unread.
	Order  events.Order
	Op     gatewaysim.Op
	Caller string
	Host   string // of the gateway
	Start  time.Time
	End    time.Time // zero while in progress
	Answer string
	// Late: the caller had given up before the call arrived, over a frozen
	// path.
	Late bool
}

// StartGateway starts the gateway. cfg.Observe and cfg.Notices.Client must be nil:
// notices of payments are sent from a host of their own.
func StartGateway(n *Network, hosts int, cfg gatewaysim.Config) (*Gateway, error) {
	g := &Gateway{network: n, byRemote: make(map[string]*Call)}
	cfg.Observe = g.observe
	cfg.Notices.Client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: n.Boot("gateway-notices").DialContext}}
	sim, err := gatewaysim.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("world: %w", err)
	}
	g.Simulator = sim
	ctx, cut := context.WithCancel(context.Background())
	g.cut = cut
	g.wg.Go(func() { g.keep(sim.Notify(ctx)) })
	for i := range hosts {
		name := GatewayName(i)
		l, err := n.Boot(name).Listen(gatewayPort)
		if err != nil {
			return nil, errors.Join(err, g.Close())
		}
		server := sim.Server()
		server.Handler = g.track(name, sim)
		server.BaseContext = func(net.Listener) context.Context { return ctx }
		server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		}
		g.servers = append(g.servers, server)
		g.wg.Go(func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				g.keep(err)
			}
		})
	}
	return g, nil
}

// keep keeps an error of what runs beside.
func (g *Gateway) keep(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.errs = append(g.errs, err)
	}
}

type connKey struct{}

// track keeps a Call for each call.
func (g *Gateway) track(host string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		conn := r.Context().Value(connKey{}).(*Conn)
		call := &Call{Caller: conn.peer.host.name, Host: host, Start: time.Now()}
		select {
		case <-conn.PeerGone():
			call.Late, call.End = true, call.Start
		default:
		}
		g.mu.Lock()
		if g.closed {
			g.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		g.calls = append(g.calls, call)
		g.byRemote[r.RemoteAddr] = call
		g.wg.Add(1)
		g.mu.Unlock()
		served := make(chan struct{})
		defer func() {
			close(served)
			g.wg.Done()
		}()
		go func() {
			select {
			case <-conn.PeerGone():
				g.end(call)
			case <-served:
			}
		}()
		next.ServeHTTP(rw, r)
	})
}

// observe is told what a call was when it has ended.
func (g *Gateway) observe(c gatewaysim.Call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	call := g.byRemote[c.Remote]
	delete(g.byRemote, c.Remote)
	call.Order = events.Order{MchID: c.MchID, SubMchID: c.SubMchID, OutTradeNo: c.OutTradeNo}
	call.Op, call.Answer = c.Op, c.Answer
	if call.End.IsZero() {
		call.End = time.Now()
	}
}

func (g *Gateway) end(c *Call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.End.IsZero() {
		c.End = time.Now()
	}
}

// Calls returns all calls so far, by their start.
func (g *Gateway) Calls() []Call {
	g.mu.Lock()
	defer g.mu.Unlock()
	calls := make([]Call, len(g.calls))
	for i, c := range g.calls {
		calls[i] = *c
	}
	return calls
}

// GatewayName is a host of the gateway.
func GatewayName(i int) string { return fmt.Sprintf("gateway-%d", i) }

// URLs are the hosts' base URLs, the main one first.
func (g *Gateway) URLs() []string {
	urls := make([]string, len(g.servers))
	for i := range urls {
		urls[i] = "http://" + GatewayName(i)
	}
	return urls
}

// Host is all that a host of the gateway has to do with anybody.
func (g *Gateway) Host(i int) Path { return g.network.Between(GatewayName(i), "") }

// Close cuts off the calls that go on and stops the gateway.
func (g *Gateway) Close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cut()
	for _, s := range g.servers {
		s.Close()
	}
	g.wg.Wait()
	return errors.Join(g.errs...)
}
