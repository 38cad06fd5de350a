package console

import (
	"net/http"
	"net/url"
)

// againError is what is wrong with a form: the page that it stands on is shown again,
// with the form as it was filled in.
type againError struct {
	page *page
	at   url.Values
	err  error
}

func (e *againError) Error() string { return e.err.Error() }
func (e *againError) Unwrap() error { return e.err }

// again is the error that shows a page again.
func (s *Server) again(path string, at url.Values, err error) error {
	for _, p := range s.pages() {
		if p.Path == path {
			return &againError{p, at, err}
		}
	}
	return err
}

// showAgain answers a form with its page. It reports whether that could be done.
func (s *Server) showAgain(w http.ResponseWriter, r *http.Request, e *againError) bool {
	back := r.Clone(r.Context())
	back.Method, back.URL = http.MethodGet, &url.URL{Path: e.page.Path, RawQuery: e.at.Encode()}
	v := s.view(back, e.page)
	var err error
	if v.Doc, err = e.page.load(r.Context(), back); err != nil {
		return false
	}
	// It is the answer to a form: what follows would follow the form's address.
	v.Live, v.Wrong, v.Form = false, e.Error(), r.PostForm
	s.write(w, statusOf(e.err), v)
	return true
}

// Filled is what a form's field holds when the form is shown again, and else what is
// usual.
func (v view) Filled(name, usual string) string {
	if v.Form == nil {
		return usual
	}
	return v.Form.Get(name)
}
