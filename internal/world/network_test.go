package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// wire is two hosts and a connection between them.
type wire struct {
	t              *testing.T
	network        *Network
	client, server *Host
	listener       net.Listener
	near, far      net.Conn
}

func newWire(t *testing.T) *wire {
	w := &wire{t: t, network: NewNetwork()}
	w.client, w.server = w.network.Boot("client"), w.network.Boot("server")
	l, err := w.server.Listen(80)
	if err != nil {
		t.Fatal(err)
	}
	w.listener = l
	w.near = w.dial()
	if w.far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.near.Close()
		w.far.Close()
		w.listener.Close()
	})
	return w
}

func (w *wire) dial() net.Conn {
	w.t.Helper()
	c, err := w.client.DialContext(w.t.Context(), "tcp", "server:80")
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// dialFor dials with a time-out and returns how long it took.
func (w *wire) dialFor(d time.Duration, address string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	begin := time.Now()
	c, err := w.client.DialContext(ctx, "tcp", address)
	if err == nil {
		c.Close()
	}
	return time.Since(begin), err
}

func (w *wire) write(c net.Conn, text string) {
	w.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		w.t.Fatal(err)
	}
}

// read reads n bytes and returns them and how long it took.
func (w *wire) read(c net.Conn, n int) (string, time.Duration) {
	w.t.Helper()
	begin := time.Now()
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		w.t.Fatal(err)
	}
	return string(b), time.Since(begin)
}

// readLater begins to read and returns the error when there is one.
func readLater(c net.Conn) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	return done
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func wantTook(t *testing.T, what string, took, want time.Duration) {
	t.Helper()
	if took != want {
		t.Errorf("%s took %v, want %v", what, took, want)
	}
}

