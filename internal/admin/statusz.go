package admin

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
)

// Status is what a worker says of itself at /statusz?format=json. As JSON its
// names are stable.
type Status struct {
	At    time.Time `json:"at"`
	Build string    `json:"build"`
	// Stopping: it was asked to stop.
	Stopping bool `json:"stopping,omitempty"`
	// Stuck says why State and Hosts are empty; empty where they are not.
	Stuck  string         `json:"stuck,omitempty"`
	State  consumer.State `json:"state"`
	Hosts  []Host         `json:"hosts"`
	Recent []Line         `json:"recent"` // warnings and errors, the last one first
}

// Host is a host of the gateway: see closer.HostHealth.
type Host struct {
	URL         string    `json:"url"`
	InUse       bool      `json:"in_use"`
	Failing     bool      `json:"failing,omitempty"`
	LeftUntil   time.Time `json:"left_until,omitzero"`
	Answered    uint64    `json:"answered"`
	Failed      uint64    `json:"failed"`
	LastFailure string    `json:"last_failure,omitempty"`
	Limit       int       `json:"limit"`
}

func hosts(all []closer.HostHealth) []Host {
	out := make([]Host, 0, len(all))
	for _, h := range all {
		out = append(out, Host{
			URL: h.URL, InUse: h.InUse, Failing: h.Failing, LeftUntil: h.LeftUntil,
			Answered: h.Answered, Failed: h.Failed, LastFailure: string(h.LastFailure), Limit: h.Limit,
		})
	}
	return out
}

// statusz says what the worker does now, as a page or as JSON. The code is 503
// only where that cannot be known: whether it is good is for /livez and /readyz.
func (s *Server) statusz(w http.ResponseWriter, r *http.Request) {
	is := Status{At: time.Now(), Build: s.cfg.Build, Stopping: s.stopping.Load(), Hosts: []Host{}, Recent: s.cfg.Recent.Lines()}
	code := http.StatusOK
	if q, err := s.ask(r.Context()); err != nil {
		is.Stuck, code = err.Error(), http.StatusServiceUnavailable
	} else {
		is.At, is.State, is.Hosts = q.state.At, writable(q.state), hosts(q.hosts)
	}
	if wantsJSON(r) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(is) // who asked has gone
		return
	}
	page, err := render(is, r.URL.Query().Get("refresh") != "0")
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.WriteHeader(code)
	_, _ = w.Write(page)
}

// writable is a state whose every time JSON can hold. When a request was made is
// its producer's claim, and may be any time: RFC 3339 ends with the year 9999.
func writable(s consumer.State) consumer.State {
	s.Oldest = slices.Clone(s.Oldest) // others have the same answer
	for i := range s.Oldest {
		for _, t := range []*time.Time{&s.Oldest[i].Requested, &s.Oldest[i].Until} {
			if y := t.UTC().Year(); y < 1 || y > 9998 {
				*t = time.Time{}
			}
		}
	}
	return s
}

// wantsJSON: by ?format, else by what the client takes.
func wantsJSON(r *http.Request) bool {
	if format := r.URL.Query().Get("format"); format != "" {
		return format == "json"
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	return strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html")
}
