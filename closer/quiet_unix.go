//go:build unix

package closer

import (
	"errors"
	"net"
	"syscall"
)

// asksKernel: what has come over a connection that nobody reads can be found out.
const asksKernel = true

// quietness returns a function that reports whether the other side of an idle
// connection has sent nothing and not ended it, at the price of one system
// call that does not block. What it reads is lost: whoever sends something
// unasked is not spoken to any more. nil where the connection is not the
// kernel's.
func quietness(c net.Conn) func() bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	var quiet bool
	one := make([]byte, 1)
	ask := func(fd uintptr) bool {
		_, err := syscall.Read(int(fd), one) // sockets of Go do not block
		quiet = errors.Is(err, syscall.EAGAIN)
		return true
	}
	return func() bool {
		quiet = false
		return rc.Read(ask) == nil && quiet
	}
}
