package main

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/twmb/franz-go/pkg/kfake"
)

// counter counts connections of one address.
type counter struct {
	mu                sync.Mutex
	open, peak, total int
}

func (c *counter) listen(network, address string) (net.Listener, error) {
	ln, err := net.Listen(network, address)
	return &countedListener{ln, c}, err
}

func (c *counter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open += n; n > 0 {
		c.total++
	}
	c.peak = max(c.peak, c.open)
}

// restart forgets what was, but for what is open.
func (c *counter) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peak, c.total = c.open, 0
}

func (c *counter) seen() (peak, total int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peak, c.total
}

type countedListener struct {
	net.Listener
	to *counter
}

func (l *countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.to.add(1)
	return &countedConn{Conn: conn, to: l.to}, nil
}

type countedConn struct {
	net.Conn
	to   *counter
	once sync.Once
}

// Read learns that the client has closed it, before the broker does anything about it.
func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.once.Do(func() { c.to.add(-1) })
	}
	return n, err
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.to.add(-1) })
	return c.Conn.Close()
}

// TestHowManyConnectionsACommandHas: what docs/operations.md says that
// max.connections.per.ip must leave room for, at one broker.
func TestHowManyConnectionsACommandHas(t *testing.T) {
	var count counter
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(count.listen))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	env := []string{
		"CLOSEORDER_KAFKA_BROKERS=" + strings.Join(c.ListenAddrs(), ","), "CLOSEORDER_GATEWAY_URLS=" + gateway(t, gatewaysim.Config{}), "CLOSEORDER_SHUTDOWN_GRACE=10s",
		"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_APPID=wx8888888888888888", "CLOSEORDER_API_KEY=" + gatewaysim.DirectKey,
	}
	callOK(t, env, "topics", "create", "--partitions", "6")
	count.restart()
	worker := launch(t, env, "", "run")
	worker.stderr.find(t, "partitions assigned")
	for _, no := range []string{"T1", "DEAD1"} {
		callOK(t, env, "request", "--mch-id", "1900000109", "--out-trade-no", no)
	}
	worker.stderr.find(t, "DEAD1")
	worker.end(t)
	most := map[string]int{
		"run":    6, // four, and two of the look at its start: one to ask by, and one to meet each broker
		"doctor": 3, "audit": 2, "status": 2, "trace T1": 2, "outcomes --from beginning --no-follow": 2, "deadletters list": 2,
		"deadletters replay": 2, "deadletters replay --yes": 2, "request --mch-id 1900000109 --out-trade-no T9": 1, "topics create": 1,
	}
	for command, limit := range most {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) { // the broker's side closes a moment later
			count.restart()
			if open, _ := count.seen(); open == 0 {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("%d are open before %s", open, command)
			}
		}
		p := launch(t, env, "", strings.Fields(command)...)
		if command == "run" {
			p.stderr.find(t, "partitions assigned")
			p.end(t)
		}
		p.wait(t)
		peak, total := count.seen()
		t.Logf("%-40s at most %d at one time, %d in all", command, peak, total)
		if peak > limit || peak == 0 {
			t.Errorf("%s has %d connections at one time, want 1 to %d", command, peak, limit)
		}
	}
}
