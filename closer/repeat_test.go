package closer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/signing"
)

// dropping is a gateway that reads every call, and drops some of them. It notes
// each call that reached it.
type dropping struct {
	t       testing.TB
	key     signing.Key
	applies bool // a dropped close takes effect
	// drops says whether the n-th call of a connection, from 1, is dropped.
	drops func(c Call, n int) bool
	// begins is what is still sent over HTTP/1 before a connection is dropped.
	begins string

	mu     sync.Mutex
	calls  []Call
	nonces map[string]int
	closed map[string]bool // by out_trade_no
}

// take notes a call and returns what to answer; nil where it is dropped.
func (g *dropping) take(c Call, n int, body []byte) []byte {
	got, err := ReadFields(body)
	if err != nil {
		g.t.Errorf("request %q: %v", body, err)
		return nil
	}
	if err := signing.Verify(got, g.key, signing.MD5); err != nil {
		g.t.Error(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, c)
	g.nonces[got["nonce_str"]]++
	no := got["out_trade_no"]
	dropped := g.drops(c, n)
	f := map[string]string{"return_code": "SUCCESS", "result_code": "SUCCESS", "nonce_str": "n", "out_trade_no": no}
	switch {
	case c == "", c == CallQuery && g.closed[no]: // "": an answer to either
		f["trade_state"] = "CLOSED"
	case c == CallQuery:
		f["trade_state"] = "NOTPAY"
	case g.closed[no]:
		f["result_code"], f["err_code"] = "FAIL", "ORDERCLOSED"
	case !dropped || g.applies:
		g.closed[no] = true
	}
	if dropped {
		return nil
	}
	var b bytes.Buffer
	appendXML(&b, f, signing.Sign(f, g.key, signing.MD5))
	return b.Bytes()
}

type connKey struct{}

// serve serves g over HTTP/1, with TLS or without.
func (g *dropping) serve(secure bool) *httptest.Server {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := r.Context().Value(connKey{}).(*atomic.Int32).Add(1)
		answer := g.take(Call(strings.TrimPrefix(r.URL.Path, "/pay/")), int(n), body)
		if answer == nil && g.begins != "" {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				g.t.Error(err)
				return
			}
			io.WriteString(c, g.begins)
			c.Close()
			return
		}
		if answer == nil {
			panic(http.ErrAbortHandler)
		}
		w.Write(answer)
	}))
	srv.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, new(atomic.Int32))
	}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	return srv
}

// The ways in which an HTTP/2 server gives a stream up that it has read.
const (
	refuses = 0x7 // RST_STREAM, REFUSED_STREAM
	resets  = 0x2 // RST_STREAM, INTERNAL_ERROR
	blames  = 0x1 // RST_STREAM, PROTOCOL_ERROR
	goesOff = -1  // GOAWAY before that stream
	hangsUp = -2
	// The same in the middle of the reply.
	breaksOff   = -3 // RST_STREAM, REFUSED_STREAM behind the headers
	hangsUpThen = -4
)

// serveHTTP2 serves g over HTTP/2 as far as a test needs that. It is written by
// hand because no server of net/http refuses a stream on demand.
func (g *dropping) serveHTTP2(how int) (url string, ca []byte, stop func()) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: cert.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		g.t.Fatal(err)
	}
	var conns sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			conns.Go(func() { g.speakHTTP2(c, how) })
		}
	})
	return "https://" + l.Addr().String(), caOf(cert), func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		conns.Wait()
	}
}

func (g *dropping) speakHTTP2(c net.Conn, how int) {
	defer c.Close()
	frame := func(kind, flags byte, stream uint32, payload ...byte) {
		head := []byte{0, byte(len(payload) >> 8), byte(len(payload)), kind, flags, 0, 0, 0, 0}
		binary.BigEndian.PutUint32(head[5:], stream)
		c.Write(append(head, payload...))
	}
	if _, err := io.ReadFull(c, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	frame(4, 0, 0) // SETTINGS
	n := 0
	for last := uint32(0); ; {
		head := make([]byte, 9)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c, payload); err != nil {
			return
		}
		stream := binary.BigEndian.Uint32(head[5:]) & (1<<31 - 1)
		switch head[3] { // the type: DATA, SETTINGS; the others do not matter
		case 4:
			if head[4]&1 == 0 {
				frame(4, 1, 0) // ACK
			}
		case 0:
			if len(payload) == 0 {
				continue
			}
			n++
			answer := g.take("", n, payload) // the path is in HPACK; DATA has all that is looked at
			switch {
			case answer != nil:
				frame(1, 4, stream, 0x88) // :status 200
				frame(0, 1, stream, answer...)
				last = stream
			case how == hangsUp:
				return
			case how == breaksOff, how == hangsUpThen:
				frame(1, 4, stream, 0x88)
				frame(0, 0, stream, []byte("<xml>")...)
				if how == hangsUpThen {
					return
				}
				frame(3, 0, stream, 0, 0, 0, refuses)
			case how == goesOff:
				payload := binary.BigEndian.AppendUint32(nil, last)
				frame(7, 0, 0, binary.BigEndian.AppendUint32(payload, 0)...)
			default:
				frame(3, 0, stream, 0, 0, 0, byte(how))
			}
		}
	}
}

