package closer

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"testing"
)

// One exchange over a connection that is kept, by each of the two ways. The
// other side, which does next to nothing, is in the same process and in the figures.
func BenchmarkExchange(b *testing.B) {
	reply := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 6\r\nConnection: keep-alive\r\n\r\n<xml/>")
	serve := func(c net.Conn, in *bufio.Reader, n int) bool {
		if _, err := in.Peek(1); err != nil {
			return false
		}
		in.Discard(in.Buffered())
		c.Write(reply)
		return true
	}
	doc := bytes.Repeat([]byte("a"), 400)
	for _, secure := range []string{"TCP", "TLS"} {
		for _, way := range []string{"ours", "net-http"} {
			b.Run(secure+"/"+way, func(b *testing.B) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				base, cfg := "http://"+l.Addr().String(), Config{}
				if secure == "TLS" {
					cert := httptest.NewUnstartedServer(nil)
					cert.StartTLS()
					defer cert.Close()
					base, cfg.CAPEM = "https://"+l.Addr().String(), caOf(cert)
					l = tls.NewListener(l, &tls.Config{Certificates: cert.TLS.Certificates})
				}
				serveRaw(b, l, serve)
				tr := transportOf(b, cfg)
				if way == "net-http" {
					leaveToNetHTTP(tr, base)
				}
				b.ReportAllocs()
				b.SetParallelism(32)
				b.RunParallel(func(pb *testing.PB) {
					var buf bytes.Buffer
					for pb.Next() {
						if d := tr.post(b.Context(), base, CallClose, doc, &buf, false); d.failure != "" {
							b.Error(d.err)
							return
						}
					}
				})
			})
		}
	}
}
