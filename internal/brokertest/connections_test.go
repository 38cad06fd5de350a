//go:build apachekafka

package brokertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/leftout"
	"github.com/twmb/franz-go/pkg/kadm"
)

// mostConnections is what a worker may have to one broker, whatever the
// partitions.
const mostConnections = 4

// TestThirtyConnectionsForTwoWorkers: the broker takes 30 connections of an
// address (max.connections.per.ip), and there are 24 partitions: 6 of each of
// requests and three retry topics. Two workers answer everything, keep their
// membership, and have a handful of connections each.
func TestThirtyConnectionsForTwoWorkers(t *testing.T) {
	s := newStand(t, 6, nil)
	const n = 500
	s.connections(30)
	var taps [2]tap
	var workers [2]*running
	for i := range workers {
		s.dial = taps[i].dial
		workers[i] = s.worker(func(c *config.Config) { c.Kafka.ClientID = fmt.Sprint("worker-", i) })
	}
	s.awaitGroup(len(workers))
	var before [2]int
	for i, w := range workers {
		s.eventually(fmt.Sprintf("worker %d to get partitions", i), func(context.Context) (bool, error) {
			before[i] = strings.Count(w.log.String(), "partitions assigned")
			return before[i] > 0, nil
		})
	}
	s.send(requests("N", n)...)
	s.awaitAnswers(n)
	s.awaitCommitted()
	s.balanced()
	for i, w := range workers {
		if more := strings.Count(w.log.String(), "partitions assigned") - before[i]; more > 0 || strings.Contains(w.log.String(), "membership lost") {
			t.Errorf("worker %d has lost its membership, or was assigned partitions %d times more", i, more)
		}
		if most := taps[i].most(); most > mostConnections {
			t.Errorf("worker %d had %d connections at one time, want at most %d", i, most, mostConnections)
		}
	}
}

// tap is a way to the broker that counts connections.
type tap struct {
	mu         sync.Mutex
	open, peak int
}

func (c *tap) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	c.peak = max(c.peak, c.open)
	return &tapped{Conn: conn, tap: c}, nil
}

func (c *tap) most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peak
}

type tapped struct {
	net.Conn
	tap  *tap
	once sync.Once
}

func (c *tapped) Close() error {
	c.once.Do(func() {
		c.tap.mu.Lock()
		defer c.tap.mu.Unlock()
		c.tap.open--
	})
	return c.Conn.Close()
}

// connections sets max.connections.per.ip of the broker until the test ends.
func (s *stand) connections(most int) { s.limit("max.connections.per.ip", most) }

// limit sets a setting of the broker until the test ends, or lift is called.
func (s *stand) limit(setting string, most int) (lift func()) {
	s.t.Helper()
	alter := func(op kadm.IncrementalOp) {
		value := strconv.Itoa(most)
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		defer cancel()
		altered, err := s.admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: setting, Value: &value}})
		s.must(err)
		for _, a := range altered {
			s.must(a.Err)
		}
	}
	alter(kadm.SetConfig)
	if setting != "max.connections.per.ip" || most < 30 { // one that leaves room is seen by nobody
		s.eventually("the limit to be in force", func(context.Context) (bool, error) { return !answersAnother(), nil })
	}
	lift = sync.OnceFunc(func() { alter(kadm.DeleteConfig) })
	s.t.Cleanup(lift)
	return lift
}

// answersAnother reports whether the broker answers on another connection.
func answersAnother() bool {
	conn, err := net.DialTimeout("tcp", cluster.Addrs()[0], time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	// ApiVersions in version 0, correlation id 1, no client id (Kafka's protocol guide).
	if _, err := conn.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff}); err != nil {
		return false
	}
	_, err = conn.Read(make([]byte, 4))
	return err == nil
}

// established counts the connections of the broker, as Linux lists them (proc(5)).
func established(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		leftout.Test(t, "connections cannot be counted here: "+err.Error())
	}
	_, port, err := net.SplitHostPort(cluster.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	const isEstablished = "01"
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", number)) && f[3] == isEstablished {
			n++
		}
	}
	return n
}

// settled counts them when none has come or gone for a second: those of who looked
// before are closed by then.
func (s *stand) settled() int {
	s.t.Helper()
	since, n := time.Now(), established(s.t)
	s.eventually("the connections to be as they are for a second", func(context.Context) (bool, error) {
		if now := established(s.t); now != n {
			since, n = time.Now(), now
		}
		return time.Since(since) > time.Second, nil
	})
	return n
}

// TestARollingRestartAtTheLimitOfConnections: the broker takes not one connection
// more than there are when the next worker starts. It says what it may be, waits,
// and has the partitions when the first one has gone; all is answered once.
func TestARollingRestartAtTheLimitOfConnections(t *testing.T) {
	for setting, says := range map[string]string{
		"max.connections.per.ip": "it takes no more connections \\(max.connections.per.ip", // it closes what is more
		"max.connections":        "max.connections is reached",                             // it leaves what is more alone
	} {
		t.Run(setting, func(t *testing.T) {
			s := newStand(t, 4, nil)
			first := s.worker(nil)
			s.awaitGroup(1)
			s.send(requests("A", 50)...)
			s.awaitAnswers(50)
			lift := s.limit(setting, s.settled())
			next := s.worker(nil)
			s.eventually("the next worker to say what it waits for", func(context.Context) (bool, error) {
				return regexp.MustCompile(says).MatchString(next.log.String()), nil
			})
			if strings.Contains(next.log.String(), "partitions assigned") {
				t.Error("it has partitions, beyond the limit")
			}
			s.send(requests("B", 50)...)
			s.must(first.end())
			s.eventually("the next worker to have partitions", func(context.Context) (bool, error) {
				return strings.Contains(next.log.String(), "partitions assigned"), nil
			})
			lift() // who looks needs connections, too
			s.awaitAnswers(100)
			s.awaitCommitted()
			s.balanced()
			t.Logf("%d established at last", established(t))
		})
	}
}

// TestConnectionsAreNotTakenAsOftenAsTheyAreMade: a quota of new connections per
// second of an address (connection_creation_rate, KIP-612). The broker holds what
// is more, and closes it: a worker that starts, and loses its connections, gets
// there, and answers all once.
func TestConnectionsAreNotTakenAsOftenAsTheyAreMade(t *testing.T) {
	s := newStand(t, 4, nil)
	s.quotaOf("ip", "127.0.0.1", map[string]float64{"connection_creation_rate": 1})
	began := time.Now()
	w := s.worker(nil)
	s.send(requests("A", 50)...)
	s.eventually("the worker to have partitions", func(context.Context) (bool, error) {
		return strings.Contains(w.log.String(), "partitions assigned"), nil
	})
	s.awaitAnswers(50)
	s.awaitCommitted()
	s.balanced()
	if n := strings.Count(w.log.String(), "partitions assigned"); n != 1 {
		t.Errorf("it was assigned partitions %d times", n)
	}
	t.Logf("50 requests took %v", time.Since(began).Round(100*time.Millisecond))
}
