package console

import (
	"net/http"

	"github.com/closeorder/closeorder/internal/access"
)

func (s *Server) logIn(w http.ResponseWriter, r *http.Request) (string, error) {
	if err := s.cfg.Guard.LogIn(w, r, r.PostForm.Get("name"), r.PostForm.Get("password")); err != nil {
		return "", err
	}
	return access.Local(r.PostForm.Get("to")), nil
}

func (s *Server) logOut(w http.ResponseWriter, r *http.Request) (string, error) {
	s.cfg.Guard.LogOut(w, r)
	return "/login", nil
}

// operator lets only operators do something.
func operator(do func(http.ResponseWriter, *http.Request) (string, error)) func(http.ResponseWriter, *http.Request) (string, error) {
	return func(w http.ResponseWriter, r *http.Request) (string, error) {
		if !access.UserOf(r.Context()).May(access.Operator) {
			return "", &forbiddenError{access.Operator}
		}
		return do(w, r)
	}
}
