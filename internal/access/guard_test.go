package access

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

// house is a guard with something behind it that says who it was let in for.
type house struct {
	*Guard
	t     *testing.T
	file  string
	door  http.Handler
	notes []string // of OnLogIn
	log   strings.Builder
}

// enter makes one. With cfg.File set to users it is written to a file of that content.
func enter(t *testing.T, cfg Config) *house {
	t.Helper()
	h := &house{t: t}
	log := logrus.New()
	log.SetOutput(&h.log)
	cfg.Log = log
	cfg.OnLogIn = func(_ context.Context, u User, did, detail string) {
		h.notes = append(h.notes, fmt.Sprintf("%s %q %s from %s", did, u.Name, detail, u.Remote))
	}
	if cfg.File != "" {
		h.file = filepath.Join(t.TempDir(), "users")
		h.write(cfg.File)
		cfg.File = h.file
	}
	var err error
	if h.Guard, err = Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		u := UserOf(r.Context())
		fmt.Fprintf(w, "%s|%s|%s", u.Name, u.Role, u.Remote)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		err := h.LogIn(w, r, r.PostFormValue("name"), r.PostFormValue("password"))
		refused, ok := errors.AsType[*RefusedError](err)
		switch {
		case ok && refused.Wait > 0:
			http.Error(w, err.Error(), http.StatusTooManyRequests)
		case ok:
			http.Error(w, err.Error(), http.StatusUnauthorized)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			http.Redirect(w, r, "/", http.StatusSeeOther)
		}
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) { h.LogOut(w, r) })
	h.door = h.Wrap(mux, func(path string) bool { return path == "/login" || path == "/livez" })
	return h
}

// write writes the file of users, long enough ago that it is taken for whole.
func (h *house) write(content string) {
	h.t.Helper()
	if err := os.WriteFile(h.file, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	long := time.Now().Add(-time.Minute)
	if err := os.Chtimes(h.file, long, long); err != nil {
		h.t.Fatal(err)
	}
}

// answer is what a browser gets.
type answer struct {
	code    int
	header  http.Header
	cookies []*http.Cookie
	text    string
}

// ask is a request of a browser: "POST /login name=li" with headers as "Host: x".
func (h *house) ask(what string, headers ...string) answer {
	method, rest, _ := strings.Cut(what, " ")
	target, form, _ := strings.Cut(rest, " ")
	var body io.Reader
	if form != "" {
		body = strings.NewReader(form)
	}
	r := httptest.NewRequestWithContext(h.t.Context(), method, target, body)
	r.Host, r.RemoteAddr = "localhost:8090", "192.0.2.7:40000"
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		switch name {
		case "Host":
			r.Host = value
		case "Peer":
			r.RemoteAddr = value
		case "TLS":
			r.TLS = &tls.ConnectionState{}
		default:
			r.Header.Add(name, value)
		}
	}
	w := httptest.NewRecorder()
	h.door.ServeHTTP(w, r)
	got := w.Result()
	defer got.Body.Close()
	return answer{got.StatusCode, got.Header, got.Cookies(), w.Body.String()}
}

const page = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"

func form(name, password string) string {
	return "POST /login " + url.Values{"name": {name}, "password": {password}}.Encode()
}

// logIn logs in, and returns the header with the cookie.
func (h *house) logIn(name string, headers ...string) string {
	h.t.Helper()
	r := h.ask(form(name, password), headers...)
	if r.code != http.StatusSeeOther || len(r.cookies) != 1 {
		h.t.Fatalf("%s was not let in: %d %s", name, r.code, r.text)
	}
	c := r.cookies[0]
	return "Cookie: " + c.Name + "=" + c.Value
}

const twoUsers = "li.na:" + argonLow + ":operator\nwei:" + argonLow + "\n"

