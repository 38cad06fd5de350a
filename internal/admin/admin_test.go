package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

// of is a server of a worker that does what a Status says.
func of(is Status) *Server {
	var all []closer.HostHealth
	for _, h := range is.Hosts {
		all = append(all, closer.HostHealth{
			URL: h.URL, InUse: h.InUse, Failing: h.Failing, LeftUntil: h.LeftUntil,
			Answered: h.Answered, Failed: h.Failed, LastFailure: closer.Failure(h.LastFailure), Limit: h.Limit,
		})
	}
	recent := &Recent{}
	for i := range is.Recent {
		recent.lines = append(recent.lines, is.Recent[len(is.Recent)-1-i])
	}
	s := New(Config{
		State: func() consumer.State { return is.State }, Hosts: func() []closer.HostHealth { return all },
		Recent: recent, Build: is.Build,
	})
	if is.Stopping {
		s.Stopping()
	}
	return s
}

func get(s http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// What a worker may be at stands in testdata: the JSON of each file is what
// /statusz gives, and the page beside it what people see of it.
func TestStatuszOfAllThatAWorkerMayBeAt(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("there is no status: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var is Status
			if err := json.Unmarshal(text, &is); err != nil {
				t.Fatal(err)
			}
			s := of(is)
			w := get(s, "/statusz?format=json")
			var again Status
			if err := json.Unmarshal(w.Body.Bytes(), &again); err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("%v, code %d, %s", err, w.Code, w.Header())
			}
			pretty, err := json.MarshalIndent(again, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, file, string(pretty)+"\n")
			w = get(s, "/statusz")
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
				t.Errorf("code %d, %s", w.Code, w.Header())
			}
			golden.Check(t, strings.TrimSuffix(file, ".json")+".html", strings.Replace(w.Body.String(), style, "", 1))
		})
	}
}

func TestHealthIsACodeAndALine(t *testing.T) {
	for sentence, c := range map[string]struct {
		health         consumer.Health
		stopping       bool
		live, ready    string
		verbose        string // of live
		isLive, isRead int
	}{
		"a worker that works": {consumer.Health{Live: true, Ready: true}, false, "ok\n", "ok\n", "ok\n", 200, 200},
		"the gateway does not answer: nobody is to be restarted for that": {
			consumer.Health{Live: true, Ready: true, Waits: []string{"the gateway has not answered for 3m0s"}}, false,
			"ok\n", "ok\n", "ok\nwaits: the gateway has not answered for 3m0s\n", 200, 200,
		},
		"Kafka is away": {
			consumer.Health{Live: true, NotReady: []string{"no member of group g yet"}}, false,
			"ok\n", "no member of group g yet\n", "ok\nnot ready: no member of group g yet\n", 200, 503,
		},
		"stuck": {
			consumer.Health{Ready: true, Stuck: []string{"for 50s\nnothing moves", "nor this"}}, false,
			"for 50s nothing moves\nnor this\n", "ok\n", "for 50s nothing moves\nnor this\nstuck: for 50s nothing moves\nstuck: nor this\n", 503, 200,
		},
		"a state that says no more": {consumer.Health{}, false, "stuck, for a reason that is not known\n", "not ready, for a reason that is not known\n", "stuck, for a reason that is not known\n", 503, 503},
		"it stops":                  {consumer.Health{Stuck: []string{"x"}}, true, "ok\nstopping\n", "stopping\n", "ok\nstopping\n", 200, 503},
	} {
		s := of(Status{State: consumer.State{Health: c.health}, Stopping: c.stopping})
		for path, want := range map[string]struct {
			code int
			body string
		}{"/livez": {c.isLive, c.live}, "/readyz": {c.isRead, c.ready}, "/livez?verbose": {c.isLive, c.verbose}} {
			if w := get(s, path); w.Code != want.code || w.Body.String() != want.body {
				t.Errorf("%s: %s is %d %q, want %d %q", sentence, path, w.Code, w.Body, want.code, want.body)
			}
		}
	}
}

