package console

import (
	"context"
	"errors"
	"net/http"
)

func (s *Server) search(context.Context, *http.Request) (any, error) {
	return nil, errors.New("not yet")
}

func (s *Server) order(context.Context, *http.Request) (any, error) {
	return nil, errors.New("not yet")
}
