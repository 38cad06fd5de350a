package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/access"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/moments"
	"github.com/closeorder/closeorder/internal/timeline"
)

// page is one of the console's. Its template has the name of its path without
// the slash, "now" for /.
type page struct {
	Path string
	// Title is its name, in English; Part is the path that the navigation shows as
	// the present one. Those that are part of no other stand there themselves.
	Title, Part string
	needs       access.Role
	// Live: it is sent again when it changes, to those who follow. Also is what else
	// it changes with, beside the index and the desk.
	Live bool
	also waits
	// load makes the document of a request. What it says is shown as it is, as HTML
	// and as JSON.
	load func(context.Context, *http.Request) (any, error)
}

// Name is that of its template.
func (p *page) Name() string {
	if p.Path == "/" {
		return "now"
	}
	return strings.TrimPrefix(p.Path, "/")
}

func (p *page) pattern() string {
	if p.Path == "/" {
		return "/{$}"
	}
	return p.Path
}

// json is where the document stands beside the page, empty for a form alone.
func (p *page) json() string {
	if p.load == nil {
		return ""
	}
	return "/" + p.Name() + ".json"
}

func (s *Server) pages() []*page {
	return []*page{
		{Path: "/", Title: "Now", Live: true, also: s.looks.Changed, load: s.now},
		{Path: "/search", Title: "Orders", load: s.search},
		{Path: "/order", Title: "Order", Part: "/search", Live: true, load: s.order},
		{Path: "/dead-letters", Title: "Dead letters", Live: true, load: s.letters},
		{Path: "/dead-letter", Title: "Dead letter", Part: "/dead-letters", load: s.letter},
		{Path: "/replays", Title: "Replays", Live: true, load: s.replays},
		{Path: "/replay", Title: "Replay", Part: "/replays", Live: true, load: s.replay},
		{Path: "/audits", Title: "Audits", Live: true, load: s.audits},
		{Path: "/audit", Title: "Audit", Part: "/audits", Live: true, load: s.audit},
		{Path: "/log", Title: "Log", needs: access.Operator, Live: true, load: s.log},
		{Path: "/login", Title: "Log in"},
	}
}

// navigation are the pages of the header, in their order.
func (s *Server) navigation() []*page {
	return slices.DeleteFunc(s.pages(), func(p *page) bool { return p.Part != "" || p.load == nil })
}

// view is what a template is given.
type view struct {
	Doc   any
	Page  *page
	Pages []*page
	User  access.User
	// LogsIn: there is a way to log out.
	LogsIn bool
	Lang   string
	// URL is the path and query of the page itself, JSON that of its document.
	URL, JSON string
	Search    string
	Live      bool
	Index     index.Progress
	Build     string
	// Problem is what went wrong, in place of the document.
	Problem string
	// Wrong is what was wrong with a form that is shown again, Form how it was filled in.
	Wrong string
	Form  url.Values
	// To is where a log-in leads; Refused and Wait are what became of the last one.
	To      string
	Refused bool
	Wait    string
	// Main is the page's own template, filled; see render.
	Main template.HTML
}

// Present reports whether an entry of the navigation is where we are.
func (v view) Present(p *page) bool {
	return p.Path == v.Page.Path || v.Page.Part != "" && p.Path == v.Page.Part
}

// Operator reports whether the user may do things.
func (v view) Operator() bool { return v.User.May(access.Operator) }

func (s *Server) view(r *http.Request, p *page) view {
	v := view{
		Page: p, Pages: s.navigation(), User: access.UserOf(r.Context()), LogsIn: s.cfg.Guard.LogsIn(), Lang: wished(r),
		URL: (&url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}).String(), Live: p.Live, Build: s.cfg.Build, Search: r.URL.Query().Get("q"),
		To: access.Local(r.FormValue("to")),
	}
	if name := p.json(); name != "" {
		v.JSON = name
		if r.URL.RawQuery != "" {
			v.JSON += "?" + r.URL.RawQuery
		}
	}
	if v.Search == "" {
		v.Search = r.URL.Query().Get("out_trade_no")
	}
	if p.Name() == "login" || v.User.Role == "" {
		// Nothing of the topics stands there, and nothing that leads to them; nor where
		// something goes wrong on a path that needs no user.
		v.Pages, v.Index.CaughtUp = nil, true
		return v
	}
	var err error
	if v.Index, err = s.cfg.Index.Progress(r.Context()); err != nil { // no reason not to show the page
		v.Index = index.Progress{CaughtUp: true, Trouble: err.Error()}
	}
	return v
}

