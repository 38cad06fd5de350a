//go:build unix

package closer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// waitForBytes waits until something has come over a connection, its end
// included, and reads nothing of it.
func waitForBytes(t *testing.T, c net.Conn) {
	t.Helper()
	rc, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for there := false; !there; runtime.Gosched() {
		if err := rc.Read(func(fd uintptr) bool {
			_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			there = !errors.Is(err, syscall.EAGAIN)
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// A connection that its server has ended while it was idle is found before
// anything is sent: the call goes over another one, and is one call.
func TestAConnectionThatTheServerEnded(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for sentence, end := range map[string]func(net.Conn){
			"ended":               func(c net.Conn) { c.Close() },
			"reset":               func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() },
			"something unasked":   func(c net.Conn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n\r\n") },
			"a part of something": func(c net.Conn) { io.WriteString(c, "H") },
		} {
			t.Run(fmt.Sprint(sentence, ", TLS ", secure), func(t *testing.T) {
				var requests atomic.Int32
				var mu sync.Mutex
				var raw []net.Conn
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
				srv.Config.ConnState = func(c net.Conn, s http.ConnState) {
					if s == http.StateNew {
						if over, ok := c.(*tls.Conn); ok {
							c = over.NetConn()
						}
						mu.Lock()
						raw = append(raw, c)
						mu.Unlock()
					}
				}
				cfg := Config{AttemptTimeout: time.Minute}
				if secure {
					srv.StartTLS()
					cfg.CAPEM = caOf(srv)
				} else {
					srv.Start()
				}
				defer srv.Close()
				tr := transportOf(t, cfg)
				if d := post(t, tr, srv.URL); d.failure != "" || d.reused {
					t.Fatalf("%+v", d)
				}
				o := tr.target(srv.URL, CallClose).origin
				w, _ := o.take(t.Context(), time.Time{})
				if w == nil {
					t.Fatal("no connection is kept")
				}
				w.raw.SetDeadline(time.Now().Add(time.Minute))
				if !w.quiet() {
					t.Error("a connection that is well is not quiet")
				}
				mu.Lock()
				first := raw[0]
				mu.Unlock()
				end(first)
				waitForBytes(t, w.raw)
				o.keep(w)
				if d := post(t, tr, srv.URL); d.failure != "" || d.reused || requests.Load() != 2 {
					t.Errorf("%+v, %d requests", d, requests.Load())
				}
			})
		}
	}
}