// watch has orders T1, T2, ... done one after the other, and checks that what
// reached the gateway is what is counted and what was observed, each call with
// a nonce of its own. It returns the verdict about the last order and its calls.
func (g *dropping) watch(cfg Config, do func(*Closer, Order) Verdict, orders int) (v Verdict, last []Attempt) {
	g.t.Helper()
	m := direct(g.t)
	g.key, g.nonces = m.Keys[0], map[string]int{}
	if g.closed == nil {
		g.closed = map[string]bool{}
	}
	cfg.Merchants = MerchantMap{m.MchID: m}
	counted, seen := 0, 0
	cfg.Observe = func(_ context.Context, a Attempt) { last = append(last, a); seen++ }
	c, err := New(cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	for i := range orders {
		last = nil
		o := order()
		o.OutTradeNo = fmt.Sprint("T", i+1)
		v = do(c, o)
		counted += v.Calls
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	reached := 0
	for nonce, times := range g.nonces {
		reached += times
		if times > 1 {
			g.t.Errorf("nonce %s came %d times", nonce, times)
		}
	}
	if reached != counted || counted != seen {
		g.t.Errorf("%d calls reached the gateway, %d are counted, %d were observed", reached, counted, seen)
	}
	return v, last
}

func closes(c *Closer, o Order) Verdict  { return c.Close(context.Background(), o) }
func queries(c *Closer, o Order) Verdict { return c.Query(context.Background(), o) }

// sequenceOf describes calls, such as "close! close query": ! is one without
// an answer, ~ one after which there was a pause.
func sequenceOf(attempts []Attempt) string {
	var b strings.Builder
	for _, a := range attempts {
		b.WriteString(strings.TrimSuffix(strings.TrimPrefix(string(a.Call), "order"), "order"))
		if a.Failure != "" {
			b.WriteString("!")
		}
		if a.Wait > 0 {
			b.WriteString("~")
		}
		b.WriteString(" ")
	}
	return strings.TrimSpace(b.String())
}

// A gateway may drop a kept connection at the moment at which a call goes out
// on it, and the call may have been processed. It is made again at once, as a
// call of its own: signed anew, counted, observed, and asked about.
func TestACallThatAKeptConnectionDropped(t *testing.T) {
	second := func(kind Call) func(Call, int) bool {
		return func(c Call, n int) bool { return n == 2 && c == kind }
	}
	for sentence, tt := range map[string]struct {
		applies bool
		drops   func(Call, int) bool
		do      func(*Closer, Order) Verdict
		calls   string // of the second order
		code    string
	}{
		"a close that was not processed":     {false, second(CallClose), closes, "close! close query", "SUCCESS"},
		"a close that was processed":         {true, second(CallClose), closes, "close! close query", "ORDERCLOSED"},
		"a query":                            {true, second(CallQuery), queries, "query! query", "CLOSED"},
		"a gateway that keeps no connection": {true, func(_ Call, n int) bool { return n > 1 }, closes, "close! close query", "ORDERCLOSED"},
	} {
		for _, secure := range []bool{false, true} {
			name := sentence
			if secure {
				name += ", with TLS"
			}
			t.Run(name, func(t *testing.T) {
				g := &dropping{t: t, applies: tt.applies, drops: tt.drops}
				if tt.code == "CLOSED" {
					g.closed = map[string]bool{"T2": true}
				}
				srv := g.serve(secure)
				defer srv.Close()
				cfg := Config{Hosts: []string{srv.URL}}
				if secure {
					cfg.CAPEM = caOf(srv)
				}
				// T1 leaves a connection behind that has served one call.
				v, last := g.watch(cfg, tt.do, 2)
				if got := sequenceOf(last); got != tt.calls || v.Code != tt.code || v.Class != Closed || v.ConfirmedBy != ConfirmedByOrderQuery {
					t.Errorf("%s: %v %s by %q, want %s, %s", got, v.Class, v.Code, v.ConfirmedBy, tt.calls, tt.code)
				}
			})
		}
	}
}

// Wherever the reply ends: it is none, and the call may have been processed.
func TestAReplyThatEndsInTheMiddle(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n"
	for _, begins := range []string{"H", "HTTP/1.1 200", head, head + "\r\n", head + "\r\n<xml><return_code>", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<xml>\r\n"} {
		for _, secure := range []bool{false, true} {
			g := &dropping{t: t, applies: true, begins: begins, drops: func(c Call, n int) bool { return n == 2 && c == CallClose }}
			srv := g.serve(secure)
			cfg := Config{Hosts: []string{srv.URL}}
			if secure {
				cfg.CAPEM = caOf(srv)
			}
			v, last := g.watch(cfg, closes, 2)
			srv.Close()
			if got := sequenceOf(last); got != "close! close query" || v.Code != "ORDERCLOSED" || v.ConfirmedBy != ConfirmedByOrderQuery {
				t.Errorf("%q, TLS %v: %s: %v %s by %q", begins, secure, got, v.Class, v.Code, v.ConfirmedBy)
			}
		}
	}
}

// At once only once: after that the pace is the usual one.
func TestADroppedCallIsMadeAgainAtOnceOnlyOnce(t *testing.T) {
	calls := 0
	g := &dropping{t: t, drops: func(Call, int) bool { calls++; return calls == 2 || calls == 3 }}
	srv := g.serve(false)
	defer srv.Close()
	v, last := g.watch(Config{Hosts: []string{srv.URL}, MinBackoff: 10 * time.Millisecond}, closes, 2)
	if got := sequenceOf(last); got != "close! close!~ close query" || v.Class != Closed {
		t.Errorf("%s: %v %s", got, v.Class, v.Code)
	}
}

// HTTP/2 says of a call that it was not handled, and net/http would believe it.
func TestACallThatHTTP2GaveUp(t *testing.T) {
	for sentence, how := range map[string]int{
		"a stream that is refused":                            refuses,
		"a stream that is reset":                              resets,
		"a stream that is blamed":                             blames,
		"a server that goes away":                             goesOff,
		"a server that hangs up":                              hangsUp,
		"a stream that is refused in the middle of the reply": breaksOff,
		"a server that hangs up there":                        hangsUpThen,
	} {
		t.Run(sentence, func(t *testing.T) {
			calls := 0
			g := &dropping{t: t, drops: func(Call, int) bool { calls++; return calls == 2 }}
			url, ca, stop := g.serveHTTP2(how)
			defer stop()
			v, last := g.watch(Config{Hosts: []string{url}, CAPEM: ca}, closes, 2)
			if got := sequenceOf(last); got != "close! close query" || v.Class != Closed || last[0].Failure != FailLost || !last[0].Reused {
				t.Errorf("%s: %v %s, first %+v", got, v.Class, v.Code, last[0])
			}
			calls = 0
			g = &dropping{t: t, drops: func(Call, int) bool { calls++; return calls == 2 }}
			url, ca, stop = g.serveHTTP2(how)
			defer stop()
			v, last = g.watch(Config{Hosts: []string{url}, CAPEM: ca}, queries, 2)
			if got := sequenceOf(last); got != "query! query" || v.Class != Closed {
				t.Errorf("%s: %v %s", got, v.Class, v.Code)
			}
		})
	}
}

// What surely never left is no call: a connection that ended while it was idle
// costs nothing.
func TestAConnectionThatEndedWhileItWasIdle(t *testing.T) {
	var mu sync.Mutex
	var conns []net.Conn
	change := func(cfg *Config, _ *gateway) {
		dial := cfg.DialContext
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, c)
			return c, err
		}
	}
	inBubble(t, script(closeSuccess()), change, func(t *testing.T, c *Closer, g *gateway) {
		for i := range 3 {
			if v := c.Close(t.Context(), order()); v.Class != Closed || v.Calls != 1 || len(g.seen()) != i+1 {
				t.Errorf("%+v after %d calls", v, len(g.seen()))
			}
			conns[i].Close()
			synctest.Wait()
		}
	})
}