// show answers with a page, or with its events.
func (s *Server) show(p *page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !access.UserOf(r.Context()).May(p.Need()) {
			s.fail(w, r, &forbiddenError{p.Need()})
			return
		}
		if p.Live && isFollowing(r) {
			s.follow(w, r, p)
			return
		}
		v := s.view(r, p)
		if p.load != nil {
			doc, err := p.load(r.Context(), r)
			if err != nil {
				s.fail(w, r, err)
				return
			}
			v.Doc = doc
		}
		s.write(w, http.StatusOK, v)
	})
}

// isFollowing reports whether somebody wants a page again and again.
func isFollowing(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// Need is the role that it takes to see it.
func (p *page) Need() access.Role {
	if p.needs == "" {
		return access.Viewer
	}
	return p.needs
}

// write renders the page as a whole before the first byte, so that what fails is no
// half a page.
func (s *Server) write(w http.ResponseWriter, status int, v view) {
	var b bytes.Buffer
	if err := render(&b, "layout", v); err != nil {
		s.cfg.Log.WithError(err).WithField("page", v.Page.Path).Error("a page cannot be made")
		http.Error(w, "the page cannot be made; see the console's log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", tags[v.Lang])
	w.Header().Add("Vary", "Accept, Accept-Language")
	w.WriteHeader(status)
	_, _ = w.Write(visible(b.Bytes()))
}

// tell answers with the document of a page as JSON.
func (s *Server) tell(p *page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		status := http.StatusOK
		var doc any
		err := error(&forbiddenError{p.Need()})
		if access.UserOf(r.Context()).May(p.Need()) {
			doc, err = p.load(r.Context(), r)
		}
		if err != nil {
			status, doc = statusOf(err), map[string]string{"error": err.Error()}
		}
		out, err := json.MarshalIndent(moments.Writable(doc), "", "  ")
		if err != nil {
			s.cfg.Log.WithError(err).WithField("page", p.Path).Error("a document cannot be written")
			status, out = http.StatusInternalServerError, []byte(`{"error": "the document cannot be written; see the console's log"}`)
		}
		w.WriteHeader(status)
		_, _ = w.Write(append(out, '\n')) // who asked has gone
	})
}

// act answers a form: it does something, and sends to the page that shows it.
func (s *Server) act(do func(w http.ResponseWriter, r *http.Request) (to string, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := r.ParseForm()
		to := ""
		if err == nil {
			// It is here; that the connection is read on tells whether who asked has gone.
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
			to, err = do(w, r)
		} else {
			err = &badError{err.Error()}
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	})
}

// fail shows what went wrong.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	if status == http.StatusInternalServerError && r.Context().Err() == nil {
		s.cfg.Log.WithError(err).WithField("page", r.URL.Path).Warn("a page could not be answered")
	}
	var again *againError
	if errors.As(err, &again) && s.showAgain(w, r, again) {
		return
	}
	if refused, is := errors.AsType[*access.RefusedError](err); is {
		v := s.view(r, &page{Path: "/login", Title: "Log in"})
		v.Refused, v.Form = true, r.PostForm
		if refused.Wait > 0 {
			v.Wait = timeline.Span(refused.Wait)
		}
		s.write(w, status, v)
		return
	}
	v := s.view(r, &page{Path: r.URL.Path, Title: "It did not work"})
	v.Problem = err.Error()
	s.write(w, status, v)
}

// badError is a request that makes no sense.
type badError struct{ what string }

func (e *badError) Error() string { return e.what }

// notFoundError is something that is not there.
type notFoundError struct{ what string }

func (e *notFoundError) Error() string { return e.what }

// forbiddenError is what needs another role.
type forbiddenError struct{ needs access.Role }

func (e *forbiddenError) Error() string { return "that needs the role " + string(e.needs) }

func statusOf(err error) int {
	var (
		bad       *badError
		none      *notFoundError
		missing   *desk.MissingError
		state     *desk.StateError
		busy      *desk.BusyError
		order     *desk.OrderError
		forbidden *forbiddenError
		refused   *access.RefusedError
		topics    *kafka.MissingTopicsError
		away      *awayError
	)
	switch {
	case errors.As(err, &bad), errors.As(err, &order):
		return http.StatusBadRequest
	case errors.As(err, &none), errors.As(err, &missing):
		return http.StatusNotFound
	case errors.As(err, &state), errors.As(err, &busy):
		return http.StatusConflict
	case errors.As(err, &forbidden):
		return http.StatusForbidden
	case errors.As(err, &refused):
		if refused.Wait > 0 {
			return http.StatusTooManyRequests
		}
		return http.StatusUnauthorized
	case errors.As(err, &topics), errors.As(err, &away), errors.Is(err, errBusy):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