// A worker that hangs is found, by one goroutine for all who ask; and it may come
// to itself.
func TestAWorkerThatDoesNotSayWhatItDoesIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		stuck := make(chan struct{})
		s := New(Config{
			State: func() consumer.State {
				asked.Add(1)
				<-stuck
				return consumer.State{Health: consumer.Health{Live: true, Ready: true}}
			},
			Hosts:  func() []closer.HostHealth { return nil },
			Recent: &Recent{lines: []Line{{Level: "error", Message: "the last word", Count: 1}}},
		})
		began := time.Now()
		for range 3 {
			var probes sync.WaitGroup
			for _, path := range []string{"/livez", "/readyz", "/livez"} {
				probes.Go(func() {
					if w := get(s, path); w.Code != http.StatusServiceUnavailable || w.Body.String() != errStuck.Error()+"\n" {
						t.Errorf("%s is %d %q", path, w.Code, w.Body)
					}
				})
			}
			probes.Wait()
			time.Sleep(time.Minute)
		}
		if took := time.Since(began); took != 3*time.Minute+answerWithin { // only who asks first waits
			t.Errorf("it took %v", took)
		}
		for _, target := range []string{"/statusz", "/statusz?format=json"} {
			if w := get(s, target); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), errStuck.Error()) || !strings.Contains(w.Body.String(), "the last word") {
				t.Errorf("%s is %d %s", target, w.Code, w.Body)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("it was asked %d times at one time", n)
		}
		close(stuck)
		synctest.Wait()
		if w := get(s, "/livez"); w.Code != http.StatusOK {
			t.Errorf("a worker that goes on is %d %q", w.Code, w.Body)
		}
	})
}

func TestWhoeverHangsUpIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		defer close(stuck)
		s := New(Config{State: func() consumer.State { <-stuck; return consumer.State{} }, Hosts: func() []closer.HostHealth { return nil }, Recent: &Recent{}})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/livez", nil))
	})
}

// Order numbers, merchants' names, the gateway's words and errors come from
// elsewhere: none of them gets beyond its cell, and nothing on the page runs.
func TestWhatComesFromElsewhereStaysText(t *testing.T) {
	const hostile = `</td><script>alert(1)</script>"><img src=x onerror=alert(2)>'{{.}}`
	at := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	is := Status{
		Build: hostile, Hosts: []Host{{URL: hostile, LastFailure: hostile}},
		Recent: []Line{{First: at, Last: at, Level: hostile, Message: hostile, Fields: hostile, Count: 1}},
		State: consumer.State{
			At: at, Group: hostile, Health: consumer.Health{Live: true, NotReady: []string{hostile}, Waits: []string{hostile}},
			Member: consumer.MemberState{MemberID: hostile, Trouble: hostile},
			Lanes:  consumer.LaneState{LongestTurn: 1}, Breaker: consumer.BreakerState{State: hostile},
			Publishing: consumer.PublishingState{Failing: at, Error: hostile}, Committing: consumer.CommittingState{Failing: at, Error: hostile},
			Holds:      []consumer.HoldState{{MchID: hostile, AppID: hostile, SubMchID: hostile, Why: hostile}},
			Tiers:      []consumer.TierState{{Topic: hostile}},
			Partitions: []consumer.PartitionState{{Topic: hostile, Stopped: hostile}, {FetchError: hostile}},
			Oldest: []consumer.RequestState{{
				MchID: hostile, OutTradeNo: hostile, Topic: hostile, Stage: consumer.Stage(hostile), Why: hostile,
				Requested: time.UnixMilli(1 << 62), Until: time.UnixMilli(-1 << 62),
			}},
		},
	}
	s := of(is)
	w := get(s, "/statusz")
	body := w.Body.String()
	if n := strings.Count(body, "&lt;script&gt;"); n < 25 {
		t.Errorf("it is there only %d times", n)
	}
	for _, never := range []string{"<script", "<img", "=x onerror=alert(2)>"} {
		if strings.Contains(body, never) {
			t.Errorf("the page has %q:\n%s", never, body)
		}
	}
	csp := w.Header().Get("Content-Security-Policy")
	_, inPage, _ := strings.Cut(body, "<style>")
	inPage, _, _ = strings.Cut(inPage, "</style>")
	if !strings.HasPrefix(csp, "default-src 'none';") || !strings.Contains(csp, hashOf(inPage)) {
		t.Errorf("the policy is %q, and the style %q", csp, inPage)
	}
	var again Status
	if w := get(s, "/statusz?format=json"); json.Unmarshal(w.Body.Bytes(), &again) != nil || again.State.Oldest[0].OutTradeNo != hostile || strings.Contains(w.Body.String(), "<") {
		t.Errorf("as JSON it is %s", w.Body)
	}
}

