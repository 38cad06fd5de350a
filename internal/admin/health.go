package admin

import (
	"net/http"
	"strings"

	"github.com/closeorder/closeorder/consumer"
)

// livez says whether the worker makes progress or has a reason to wait. Whoever
// gets 503 again and again may kill it.
func (s *Server) livez(w http.ResponseWriter, r *http.Request) {
	if s.stopping.Load() {
		text(w, http.StatusOK, "ok\nstopping\n") // whoever waits for the end must not hurry it
		return
	}
	q, err := s.ask(r.Context())
	if err != nil {
		text(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	health := q.state.Health
	answer(w, r, health.Live, health.Stuck, "stuck, for a reason that is not known", health)
}

// readyz says whether the worker is in its group and can publish.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if s.stopping.Load() {
		text(w, http.StatusServiceUnavailable, "stopping\n")
		return
	}
	q, err := s.ask(r.Context())
	if err != nil {
		text(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	health := q.state.Health
	answer(w, r, health.Ready, health.NotReady, "not ready, for a reason that is not known", health)
}

// answer says ok or why not, and with ?verbose all that is known.
func answer(w http.ResponseWriter, r *http.Request, well bool, why []string, unknown string, all consumer.Health) {
	lines, code := []string{"ok"}, http.StatusOK
	if !well {
		if lines, code = why, http.StatusServiceUnavailable; len(lines) == 0 {
			lines = []string{unknown}
		}
	}
	lines = append([]string(nil), lines...)
	if r.URL.Query().Has("verbose") {
		for _, kind := range []struct {
			name string
			all  []string
		}{{"stuck", all.Stuck}, {"not ready", all.NotReady}, {"waits", all.Waits}} {
			for _, one := range kind.all {
				lines = append(lines, kind.name+": "+one)
			}
		}
	}
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ") // a line each
	}
	text(w, code, strings.Join(lines, "\n")+"\n")
}
