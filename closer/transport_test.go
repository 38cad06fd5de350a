package closer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/signing"
)

// honest answers every close with a signed SUCCESS over real sockets.
func honest(t testing.TB) http.HandlerFunc {
	key := mustKey(t, testKey)
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		f := map[string]string{"return_code": "SUCCESS", "result_code": "SUCCESS", "nonce_str": "n"}
		var b bytes.Buffer
		appendXML(&b, f, signing.Sign(f, key, signing.MD5))
		w.Write(b.Bytes())
	}
}

// closeOnce makes one attempt and returns it.
func closeOnce(t *testing.T, cfg Config) Attempt {
	t.Helper()
	return closeOnceOver(t, cfg, func(*Closer) {})
}

// closeOnceOver is closeOnce with a Closer that prepare has had before.
func closeOnceOver(t *testing.T, cfg Config, prepare func(*Closer)) Attempt {
	t.Helper()
	m := direct(t)
	cfg.Merchants = MerchantMap{m.MchID: m}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	prepare(c)
	r, v := c.begin(t.Context(), order())
	if r == nil {
		t.Fatal(v)
	}
	r.pace.deadline = time.Now().Add(time.Minute)
	r.close()
	return *r.pending
}

func caOf(srv *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
}

func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	var proto atomic.Value
	h := honest(t)
	srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { proto.Store(r.Proto); h(w, r) })
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()

	if a := closeOnce(t, Config{Hosts: []string{srv.URL}, CAPEM: caOf(srv)}); a.Class != Closed {
		t.Errorf("with the server's CA: %+v", a)
	}
	if proto.Load() != "HTTP/2.0" {
		t.Errorf("spoke %v where HTTP/2 is offered", proto.Load())
	}
	if a := closeOnce(t, Config{Hosts: []string{srv.URL}}); a.Failure != FailConnect || !strings.Contains(a.Err.Error(), "certificate") {
		t.Errorf("with the system's roots: %+v", a)
	}

	old := httptest.NewUnstartedServer(h)
	old.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.StartTLS()
	defer old.Close()
	if a := closeOnce(t, Config{Hosts: []string{old.URL}, CAPEM: caOf(old)}); a.Failure != FailConnect || !strings.Contains(a.Err.Error(), "protocol version") {
		t.Errorf("with TLS 1.1: %+v", a)
	}
}

func TestProxy(t *testing.T) {
	var asked atomic.Value
	h := honest(t)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Store(r.URL.String()); h(w, r) }))
	defer proxy.Close()
	u, _ := url.Parse(proxy.URL)
	if a := closeOnce(t, Config{Hosts: []string{"http://gateway.invalid/prefix"}, Proxy: u}); a.Class != Closed {
		t.Errorf("got %+v", a)
	}
	if asked.Load() != "http://gateway.invalid/prefix/pay/closeorder" {
		t.Errorf("the proxy was asked for %v", asked.Load())
	}
}

func TestIdleConnections(t *testing.T) {
	var reused []bool
	inBubble(t, script(closeSuccess()), func(cfg *Config, _ *gateway) {
		cfg.Observe = func(_ context.Context, a Attempt) { reused = append(reused, a.Reused) }
	}, func(t *testing.T, c *Closer, _ *gateway) {
		for _, pause := range []time.Duration{0, time.Second, 6900 * time.Millisecond, 7100 * time.Millisecond} {
			time.Sleep(pause)
			c.Close(t.Context(), order())
		}
	})
	for i, want := range []bool{false, true, true, false} {
		if reused[i] != want {
			t.Errorf("call %d: reused is %v, want %v (%v)", i, reused[i], want, reused)
		}
	}
}

