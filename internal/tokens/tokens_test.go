package tokens

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const secretText = "s3cret/+of client"

// endpointOf is an endpoint without a network.
type endpointOf func(*http.Request) (*http.Response, error)

func (f endpointOf) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func source(answer endpointOf) *Source {
	s := New(Endpoint{URL: "https://login/token", ClientID: "c", Secret: func() string { return secretText }, Scope: "a b"})
	s.client.Transport = answer
	return s
}

func says(status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// counting gives tokens t1, t2, ... of a life in seconds, as long as it is not away.
type counting struct {
	mu    sync.Mutex
	n     int
	life  int
	takes time.Duration
	away  bool
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(c.takes)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	if c.away {
		return says(503, "")
	}
	return says(200, fmt.Sprintf(`{"access_token":"t%d","token_type":"bearer","expires_in":%d}`, c.n, c.life))
}

// TestATokenIsKeptUntilNearItsEnd goes through the life of tokens of 100 s.
func TestATokenIsKeptUntilNearItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := &counting{life: 100}
		s := source(at.RoundTrip)
		for _, step := range []struct {
			sentence string
			wait     time.Duration
			do       func()
			want     string // the token
			asked    int    // so many times until then
			stale    bool
			fails    bool
		}{
			{sentence: "the first one", want: "t1", asked: 1},
			{sentence: "and again", wait: 79 * time.Second, want: "t1", asked: 1},
			{sentence: "after four fifths of its life", wait: 2 * time.Second, want: "t2", asked: 2},
			{sentence: "refused when it has just come", do: func() { s.Refused("t2") }, want: "t2", asked: 2},
			{sentence: "refused, some time later", wait: 11 * time.Second, want: "t3", asked: 3},
			{sentence: "an older one is refused", wait: 11 * time.Second, do: func() { s.Refused("t2") }, want: "t3", asked: 3},
			// Two times: both ways of showing the secret are known by then, so once.
			{sentence: "the endpoint is ill while the last one holds", wait: 80 * time.Second, do: func() { at.away = true }, want: "t3", asked: 4, stale: true},
			{sentence: "it is not asked at once", wait: 100 * time.Millisecond, want: "t3", asked: 4, stale: true},
			{sentence: "but a second later", wait: time.Second, want: "t3", asked: 5, stale: true},
			{sentence: "the last one has run out", wait: 10 * time.Second, asked: 6, fails: true},
			{sentence: "the endpoint is back, and not asked yet", wait: time.Second, do: func() { at.away = false }, asked: 6, fails: true},
			{sentence: "it is back", wait: 20 * time.Second, want: "t7", asked: 7},
		} {
			time.Sleep(step.wait)
			if step.do != nil {
				step.do()
			}
			got, stale, err := s.Token(t.Context())
			if got != step.want || at.n != step.asked || (stale != nil) != step.stale || (err != nil) != step.fails {
				t.Errorf("%s: %q after %d questions, stale: %v, %v", step.sentence, got, at.n, stale, err)
			}
		}
	})
}

func TestManyWhoAskAreOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := &counting{life: 100, takes: time.Second}
		s := source(at.RoundTrip)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if got, _, err := s.Token(t.Context()); got != "t1" || err != nil {
					t.Error(got, err)
				}
			})
		}
		all.Wait()
		if at.n != 1 {
			t.Errorf("%d requests", at.n)
		}
	})
}

// TestAnEndpointThatIsSlow: nobody waits longer than his own time, nor longer than
// a second while the last token holds; and what was asked for is there for the next.
func TestAnEndpointThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := &counting{life: 100, takes: 5 * time.Second}
		s := source(at.RoundTrip)
		brief, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, _, err := s.Token(brief)
		if why, is := errors.AsType[*Error](err); !is || why.What != Away || why.Lasts || err.Error() != "https://login/token does not answer" {
			t.Errorf("out of time: %v", err)
		}
		time.Sleep(4 * time.Second)
		if got, _, err := s.Token(t.Context()); got != "t1" || err != nil || at.n != 1 {
			t.Errorf("the one that came later: %s, %v, %d requests", got, err, at.n)
		}
		time.Sleep(85 * time.Second)
		before := time.Now()
		if got, _, err := s.Token(t.Context()); got != "t1" || err != nil || time.Since(before) != renewPatience {
			t.Errorf("while one holds: %s after %v, %v", got, time.Since(before), err)
		}
		time.Sleep(5 * time.Second)
		if got, _, _ := s.Token(t.Context()); got != "t2" {
			t.Errorf("the renewed one: %s", got)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		time.Sleep(200 * time.Second)
		if _, _, err := s.Token(stopped); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		synctest.Wait()
		time.Sleep(fetchTimeout)
	})
}

