package console

import (
	"context"
	"errors"
	"net/http"

	"github.com/closeorder/closeorder/internal/desk"
)

func (s *Server) replays(context.Context, *http.Request) (any, error) {
	return nil, errors.New("not yet")
}

func (s *Server) replay(context.Context, *http.Request) (any, error) {
	return nil, errors.New("not yet")
}

func (s *Server) plan(http.ResponseWriter, *http.Request) (string, error) {
	return "", errors.New("not yet")
}

func (s *Server) start(http.ResponseWriter, *http.Request) (string, error) {
	return "", errors.New("not yet")
}

// onReplay is an action that takes the id of a replay alone.
func (s *Server) onReplay(do func(context.Context, desk.Who, string) error) func(http.ResponseWriter, *http.Request) (string, error) {
	return func(_ http.ResponseWriter, r *http.Request) (string, error) {
		id := r.PostForm.Get("id")
		if err := do(r.Context(), who(r), id); err != nil {
			return "", err
		}
		return link("/replay", "id", id)
	}
}
