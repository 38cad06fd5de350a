package console

import (
	"context"
	"errors"
	"net/http"

	"github.com/closeorder/closeorder/internal/access"
	"github.com/closeorder/closeorder/internal/desk"
)

func (s *Server) audits(context.Context, *http.Request) (any, error) {
	return nil, errors.New("not yet")
}

func (s *Server) audit(context.Context, *http.Request) (any, error) {
	return nil, errors.New("not yet")
}

func (s *Server) runAudit(http.ResponseWriter, *http.Request) (string, error) {
	return "", errors.New("not yet")
}

func (s *Server) log(context.Context, *http.Request) (any, error) { return nil, errors.New("not yet") }

// rebuild has the index made again.
func (s *Server) rebuild(_ http.ResponseWriter, r *http.Request) (string, error) {
	if err := s.cfg.Desk.Note(r.Context(), who(r), "rebuild", "", "", ""); err != nil {
		return "", err
	}
	s.cfg.Index.Rebuild()
	return "/audits", nil
}

// who asks, for the desk.
func who(r *http.Request) desk.Who {
	u := access.UserOf(r.Context())
	return desk.Who{Name: u.Name, Remote: u.Remote}
}
