package access

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	loginPath  = "/login"
	logoutPath = "/logout"

	// cookieName is that of a session. With TLS the browser itself holds its prefix
	// to what it says: no other host, no subdomain and no plain HTTP can set it.
	cookieName   = "closeorder_console"
	securePrefix = "__Host-"

	// mostBody is the most bytes of a form.
	mostBody = 1 << 20
	// checkEvery is how often it is looked at whether a stream may go on.
	checkEvery = 2 * time.Second
	// streamFor is how long a stream goes on behind a proxy, which alone knows
	// whether its reader may still come in; then the browser asks anew.
	streamFor = 15 * time.Minute
)

// policy says that a page has nothing but what the console itself serves, and no
// script or style in its text: what comes from Kafka can be neither.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// harden sets the headers of every answer. The handler may set Cache-Control anew.
func harden(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for browsers without frame-ancestors
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	// It counts for all ports of a name: on one of several it would cut off what
	// else is served there without TLS.
	if _, _, err := net.SplitHostPort(r.Host); r.TLS != nil && err != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

type userKey struct{}

// UserOf is who asks, of a context that Wrap has made.
func UserOf(ctx context.Context) User {
	u, _ := ctx.Value(userKey{}).(User)
	return u
}

// Wrap lets in to next whoever belongs: with a foreign Host header, a
// cross-site write, or without a session it is not called. Pages then send to
// /login?to=..., everything else gets 401. Paths of open need no user.
//
// The context of a stream (Accept: text/event-stream) ends with the session.
func (g *Guard) Wrap(next http.Handler, open func(path string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harden(w, r)
		if !g.passes(w, r) {
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		u, one, why := g.who(r)
		if why != "" && !open(r.URL.Path) {
			g.turnAway(w, r, why)
			return
		}
		ctx := context.WithValue(r.Context(), userKey{}, u)
		if why == "" && streams(r) {
			var cancel context.CancelFunc
			ctx, cancel = g.whileLetIn(ctx, r, one, u.Role)
			defer cancel()
		} else if one != nil {
			g.sessions.use(ctx, one)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func refuse(w http.ResponseWriter, status int, text string) {
	http.Error(w, text, status) // it is text/plain, whatever stands in it
}

// passes looks at what has nothing to do with who asks.
func (g *Guard) passes(w http.ResponseWriter, r *http.Request) bool {
	const allow = "GET, HEAD, POST, OPTIONS"
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	case http.MethodOptions: // without a word of other origins: they may do nothing
		w.Header().Set("Allow", allow)
		w.WriteHeader(http.StatusNoContent)
		return false
	default:
		w.Header().Set("Allow", allow)
		refuse(w, http.StatusMethodNotAllowed, "only GET, HEAD and POST")
		return false
	}
	if g.cfg.open() && !g.fromHere(w, r) {
		return false
	}
	as := *r
	as.Host = g.cfg.host(r)
	if g.cross.Check(&as) != nil {
		refuse(w, http.StatusForbidden, "This was sent by the page of another site, and was not done. "+
			"Behind a proxy: it must keep the Host header, or send X-Forwarded-Host and be one of console.trusted_proxies.")
		return false
	}
	// Pages may be opened from anywhere, by a link in a chat; they are not for other
	// sites to load into theirs.
	site, mode := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Sec-Fetch-Mode")
	if (site == "cross-site" || site == "same-site") && mode != "navigate" {
		refuse(w, http.StatusForbidden, "This was asked for by the page of another site.")
		return false
	}
	return true
}

// fromHere looks whether a request was meant for this machine, where nobody has to
// say who they are: the page of another site can have its own name resolve to
// 127.0.0.1, and a proxy can bring the whole world.
func (g *Guard) fromHere(w http.ResponseWriter, r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if !strings.EqualFold(host, "localhost") && (err != nil || !ip.Unmap().IsLoopback()) {
		refuse(w, http.StatusMisdirectedRequest, "The console was asked for by a name that is not this machine's. Nobody has to log in to it, so it answers to localhost, 127.0.0.1 and [::1] alone. "+
			"To reach it by another name set --auth-file, or --auth-header with --trusted-proxies.")
		return false
	}
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip"} {
		if r.Header.Get(header) != "" {
			refuse(w, http.StatusForbidden, "The request has come through a proxy ("+header+"), and nobody has to log in to this console: whoever reaches the proxy could replay dead letters. "+
				"Set --auth-file, or --auth-header with --trusted-proxies.")
			g.once("a request has come through a proxy and was refused: nobody has to log in to this console; set --auth-file, or --auth-header with --trusted-proxies")
			return false
		}
	}
	return true
}

// who finds out who asks. why is empty, or says why it is nobody.
func (g *Guard) who(r *http.Request) (u User, one *session, why string) {
	switch {
	case g.cfg.open():
		u = User{Role: Operator}
	case g.cfg.Header != "":
		u, why = g.cfg.said(r)
	default:
		var by user
		if one, by = g.session(r); one == nil {
			why = "nobody has logged in"
		}
		u = User{Name: by.name, Role: by.role}
	}
	u.Remote = g.cfg.remote(r)
	return u, one, why
}

// session is that of the cookie, nil for none. Where there are several cookies of
// the name one of them was set by somebody else, as a subdomain can without TLS:
// then none counts.
func (g *Guard) session(r *http.Request) (*session, user) {
	if g.sessions == nil {
		return nil, user{}
	}
	all := r.CookiesNamed(g.cookieName(r))
	if len(all) != 1 || all[0].Value == "" {
		return nil, user{}
	}
	return g.sessions.find(r.Context(), token(all[0].Value), g.file.users())
}

func (g *Guard) cookieName(r *http.Request) string {
	if g.cfg.encrypted(r) {
		return securePrefix + cookieName
	}
	return cookieName
}

// setCookie sets the cookie, or takes it away with an age below zero. Lax sends it
// with a link from elsewhere, and with nothing else that comes from there.
func (g *Guard) setCookie(w http.ResponseWriter, r *http.Request, value string, age int) {
	http.SetCookie(w, &http.Cookie{
		Name: g.cookieName(r), Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: g.cfg.encrypted(r), SameSite: http.SameSiteLaxMode,
	})
}

// turnAway answers whom nobody knows.
func (g *Guard) turnAway(w http.ResponseWriter, r *http.Request, why string) {
	if !g.LogsIn() {
		g.once("nobody was let in: " + why)
		refuse(w, http.StatusUnauthorized, "The console is reached through its proxy, which says who asks. "+
			"This request did not: "+why+".")
		return
	}
	if !isPage(r) {
		w.Header().Set("WWW-Authenticate", `Session realm="closeorder console"`) // RFC 9110, 15.5.2, wants one
		refuse(w, http.StatusUnauthorized, why+"; log in at "+loginPath)
		return
	}
	to := r.URL.RequestURI()
	if r.Method == http.MethodPost { // the page that the form was on
		to = "/"
		if from, err := url.Parse(r.Referer()); err == nil && from.Host == g.cfg.host(r) {
			to = from.RequestURI()
		}
	}
	target := loginPath
	if to = Local(to); to != "/" {
		target += "?" + url.Values{"to": {to}}.Encode()
	}
	http.Redirect(w, r, target, http.StatusSeeOther)
}

// isPage reports whether a person looks at the answer.
func isPage(r *http.Request) bool {
	return !streams(r) && !strings.HasSuffix(r.URL.Path, ".json") && strings.Contains(r.Header.Get("Accept"), "text/html")
}

func streams(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// Why a stream ends.
var (
	errSessionOver = errors.New("the session is over")
	errAskAgain    = errors.New("the proxy is to be asked again")
)

// whileLetIn ends a context when whoever asks may not come in any more, or not as what
// they came in. A stream
// does not count as use: a page that nobody looks at is logged out like any other.
func (g *Guard) whileLetIn(ctx context.Context, r *http.Request, one *session, as Role) (context.Context, context.CancelFunc) {
	if g.cfg.Header != "" {
		return context.WithTimeoutCause(ctx, streamFor, errAskAgain)
	}
	if one == nil {
		return context.WithCancel(ctx)
	}
	ctx, end := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(checkEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-one.over:
			case <-tick.C:
				if still, now := g.session(r); still == one && now.role == as {
					continue
				}
			}
			end(errSessionOver)
			return
		}
	}()
	return ctx, func() {
		end(context.Canceled)
		<-ended
	}
}