func TestWhoIsLetInByAFileOfUsers(t *testing.T) {
	h := enter(t, Config{File: twoUsers})
	operator, viewer := h.logIn("li.na"), h.logIn("wei", "Peer: [2001:db8::1]:5")
	for _, tt := range []struct {
		what, ask string
		headers   []string
		status    int
		is        string // what the answer is, or where it leads
	}{
		{"a page that nobody has logged in for", "GET /order?out_trade_no=a%26b&x=1", []string{page}, 303, "/login?to=%2Forder%3Fout_trade_no%3Da%2526b%26x%3D1"},
		{"the first page", "GET /", []string{page}, 303, "/login"},
		{"a page by HEAD", "HEAD /log", []string{page}, 303, "/login?to=%2Flog"},
		{"a page in the place of another one", "GET //evil.example/", []string{page}, 303, "/login"},
		{"JSON", "GET /order.json", []string{page}, 401, "nobody has logged in; log in at /login\n"},
		{"a stream", "GET /", []string{"Accept: text/event-stream"}, 401, "nobody has logged in; log in at /login\n"},
		{"a program", "GET /", []string{"Accept: */*"}, 401, "nobody has logged in; log in at /login\n"},
		{"a form of a page whose session is over", "POST /replay/start id=1", []string{page, "Referer: http://localhost:8090/replay?id=1"}, 303, "/login?to=%2Freplay%3Fid%3D1"},
		{"the same, from elsewhere", "POST /replay/start id=1", []string{page, "Referer: http://evil.example/replay?id=1"}, 303, "/login"},
		{"a path that is open", "GET /livez", nil, 200, "||192.0.2.7"},
		{"an operator", "GET /", []string{operator}, 200, "li.na|operator|192.0.2.7"},
		{"a viewer, from elsewhere", "GET /", []string{viewer, "Peer: [2001:db8::1]:5"}, 200, "wei|viewer|2001:db8::1"},
		{"an open path, by a user", "GET /livez", []string{viewer}, 200, "wei|viewer|192.0.2.7"},
		{"a cookie that is made up", "GET /x", []string{"Cookie: closeorder_console=" + strings.Repeat("A", 43)}, 401, "nobody has logged in; log in at /login\n"},
		{"a cookie of nothing", "GET /x", []string{"Cookie: closeorder_console="}, 401, "nobody has logged in; log in at /login\n"},
		{"a second cookie of the name, as a subdomain can set", "GET /x", []string{viewer, operator}, 401, "nobody has logged in; log in at /login\n"},
		{"the cookie under the name that it has with TLS", "GET /x", []string{"Cookie: __Host-" + strings.TrimPrefix(viewer, "Cookie: ")}, 401, "nobody has logged in; log in at /login\n"},
		{"the header of a proxy that there is none of", "GET /x", []string{"X-Forwarded-User: li.na"}, 401, "nobody has logged in; log in at /login\n"},
	} {
		r := h.ask(tt.ask, tt.headers...)
		got := r.text
		if r.code == http.StatusSeeOther {
			got = r.header.Get("Location")
		}
		if r.code != tt.status || got != tt.is {
			t.Errorf("%s: %d %q, want %d %q", tt.what, r.code, got, tt.status, tt.is)
		}
	}
	if want := []string{`log_in "li.na" operator from 192.0.2.7`, `log_in "wei" viewer from 2001:db8::1`}; !slices.Equal(h.notes, want) {
		t.Errorf("noted %q", h.notes)
	}
}

