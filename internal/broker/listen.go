package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// loopback is where a broker listens that is not told otherwise.
const loopback = "127.0.0.1"

func (cfg Config) host() string { return cmp.Or(cfg.Host, loopback) }

// unspecified reports whether a host means all addresses of the machine: one
// can listen there, and not connect.
func unspecified(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsUnspecified()
}

func checkAddresses(cfg Config) error {
	switch {
	case cfg.Advertise == "":
		if unspecified(cfg.Host) {
			return fmt.Errorf("embedded broker: %s is no address that clients can connect to; say with --advertise what they are told", cfg.Host)
		}
		return nil
	case cfg.Brokers > 1:
		return errors.New("embedded broker: one broker alone can be advertised as something else")
	}
	host, port := advertised(cfg)
	number, err := strconv.Atoi(port)
	if host == "" || unspecified(host) || port != "" && (err != nil || number < 1 || number > 65535) {
		return fmt.Errorf("embedded broker: %q cannot be advertised: want HOST or HOST:PORT that clients can connect to", cfg.Advertise)
	}
	return nil
}

// advertised splits Config.Advertise; port is empty where it names none.
func advertised(cfg Config) (host, port string) {
	if host, port, err := net.SplitHostPort(cfg.Advertise); err == nil && port != "" {
		return host, port
	}
	return cfg.Advertise, ""
}

// listeners opens a cluster's listeners, and knows where what they advertise is
// found from here.
type listeners struct {
	cfg  Config
	near map[string]string
}

// listen is what kfake calls, with 127.0.0.1 and a port; not concurrently.
func (l *listeners) listen(network, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	listen := l.cfg.ListenFn
	if listen == nil {
		listen = net.Listen
	}
	ln, err := listen(network, net.JoinHostPort(l.cfg.host(), port))
	if err != nil || l.cfg.Advertise == "" {
		return ln, err
	}
	_, port, err = net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	host, mapped := advertised(l.cfg)
	shown := advertisedAddr(net.JoinHostPort(host, cmp.Or(mapped, port)))
	near := l.cfg.host()
	if unspecified(near) {
		near = loopback
	}
	l.near[string(shown)] = net.JoinHostPort(near, port)
	return advertisedListener{ln, shown}, nil
}

// advertisedListener says of itself what is advertised: kfake tells clients the
// address of its listener.
type advertisedListener struct {
	net.Listener
	addr advertisedAddr
}

func (l advertisedListener) Addr() net.Addr { return l.addr }

type advertisedAddr string

func (advertisedAddr) Network() string  { return "tcp" }
func (a advertisedAddr) String() string { return string(a) }

// Dial connects to an address of the cluster from within this process, where what
// is advertised may be reachable only from elsewhere; other addresses are dialled
// as they are. It may be called concurrently.
func (b *Broker) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, cmp.Or(b.near[address], address))
}
