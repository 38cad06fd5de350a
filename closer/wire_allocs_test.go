//go:build !race

package closer

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"testing"
)

// A call over a kept connection allocates nothing but what tells it of the end
// of its context. The race detector allocates itself.
func TestACallOverAKeptConnectionAllocatesNothing(t *testing.T) {
	const reply = "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 6\r\nConnection: keep-alive\r\n\r\n<xml/>"
	answer := []byte(reply)
	base := rawServer(t, func(c net.Conn, in *bufio.Reader, n int) bool {
		if _, err := in.Peek(1); err != nil {
			return false
		}
		in.Discard(in.Buffered()) // the request: one write, and so one read
		c.Write(answer)
		return true
	})
	tr := transportOf(t, Config{})
	doc := []byte("<xml><a>1</a></xml>")
	ends, cancel := context.WithCancel(t.Context())
	defer cancel()
	for sentence, tt := range map[string]struct {
		ctx  context.Context
		most float64
	}{
		"a context that never ends": {context.Background(), 0},
		"one that may end":          {ends, 4},
	} {
		var buf bytes.Buffer
		if got := testing.AllocsPerRun(200, func() {
			if d := tr.post(tt.ctx, base, CallClose, doc, &buf, false); d.failure != "" {
				t.Fatal(d.err)
			}
		}); got > tt.most {
			t.Errorf("%s: %v allocations, want at most %v", sentence, got, tt.most)
		}
	}
}