// What is kept too long is ended by itself, from the one that was used least;
// and all of it when nobody needs it any more.
func TestIdleConnectionsAreEnded(t *testing.T) {
	var mu sync.Mutex
	open := 0
	isOpen := func() int {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return open
	}
	inBubble(t, script(after(100*time.Millisecond, closeSuccess())), func(cfg *Config, _ *gateway) {
		dial := cfg.DialContext
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			mu.Lock()
			defer mu.Unlock()
			open++
			return &counted{Conn: c, gone: func() { mu.Lock(); open--; mu.Unlock() }}, err
		}
	}, func(t *testing.T, c *Closer, _ *gateway) {
		calls := func(n int) {
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() { c.Close(t.Context(), order()) })
			}
			wg.Wait()
		}
		for _, step := range []struct {
			calls int // at once
			pause time.Duration
			open  int
		}{
			{calls: 3, pause: 4 * time.Second, open: 3},
			{calls: 1, pause: 2 * time.Second, open: 3},
			{pause: time.Second, open: 1}, // two have had their time
			{pause: 5 * time.Second, open: 0},
			{calls: 2, pause: time.Second, open: 2},
		} {
			calls(step.calls)
			time.Sleep(step.pause)
			if n := isOpen(); n != step.open {
				t.Errorf("%+v: %d are open", step, n)
			}
		}
		c.CloseIdleConnections()
		if n := isOpen(); n != 0 {
			t.Errorf("%d are open after CloseIdleConnections", n)
		}
		go c.Close(t.Context(), order())
		time.Sleep(50 * time.Millisecond)
		c.CloseIdleConnections()
		time.Sleep(100 * time.Millisecond)
		if n := isOpen(); n != 0 {
			t.Errorf("%d are open after a call during which CloseIdleConnections was called", n)
		}
		calls(1)
		if n := isOpen(); n != 1 {
			t.Errorf("%d are open after one more call", n)
		}
	})
}

// Where new connections hang or come late, calls go on with those that there are.
func TestCallsGoOnWithTheConnectionsThereAre(t *testing.T) {
	for sentence, tt := range map[string]struct {
		late  time.Duration // all connections but two
		dials int
		kept  int
	}{
		"the gateway takes two connections": {late: time.Hour, dials: 6, kept: 2},
		"the others come late":              {late: 250 * time.Millisecond, dials: 6, kept: 6},
	} {
		t.Run(sentence, func(t *testing.T) {
			var mu sync.Mutex
			dials := 0
			var attempts []Attempt
			inBubble(t, script(after(100*time.Millisecond, closeSuccess())), func(cfg *Config, _ *gateway) {
				cfg.Observe = func(_ context.Context, a Attempt) {
					mu.Lock()
					defer mu.Unlock()
					attempts = append(attempts, a)
				}
				dial := cfg.DialContext
				cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					mu.Lock()
					dials++
					hangs := dials > 2
					mu.Unlock()
					if hangs {
						select {
						case <-time.After(tt.late):
						case <-ctx.Done():
							return nil, ctx.Err()
						}
					}
					return dial(ctx, network, addr)
				}
			}, func(t *testing.T, c *Closer, g *gateway) {
				start := time.Now()
				var wg sync.WaitGroup
				for range 6 {
					wg.Go(func() {
						if v := c.Close(t.Context(), order()); v.Class != Closed || v.Calls != 1 {
							t.Errorf("%+v", v)
						}
					})
				}
				wg.Wait()
				if took := time.Since(start); took != 300*time.Millisecond || dials != tt.dials || len(attempts) != 6 {
					t.Errorf("%d dials, %d calls, %v", dials, len(attempts), took)
				}
				o := c.transport.target("http://main.test", CallClose).origin
				synctest.Wait()
				if n := len(o.idle); n != tt.kept {
					t.Errorf("%d connections are kept, want %d", n, tt.kept)
				}
				reused := 0
				for _, a := range attempts {
					if a.Reused {
						reused++
					}
				}
				if reused != 4 {
					t.Errorf("%d calls of 6 went over a connection of another one", reused)
				}
			})
		})
	}
}

// Where new connections hang, no more of them are tried than there may be calls,
// however many calls go over the others meanwhile, and the next ones are made
// when those have been given up.
func TestConnectionsThatHangAreNotPiledUp(t *testing.T) {
	const most = 6
	var mu sync.Mutex
	made, hanging, mostHanging := 0, 0, 0
	well := 2 // how many do not hang
	inBubble(t, script(after(100*time.Millisecond, closeSuccess())), func(cfg *Config, _ *gateway) {
		cfg.MaxConcurrency, cfg.Rate = most, -1
		dial := cfg.DialContext
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			made++
			hangs := made > well
			if hangs {
				hanging++
				mostHanging = max(mostHanging, hanging)
			}
			mu.Unlock()
			if hangs {
				<-ctx.Done()
				mu.Lock()
				hanging--
				mu.Unlock()
				return nil, ctx.Err()
			}
			return dial(ctx, network, addr)
		}
	}, func(t *testing.T, c *Closer, g *gateway) {
		calls := func() {
			var wg sync.WaitGroup
			for range most {
				wg.Go(func() {
					if v := c.Close(t.Context(), order()); v.Class != Closed || v.Calls != 1 {
						t.Errorf("%+v", v)
					}
				})
			}
			wg.Wait()
		}
		for range 20 {
			calls()
		}
		mu.Lock()
		if mostHanging > most || mostHanging < most-well {
			t.Errorf("%d connections were tried at once, want at most %d", mostHanging, most)
		}
		mu.Unlock()
		o := c.transport.target("http://main.test", CallClose).origin
		time.Sleep(time.Minute)
		mu.Lock()
		well, made = math.MaxInt, 0
		mu.Unlock()
		calls()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if made != most || hanging != 0 || o.dialing != 0 || len(o.dialers) != 0 {
			t.Errorf("later on %d are made, %d hang, %d counted, %d calls wait", made, hanging, o.dialing, len(o.dialers))
		}
	})
}

