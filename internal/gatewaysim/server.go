package gatewaysim

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// StopGrace is how long [Simulator.Serve] lets calls finish when it is asked
// to stop. Frozen and stalled calls are cut then.
const StopGrace = 5 * time.Second

// Server returns a server of the gateway with the time-outs of the real one:
// idle connections are closed after [IdleTimeout]. The caller starts it and
// closes it; several may run at once. [Simulator.Serve] does that.
func (s *Simulator) Server() *http.Server {
	return &http.Server{
		Handler:           s,
		IdleTimeout:       IdleTimeout,
		ReadHeaderTimeout: 10 * time.Second,
		// No ReadTimeout: it would end the context of a call that takes longer.
		MaxHeaderBytes: 16 << 10,
		ConnState:      s.refuseConn,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, servedKey{}, new(atomic.Bool))
		},
		ErrorLog: log.New(io.Discard, "", 0), // broken connections are the business of this package
	}
}

// servedKey finds in the context of a call whether its connection has served
// one.
type servedKey struct{}

// servedBefore reports whether the connection of a call has served one before.
// Without [Simulator.Server] nobody knows.
func servedBefore(ctx context.Context) bool {
	served, ok := ctx.Value(servedKey{}).(*atomic.Bool)
	return ok && served.Swap(true)
}

// Serve runs a server on ln, and [Simulator.Notify], until ctx ends, lets the
// calls in progress finish for at most [StopGrace], and returns nil when nothing
// runs any more. It returns an error if ln fails before. It closes ln. Serve may
// be called for several listeners: hosts of one gateway.
func (s *Simulator) Serve(ctx context.Context, ln net.Listener) error {
	srv := s.Server()
	calls, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	srv.BaseContext = func(net.Listener) context.Context { return calls }
	var running callGroup
	srv.Handler = running.wrap(s)

	notify, stopNotices := context.WithCancel(ctx)
	defer stopNotices()
	noticed := make(chan error, 1)
	go func() { noticed <- s.Notify(notify) }()

	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(calls, StopGrace)
		defer cancel()
		srv.Shutdown(grace) // an error means that the grace is over
		<-served
	}
	cut()
	srv.Close()
	running.stop()
	stopNotices()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, <-noticed)
}

// callGroup waits for handlers; http.Server.Close does not.
type callGroup struct {
	mu      sync.Mutex
	stopped bool
	calls   sync.WaitGroup
}

func (g *callGroup) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		if g.stopped {
			g.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		g.calls.Add(1)
		g.mu.Unlock()
		defer g.calls.Done()
		next.ServeHTTP(w, r)
	})
}

func (g *callGroup) stop() {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	g.calls.Wait()
}
