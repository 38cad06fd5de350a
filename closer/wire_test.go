package closer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rawServer has each connection served by serve, whose n counts the requests
// of the connection from 1; it says whether the connection stays.
func rawServer(t testing.TB, serve func(c net.Conn, in *bufio.Reader, n int) bool) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, l, serve)
	return "http://" + l.Addr().String()
}

func serveRaw(t testing.TB, l net.Listener, serve func(c net.Conn, in *bufio.Reader, n int) bool) {
	var mu sync.Mutex
	var open []net.Conn
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			conns.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for n := 1; serve(c, in, n); n++ {
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		conns.Wait()
	})
}

// readRequest reads a whole request.
func readRequest(in *bufio.Reader) (*http.Request, []byte, error) {
	req, err := http.ReadRequest(in)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(req.Body)
	return req, body, err
}

// transportOf makes a transport with the given changes to its configuration.
func transportOf(t testing.TB, cfg Config) *transport {
	t.Helper()
	cfg.Merchants = MerchantMap{}
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	tr := newTransport(cfg)
	t.Cleanup(tr.closeIdle)
	return tr
}

// leaveToNetHTTP has the calls of a host go over net/http.
func leaveToNetHTTP(tr *transport, base string) {
	o := tr.target(base, CallClose).origin
	o.spokeHTTP2.Store(time.Now().UnixNano())
	o.http2.Store(true)
}

// post is one call, with a body that outlives it.
func post(t testing.TB, tr *transport, base string) delivery {
	var buf bytes.Buffer
	return tr.post(t.Context(), base, CallClose, []byte("<xml><a>1</a></xml>"), &buf, false)
}

