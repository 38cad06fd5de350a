// Package admin serves what people on call and the platform ask a worker over
// HTTP: whether it lives, whether it is ready, what it does now, and its metrics.
// It only reads; it knows nothing of Kafka and nothing of the gateway.
//
//	/livez /readyz /statusz <- consumer.State, closer.HostHealth, the log's last lines
//	/metrics                <- whoever measures
package admin

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

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
)

const (
	// answerWithin is how long the worker may take to say what it does. It waits
	// for its locks: one that takes longer is stuck in one of them.
	answerWithin = 5 * time.Second
	// stopWithin is how long requests may go on after the end of Serve's context.
	stopWithin = 2 * time.Second
)

// Config is what a [Server] is made of. State, Hosts and Recent are required.
type Config struct {
	// State and Hosts are asked for each answer, by one goroutine at a time: they
	// may hang where the worker is stuck.
	State func() consumer.State
	Hosts func() []closer.HostHealth
	// Recent are the last warnings and errors of the log.
	Recent *Recent
	// Metrics answers /metrics; nil: there are none.
	Metrics http.Handler
	// Build is which program this is.
	Build string
}

// Server answers. Make one with [New]. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	stopping atomic.Bool

	mu     sync.Mutex
	asking *question // that is not answered yet
}

// New makes a server; it listens nowhere yet.
func New(cfg Config) *Server { return &Server{cfg: cfg} }

// Stopping tells that the worker was asked to stop: it is not ready from now on,
// and alive whatever it does, as it ends by itself.
func (s *Server) Stopping() { s.stopping.Store(true) }

// Serve answers on ln until ctx ends, and returns nil then; it closes ln. It
// returns an error if ln fails before. Where State hangs one goroutine is left
// behind for as long as that lasts.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // who asks, and how, is no trouble of the worker's
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		_ = srv.Shutdown(soon) // an error means that the time is over
		err = <-served         // http.ErrServerClosed
	}
	srv.Close()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// ServeHTTP implements http.Handler. There is no mux: that would redirect.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		text(w, http.StatusMethodNotAllowed, "only GET and HEAD: nothing can be changed here\n")
		return
	}
	switch r.URL.Path {
	case "/livez":
		s.livez(w, r)
	case "/readyz":
		s.readyz(w, r)
	case "/statusz":
		s.statusz(w, r)
	case "/metrics":
		if s.cfg.Metrics != nil {
			s.cfg.Metrics.ServeHTTP(w, r)
			return
		}
		text(w, http.StatusNotFound, "this worker measures nothing\n")
	case "/":
		text(w, http.StatusOK, paths)
	default:
		text(w, http.StatusNotFound, "there is nothing at this path\n"+paths)
	}
}

// paths is what there is.
const paths = `/livez    does the worker make progress, or wait for a reason that has a name? ?verbose says more
/readyz   is it in its group, and can it publish? ?verbose says more
/statusz  what it does now; ?format=json for programs, ?refresh=0 to keep the page as it is
/metrics  for Prometheus
`

func text(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body) // nobody else to tell
}
