package console

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/access"
	"github.com/sirupsen/logrus"
)

// What needs no user must say nothing of the topics, whatever is asked of it.
func TestWhoHasNotComeInSeesNothingOfTheTopics(t *testing.T) {
	f := newFakes(t)
	f.index.progress.CaughtUp = false
	f.index.progress.Trouble = "kafka-1.internal:9092 is away"
	for _, ask := range []string{
		"POST /livez", "POST /readyz", "POST /assets/", "POST /assets/style.css", "POST /assets/x", "GET /assets/x", "HEAD /assets/x", "GET /login", "POST /login",
		"GET /assets/../order", "GET /assets/%2e%2e/order.json", "GET //order", "GET /livez/", "GET /readyz", "GET /login/x", "POST /login/", "GET /assets//", "OPTIONS /order", "PUT /order", "HEAD /log.json",
	} {
		method, path, _ := strings.Cut(ask, " ")
		r := httptest.NewRequest(method, path, strings.NewReader("name=x"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		if body := w.Body.String(); strings.Contains(body, "kafka-1") || strings.Contains(body, "/dead-letters") || strings.Contains(body, "The topics") {
			t.Errorf("%s: %d\n%s", ask, w.Code, body)
		}
		if w.Header().Get("Content-Security-Policy") == "" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d with the headers %v", ask, w.Code, w.Header())
		}
	}
}

// loggingIn is a server on fakes with a file of one user.
func loggingIn(t *testing.T) http.Handler {
	t.Helper()
	line, err := access.UserLine("li", access.Viewer, "a long password of li")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	guard, err := access.Open(t.Context(), access.Config{File: file, Log: log, Trusted: []netip.Prefix{}})
	if err != nil {
		t.Fatal(err)
	}
	f := newFakes(t)
	cfg := f.cfg
	cfg.Guard = guard
	return New(cfg)
}

func TestALogInLeadsToThisConsoleAlone(t *testing.T) {
	s := loggingIn(t)
	for to, want := range map[string]string{
		"/order?out_trade_no=1": "/order?out_trade_no=1",
		"//evil.example/":       "/",
		"/\\evil.example/":      "/",
		"/\t/evil.example/":     "/", // browsers take tabs out of addresses
		"/\n/evil.example/":     "/",
		"https://evil.example/": "/",
		"/.//evil.example/":     "/evil.example/", // a path of this console
		"/logout":               "/",
	} {
		r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(url.Values{"name": {"li"}, "password": {"a long password of li"}, "to": {to}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != want {
			t.Errorf("to=%q: %d, to %q, want %q", to, w.Code, got, want)
		}
	}
}

func TestTroubleThatIsFollowedHidesNothing(t *testing.T) {
	came, texts := following(t, "/dead-letters", func(_ *testing.T, s *fakes) {
		time.Sleep(2 * time.Second)
		synctest.Wait()
		s.index.err = errors.New("of \u202eredro\x1b[2J")
		s.index.change()
		time.Sleep(2 * time.Second)
	})
	if len(came) != 2 || !strings.HasSuffix(came[1], "trouble") || !strings.Contains(texts[1], `of \u{202e}redro\u{001b}[2J`) {
		t.Errorf("%v: %q", came, texts)
	}
}