func TestTheCookieOfASession(t *testing.T) {
	proxy := []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}
	for _, tt := range []struct {
		what    string
		cfg     Config
		headers []string
		name    string
		secure  bool
	}{
		{"plain HTTP", Config{}, nil, "closeorder_console", false},
		{"TLS of the console", Config{}, []string{"TLS: yes"}, "__Host-closeorder_console", true},
		{"TLS that is set", Config{Secure: true}, nil, "__Host-closeorder_console", true},
		{"TLS of a proxy", Config{Trusted: proxy}, []string{"Peer: 10.0.0.1:9", "X-Forwarded-Proto: https"}, "__Host-closeorder_console", true},
		{"plain HTTP of a proxy", Config{Trusted: proxy}, []string{"Peer: 10.0.0.1:9", "X-Forwarded-Proto: http"}, "closeorder_console", false},
		{"TLS that somebody says", Config{Trusted: proxy}, []string{"Peer: 10.0.0.2:9", "X-Forwarded-Proto: https"}, "closeorder_console", false},
	} {
		tt.cfg.File = twoUsers
		h := enter(t, tt.cfg)
		r := h.ask(form("li.na", password), tt.headers...)
		c := r.cookies[0]
		if c.Name != tt.name || c.Secure != tt.secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || len(c.Value) != 43 {
			t.Errorf("%s: %s", tt.what, r.header.Get("Set-Cookie"))
		}
		cookie := "Cookie: " + c.Name + "=" + c.Value
		if r := h.ask("GET /", append(tt.headers, cookie)...); r.code != 200 {
			t.Errorf("%s: %d", tt.what, r.code)
		}
		r = h.ask("POST /logout x=", append(tt.headers, cookie)...)
		if c := r.cookies[0]; c.MaxAge >= 0 || c.Name != tt.name || c.Secure != tt.secure {
			t.Errorf("%s: log-out sets %s", tt.what, r.header.Get("Set-Cookie"))
		}
		if r := h.ask("GET /", append(tt.headers, cookie)...); r.code != 401 {
			t.Errorf("%s: after log-out %d", tt.what, r.code)
		}
	}
}

// What an attacker has put into the browser before does not become a session, and
// a session of before is over.
func TestALogInBeginsASessionOfItsOwn(t *testing.T) {
	h := enter(t, Config{File: twoUsers})
	chosen := "Cookie: closeorder_console=" + strings.Repeat("A", 43)
	mine := h.logIn("li.na", chosen)
	if mine == chosen {
		t.Error("the session has the id that the browser brought")
	}
	if r := h.ask("GET /", chosen); r.code != 401 {
		t.Errorf("the id that the browser brought: %d", r.code)
	}
	next := h.logIn("wei", mine)
	if r := h.ask("GET /", mine); r.code != 401 {
		t.Errorf("the session of before: %d", r.code)
	}
	if r := h.ask("GET /", next); r.text != "wei|viewer|192.0.2.7" {
		t.Errorf("the session: %d", r.code)
	}
	// A log-in that fails ends nothing.
	h.ask(form("wei", "wrong"), next)
	if r := h.ask("GET /", next); r.code != 200 {
		t.Errorf("after a log-in that failed: %d", r.code)
	}
}