func TestPaths(t *testing.T) {
	s := of(Status{})
	measured := New(Config{State: s.cfg.State, Hosts: s.cfg.Hosts, Recent: s.cfg.Recent, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "m 1\n") })})
	for sentence, c := range map[string]struct {
		server       *Server
		method, path string
		code         int
		has          string
	}{
		"what there is":                   {s, "GET", "/", 200, "/livez"},
		"nothing is there":                {s, "GET", "/debug/pprof", 404, "/statusz"},
		"no path is mended by a redirect": {s, "GET", "//livez", 404, "nothing"},
		"nor this":                        {s, "GET", "/livez/", 404, "nothing"},
		"nobody measures":                 {s, "GET", "/metrics", 404, "measures nothing"},
		"somebody measures":               {measured, "GET", "/metrics", 200, "m 1"},
		"it only reads":                   {s, "POST", "/livez", 405, "only GET"},
		"HEAD is for probes":              {s, "HEAD", "/readyz", 503, ""},
	} {
		w := httptest.NewRecorder()
		c.server.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader("x")))
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.has) {
			t.Errorf("%s: %d %s", sentence, w.Code, w.Body)
		}
		if h := w.Header(); h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", sentence, h)
		}
	}
	for accept, isJSON := range map[string]bool{"": false, "*/*": false, "application/json": true, "text/html,application/json;q=0.9": false} {
		if is := strings.HasPrefix(get(s, "/statusz", "Accept", accept).Body.String(), "{"); is != isJSON {
			t.Errorf("with Accept %q JSON is %v", accept, is)
		}
	}
	if body := get(s, "/statusz?refresh=0").Body.String(); strings.Contains(body, "http-equiv") {
		t.Error("a page that is to stay as it is is loaded anew")
	}
}

func TestTheDefaultAddressMayBeTakenAndNoOther(t *testing.T) {
	first, err := Listen(t.Context(), config.DefaultAdminAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := Listen(t.Context(), config.DefaultAdminAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if host, _, _ := net.SplitHostPort(second.Addr().String()); host != "127.0.0.1" || second.Addr().String() == config.DefaultAdminAddr {
		t.Errorf("the second one is at %s", second.Addr())
	}
	_, err = Listen(t.Context(), second.Addr().String())
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatal(err)
	}
	for _, part := range []string{"admin_addr " + second.Addr().String() + ": ", "choose another one", "off"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestOthersAreToldAnAddressThatTheyCanReach(t *testing.T) {
	for listen, want := range map[string]string{"127.0.0.1:0": "127.0.0.1", ":0": "127.0.0.1", "[::1]:0": "::1"} {
		var lc net.ListenConfig
		ln, err := lc.Listen(t.Context(), "tcp", listen)
		if err != nil {
			continue // no IPv6 here
		}
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		if got := Reachable(t.Context(), ln, []string{"no such host.invalid:1", "127.0.0.1:9092"}); got != net.JoinHostPort(want, port) {
			t.Errorf("one that listens at %s is told as %s", listen, got)
		}
		if got := Reachable(t.Context(), ln, nil); !strings.HasSuffix(got, ":"+port) || strings.HasPrefix(got, "[::]") || strings.HasPrefix(got, "0.0.0.0") {
			t.Errorf("one that listens at %s, and knows no broker, is told as %s", listen, got)
		}
		ln.Close()
	}
}

func TestServeAnswersUntilItsContextEnds(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := of(Status{State: consumer.State{Health: consumer.Health{Live: true}}})
	go func() { done <- s.Serve(ctx, ln) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ln.Addr().String()+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if string(body) != "ok\n" {
		t.Errorf("it says %q", body)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := s.Serve(t.Context(), ln); err == nil {
		t.Error("a listener that is closed is no error")
	}
}

func TestTheLastWarningsAreKept(t *testing.T) {
	log, _ := logtest.NewNullLogger()
	recent := &Recent{}
	log.AddHook(recent)
	log.Info("not this")
	log.WithField("topic", "t").WithError(errors.New("first")).Warn("again")
	for i := range mostRecent - 1 {
		log.Errorf("error %d", i)
	}
	log.WithFields(logrus.Fields{"topic": "u", "long": strings.Repeat("界", 1000)}).WithError(errors.New("second")).Warn("again")
	log.Error("one more") // error 0 goes
	lines := recent.Lines()
	if len(lines) != mostRecent {
		t.Fatalf("%d lines", len(lines))
	}
	var all []string
	for _, l := range lines {
		all = append(all, l.Message)
	}
	if s := strings.Join(all, "|"); !strings.HasPrefix(s, "one more|again|error 18|") || !strings.HasSuffix(s, "|error 1") {
		t.Errorf("they are %s", s)
	}
	again := lines[1]
	if again.Count != 2 || again.Level != "warning" || again.Last.Before(again.First) || len([]rune(again.Fields)) != mostText || !strings.HasPrefix(again.Fields, "error=second long=界") {
		t.Errorf("what was said twice is %+v", again)
	}
}
