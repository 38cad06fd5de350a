package console

import (
	"context"
	"errors"
	"net/http"
)

func (s *Server) letters(context.Context, *http.Request) (any, error) {
	return nil, errors.New("not yet")
}

func (s *Server) letter(context.Context, *http.Request) (any, error) {
	return nil, errors.New("not yet")
}