// A call for which no connection was begun, as too many hang, ends with its
// context, and gets one of its own when another is given up.
func TestACallThatWaitsForOthersConnections(t *testing.T) {
	var mu sync.Mutex
	made := 0
	answer := func(_ call, n int) reply {
		if n == 5 {
			return after(5*time.Second, closeSuccess())
		}
		return after(100*time.Millisecond, closeSuccess())
	}
	inBubble(t, answer, func(cfg *Config, _ *gateway) {
		cfg.MaxConcurrency, cfg.ConnectTimeout, cfg.Rate = 2, time.Second, -1
		dial := cfg.DialContext
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			made++
			hangs := made == 2 || made == 3
			mu.Unlock()
			if hangs {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return dial(ctx, network, addr)
		}
	}, func(t *testing.T, c *Closer, g *gateway) {
		var wg sync.WaitGroup
		call := func(ctx context.Context, want Class) {
			wg.Go(func() {
				if v := c.Close(ctx, order()); v.Class != want || v.Calls != 1 {
					t.Errorf("want %v, got %+v", want, v)
				}
			})
			synctest.Wait()
		}
		start := time.Now()
		for range 2 { // the second of two calls has one begun that hangs, and waits for the first's
			call(t.Context(), Closed)
			call(t.Context(), Closed)
			wg.Wait()
		}
		call(t.Context(), Closed) // for five seconds
		ctx, cancel := context.WithCancel(t.Context())
		call(ctx, Interrupted)
		cancel()
		synctest.Wait()
		if o := c.transport.target("http://main.test", CallClose).origin; made != 3 || len(o.dialers) != 0 {
			t.Errorf("%d connections, %d calls wait", made, len(o.dialers))
		}
		call(t.Context(), Closed)
		time.Sleep(time.Until(start.Add(time.Second + 150*time.Millisecond)))
		synctest.Wait()
		if made != 4 || len(g.seen()) != 6 {
			t.Errorf("%d connections, %d calls", made, len(g.seen()))
		}
		wg.Wait()
	})
}

// counted tells when it is closed.
type counted struct {
	net.Conn
	once sync.Once
	gone func()
}

func (c *counted) Close() error { c.once.Do(c.gone); return c.Conn.Close() }

func TestConnectionsAreKeptForManyCalls(t *testing.T) {
	var mu sync.Mutex
	dials := 0
	inBubble(t, script(after(10*time.Millisecond, closeSuccess())), func(cfg *Config, _ *gateway) {
		cfg.Rate = -1
		dial := cfg.DialContext
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			dials++
			mu.Unlock()
			return dial(ctx, network, addr)
		}
	}, func(t *testing.T, c *Closer, _ *gateway) {
		for range 10 {
			var wg sync.WaitGroup
			for range 60 {
				wg.Go(func() { c.Close(t.Context(), order()) })
			}
			wg.Wait()
		}
		if dials > 70 {
			t.Errorf("%d connections for 60 callers", dials)
		}
	})
}