func TestWhatEndsASession(t *testing.T) {
	for _, tt := range []struct {
		what string
		does func(h *house, cookie string)
		is   string // what is answered then
	}{
		{"nothing", func(*house, string) {}, "li.na|operator|192.0.2.7"},
		{"a log-out", func(h *house, cookie string) { h.ask("POST /logout x=", cookie) }, ""},
		{"a log-out of somebody else", func(h *house, _ string) { h.ask("POST /logout x=", h.logIn("wei")) }, "li.na|operator|192.0.2.7"},
		{"its user is gone", func(h *house, _ string) { h.write("wei:" + argonLow); time.Sleep(lookEvery) }, ""},
		{"its user has another password", func(h *house, _ string) { h.write("li.na:" + argonOther + ":operator"); time.Sleep(lookEvery) }, ""},
		{"the password is made once more", func(h *house, _ string) { h.write("li.na:" + bcrypt2a + ":operator"); time.Sleep(lookEvery) }, ""},
		{"its user has another role", func(h *house, _ string) { h.write("li.na:" + argonLow); time.Sleep(lookEvery) }, "li.na|viewer|192.0.2.7"},
		{"the file is wrong", func(h *house, _ string) { h.write("li.na:distinctive"); time.Sleep(lookEvery) }, "li.na|operator|192.0.2.7"},
		{"the file is gone", func(h *house, _ string) { os.Remove(h.file); time.Sleep(lookEvery) }, "li.na|operator|192.0.2.7"},
		{"nobody asks for two hours", func(*house, string) { time.Sleep(2 * time.Hour) }, ""},
		{"somebody asks each hour", func(h *house, cookie string) {
			for range 11 {
				time.Sleep(time.Hour)
				h.ask("GET /", cookie)
			}
		}, "li.na|operator|192.0.2.7"},
		{"twelve hours", func(h *house, cookie string) {
			for range 12 {
				time.Sleep(time.Hour)
				h.ask("GET /", cookie)
			}
		}, ""},
		{"a page that follows what happens, and nobody looks", func(h *house, cookie string) {
			for range 8 {
				time.Sleep(15 * time.Minute)
				h.ask("GET /", cookie, "Accept: text/event-stream")
			}
		}, ""},
		{"twenty more log-ins", func(h *house, _ string) {
			for range mostSessions {
				time.Sleep(time.Minute)
				h.logIn("li.na")
			}
		}, ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := enter(t, Config{File: twoUsers})
				cookie := h.logIn("li.na")
				tt.does(h, cookie)
				r := h.ask("GET /", cookie)
				if got := r.text; (r.code == 200) != (tt.is != "") || tt.is != "" && got != tt.is {
					t.Errorf("%d %q, want %q", r.code, got, tt.is)
				}
				if r := h.ask("GET /", cookie); (r.code == 200) != (tt.is != "") {
					t.Errorf("then %d", r.code)
				}
				if strings.Contains(h.log.String(), "distinctive") {
					t.Errorf("logged\n%s", h.log.String())
				}
			})
		})
	}
}

func TestAStreamEndsWithItsSession(t *testing.T) {
	for what, end := range map[string]func(h *house, cookie string){
		"a log-out in another tab": func(h *house, cookie string) { h.ask("POST /logout x=", cookie) },
		"its user is gone":         func(h *house, _ string) { h.write("wei:" + argonLow) },
		"its user may do less":     func(h *house, _ string) { h.write("li.na:" + argonLow) },
		"its time is over":         func(*house, string) { time.Sleep(idle) },
		"the browser is gone":      nil,
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := enter(t, Config{File: twoUsers})
				cookie := h.logIn("li.na")
				began, ended := make(chan struct{}), make(chan error, 1)
				stream := h.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					close(began)
					<-r.Context().Done()
					ended <- context.Cause(r.Context())
				}), func(string) bool { return false })
				ctx, gone := context.WithCancel(t.Context())
				defer gone()
				r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
				r.Header.Set("Accept", "text/event-stream")
				r.Header.Set("Cookie", strings.TrimPrefix(cookie, "Cookie: "))
				go stream.ServeHTTP(httptest.NewRecorder(), r)
				<-began
				time.Sleep(time.Minute + checkEvery/2)
				select {
				case err := <-ended:
					t.Fatalf("it has ended before: %v", err)
				default:
				}
				want := errSessionOver
				if end == nil {
					want = context.Canceled
					gone()
				} else {
					end(h, cookie)
				}
				since := time.Now()
				if err := <-ended; !errors.Is(err, want) {
					t.Errorf("ended by %v", err)
				}
				within := checkEvery + lookEvery
				if strings.HasPrefix(what, "a log-out") {
					within = 0
				}
				if took := time.Since(since); took > within {
					t.Errorf("ended after %s", took)
				}
			})
		})
	}
}

func TestAStreamBehindAProxyIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := enter(t, Config{Header: "X-User", Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
		h.door = h.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began := time.Now()
			<-r.Context().Done()
			fmt.Fprint(w, time.Since(began))
		}), func(string) bool { return false })
		if got := h.ask("GET /", "X-User: li", "Accept: text/event-stream").text; got != streamFor.String() {
			t.Errorf("it has gone on for %s", got)
		}
	})
}