// What a server may send as a reply, over both ways that a call can go: both
// take it for the same.
func TestHostileReplies(t *testing.T) {
	const (
		ok      = "HTTP/1.1 200 OK\r\n"
		chunked = ok + "Transfer-Encoding: chunked\r\n"
		body    = "Content-Length: 6\r\n\r\n<xml/>"
	)
	long := strings.Repeat("a", 1000)
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	for sentence, tt := range map[string]struct {
		reply   string
		hangsUp bool // behind it
		failure Failure
		status  int
		body    string
		kept    bool // the next call goes over the same connection
	}{
		"a plain reply":                               {reply: ok + body, status: 200, body: "<xml/>", kept: true},
		"no reason phrase":                            {reply: "HTTP/1.1 200\r\n" + body, status: 200, body: "<xml/>", kept: true},
		"what nginx says":                             {reply: ok + "Server: nginx\r\nDate: Fri, 27 Nov 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\nConnection: keep-alive\r\nKeep-Alive: timeout=8\r\n" + body, status: 200, body: "<xml/>", kept: true},
		"an empty body":                               {reply: ok + "Content-Length: 0\r\n\r\n", status: 200, kept: true},
		"lines that end with a line feed alone":       {reply: strings.ReplaceAll(ok+body, "\r", ""), status: 200, body: "<xml/>", kept: true},
		"100 before it":                               {reply: "HTTP/1.1 100 Continue\r\n\r\n" + ok + body, status: 200, body: "<xml/>", kept: true},
		"103 before it, twice":                        {reply: strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 2) + ok + body, status: 200, body: "<xml/>", kept: true},
		"a status below 100":                          {reply: "HTTP/1.1 099 Early\r\n" + body, failure: FailStatus, status: 99, body: "<xml/>"},
		"103 without end":                             {reply: strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: "+long+"\r\n\r\n", 100), failure: FailLost},
		"another protocol":                            {reply: "HTTP/1.1 101 Switching Protocols\r\n\r\n", failure: FailStatus, status: 101},
		"chunks":                                      {reply: chunked + "\r\n3\r\n<xm\r\n3;x=y\r\nl/>\r\n0\r\n\r\n", status: 200, body: "<xml/>", kept: true},
		"chunks and an announced trailer":             {reply: chunked + "Trailer: X\r\n\r\n6\r\n<xml/>\r\n0\r\nX: y\r\n\r\n", status: 200, body: "<xml/>", kept: true},
		"chunks and a trailer that nobody announced":  {reply: chunked + "\r\n6\r\n<xml/>\r\n0\r\nContent-Length: 3\r\n\r\n", status: 200, body: "<xml/>", kept: true},
		"chunks and a trailer without end":            {reply: chunked + "\r\n6\r\n<xml/>\r\n0\r\n" + strings.Repeat("X: "+long+"\r\n", 100), failure: FailLost, status: 200},
		"a trailer without chunks":                    {reply: ok + "Trailer: X\r\n" + body, status: 200, body: "<xml/>", kept: true},
		"a chunk with a length that is none":          {reply: chunked + "\r\n-6\r\n<xml/>\r\n0\r\n\r\n", failure: FailLost, status: 200},
		"a chunk with a length beyond all":            {reply: chunked + "\r\nfffffffffffffffff\r\n<xml/>", failure: FailLost, status: 200},
		"a chunk that goes on behind its length":      {reply: chunked + "\r\n3\r\n<xml/>\r\n0\r\n\r\n", failure: FailLost, status: 200},
		"chunks that break off":                       {reply: chunked + "\r\n6\r\n<xml/>\r\n", hangsUp: true, failure: FailLost, status: 200},
		"chunks and a length":                         {reply: chunked + "Content-Length: 2\r\n\r\n6\r\n<xml/>\r\n0\r\n\r\n", status: 200, body: "<xml/>", kept: true},
		"a length and chunks":                         {reply: ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n<xml/>\r\n0\r\n\r\n", status: 200, body: "<xml/>", kept: true},
		"chunked twice":                               {reply: chunked + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", failure: FailLost},
		"chunked and packed":                          {reply: ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", failure: FailLost},
		"an encoding that is none":                    {reply: ok + "Transfer-Encoding: identity\r\n" + body, failure: FailLost},
		"two lengths":                                 {reply: ok + "Content-Length: 2\r\n" + body, failure: FailLost},
		"the same length twice":                       {reply: ok + "Content-Length: 6\r\n" + body, status: 200, body: "<xml/>", kept: true},
		"two lengths in one line":                     {reply: ok + "Content-Length: 6, 6\r\n\r\n<xml/>", failure: FailLost},
		"a length with a sign":                        {reply: ok + "Content-Length: +6\r\n\r\n<xml/>", failure: FailLost},
		"a length below zero":                         {reply: ok + "Content-Length: -6\r\n\r\n<xml/>", failure: FailLost},
		"a length of nothing":                         {reply: ok + "Content-Length: \r\n\r\n<xml/>", failure: FailLost},
		"a length beyond all":                         {reply: ok + "Content-Length: 99999999999999999999\r\n\r\n<xml/>", failure: FailLost},
		"a length of many digits":                     {reply: ok + "Content-Length: 00000000006\r\n\r\n<xml/>", status: 200, body: "<xml/>", kept: true},
		"a long length, and little":                   {reply: ok + "Content-Length: 9999999999\r\n\r\n<xml/>", hangsUp: true, failure: FailLost, status: 200},
		"a length, and less":                          {reply: ok + "Content-Length: 7\r\n\r\n<xml/>", hangsUp: true, failure: FailLost, status: 200},
		"a length, and nothing":                       {reply: ok + "Content-Length: 7\r\n\r\n", hangsUp: true, failure: FailLost, status: 200},
		"no length":                                   {reply: ok + "\r\n<xml/>", hangsUp: true, status: 200, body: "<xml/>"},
		"a body that is too long":                     {reply: ok + fmt.Sprintf("Content-Length: %d\r\n\r\n", 2*MaxDocument) + strings.Repeat("a", 2*MaxDocument), status: 200, body: strings.Repeat("a", MaxDocument+1)},
		"a body that is as long as it may be":         {reply: ok + fmt.Sprintf("Content-Length: %d\r\n\r\n", MaxDocument) + strings.Repeat("a", MaxDocument), status: 200, body: strings.Repeat("a", MaxDocument), kept: true},
		"the end of the connection announced":         {reply: ok + "Connection: close\r\n" + body, status: 200, body: "<xml/>"},
		"the end announced among other things":        {reply: ok + "Connection: keep-alive, close\r\n" + body, status: 200, body: "<xml/>"},
		"HTTP/1.0":                                    {reply: "HTTP/1.0 200 OK\r\n" + body, status: 200, body: "<xml/>"},
		"HTTP/1.0 with keep-alive":                    {reply: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + body, status: 200, body: "<xml/>", kept: true},
		"HTTP/1.0 with chunks":                        {reply: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n" + body, status: 200, body: "<xml/>"},
		"a version that is none":                      {reply: "HTTP/1.x 200 OK\r\n" + body, failure: FailLost},
		"a status of two digits":                      {reply: "HTTP/1.1 20 OK\r\n" + body, failure: FailLost},
		"a status of four digits":                     {reply: "HTTP/1.1 2000 OK\r\n" + body, failure: FailLost},
		"a status in words":                           {reply: "HTTP/1.1 yes OK\r\n" + body, failure: FailLost},
		"a status and a carriage return":              {reply: "HTTP/1.1 200\rOK\r\n" + body, failure: FailLost},
		"a header that goes on in the next line":      {reply: ok + "X-A: b\r\n c\r\n" + body, status: 200, body: "<xml/>", kept: true},
		"a length that goes on in the next line":      {reply: ok + "Content-Length:\r\n 6\r\n\r\n<xml/>", status: 200, body: "<xml/>", kept: true},
		"a length in the line of another header":      {reply: ok + "X-A: b\r\n Content-Length: 2\r\n" + body, status: 200, body: "<xml/>", kept: true},
		"a first header that begins with a blank":     {reply: ok + " X-A: b\r\n" + body, failure: FailLost},
		"a header without a colon":                    {reply: ok + "X-A\r\n" + body, failure: FailLost},
		"a header without a name":                     {reply: ok + ": b\r\n" + body, failure: FailLost},
		"a name with a zero byte":                     {reply: ok + "X\x00A: b\r\n" + body, failure: FailLost},
		"a value with a zero byte":                    {reply: ok + "X-A: b\x00\r\n" + body, failure: FailLost},
		"a value with a carriage return":              {reply: ok + "X-A: b\rc\r\n" + body, failure: FailLost},
		"a length with a blank before its colon":      {reply: ok + "Content-Length : 2\r\n" + body, status: 200, body: "<xml/>", kept: true},
		"headers without end":                         {reply: ok + strings.Repeat("X-A: "+long+"\r\n", 100), failure: FailLost},
		"one header without end":                      {reply: ok + "X-A: " + strings.Repeat(long, 100), failure: FailLost},
		"headers that just fit":                       {reply: ok + strings.Repeat("X-A: "+long+"\r\n", 60) + body, status: 200, body: "<xml/>", kept: true},
		"headers that break off":                      {reply: ok + "Content-Le", hangsUp: true, failure: FailLost},
		"nothing":                                     {hangsUp: true, failure: FailLost},
		"something that is not HTTP":                  {reply: "SSH-2.0-OpenSSH_9.6\r\n", hangsUp: true, failure: FailLost},
		"a page that says where the gateway is":       {reply: "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", failure: FailStatus, status: 302, kept: true},
		"no content":                                  {reply: "HTTP/1.1 204 No Content\r\n\r\n", failure: FailStatus, status: 204, kept: true},
		"not modified":                                {reply: "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n", failure: FailStatus, status: 304, kept: true},
		"a bad gateway in front of the gateway":       {reply: "HTTP/1.1 502 Bad Gateway\r\n" + body, failure: FailStatus, status: 502, body: "<xml/>", kept: true},
		"an encoding of the body that was not wanted": {reply: ok + "Content-Encoding: gzip\r\n" + body, status: 200, body: "<xml/>", kept: true},
	} {
		t.Run(sentence, func(t *testing.T) {
			for _, secure := range []bool{false, true} {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				base, cfg := "http://"+l.Addr().String(), Config{AttemptTimeout: time.Minute}
				if secure {
					base, cfg.CAPEM = "https://"+l.Addr().String(), caOf(cert)
					l = tls.NewListener(l, &tls.Config{Certificates: cert.TLS.Certificates})
				}
				serveRaw(t, l, func(c net.Conn, in *bufio.Reader, _ int) bool {
					if _, _, err := readRequest(in); err != nil {
						return false
					}
					io.WriteString(c, tt.reply)
					return !tt.hangsUp
				})
				for _, way := range []string{"ours", "net/http"} {
					tr := transportOf(t, cfg)
					if way == "net/http" {
						leaveToNetHTTP(tr, base)
					}
					// By its records it may not be known what is behind a long one: see empty.
					either := way == "ours" && secure && len(tt.body) > 4<<10
					d := post(t, tr, base)
					if d.failure != tt.failure || d.status != tt.status || d.reused || d.failure != FailLost && string(d.body) != tt.body {
						t.Errorf("%s, TLS %v: %s, status %d, body %.50q, reused %v: %v; want %s, %d, %.50q", way, secure, d.failure, d.status, d.body, d.reused, d.err, tt.failure, tt.status, tt.body)
					}
					if (d.failure == "") != (d.err == nil) {
						t.Errorf("%s, TLS %v: failure %q beside the error %v", way, secure, d.failure, d.err)
					}
					if again := post(t, tr, base); again.reused != tt.kept && !either || again.failure != tt.failure {
						t.Errorf("%s, TLS %v: the second call: reused %v, %s: %v", way, secure, again.reused, again.failure, again.err)
					}
				}
			}
		})
	}
}

// What comes behind a reply is never the reply to the next call, wherever it
// stands when that begins: the reply to a close does not name its order.
func TestWhatComesBehindAReply(t *testing.T) {
	plain := func(body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	long := plain("<xml>" + strings.Repeat("a", 9000) + "</xml>")
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n<xml/>\r\n0\r\n\r\n"
	forged := plain("<forged/>")
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	for sentence, tt := range map[string]struct {
		writes []string // each a record of its own with TLS
		held   int      // bytes of the last that come with the next request
	}{
		"in one write":                     {writes: []string{plain("<xml/>") + forged}},
		"in one write with chunks":         {writes: []string{chunked + forged}},
		"in one write, a long one":         {writes: []string{long + forged}},
		"in a second record":               {writes: []string{plain("<xml/>"), forged}},
		"in a second record, not whole":    {writes: []string{plain("<xml/>"), forged}, held: 20},
		"of a second record three bytes":   {writes: []string{plain("<xml/>"), forged}, held: recordHead + len(forged) + 17 - 3},
		"in a second record, a long first": {writes: []string{long, forged}},
	} {
		for _, secure := range []bool{false, true} {
			if !secure && tt.held > len(forged) {
				continue // there is no record
			}
			t.Run(fmt.Sprint(sentence, ", TLS ", secure), func(t *testing.T) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				base, cfg := "http://"+l.Addr().String(), Config{AttemptTimeout: time.Minute}
				if secure {
					base, cfg.CAPEM = "https://"+l.Addr().String(), caOf(cert)
				}
				var conns atomic.Int32
				serveRaw(t, l, func(c net.Conn, in *bufio.Reader, _ int) bool {
					first := conns.Add(1) == 1
					held := &holding{Conn: c}
					c = held
					if secure {
						c = tls.Server(c, &tls.Config{Certificates: cert.TLS.Certificates, DynamicRecordSizingDisabled: true})
						in = bufio.NewReader(c)
					}
					for {
						if _, _, err := readRequest(in); err != nil {
							return false
						}
						held.flush(0)
						if !first {
							io.WriteString(c, plain("<second/>"))
							continue
						}
						held.holds = true
						for _, s := range tt.writes {
							io.WriteString(c, s)
						}
						held.flush(tt.held)
					}
				})
				tr := transportOf(t, cfg)
				if d := post(t, tr, base); d.failure != "" || !strings.HasPrefix(string(d.body), "<xml") {
					t.Fatalf("%+v", d)
				}
				if d := post(t, tr, base); string(d.body) != "<second/>" || d.reused {
					t.Errorf("the second call got %.40q, reused %v: %v", d.body, d.reused, d.err)
				}
			})
		}
	}
}

// holding is a connection that may hold back what is written to it.
type holding struct {
	net.Conn
	holds bool
	held  []byte
}

func (h *holding) Write(b []byte) (int, error) {
	if !h.holds {
		return h.Conn.Write(b)
	}
	h.held = append(h.held, b...)
	return len(b), nil
}

// flush writes all in one piece but the last bytes.
func (h *holding) flush(but int) {
	now := max(0, len(h.held)-but)
	h.Conn.Write(h.held[:now])
	h.held = h.held[now:]
}

// Whatever the short way takes http.ReadResponse takes for the same.
func FuzzPlainHead(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<xml/>",
		"HTTP/1.1 200\r\nServer: nginx\r\nConnection: keep-alive\r\ncontent-length:6\t\r\n\r\n<xml/>",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n Connection: close\r\n\r\n<xml/>",
		"HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.0 200 OK\nContent-Length: +6\n\n<xml/>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		head, length, ok := plainHead(b)
		if !ok {
			return
		}
		in := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("took what net/http does not: %v", err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(length) || len(resp.TransferEncoding) > 0 || resp.Close {
			t.Fatalf("net/http reads %+v, length %d here", resp, length)
		}
		if rest := in.Buffered(); len(b)-rest != head {
			t.Fatalf("the head has %d bytes by net/http, %d here", len(b)-rest, head)
		}
	})
}

// The head of a request is the one that net/http would send.
func TestRequestsAreThoseOfNetHTTP(t *testing.T) {
	var mu sync.Mutex
	var got []string
	base := rawServer(t, func(c net.Conn, in *bufio.Reader, n int) bool {
		req, body, err := readRequest(in)
		if err != nil {
			return false
		}
		mu.Lock()
		got = append(got, fmt.Sprintf("%s %s %s %s %v %d %s %v", req.Method, req.RequestURI, req.Proto, req.Host, req.Header, req.ContentLength, body, req.Close))
		mu.Unlock()
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	for _, path := range []string{"", "/prefix", "/%E4%B8%AD%2F", "/a b"} {
		for _, fresh := range []bool{false, true} {
			got = nil
			for _, way := range []string{"ours", "net/http"} {
				tr := transportOf(t, Config{})
				if way == "net/http" {
					leaveToNetHTTP(tr, base+path)
				}
				var buf bytes.Buffer
				if d := tr.post(t.Context(), base+path, CallQuery, []byte("<xml></xml>"), &buf, fresh); d.failure != "" {
					t.Fatal(d.err)
				}
			}
			if len(got) != 2 || got[0] != got[1] || !strings.Contains(got[0], "/pay/orderquery HTTP/1.1") {
				t.Errorf("%q, fresh %v: %q", path, fresh, got)
			}
		}
	}
}

// What is unusual is left to net/http.
func TestWhatIsLeftToNetHTTP(t *testing.T) {
	tr := transportOf(t, Config{})
	for base, ours := range map[string]bool{
		"http://gateway.test": true, "https://gateway.test:8443/v2": true, "http://[::1]:80": true,
		"http://网关.test": false, "ftp://gateway.test": false, "http://user:secret@gateway.test": false, "http://": false, "::": false,
	} {
		if to := tr.target(base, CallClose); (to.origin != nil) != ours {
			t.Errorf("%s: ours is %v", base, !ours)
		}
	}
	var buf bytes.Buffer
	for _, base := range []string{"ftp://gateway.test", "http://", "::"} {
		if d := tr.post(t.Context(), base, CallClose, nil, &buf, false); d.failure != FailConnect || d.err == nil {
			t.Errorf("%s: %s: %v", base, d.failure, d.err)
		}
	}
}

// When its context ends a call returns, wherever it is, and says why.
func TestACallThatIsCutOff(t *testing.T) {
	cause := errors.New("the partition is another worker's")
	for _, secure := range []bool{false, true} {
		for sentence, silent := range map[string]func(net.Conn, *bufio.Reader, func()){
			"before the reply": func(_ net.Conn, in *bufio.Reader, cut func()) { readRequest(in); cut() },
			"in the reply": func(c net.Conn, in *bufio.Reader, cut func()) {
				readRequest(in)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n<xml>")
				cut()
			},
			"in the handshake": func(_ net.Conn, _ *bufio.Reader, cut func()) { cut() },
		} {
			if sentence == "in the handshake" && !secure {
				continue
			}
			t.Run(fmt.Sprint(sentence, ", TLS ", secure), func(t *testing.T) {
				ctx, cut := context.WithCancelCause(t.Context())
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				cfg := Config{AttemptTimeout: time.Hour, ConnectTimeout: time.Hour}
				base := "http://" + l.Addr().String()
				if secure {
					cert := httptest.NewUnstartedServer(nil)
					cert.StartTLS()
					defer cert.Close()
					cfg.CAPEM = caOf(cert)
					base = "https://" + l.Addr().String()
					if sentence != "in the handshake" {
						l = tls.NewListener(l, &tls.Config{Certificates: cert.TLS.Certificates})
					}
				}
				serveRaw(t, l, func(c net.Conn, in *bufio.Reader, n int) bool {
					silent(c, in, func() { cut(cause) })
					io.Copy(io.Discard, in) // until the other side ends it
					return false
				})
				tr := transportOf(t, cfg)
				var buf bytes.Buffer
				want := FailLost
				if sentence == "in the handshake" {
					want = FailConnect
				}
				if d := tr.post(ctx, base, CallClose, []byte("<xml></xml>"), &buf, false); !errors.Is(d.err, cause) || d.failure != want {
					t.Errorf("%s: %v", d.failure, d.err)
				}
				if w, _ := tr.target(base, CallClose).origin.take(t.Context(), time.Time{}); w != nil {
					t.Error("the connection was kept")
				}
			})
		}
	}
}

// A call whose context has ended is not made, also where a connection is there.
func TestACallWhoseContextHasEnded(t *testing.T) {
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer srv.Close()
	tr := transportOf(t, Config{})
	if d := post(t, tr, srv.URL); d.failure != "" {
		t.Fatal(d.err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		var buf bytes.Buffer
		if d := tr.post(ctx, srv.URL, CallClose, []byte("<xml></xml>"), &buf, false); d.failure != FailConnect || !errors.Is(d.err, context.Canceled) {
			t.Fatalf("%+v", d)
		}
	}
	if d := post(t, tr, srv.URL); !d.reused || requests.Load() != 2 {
		t.Errorf("%+v after %d requests", d, requests.Load())
	}
}

// A connection that was made in vain and then idle may have ended like any
// other that had been idle. One that is handed on at once is new.
func TestAConnectionMadeInVain(t *testing.T) {
	base := rawServer(t, func(_ net.Conn, in *bufio.Reader, _ int) bool {
		readRequest(in)
		return false
	})
	tr := transportOf(t, Config{AttemptTimeout: time.Minute})
	to := tr.target(base, CallClose)
	deadline := time.Now().Add(time.Minute)
	for _, idle := range []bool{false, true} {
		w, err := to.origin.dial(t.Context(), deadline)
		if err != nil {
			t.Fatal(err)
		}
		if idle {
			to.origin.keep(w)
			if got, c := to.origin.take(t.Context(), time.Time{}); got != w || c != nil {
				t.Fatal("the connection that is kept was not taken, or is waited for as well")
			}
		} else {
			_, c := to.origin.take(t.Context(), time.Time{})
			to.origin.keep(w)
			if got := <-c.got; got.wire != w {
				t.Fatalf("got %+v", got)
			}
		}
		var buf bytes.Buffer
		d, fate := w.exchange(t.Context(), deadline, to, []byte("<xml></xml>"), &buf, false)
		w.abort()
		if d.failure != FailLost || d.reused != idle || fate != abortWire {
			t.Errorf("idle %v: %+v, fate %d", idle, d, fate)
		}
	}
}

// A connection that is about to be cut off, as its call's context has ended, is
// not for another call, also where the whole reply came before: the cut would end that one.
func TestAConnectionThatIsAboutToBeCutOff(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	tr := transportOf(t, Config{})
	to := tr.target(srv.URL, CallClose)
	deadline := time.Now().Add(time.Minute)
	for _, ends := range []bool{false, true} {
		w, err := to.origin.dial(t.Context(), deadline)
		if err != nil {
			t.Fatal(err)
		}
		w.cut = func() {} // later than all that follows
		ctx, cancel := context.WithCancel(t.Context())
		if ends {
			cancel()
		}
		var buf bytes.Buffer
		d, fate := w.exchange(ctx, deadline, to, []byte("<xml></xml>"), &buf, false)
		cancel()
		w.abort()
		if kept := fate == keepWire; d.failure != "" || kept == ends {
			t.Errorf("the context ends: %v: %+v, kept %v", ends, d, kept)
		}
	}
}

// A call whose time is over when it gets a connection has timed out; that
// connection is not what has ended.
func TestACallThatGetsAConnectionTooLate(t *testing.T) {
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer srv.Close()
	tr := transportOf(t, Config{})
	if d := post(t, tr, srv.URL); d.failure != "" {
		t.Fatal(d.err)
	}
	tr.attemptTimeout = -time.Second
	if d := post(t, tr, srv.URL); d.failure != FailTimeout || d.reused || requests.Load() != 1 {
		t.Errorf("%+v after %d requests", d, requests.Load())
	}
}

// Nothing is sent for a call that gets a connection when its context has ended.
func TestAConnectionForACallThatHasEnded(t *testing.T) {
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer srv.Close()
	tr := transportOf(t, Config{})
	o := tr.target(srv.URL, CallClose).origin
	w, err := o.dial(t.Context(), time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	hangs := make(chan struct{})
	tr.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		close(hangs)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan delivery)
	go func() {
		var buf bytes.Buffer
		done <- tr.post(ctx, srv.URL, CallClose, []byte("<xml></xml>"), &buf, false)
	}()
	<-hangs
	o.mu.Lock()
	cancel()
	o.serve(0, connected{wire: w})
	o.mu.Unlock()
	if d := <-done; d.failure != FailConnect || !errors.Is(d.err, context.Canceled) || requests.Load() != 0 {
		t.Errorf("%+v after %d requests", d, requests.Load())
	}
}

// A connection that is kept costs no goroutine.
func TestAKeptConnectionHasNoGoroutine(t *testing.T) {
	base := rawServer(t, func(c net.Conn, in *bufio.Reader, _ int) bool {
		if _, _, err := readRequest(in); err != nil {
			return false
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<xml/>")
		return true
	})
	waiting := func() bool {
		var stacks bytes.Buffer
		pprof.Lookup("goroutine").WriteTo(&stacks, 2)
		return strings.Contains(stacks.String(), "net/http.(*persistConn)") || strings.Contains(stacks.String(), "closer.(*wire)")
	}
	for waiting() { // what other tests have left
		runtime.Gosched()
	}
	tr := transportOf(t, Config{})
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if d := post(t, tr, base); d.failure != "" {
				t.Error(d.err)
			}
		})
	}
	calls.Wait()
	if waiting() {
		t.Error("goroutines wait for connections that are kept")
	}
}

// TLS sessions are resumed, so that connecting anew costs one round trip less
// and no certificate.
func TestTLSSessionsAreResumed(t *testing.T) {
	var resumed []bool
	srv := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { resumed = append(resumed, r.TLS.DidResume) }))
	defer srv.Close()
	tr := transportOf(t, Config{CAPEM: caOf(srv)})
	for range 2 {
		if d := post(t, tr, srv.URL); d.failure != "" {
			t.Fatal(d.err)
		}
		tr.closeIdle()
	}
	if len(resumed) != 2 || !resumed[1] {
		t.Errorf("resumed: %v", resumed)
	}
}

// A host is spoken to in what it offers, also when that changes.
func TestAHostThatChangesItsProtocol(t *testing.T) {
	var http2 atomic.Bool
	var mu sync.Mutex
	var spoken []string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		spoken = append(spoken, r.Proto)
	}))
	srv.EnableHTTP2 = true
	var open atomic.Int32
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	srv.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		cfg := srv.TLS.Clone()
		if cfg.GetConfigForClient = nil; !http2.Load() {
			cfg.NextProtos = []string{"http/1.1"}
		}
		return cfg, nil
	}}
	srv.StartTLS()
	defer srv.Close()
	tr := transportOf(t, Config{CAPEM: caOf(srv)})
	o := tr.target(srv.URL, CallClose).origin
	for i, step := range []struct {
		http2, later bool
		spoken       string
		ours         bool // next time
	}{
		{http2: false, spoken: "HTTP/1.1", ours: true},
		{http2: true, spoken: "HTTP/2.0"},
		{http2: false, spoken: "HTTP/1.1"}, // just now it was the other
		{http2: false, later: true, spoken: "HTTP/1.1", ours: true},
		{http2: false, spoken: "HTTP/1.1", ours: true},
		{http2: true, spoken: "HTTP/2.0"},
	} {
		http2.Store(step.http2)
		if step.later {
			o.spokeHTTP2.Add(-int64(http2Stays))
		}
		for tr.closeIdle(); open.Load() > 0; tr.closeIdle() { // HTTP/2 ends a stream in its own time
			runtime.Gosched()
		}
		d := post(t, tr, srv.URL)
		if d.failure != "" || spoken[i] != step.spoken || len(spoken) != i+1 || o.http2.Load() == step.ours {
			t.Errorf("step %d: %s %v, spoken %v, HTTP/2 is %v", i, d.failure, d.err, spoken, o.http2.Load())
		}
	}
}

// A server that answers before it has read all of a request.
func TestAReplyBeforeTheWholeRequest(t *testing.T) {
	base := rawServer(t, func(c net.Conn, in *bufio.Reader, n int) bool {
		in.ReadString('\n')
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		io.Copy(io.Discard, in)
		return false
	})
	tr := transportOf(t, Config{AttemptTimeout: time.Minute})
	var buf bytes.Buffer
	doc := bytes.Repeat([]byte("a"), MaxDocument)
	if d := tr.post(t.Context(), base, CallClose, doc, &buf, false); d.failure != FailStatus || d.status != http.StatusBadRequest {
		t.Errorf("%+v", d)
	}
	if w, _ := tr.target(base, CallClose).origin.take(t.Context(), time.Time{}); w != nil {
		t.Error("the connection was kept")
	}
}
