//go:build apachekafka

package brokertest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/closeorder/closeorder/internal/config"
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
func (s *stand) connections(most int) {
	s.t.Helper()
	alter := func(op kadm.IncrementalOp) {
		value := strconv.Itoa(most)
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		defer cancel()
		altered, err := s.admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: "max.connections.per.ip", Value: &value}})
		s.must(err)
		for _, a := range altered {
			s.must(a.Err)
		}
	}
	alter(kadm.SetConfig)
	s.t.Cleanup(func() { alter(kadm.DeleteConfig) })
}