// What the browsers send with requests that the pages of other sites make.
func TestOtherSitesChangeNothing(t *testing.T) {
	h := enter(t, Config{File: twoUsers})
	cookie := h.logIn("li.na")
	proxied := enter(t, Config{Header: "X-User", Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}})
	for _, tt := range []struct {
		what, ask string
		headers   []string
		status    int
	}{
		{"a form of its own page", "POST /replays x=1", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Origin: http://localhost:8090"}, 200},
		{"the same of an old browser", "POST /replays x=1", []string{"Origin: http://localhost:8090"}, 200},
		{"a script without a browser", "POST /replays x=1", nil, 200},
		{"a form of another site", "POST /replays x=1", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Origin: https://evil.example"}, 403},
		{"a form of another port", "POST /replays x=1", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Origin: http://localhost:3000"}, 403},
		{"the same of an old browser", "POST /replays x=1", []string{"Origin: http://localhost:3000"}, 403},
		{"a form of another site, to log in", form("wei", password), []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, 403},
		{"a sandboxed frame", "POST /replays x=1", []string{"Origin: null"}, 403},
		{"a fetch of another site", "POST /replays x=1", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Origin: https://evil.example", "Content-Type: text/plain"}, 403},
		{"a method that is none", "PUT /replays x=1", nil, 405},
		{"one that is passed off as another", "DELETE /replays", []string{"X-HTTP-Method-Override: POST"}, 405},
		{"asking beforehand", "OPTIONS /replays", []string{"Origin: https://evil.example", "Access-Control-Request-Method: POST"}, 204},
		{"a link in a chat", "GET /order?out_trade_no=1", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}, 200},
		{"the address typed in", "GET /", []string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"}, 200},
		{"its own script", "GET /now.json", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"}, 200},
		{"loaded as a script by another site", "GET /now.json", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 403},
		{"loaded as a picture by another port", "GET /order?out_trade_no=1", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"}, 403},
	} {
		r := h.ask(tt.ask, append(tt.headers, cookie)...)
		if tt.status == 200 && r.code == 303 {
			t.Fatalf("%s: the session is over", tt.what)
		}
		if r.code != tt.status || r.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d", tt.what, r.code)
		}
	}
	for _, tt := range []struct {
		what    string
		headers []string
		status  int
	}{
		{"a proxy that keeps the host", []string{"Host: console.example", "Origin: https://console.example"}, 200},
		{"a proxy that says the host", []string{"Host: 10.0.0.5:8090", "X-Forwarded-Host: console.example", "Origin: https://console.example"}, 200},
		{"a proxy that hides the host", []string{"Host: 10.0.0.5:8090", "Origin: https://console.example"}, 403},
		{"a new browser behind one that hides the host", []string{"Host: 10.0.0.5:8090", "Origin: https://console.example", "Sec-Fetch-Site: same-origin"}, 200},
		{"another site", []string{"Host: 10.0.0.5:8090", "X-Forwarded-Host: console.example", "Origin: https://evil.example"}, 403},
	} {
		if r := proxied.ask("POST /replays x=1", append(tt.headers, "X-User: li")...); r.code != tt.status {
			t.Errorf("%s: %d", tt.what, r.code)
		}
	}
	if r := h.ask("POST /replays x=1", cookie, "Host: 10.0.0.5:8090", "X-Forwarded-Host: evil.example", "Origin: https://evil.example"); r.code != 403 {
		t.Errorf("a host that nobody vouches for: %d", r.code)
	}
}

func TestWhereNobodyLogsInOnlyThisMachineIsAnswered(t *testing.T) {
	h := enter(t, Config{})
	for _, tt := range []struct {
		what    string
		headers []string
		status  int
	}{
		{"localhost", []string{"Host: localhost:8090"}, 200},
		{"the end of a tunnel", []string{"Host: LocalHost:9999"}, 200},
		{"without a port", []string{"Host: localhost"}, 200},
		{"127.0.0.1", []string{"Host: 127.0.0.1:8090"}, 200},
		{"another one of them", []string{"Host: 127.1.2.3"}, 200},
		{"IPv6", []string{"Host: [::1]:8090"}, 200},
		{"IPv6 without a port", []string{"Host: [::1]"}, 200},
		{"a name that resolves to 127.0.0.1", []string{"Host: evil.example:8090"}, 421},
		{"one that looks like it", []string{"Host: 127.0.0.1.evil.example:8090"}, 421},
		{"one that begins like it", []string{"Host: localhost.evil.example"}, 421},
		{"an address of elsewhere", []string{"Host: 192.0.2.1:8090"}, 421},
		{"every address", []string{"Host: 0.0.0.0:8090"}, 421},
		{"no name", []string{"Host: "}, 421},
		{"a proxy", []string{"Host: localhost:8090", "X-Forwarded-For: 203.0.113.9"}, 403},
		{"another proxy", []string{"Host: 127.0.0.1:8090", "Forwarded: for=203.0.113.9"}, 403},
	} {
		for _, ask := range []string{"GET /", "POST /replays x=1", "GET /livez"} {
			if r := h.ask(ask, append(tt.headers, "Peer: 127.0.0.1:5")...); r.code != tt.status {
				t.Errorf("%s, %s: %d, want %d", tt.what, ask, r.code, tt.status)
			}
		}
	}
	if got := h.ask("GET /", "Peer: 127.0.0.1:5").text; got != "|operator|127.0.0.1" {
		t.Errorf("let in as %q", got)
	}
	if n := strings.Count(h.log.String(), "come through a proxy"); n != 1 {
		t.Errorf("told of a proxy %d times", n)
	}
	if err := h.LogIn(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/login", nil), "li", "x"); err == nil {
		t.Error("somebody has logged in")
	}
}

func TestWhomAProxyLetsIn(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00::/8")}
	byRole := Config{Header: "X-Forwarded-User", RoleHeader: "X-Role", Trusted: trusted}
	byName := Config{Header: "X-Forwarded-User", Operators: []string{"li.na", "wei"}, Trusted: trusted}
	const proxy = "Peer: 10.0.0.1:5"
	for _, tt := range []struct {
		what    string
		cfg     Config
		headers []string
		is      string // empty: 401
	}{
		{"a user", byName, []string{proxy, "X-Forwarded-User: an"}, "an|viewer|10.0.0.1"},
		{"an operator by name", byName, []string{proxy, "X-Forwarded-User: li.na"}, "li.na|operator|10.0.0.1"},
		{"by a header that is not asked for", byName, []string{proxy, "X-Forwarded-User: an", "X-Role: operator"}, "an|viewer|10.0.0.1"},
		{"an operator by header", byRole, []string{proxy, "X-Forwarded-User: an", "X-Role: operator"}, "an|operator|10.0.0.1"},
		{"a viewer by header", byRole, []string{proxy, "X-Forwarded-User: an", "X-Role: viewer"}, "an|viewer|10.0.0.1"},
		{"a role that nobody knows", byRole, []string{proxy, "X-Forwarded-User: an", "X-Role: admins,operator"}, "an|viewer|10.0.0.1"},
		{"a role twice", byRole, []string{proxy, "X-Forwarded-User: an", "X-Role: operator", "X-Role: operator"}, "an|viewer|10.0.0.1"},
		{"no role", byRole, []string{proxy, "X-Forwarded-User: an"}, "an|viewer|10.0.0.1"},
		{"a name in hanzi", byName, []string{proxy, "X-Forwarded-User: 张伟"}, "张伟|viewer|10.0.0.1"},
		{"IPv4 in IPv6", byName, []string{"Peer: [::ffff:10.0.0.1]:5", "X-Forwarded-User: an"}, "an|viewer|10.0.0.1"},
		{"a proxy with a zone", byName, []string{"Peer: [fd00::1%eth0]:5", "X-Forwarded-User: an"}, "an|viewer|fd00::1"},
		{"not the proxy", byName, []string{"Peer: 10.0.1.1:5", "X-Forwarded-User: li.na"}, ""},
		{"not the proxy, that says it was", byName, []string{"Peer: 10.0.1.1:5", "X-Forwarded-User: li.na", "X-Forwarded-For: 10.0.0.1"}, ""},
		{"nothing that is an address", byName, []string{"Peer: @", "X-Forwarded-User: li.na"}, ""},
		{"a proxy where none is trusted", Config{Header: "X-Forwarded-User", Operators: []string{"an"}}, []string{proxy, "X-Forwarded-User: an"}, ""},
		{"no name", byName, []string{proxy}, ""},
		{"an empty name", byName, []string{proxy, "X-Forwarded-User:  "}, ""},
		{"the browser's header beside the proxy's", byName, []string{proxy, "X-Forwarded-User: li.na", "X-Forwarded-User: an"}, ""},
		{"a name that is turned round", byName, []string{proxy, "X-Forwarded-User: an\u202ena.il"}, ""},
		{"a name with a line break", byName, []string{proxy, "X-Forwarded-User: a\nn"}, ""},
		{"a name that is no text", byName, []string{proxy, "X-Forwarded-User: \xff"}, ""},
		{"a name without end", byName, []string{proxy, "X-Forwarded-User: " + strings.Repeat("n", 101)}, ""},
		{"a client", byName, []string{proxy, "X-Forwarded-User: an", "X-Forwarded-For: 203.0.113.9"}, "an|viewer|203.0.113.9"},
		{"a client that has written something before", byName, []string{proxy, "X-Forwarded-User: an", "X-Forwarded-For: 127.0.0.1, 203.0.113.9"}, "an|viewer|203.0.113.9"},
		{"two proxies", byName, []string{proxy, "X-Forwarded-User: an", "X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: [2001:db8::9]:443, 10.0.0.7"}, "an|viewer|2001:db8::9"},
		{"a client with a port", byName, []string{proxy, "X-Forwarded-User: an", "X-Forwarded-For: 203.0.113.9:1234"}, "an|viewer|203.0.113.9"},
		{"a client that hides", byName, []string{proxy, "X-Forwarded-User: an", "X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.7"}, "an|viewer|10.0.0.7"},
	} {
		h := enter(t, tt.cfg)
		r := h.ask("GET /", append(tt.headers, "Host: console.example")...)
		got := r.text
		if tt.is == "" && r.code != 401 || tt.is != "" && got != tt.is {
			t.Errorf("%s: %d %q, want %q", tt.what, r.code, got, tt.is)
		}
		h.ask("GET /", append(tt.headers, "Host: console.example")...)
		if n := strings.Count(h.log.String(), "nobody was let in"); (n == 1) != (tt.is == "") {
			t.Errorf("%s: logged %d times", tt.what, n)
		}
		if strings.Contains(h.log.String(), "li.na") {
			t.Errorf("%s: the log has a name that nobody vouches for: %s", tt.what, h.log.String())
		}
	}
}

func TestEveryAnswerIsHardened(t *testing.T) {
	h := enter(t, Config{File: twoUsers})
	for _, ask := range []string{"GET /", "GET /livez", "PUT /", "OPTIONS /", "POST /login name=x", "GET /order.json"} {
		for _, headers := range [][]string{nil, {"Sec-Fetch-Site: cross-site"}, {page}} {
			r := h.ask(ask, headers...)
			for name, want := range map[string]string{
				"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
				"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY", "Strict-Transport-Security": "",
			} {
				if r.header.Get(name) != want {
					t.Errorf("%s %v: %s is %q", ask, headers, name, r.header.Get(name))
				}
			}
		}
	}
	for host, want := range map[string]string{"console.example": "max-age=31536000", "console.example:8443": "", "[::1]:8443": ""} {
		if got := h.ask("GET /livez", "TLS: yes", "Host: "+host).header.Get("Strict-Transport-Security"); got != want {
			t.Errorf("of %s: Strict-Transport-Security is %q", host, got)
		}
	}
	for _, word := range []string{"unsafe-", "*", "data:", "http"} {
		if strings.Contains(policy, word) {
			t.Errorf("the policy allows %s", word)
		}
	}
}
