package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/closeorder/closeorder/internal/config"
)

// Listen listens at the setting admin_addr. Where that is the default and is
// taken, as where several workers run on one machine, any free port of the
// loopback address does as well. The error names the setting and what to do.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) && addr == config.DefaultAdminAddr {
		ln, err = lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err // without the address, which is there already
		}
		return nil, fmt.Errorf("admin_addr %s: nobody can listen there: %w; choose another one, port 0 for any free port, or off to serve nothing", addr, err)
	}
	return ln, nil
}

// Reachable is how others reach a listener: its address, and where that is any of
// the machine's the one from which brokers are reached, host:port each. It asks
// the resolver, for at most two seconds; nothing is sent to brokers.
func Reachable(ctx context.Context, ln net.Listener, brokers []string) string {
	at, ok := ln.Addr().(*net.TCPAddr)
	if !ok || !at.IP.IsUnspecified() {
		return ln.Addr().String()
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	port := strconv.Itoa(at.Port)
	for _, broker := range brokers {
		var d net.Dialer
		// UDP connects without a packet: it asks which way one would go.
		conn, err := d.DialContext(ctx, "udp", broker)
		if err != nil {
			continue
		}
		from, ok := conn.LocalAddr().(*net.UDPAddr)
		conn.Close()
		if ok {
			return net.JoinHostPort(from.IP.String(), port)
		}
	}
	all, _ := net.InterfaceAddrs()
	for _, one := range all {
		if is, ok := one.(*net.IPNet); ok && is.IP.IsGlobalUnicast() {
			return net.JoinHostPort(is.IP.String(), port)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
