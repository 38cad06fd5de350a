package closer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/signing"
)

const testKey = "192006250b4c09247ec02edce69f6a2d"

func mustKey(t testing.TB, text string) signing.Key {
	t.Helper()
	k, err := signing.NewKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func direct(t testing.TB) Merchant {
	return Merchant{MchID: "1900000109", AppID: "wx8888888888888888", Keys: []signing.Key{mustKey(t, testKey)}}
}

// call is what the test gateway saw of one call.
type call struct {
	call Call
	host string
	at   time.Duration // since the gateway was made
	got  map[string]string
}

// gateway is an HTTP server in memory with as many host names as it takes. It
// checks what it is asked and answers with what its script says; the real
// simulator has its own tests.
type gateway struct {
	t      testing.TB
	m      Merchant
	began  time.Time
	answer func(c call, n int) reply // n counts the calls from 1

	mu    sync.Mutex
	calls []call
	down  map[string]error // by host name: what dialling gives; errHang hangs
}

// reply is one answer of the script. The zero reply hangs up without a word.
type reply struct {
	fields map[string]string // signed unless raw
	raw    string            // sent as it is
	status int               // 0 is 200
	delay  time.Duration
	key    string // to sign with; empty is the merchant's first
	drip   bool   // raw again and again, every second
}

var errHang = errors.New("hangs")

func says(kv ...string) reply {
	f := map[string]string{"return_code": "SUCCESS", "return_msg": "OK"}
	for i := 0; i < len(kv); i += 2 {
		f[kv[i]] = kv[i+1]
	}
	return reply{fields: f}
}

func closeSuccess() reply  { return says("result_code", "SUCCESS", "result_msg", "OK") }
func code(c string) reply  { return says("result_code", "FAIL", "err_code", c) }
func state(s string) reply { return says("result_code", "SUCCESS", "trade_state", s) }
func unsigned(msg string) reply {
	return reply{raw: "<xml><return_code>FAIL</return_code><return_msg>" + msg + "</return_msg></xml>"}
}
func after(d time.Duration, r reply) reply { r.delay = d; return r }

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		g.t.Errorf("request body: %v", err)
	}
	got, err := ReadFields(body) // a request is a document of the same form
	if err != nil {
		g.t.Errorf("request %s: %v", body, err)
	}
	if r.Method != http.MethodPost || r.Header["X-Idempotency-Key"] != nil {
		g.t.Errorf("method %s, headers %v", r.Method, r.Header)
	}
	c := call{call: Call(strings.TrimPrefix(r.URL.Path, "/pay/")), host: r.Host, at: time.Since(g.began), got: got}
	g.mu.Lock()
	g.calls = append(g.calls, c)
	n := len(g.calls)
	g.mu.Unlock()
	rep := g.answer(c, n)
	select {
	case <-time.After(rep.delay):
	case <-r.Context().Done():
		return
	}
	switch {
	case rep.drip:
		for {
			io.WriteString(w, rep.raw)
			w.(http.Flusher).Flush()
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
				return
			}
		}
	case rep.raw != "" || rep.status != 0:
		if rep.status != 0 {
			w.WriteHeader(rep.status)
		}
		io.WriteString(w, rep.raw)
	case rep.fields == nil:
		panic(http.ErrAbortHandler)
	default:
		f := maps.Clone(rep.fields)
		for k, v := range map[string]string{
			"appid": got["appid"], "mch_id": got["mch_id"], "sub_mch_id": got["sub_mch_id"],
			"sub_appid": got["sub_appid"], "nonce_str": "reply" + got["nonce_str"][:20],
		} {
			if _, set := f[k]; !set {
				f[k] = v
			}
		}
		if f["trade_state"] != "" && f["out_trade_no"] == "" {
			f["out_trade_no"] = got["out_trade_no"]
		}
		key := g.m.Keys[0]
		if rep.key != "" {
			key = mustKey(g.t, rep.key)
		}
		var b bytes.Buffer
		appendXML(&b, f, signing.Sign(f, key, g.m.SignType))
		w.Header().Set("Content-Type", "text/plain;charset=utf-8")
		w.Write(b.Bytes())
	}
}

func (g *gateway) seen() []call {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]call(nil), g.calls...)
}

// sequence describes the calls seen, such as "close query close".
func (g *gateway) sequence() string {
	var s []string
	for _, c := range g.seen() {
		s = append(s, strings.TrimSuffix(strings.TrimPrefix(string(c.call), "order"), "order"))
	}
	return strings.Join(s, " ")
}

func (g *gateway) setDown(host string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down[host] = err
}

// inBubble runs f in virtual time against a gateway with the given script and
// a Closer with the given changes to its configuration.
func inBubble(t *testing.T, answer func(c call, n int) reply, change func(*Config, *gateway), f func(t *testing.T, c *Closer, g *gateway)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{t: t, m: direct(t), began: time.Now(), answer: answer, down: map[string]error{}}
		l := &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		srv := &http.Server{Handler: g}
		served := make(chan error)
		go func() { served <- srv.Serve(l) }()
		cfg := Config{
			Hosts: []string{"http://main.test"},
			// Round numbers of the tests' own, not the defaults.
			Budget: 30 * time.Second, AttemptTimeout: 10 * time.Second,
			Jitter: func() float64 { return 0.5 },
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				host, _, _ := net.SplitHostPort(addr)
				g.mu.Lock()
				err := g.down[host]
				g.mu.Unlock()
				switch {
				case err == errHang:
					<-ctx.Done()
					return nil, ctx.Err()
				case err != nil:
					return nil, err
				}
				client, server := net.Pipe()
				select {
				case l.conns <- server:
					return client, nil
				case <-l.closed:
					return nil, net.ErrClosed
				}
			},
		}
		if change != nil {
			change(&cfg, g)
		}
		if cfg.Merchants == nil {
			cfg.Merchants = MerchantMap{g.m.MchID: g.m}
		}
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		f(t, c, g)
		c.CloseIdleConnections()
		srv.Close()
		<-served
	})
}

// memoryListener hands the server's ends of pipes to an http.Server.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *memoryListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *memoryListener) Addr() net.Addr { return &net.TCPAddr{} }

// order is one that was created long ago, so that its age leaves no doubt.
func order() Order {
	return Order{MchID: "1900000109", OutTradeNo: "T1", CreatedAt: time.Now().Add(-time.Hour)}
}

func contains(s, sub string) bool { return sub != "" && strings.Contains(s, sub) }