func TestRepliesThatBreakOff(t *testing.T) {
	for sentence, tt := range map[string]struct {
		handler http.HandlerFunc
		want    Failure
	}{
		"a reset in the middle of the body": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "<xml>")
			w.(http.Flusher).Flush()
			c, _, _ := http.NewResponseController(w).Hijack()
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}, FailLost},
		"a body shorter than it says": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "<xml></xml>")
		}, FailLost},
		"a body without end": {func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := io.WriteString(w, strings.Repeat("<xml>", 1000)); err != nil {
					return
				}
			}
		}, FailFormat},
		"headers without end": {func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := http.NewResponseController(w).Hijack()
			defer c.Close()
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "X-A: "+strings.Repeat("a", 1000)+"\r\n"); err != nil {
					return
				}
			}
		}, FailLost},
		"something that is not HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := http.NewResponseController(w).Hijack()
			io.WriteString(c, "SSH-2.0-OpenSSH_9.6\r\n")
			c.Close()
		}, FailLost},
	} {
		t.Run(sentence, func(t *testing.T) {
			srv := httptest.NewServer(tt.handler)
			defer srv.Close()
			for way, prepare := range map[string]func(*Closer){
				"ours":     func(*Closer) {},
				"net/http": func(c *Closer) { leaveToNetHTTP(c.transport, srv.URL) },
			} {
				if a := closeOnceOver(t, Config{Hosts: []string{srv.URL}}, prepare); a.Failure != tt.want || a.Class != NoAnswer {
					t.Errorf("%s: got %v %s: %v, want %s", way, a.Class, a.Failure, a.Err, tt.want)
				}
			}
		})
	}
}

// A reply that drips in byte by byte ends with the attempt's time-out.
func TestSlowDrip(t *testing.T) {
	inBubble(t, nil, func(cfg *Config, _ *gateway) { cfg.Budget = time.Second }, func(t *testing.T, c *Closer, g *gateway) {
		g.answer = func(call, int) reply { return reply{raw: "x", drip: true} }
		start := time.Now()
		v := c.Close(t.Context(), order())
		if took := time.Since(start); v.Class != NoAnswer || v.Code != "TIMEOUT" || took != 10*time.Second {
			t.Errorf("%v %s after %v", v.Class, v.Code, took)
		}
	})
}

// The connect time-out bounds dialling and the handshake, each; the attempt's
// all of it together.
func TestTimeoutsOfAnAttempt(t *testing.T) {
	for sentence, tt := range map[string]struct {
		base    string
		dial    time.Duration
		silent  bool // the other side never speaks
		failure Failure
		took    time.Duration
	}{
		"a dial that does not end":                     {base: "http://main.test", dial: time.Hour, failure: FailConnect, took: 5 * time.Second},
		"a handshake that does not end":                {base: "https://main.test", silent: true, failure: FailConnect, took: 5 * time.Second},
		"a slow dial, and a handshake without end":     {base: "https://main.test", dial: 4 * time.Second, silent: true, failure: FailConnect, took: 9 * time.Second},
		"a slow dial, and a reply that does not come":  {base: "http://main.test", dial: 4 * time.Second, failure: FailTimeout, took: 10 * time.Second},
		"a request that nobody reads, after slow dial": {base: "http://main.test", dial: time.Second, silent: true, failure: FailTimeout, took: 10 * time.Second},
	} {
		t.Run(sentence, func(t *testing.T) {
			var first Attempt
			inBubble(t, script(after(time.Hour, closeSuccess())), func(cfg *Config, _ *gateway) {
				cfg.Hosts = []string{tt.base}
				cfg.Budget = time.Second
				cfg.Observe = func(_ context.Context, a Attempt) { first = a }
				dial := cfg.DialContext
				cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					select {
					case <-time.After(tt.dial):
					case <-ctx.Done():
						return nil, ctx.Err()
					}
					if tt.silent {
						c, _ := net.Pipe()
						return c, nil
					}
					return dial(ctx, network, addr)
				}
			}, func(t *testing.T, c *Closer, _ *gateway) {
				c.Close(t.Context(), order())
				if first.Failure != tt.failure || first.Duration != tt.took {
					t.Errorf("%s after %v: %v; want %s after %v", first.Failure, first.Duration, first.Err, tt.failure, tt.took)
				}
			})
		})
	}
}

func TestNewNamesEveryMistake(t *testing.T) {
	_, err := New(Config{
		Hosts:   []string{"api.mch.weixin.qq.com", "https://user:secret@x", "ftp://x", "https://x?y", "https://", "::"},
		Confirm: "sometimes", Budget: -1, AttemptTimeout: -1, MaxConcurrency: -1, CAPEM: []byte("nothing"),
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"merchants are missing", `"api.mch.weixin.qq.com" is no plain base URL`, "without user", `2 of 6`, `"ftp://x"`,
		`"https://x?y"`, `"https://"`, `"::"`, "sometimes", "budget", "attempt time-out", "concurrency", "PEM",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows a password: %v", err)
	}
}