var networkTests = map[string]func(t *testing.T, w *wire){
	"what is written arrives, both ways, without anybody waiting": func(t *testing.T, w *wire) {
		w.write(w.near, "ping")
		w.write(w.near, "!")
		if got, took := w.read(w.far, 5); got != "ping!" || took != 0 {
			t.Errorf("read %q after %v", got, took)
		}
		w.write(w.far, "pong")
		if got, _ := w.read(w.near, 4); got != "pong" {
			t.Errorf("read %q", got)
		}
	},
	"a writer waits when the buffer is full, and goes on when somebody reads": func(t *testing.T, w *wire) {
		sent := bytes.Repeat([]byte("0123456789abcdef"), bufferSize/16*3)
		done := make(chan error)
		go func() {
			_, err := w.near.Write(sent)
			done <- err
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Error("three buffers were written with nobody reading")
		default:
		}
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(w.far, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("the bytes differ, or: %v", err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	},
	"closing lets the other end read what was sent, then EOF, and breaks its writes": func(t *testing.T, w *wire) {
		w.write(w.near, "bye")
		w.near.Close()
		if got, _ := w.read(w.far, 3); got != "bye" {
			t.Errorf("read %q", got)
		}
		_, err := w.far.Read(make([]byte, 1))
		if err != io.EOF {
			t.Errorf("read at the end: %v, want EOF bare", err)
		}
		_, err = w.far.Write([]byte("x"))
		wantError(t, "write to a closed end", err, syscall.EPIPE)
		wantError(t, "second close", w.near.Close(), net.ErrClosed)
	},
	"closing wakes the reader and the writer of this end": func(t *testing.T, w *wire) {
		read := readLater(w.near)
		wrote := make(chan error, 1)
		go func() {
			_, err := w.near.Write(make([]byte, 2*bufferSize))
			wrote <- err
		}()
		synctest.Wait()
		w.near.Close()
		wantError(t, "read", <-read, net.ErrClosed)
		wantError(t, "write", <-wrote, net.ErrClosed)
	},
	"a read deadline ends a read in time, and the next one may read": func(t *testing.T, w *wire) {
		begin := time.Now()
		w.near.SetReadDeadline(begin.Add(3 * time.Second))
		_, err := w.near.Read(make([]byte, 1))
		wantError(t, "read", err, os.ErrDeadlineExceeded)
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%v is not a net.Error that says time-out", err)
		}
		wantTook(t, "the read", time.Since(begin), 3*time.Second)
		w.near.SetReadDeadline(time.Time{})
		w.write(w.far, "x")
		w.read(w.near, 1)
	},
	"a deadline that moves into the past wakes a reader that waits": func(t *testing.T, w *wire) {
		read := readLater(w.near)
		synctest.Wait()
		w.near.SetDeadline(time.Unix(1, 0))
		wantError(t, "read", <-read, os.ErrDeadlineExceeded)
	},
	"a write deadline ends a write that waits": func(t *testing.T, w *wire) {
		begin := time.Now()
		w.near.SetWriteDeadline(begin.Add(time.Second))
		n, err := w.near.Write(make([]byte, bufferSize+1))
		wantError(t, "write", err, os.ErrDeadlineExceeded)
		if n != bufferSize {
			t.Errorf("%d bytes are reported as written, want %d", n, bufferSize)
		}
		wantTook(t, "the write", time.Since(begin), time.Second)
	},
	"a host that nobody booted has no address": func(t *testing.T, w *wire) {
		_, err := w.dialFor(time.Second, "nobody:80")
		if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound {
			t.Errorf("dial: %v, want a DNS error", err)
		}
	},
	"a port that nobody listens to is refused": func(t *testing.T, w *wire) {
		_, err := w.dialFor(time.Second, "server:81")
		wantError(t, "dial", err, syscall.ECONNREFUSED)
		w.listener.Close()
		_, err = w.dialFor(time.Second, "server:80")
		wantError(t, "dial", err, syscall.ECONNREFUSED)
		_, err = w.listener.Accept()
		wantError(t, "accept", err, net.ErrClosed)
	},
	"a port is listened to once": func(t *testing.T, w *wire) {
		_, err := w.server.Listen(80)
		wantError(t, "listen", err, syscall.EADDRINUSE)
		l, err := w.server.Listen(0)
		if err != nil {
			t.Fatal(err)
		}
		if l.Addr().(Addr).Port == 0 {
			t.Error("a free port has no number")
		}
		l.Close()
	},
	"addresses name the hosts": func(t *testing.T, w *wire) {
		if got := w.near.RemoteAddr().String(); got != "server:80" {
			t.Errorf("remote address %s", got)
		}
		if got, want := w.far.RemoteAddr().String(), w.near.LocalAddr().String(); got != want {
			t.Errorf("the server sees %s, the client is %s", got, want)
		}
		if host, _, _ := net.SplitHostPort(w.far.RemoteAddr().String()); host != "client" {
			t.Errorf("the server sees %s, want the client's name", host)
		}
	},
	"a cut resets the connections of the path, and new ones can be made": func(t *testing.T, w *wire) {
		read := readLater(w.near)
		synctest.Wait()
		w.write(w.near, "lost")
		if n := w.network.Between("server", "client").Cut(); n != 1 {
			t.Errorf("%d connections were cut, want 1", n)
		}
		wantError(t, "read", <-read, syscall.ECONNRESET)
		_, err := w.near.Write([]byte("x"))
		wantError(t, "write", err, syscall.ECONNRESET)
		_, err = w.far.Read(make([]byte, 1))
		wantError(t, "read at the other end", err, syscall.ECONNRESET)
		w.dial().Close()
	},
	"a cut leaves other hosts alone": func(t *testing.T, w *wire) {
		if n := w.network.Between("server", "other").Cut(); n != 0 {
			t.Errorf("%d connections were cut, want 0", n)
		}
		if n := w.network.Between("", "").Cut(); n != 1 {
			t.Errorf("%d connections were cut everywhere, want 1", n)
		}
	},
	"a path that refuses is cut and refuses dials until it heals": func(t *testing.T, w *wire) {
		path := w.network.Between("server", "")
		if n := path.Refuse(); n != 1 {
			t.Errorf("%d connections were cut, want 1", n)
		}
		_, err := w.dialFor(time.Second, "server:80")
		wantError(t, "dial", err, syscall.ECONNREFUSED)
		path.Heal()
		w.dial().Close()
	},
	"a frozen path swallows bytes without an error and delivers them when it heals": func(t *testing.T, w *wire) {
		path := w.network.Between("client", "server")
		path.Freeze()
		w.write(w.near, "late")
		time.AfterFunc(time.Hour, path.Heal)
		if got, took := w.read(w.far, 4); got != "late" || took != time.Hour {
			t.Errorf("read %q after %v", got, took)
		}
	},
	"a frozen path does not tell that the other end has closed": func(t *testing.T, w *wire) {
		path := w.network.Between("client", "server")
		path.Freeze()
		w.near.Close()
		read := readLater(w.far)
		synctest.Wait()
		select {
		case err := <-read:
			t.Errorf("the read ended: %v", err)
		default:
		}
		w.write(w.far, "into the void")
		path.Heal()
		if err := <-read; err != io.EOF {
			t.Errorf("read after healing: %v, want EOF", err)
		}
	},
	"frozen one way, requests arrive and replies do not": func(t *testing.T, w *wire) {
		w.network.Way("server", "client").Freeze()
		w.write(w.near, "request")
		w.read(w.far, 7)
		w.write(w.far, "reply")
		w.near.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := w.near.Read(make([]byte, 1))
		wantError(t, "read of the reply", err, os.ErrDeadlineExceeded)
		took, err := w.dialFor(5*time.Second, "server:80")
		wantError(t, "dial", err, os.ErrDeadlineExceeded)
		wantTook(t, "the dial", took, 5*time.Second)
	},
	"a dial over a frozen path hangs until it heals": func(t *testing.T, w *wire) {
		path := w.network.Between("client", "")
		path.Freeze()
		time.AfterFunc(7*time.Second, path.Heal)
		took, err := w.dialFor(time.Minute, "server:80")
		if err != nil {
			t.Error(err)
		}
		wantTook(t, "the dial", took, 7*time.Second)
	},
	"a dial without a deadline is given up by the system": func(t *testing.T, w *wire) {
		w.network.Between("client", "").Freeze()
		took, err := w.dialFor(time.Hour, "server:80")
		wantError(t, "dial", err, syscall.ETIMEDOUT)
		wantTook(t, "the dial", took, dialTimeout)
	},
	"latency delays every byte once, and a dial by the way there and back": func(t *testing.T, w *wire) {
		w.network.Between("client", "server").Slow(30*time.Millisecond, 0)
		w.write(w.near, "a")
		w.write(w.near, "b")
		if got, took := w.read(w.far, 2); got != "ab" || took != 30*time.Millisecond {
			t.Errorf("read %q after %v", got, took)
		}
		took, err := w.dialFor(time.Minute, "server:80")
		if err != nil {
			t.Error(err)
		}
		wantTook(t, "the dial", took, 60*time.Millisecond)
	},
	"latencies of the host and of the path add up": func(t *testing.T, w *wire) {
		w.network.Between("client", "server").Slow(30*time.Millisecond, 0)
		w.network.Between("server", "").Slow(10*time.Millisecond, 0)
		w.write(w.near, "a")
		_, took := w.read(w.far, 1)
		wantTook(t, "the byte", took, 40*time.Millisecond)
	},
	"a narrow path lets so many bytes through per second": func(t *testing.T, w *wire) {
		w.network.Between("client", "server").Slow(0, 1000)
		w.write(w.near, string(make([]byte, 2000)))
		w.write(w.near, string(make([]byte, 3000)))
		_, took := w.read(w.far, 5000)
		wantTook(t, "5000 bytes", took, 5*time.Second)
	},
	"bytes do not overtake others when a slow path heals": func(t *testing.T, w *wire) {
		path := w.network.Between("client", "server")
		path.Slow(time.Second, 0)
		w.write(w.near, "first ")
		path.Heal()
		w.write(w.near, "second")
		if got, took := w.read(w.far, 12); got != "first second" || took != time.Second {
			t.Errorf("read %q after %v", got, took)
		}
	},
	"EOF arrives after what was sent before it": func(t *testing.T, w *wire) {
		w.network.Between("client", "server").Slow(time.Second, 0)
		w.write(w.near, "end")
		w.near.Close()
		all, err := io.ReadAll(w.far)
		if string(all) != "end" || err != nil {
			t.Errorf("read %q, %v", all, err)
		}
	},
	"a crash resets all connections of the host and refuses new ones": func(t *testing.T, w *wire) {
		read := readLater(w.near)
		synctest.Wait()
		w.server.Crash()
		wantError(t, "read", <-read, syscall.ECONNRESET)
		_, err := w.listener.Accept()
		wantError(t, "accept", err, net.ErrClosed)
		_, err = w.dialFor(time.Second, "server:80")
		wantError(t, "dial", err, syscall.ECONNREFUSED)
	},
	"what still runs of a crashed host reaches nobody, also after it was booted again": func(t *testing.T, w *wire) {
		zombie := w.client
		zombie.Crash()
		reborn := w.network.Boot("client")
		_, err := zombie.DialContext(t.Context(), "tcp", "server:80")
		wantError(t, "dial of the zombie", err, syscall.ENETDOWN)
		_, err = zombie.Listen(1)
		wantError(t, "listen of the zombie", err, syscall.ENETDOWN)
		_, err = w.near.Write([]byte("x"))
		wantError(t, "write of the zombie", err, syscall.ECONNRESET)
		c, err := reborn.DialContext(t.Context(), "tcp", "server:80")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	},
	"a dial that hangs ends when its host crashes": func(t *testing.T, w *wire) {
		w.network.Between("client", "").Freeze()
		time.AfterFunc(time.Second, w.client.Crash)
		_, err := w.dialFor(time.Minute, "server:80")
		wantError(t, "dial", err, syscall.ENETDOWN)
	},
	"connections that wait to be accepted are reset when the listener closes": func(t *testing.T, w *wire) {
		waiting := w.dial()
		defer waiting.Close()
		w.listener.Close()
		_, err := waiting.Read(make([]byte, 1))
		wantError(t, "read", err, syscall.ECONNRESET)
	},
	"what is done before a request is sent comes once, and can take the request along": func(t *testing.T, w *wire) {
		const endTxn, fetch = 26, 1
		l, err := w.server.Listen(kafkaPort)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := w.client.DialContext(t.Context(), "tcp", fmt.Sprint("server:", kafkaPort))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		some, n := w.network.Requests("client", endTxn), 0
		some.Before(func() { n++ })
		w.network.Requests("client", endTxn).Before(func() { t.Error("what was taken back was done") })()
		for _, api := range []byte{fetch, endTxn, endTxn} {
			w.write(c, string([]byte{0, 0, 0, 2, 0, api}))
		}
		if n != 1 {
			t.Errorf("it was done %d times before two requests", n)
		}
		some.Before(func() { some.Cut() })
		_, err = c.Write([]byte{0, 0, 0, 2, 0, endTxn})
		wantError(t, "write", err, syscall.ECONNRESET)
	},
	"nothing is left open when both ends are closed": func(t *testing.T, w *wire) {
		if n := len(w.network.openConns()); n != 2 {
			t.Errorf("%d open ends, want 2", n)
		}
		w.near.Close()
		w.far.Close()
		if n := len(w.network.openConns()); n != 0 {
			t.Errorf("%d open ends, want 0", n)
		}
	},
	"net/http runs on it, with keep-alive and cancelled requests": func(t *testing.T, w *wire) {
		l, err := w.server.Listen(8080)
		if err != nil {
			t.Fatal(err)
		}
		conns := 0
		gone := make(chan struct{})
		server := &http.Server{
			Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/hang" {
					<-r.Context().Done()
					close(gone)
					panic(http.ErrAbortHandler) // or an answer could still get through
				}
				fmt.Fprint(rw, "hello ", r.RemoteAddr[:6])
			}),
			ConnState: func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					conns++
				}
			},
		}
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		transport := &http.Transport{DialContext: w.client.DialContext}
		client := &http.Client{Transport: transport}
		for range 3 {
			res, err := client.Get("http://server:8080/")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(body) != "hello client" {
				t.Errorf("body %q", body)
			}
		}
		if conns != 1 {
			t.Errorf("%d connections for 3 requests, want 1", conns)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://server:8080/hang", nil)
		if _, err = client.Do(req); err == nil {
			t.Error("the hanging request was answered")
		}
		<-gone // the server notices that the client went away
		transport.CloseIdleConnections()
		server.Close()
		wantError(t, "serve", <-served, http.ErrServerClosed)
	},
}

func TestNetwork(t *testing.T) {
	for sentence, test := range networkTests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newWire(t)) })
		})
	}
}
