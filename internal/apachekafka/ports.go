package apachekafka

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
)

// lowestPort is the lowest port that freePorts returns.
const lowestPort = 10000

// freePorts returns n ports on 127.0.0.1 that nobody listens on, below those
// that the kernel gives to outgoing connections. A client that tries again and
// again to reach a killed broker on a port of that range can connect to itself,
// and then holds the port against the broker's return.
func freePorts(n int) ([]int, error) {
	below := ephemeralFrom()
	if below < lowestPort+1000 {
		below = 32768
	}
	var ports []int
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := lowestPort + rand.IntN(below-lowestPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, os.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for a free port: %w", err)
		}
		held = append(held, l)
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("no %d free ports between %d and %d", n, lowestPort, below)
}

// ephemeralFrom returns the first port of the range for outgoing connections;
// where Linux does not tell, its default.
func ephemeralFrom() int {
	var first, last int
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 32768
	}
	if _, err := fmt.Sscan(string(b), &first, &last); err != nil {
		return 32768
	}
	return first
}