// Connections that a gateway drops when it restarts do not make it look ill.
func TestDroppedConnectionsDoNotSlowTheHostDown(t *testing.T) {
	const orders = 40
	g := &dropping{t: t, drops: func(c Call, n int) bool { return c == CallClose && n == 2 }}
	m := direct(t)
	g.key, g.nonces, g.closed = m.Keys[0], map[string]int{}, map[string]bool{}
	srv := g.serve(false)
	defer srv.Close()
	c, err := New(Config{Hosts: []string{srv.URL}, Merchants: MerchantMap{m.MchID: m}, Rate: -1, Confirm: ConfirmNever})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	var counted atomic.Int64
	for round := range 2 {
		var wg sync.WaitGroup
		for i := range orders {
			wg.Go(func() {
				o := order()
				o.OutTradeNo = fmt.Sprint("T", round, "-", i)
				v := c.Close(t.Context(), o)
				if v.Class != Closed {
					t.Errorf("%+v", v)
				}
				counted.Add(int64(v.Calls))
			})
		}
		wg.Wait()
	}
	if n := len(g.calls); int(counted.Load()) != n || len(g.nonces) != n || n == 2*orders {
		t.Errorf("%d calls with %d nonces reached the gateway, %d are counted", n, len(g.nonces), counted.Load())
	}
	if h := c.Hosts()[0]; h.Failing || h.Limit < 32 {
		t.Errorf("after %d calls: %+v", len(g.calls), h)
	}
}
