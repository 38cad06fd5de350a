// Package console is web pages for those who are woken: what happens now, what
// became of an order, dead letters and their replay, and whether anything is lost.
// It shows what other rooms say and carries out what they decide; it has no rule of
// its own. A page is made of one document, which stands beside it as JSON: what
// people see and what programs read cannot differ.
//
//	request --access.Guard--> page --load: index, desk, timeline, status--> document --> HTML, JSON or events
package console

import (
	"context"
	"errors"
	"hash/maphash"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/access"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/timeline"
	"github.com/sirupsen/logrus"
)

// Index is what the pages need of internal/index.
type Index interface {
	Progress(ctx context.Context) (index.Progress, error)
	Changed(ctx context.Context, after uint64) (uint64, error)
	Rebuild()
	Search(ctx context.Context, text string, limit int) ([]index.Request, error)
	At(ctx context.Context, places []events.Source) (map[events.Source]index.Request, error)
	Places(ctx context.Context, o events.Order) (*timeline.Places, error)
	Letters(ctx context.Context, f index.LetterFilter, limit, skip int) (index.Letters, error)
	Groups(ctx context.Context, f index.LetterFilter, by index.By, limit int) ([]index.Group, error)
	Minutes(ctx context.Context, since, until time.Time) ([]index.Minute, error)
}

// Desk is what they need of internal/desk.
type Desk interface {
	Changed(ctx context.Context, after uint64) (uint64, error)
	Plan(ctx context.Context, who desk.Who, w desk.Wish) (desk.Replay, error)
	Start(ctx context.Context, who desk.Who, id string, o desk.Order) error
	Pause(ctx context.Context, who desk.Who, id string) error
	Resume(ctx context.Context, who desk.Who, id string) error
	Stop(ctx context.Context, who desk.Who, id string) error
	Replay(ctx context.Context, id string) (desk.Replay, error)
	Replays(ctx context.Context, limit int) ([]desk.Replay, error)
	Steps(ctx context.Context, id string, limit, skip int) ([]desk.Step, error)
	RunAudit(ctx context.Context, who desk.Who, since time.Time) (desk.Audit, error)
	Audit(ctx context.Context, id int64) (desk.Audit, error)
	Audits(ctx context.Context, limit int) ([]desk.Audit, error)
	Note(ctx context.Context, who desk.Who, did, of, reason, detail string) error
	Entries(ctx context.Context, limit int) ([]desk.Entry, error)
}

// Config is what a Server is made of; all but Workers and Build is required.
type Config struct {
	Index Index
	Desk  Desk
	Guard *access.Guard

	Reader *kafka.Reader
	Topics config.Topics
	Group  string
	// Workers are admin addresses to ask, as URLs, instead of those that the members
	// of the group tell.
	Workers []string
	// Build is which program this is.
	Build string
	Log   logrus.FieldLogger
}

// Server answers. Make one with New. It is safe for concurrent use.
type Server struct {
	cfg     Config
	handler http.Handler
	looks   *looks
	recent  recent
	topics  topics
	// searches are those of orders that the index does not have, followed are orders
	// that somebody follows; seed is of what tells their records apart.
	searches, followed *searches
	seed               maphash.Seed
	follows            *follows
	// ending is closed when the server is to end, for those who follow a page.
	ending chan struct{}
}

// New makes a server; it listens nowhere yet.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, looks: newLooks(cfg), recent: recent{turn: make(chan struct{}, 1)}, topics: ofKafka{cfg}, searches: newSearches(searchAgain, searchesAbreast), followed: newSearches(lookEvery, readsAbreast), seed: maphash.MakeSeed(), follows: newFollows(), ending: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle("GET /assets/", assets())
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /readyz", s.ready)
	for _, p := range s.pages() {
		mux.Handle("GET "+p.pattern(), s.show(p))
		if p.json() != "" {
			mux.Handle("GET "+p.json(), s.tell(p))
		}
	}
	for path, act := range s.actions() {
		mux.Handle("POST "+path, s.act(act))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &notFoundError{"there is no page " + r.URL.Path})
	})
	s.handler = cfg.Guard.Wrap(mux, open)
	return s
}

// open are the paths that need no user: nothing of the topics stands there.
func open(path string) bool {
	switch path {
	case "/livez", "/readyz", "/login":
		return true
	}
	return len(path) > len("/assets/") && path[:len("/assets/")] == "/assets/"
}

const (
	// mostOfForm is the most bytes of a form, and formWithin how long they may take to
	// come: nobody has to log in to send some of them, and then none.
	mostOfForm = 1 << 20
	formWithin = 30 * time.Second
	// answerWithin is how long an answer may take, until who asked has it; takenWithin
	// is the same of one event of a page that is followed.
	answerWithin = 2 * time.Minute
	takenWithin  = 30 * time.Second
)

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Where there is no connection, in tests, there is nothing to end.
	until, now := http.NewResponseController(w), time.Now()
	_ = until.SetWriteDeadline(now.Add(answerWithin))
	if r.ContentLength != 0 {
		_ = until.SetReadDeadline(now.Add(formWithin))
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostOfForm)
	s.handler.ServeHTTP(w, r)
}

// stopFor is how long answers may take when it ends.
const stopFor = 5 * time.Second

// Serve answers on ln until ctx ends, and returns nil then; it closes ln. It
// returns an error if ln fails before.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var looking sync.WaitGroup
	defer looking.Wait()
	lookCtx, stop := context.WithCancel(ctx)
	defer stop()
	looking.Go(func() { s.looks.run(lookCtx) })
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	close(s.ending)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopFor)
	defer cancel()
	if err := server.Shutdown(ending); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}

// ready answers whether it has read the topics.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	p, err := s.cfg.Index.Progress(r.Context())
	switch {
	case err != nil:
		http.Error(w, "the index cannot be read", http.StatusServiceUnavailable)
	case !p.CaughtUp:
		http.Error(w, "the topics are still being read", http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusOK)
	}
}
