package console

import (
	"net/http"

	"github.com/closeorder/closeorder/internal/desk"
)

// actions are what forms do, by their paths.
func (s *Server) actions() map[string]func(http.ResponseWriter, *http.Request) (to string, err error) {
	return map[string]func(http.ResponseWriter, *http.Request) (string, error){
		"/login":         s.logIn,
		"/logout":        s.logOut,
		"/replays":       operator(s.plan),
		"/replay/start":  operator(s.start),
		"/replay/pause":  operator(s.onReplay(s.cfg.Desk.Pause, desk.Paused, desk.Done)),
		"/replay/resume": operator(s.onReplay(s.cfg.Desk.Resume, desk.Running, desk.Done)),
		"/replay/stop":   operator(s.onReplay(s.cfg.Desk.Stop, desk.Stopped)),
		"/audits":        operator(s.runAudit),
		"/index/rebuild": operator(s.rebuild),
	}
}