func TestWhatAnEndpointSaysIsReadAndHoldsNoSecret(t *testing.T) {
	jwt := "h." + base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf(`{"exp":%d}`, time.Now().Add(time.Hour).Unix()))) + ".s"
	for _, c := range []struct {
		sentence string
		answer   endpointOf
		want     string // the error, "" for a token
		what     What
		lasts    bool
	}{
		{"a token", func(*http.Request) (*http.Response, error) {
			return says(200, `{"access_token":"t","expires_in":"3600"}`)
		}, "", 0, false},
		{"a JWT that alone says when it ends", func(*http.Request) (*http.Response, error) { return says(200, `{"access_token":"`+jwt+`"}`) }, "", 0, false},
		{"a secret that is wrong", func(*http.Request) (*http.Response, error) {
			return says(401, `{"error":"invalid_client","error_description":"no client c with `+secretText+"\\n and "+url.QueryEscape(secretText)+`"}`)
		}, `https://login/token answers 401 invalid_client (in its own words: "no client c with ****** and ******")`, Client, true},
		{"a client that may not", func(*http.Request) (*http.Response, error) { return says(400, `{"error":"unauthorized_client"}`) }, "https://login/token answers 400 unauthorized_client", Client, true},
		{"a scope that there is not", func(*http.Request) (*http.Response, error) { return says(400, `{"error":"invalid_scope"}`) }, "https://login/token answers 400 invalid_scope", Scope, true},
		{"another grant", func(*http.Request) (*http.Response, error) {
			return says(400, `{"error":"unsupported_grant_type"}`)
		}, "https://login/token answers 400 unsupported_grant_type", Elsewhere, true},
		{"a page", func(*http.Request) (*http.Response, error) { return says(404, "<html>"+secretText) }, "https://login/token answers 404", Elsewhere, true},
		{"a redirection", func(*http.Request) (*http.Response, error) { return says(307, "") }, "https://login/token answers 307", Elsewhere, true},
		{"an illness", func(*http.Request) (*http.Response, error) { return says(502, "") }, "https://login/token answers 502", Away, false},
		{"an error with status 200", func(*http.Request) (*http.Response, error) { return says(200, `{"error":"invalid_client"}`) }, "https://login/token answers 200 invalid_client", Client, true},
		{"no token", func(*http.Request) (*http.Response, error) { return says(200, `{}`) }, "https://login/token gives an answer without a token", Elsewhere, true},
		{"no JSON", func(*http.Request) (*http.Response, error) { return says(200, secretText) }, "https://login/token gives an answer without a token", Elsewhere, true},
		{"a token with a blank", func(*http.Request) (*http.Response, error) {
			return says(200, `{"access_token":"a b","expires_in":60}`)
		}, "https://login/token answers with what is no bearer token (RFC 6750, 2.1)", Elsewhere, true},
		{"a token that has run out", func(*http.Request) (*http.Response, error) {
			return says(200, `{"access_token":"a","expires_in":-60}`)
		}, "https://login/token answers with a token that has run out", Clock, false},
		{"nobody", func(*http.Request) (*http.Response, error) {
			return nil, errors.New("dial tcp: lookup login: no such host")
		}, "https://login/token cannot be asked: dial tcp: lookup login: no such host", Away, false},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			s := source(c.answer)
			got, _, err := s.Token(t.Context())
			if c.want == "" {
				if err != nil || got == "" || time.Until(s.Until()) < 50*time.Minute {
					t.Errorf("%s until %v, %v", got, s.Until(), err)
				}
				return
			}
			why, is := errors.AsType[*Error](err)
			if !is || err.Error() != c.want || why.What != c.what || why.Lasts != c.lasts {
				t.Errorf("got %v (%+v)\nwant %s", err, why, c.want)
			}
			_, _, again := s.Token(t.Context())
			if again == nil || again.Error() != err.Error() {
				t.Errorf("the second time: %v", again)
			}
		})
	}
}

