package apachekafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Java heaps of a broker and of a controller that is no broker.
const (
	brokerHeapMiB     = 256
	controllerHeapMiB = 128
	zookeeperHeapMiB  = 64
)

// stopTimeout bounds a clean stop of a broker.
const stopTimeout = time.Minute

var errNotRunning = errors.New("does not run")

// node is one Java process of a cluster, with what it keeps over restarts.
type node struct {
	id             int
	isBroker       bool
	isController   bool   // in KRaft mode
	class          string // what runs
	port           int    // of a broker
	securePort     int    // of its second listener
	alsoPorts      map[string]int
	jvm            []string
	controllerPort int // of the cluster's controller, or of its ZooKeeper
	heapMiB        int
	data           string
	properties     string
	log            string

	mu      sync.Mutex
	process *process // nil while it does not run
	killed  time.Time
}

func (n *node) addr() string { return fmt.Sprintf("127.0.0.1:%d", n.port) }

func (n *node) secureAddr() string { return fmt.Sprintf("127.0.0.1:%d", n.securePort) }

func (n *node) alsoAddr(name string) string { return fmt.Sprintf("127.0.0.1:%d", n.alsoPorts[name]) }

// start starts the process and returns at once.
func (n *node) start(j java) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		return fmt.Errorf("node %d: runs already", n.id)
	}
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own copy
	cmd := j.command(context.Background(), n.heapMiB, "info", n.class, n.properties)
	cmd.Args = slices.Insert(cmd.Args, 1, n.jvm...)
	cmd.Stdout, cmd.Stderr = log, log
	if n.process, err = startProcess(cmd); err != nil {
		return fmt.Errorf("node %d: %w", n.id, err)
	}
	return nil
}

// end sends the signal and waits until the process is gone.
func (n *node) end(sig syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return fmt.Errorf("node %d: %w", n.id, errNotRunning)
	}
	p := n.process
	n.process = nil
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("node %d: %w", n.id, err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		if sig == syscall.SIGKILL {
			n.killed = time.Now()
		}
		return nil
	case <-timer.C:
		p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("node %d: was not gone %v after %v, and was killed", n.id, stopTimeout, sig)
	}
}

// signal sends a signal and waits for nothing.
func (n *node) signal(sig syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return fmt.Errorf("node %d: %w", n.id, errNotRunning)
	}
	if err := n.process.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("node %d: %v: %w", n.id, sig, err)
	}
	return nil
}

// pid is 0 while the node is not meant to run.
func (n *node) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return 0
	}
	return n.process.cmd.Process.Pid
}

// running reports whether the node is meant to run; the error says that it has
// ended by itself.
func (n *node) running() (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return false, nil
	}
	select {
	case <-n.process.done:
		return false, fmt.Errorf("node %d ended by itself: %v", n.id, n.process.err)
	default:
		return true, nil
	}
}

// portTaken reports whether a node found one of its ports taken.
func (c *Cluster) portTaken() bool {
	for _, n := range c.nodes {
		if strings.Contains(tail(n.log, 200), "Address already in use") {
			return true
		}
	}
	return false
}

// tail returns the last lines of a file, or why there are none.
func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(len(all)-lines, 0):], "\n")
}

// killedAt is when it was killed last, zero if it never was.
func (n *node) killedAt() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.killed
}