// TestARealEndpoint: over TLS, with the secret in the header or in the form, which
// is found out once.
// TestNoTextHoldsWhatTheEndpointIsShown, in whatever form it is given or repeated.
func TestNoTextHoldsWhatTheEndpointIsShown(t *testing.T) {
	for sentence, answer := range map[string]endpointOf{
		"it repeats the header": func(r *http.Request) (*http.Response, error) {
			return says(401, fmt.Sprintf(`{"error":"invalid_client","error_description":"refused: %s"}`, r.Header.Get("Authorization")))
		},
		"it repeats the URL":  func(r *http.Request) (*http.Response, error) { return says(400, fmt.Sprintf(`{"error":"%s"}`, r.URL)) },
		"nobody is there":     func(r *http.Request) (*http.Response, error) { return nil, fmt.Errorf("no way to %s", r.URL) },
		"it is ill":           func(*http.Request) (*http.Response, error) { return says(502, "") },
		"it gives no token":   func(*http.Request) (*http.Response, error) { return says(200, "{}") },
		"it gives another":    func(*http.Request) (*http.Response, error) { return says(200, `{"access_token":"a b"}`) },
		"its token has ended": func(*http.Request) (*http.Response, error) { return says(200, `{"access_token":"a","expires_in":-60}`) },
		"it does not answer":  func(*http.Request) (*http.Response, error) { return nil, context.DeadlineExceeded },
	} {
		s := New(Endpoint{URL: "https://login/token?sig=k3y", ClientID: "c", Secret: func() string { return secretText }})
		header := ""
		s.client.Transport = endpointOf(func(r *http.Request) (*http.Response, error) {
			if _, word, basic := strings.Cut(r.Header.Get("Authorization"), "Basic "); basic {
				header = word
			}
			if r.URL.RawQuery != "sig=k3y" {
				t.Errorf("%s: asked at %s", sentence, r.URL)
			}
			return answer(r)
		})
		_, _, err := s.Token(t.Context())
		if err == nil || header == "" || !strings.HasPrefix(err.Error(), "https://login/token ") {
			t.Fatalf("%s: %v, header %q", sentence, err, header)
		}
		for _, secret := range []string{"k3y", secretText, header} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the text holds %s: %v", sentence, secret, err)
			}
		}
	}
}

func TestARealEndpoint(t *testing.T) {
	for _, inForm := range []bool{false, true} {
		var asked atomic.Int64
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := asked.Add(1)
			user, word, _ := r.BasicAuth()
			if inForm {
				user, word = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
			} else {
				word, _ = url.QueryUnescape(word) // RFC 6749, 2.3.1
			}
			w.Header().Set("Content-Type", "application/json")
			if user != "c" || word != secretText || r.PostFormValue("grant_type") != "client_credentials" || r.PostFormValue("scope") != "a b" {
				w.WriteHeader(http.StatusUnauthorized)
				w.Write([]byte(`{"error":"invalid_client"}`))
				return
			}
			json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprint("t", n), "expires_in": 0.0 + 3600})
		}))
		defer server.Close()
		at := Endpoint{URL: server.URL, ClientID: "c", Secret: func() string { return secretText }, Scope: "a b"}
		if _, _, err := New(at).Token(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate of "+server.URL+" does not hold") {
			t.Errorf("an authority that nobody trusts: %v", err)
		} else if why, _ := errors.AsType[*Error](err); why.What != Certificate || !why.Lasts {
			t.Errorf("%+v", why)
		}
		at.Roots = x509.NewCertPool()
		at.Roots.AddCert(server.Certificate())
		asked.Store(0)
		s := New(at)
		for want := range 2 {
			if _, _, err := s.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.mu.Lock()
			s.last = token{}
			s.mu.Unlock()
			if first := map[bool]int{false: 1, true: 2}[inForm]; int(asked.Load()) != first+want {
				t.Errorf("secret in the form: %v: %d requests", inForm, asked.Load())
			}
		}
		if shown := fmt.Sprintf("%+v %#v %+v", struct{ s *Source }{s}, s.last, s.at); strings.Contains(shown, "t1") || strings.Contains(shown, secretText) {
			t.Error(shown)
		}
	}
}

func TestWhenATokenEnds(t *testing.T) {
	of := func(claims string) string { return "h." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." }
	for token, want := range map[string]time.Time{
		of(`{"exp":1700000000}`): time.Unix(1700000000, 0), of(`{"exp":1700000000.5}`): time.UnixMilli(1700000000500),
		of(`{"exp":"soon"}`): {}, of(`{"exp":-1}`): {}, of(`{"exp":1e300}`): {}, of(`{}`): {}, of(`[`): {}, "opaque": {}, "a.!.c": {}, "": {},
	} {
		if got := End(token); !got.Equal(want) {
			t.Errorf("%s: %v", token, got)
		}
	}
	for text, want := range map[string]bool{"abc": true, "a.b-c_d~e+f/==": true, "": false, "Bearer abc": false, `"abc"`: false, "abc\n": false, "a\x01b": false, "=a": false} {
		if Valid(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}
