//go:build apachekafka

package kafka_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/kafka"
)

// TestAHandfulOfConnectionsToApacheKafka: 24 partitions of 4 topics, produced
// to, read and committed at the same time, through a limit of 30 connections
// from one address, and through a restart of the broker.
func TestAHandfulOfConnectionsToApacheKafka(t *testing.T) {
	cluster := apachekafka.ForTest(t, apachekafka.Config{Properties: map[string]string{"max.connections.per.ip": "30"}})
	client := kafka.Open(kafka.Config{Brokers: cluster.Addrs()})
	defer client.Close()
	var topics []kafka.Topic
	for i := range 4 {
		topics = append(topics, kafka.Topic{Name: fmt.Sprint("t", i), Partitions: 24, Replication: 1})
	}
	made, err := client.CreateTopics(t.Context(), false, topics...)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range made {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	round := func(want int64) {
		t.Helper()
		var all sync.WaitGroup
		all.Go(func() {
			if err := client.LongPoll(t.Context(), 4, 24, time.Second); err != nil {
				t.Error(err)
			}
		})
		for range 10 {
			all.Go(func() {
				if err := beat(t.Context(), client, 10*time.Second); err != nil {
					t.Error(err)
				}
			})
		}
		for _, topic := range topics {
			for p := range topic.Partitions {
				all.Go(func() {
					// Brokers take over leadership one partition after the other.
					err := client.Persist(t.Context(), topic.Name, p, func(ctx context.Context) error { return produce(ctx, client, topic.Name, p) })
					if err != nil {
						t.Error(err)
					}
					if end, err := client.Offset(t.Context(), topic.Name, p, kafka.LogEnd); err != nil || end != want {
						t.Errorf("the end of %s %d is %d, %v", topic.Name, p, end, err)
					}
					each, err := client.Commit(t.Context(), kafka.Membership{Group: "another", Generation: -1}, []kafka.Commit{{Topic: topic.Name, Partition: p, Committed: kafka.Committed{Offset: want}}})
					if err = errors.Join(append(each, err)...); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		if open := client.Connections(); len(open) != 1 || open[cluster.Addrs()[0]] > 4 {
			t.Errorf("%v", open)
		}
	}
	// The coordinator is there a little later than the rest. A heartbeat comes back
	// before that, too: beat does not look at its code.
	coordinated := func() {
		t.Helper()
		for _, ask := range []func(context.Context) error{
			func(ctx context.Context) error { return beat(ctx, client, time.Second) },
			func(ctx context.Context) error {
				_, err := client.Committed(ctx, "another", map[string][]int{"t0": {0}})
				return err
			},
		} {
			if err := client.Persist(t.Context(), "", -1, ask); err != nil {
				t.Fatal(err)
			}
		}
	}
	coordinated()
	round(1)
	round(2)

	begun := time.Now()
	err = ask(t, kafka.Config{Brokers: cluster.Addrs(), TLS: func() (*tls.Config, error) { return &tls.Config{RootCAs: x509.NewCertPool()}, nil }})
	var listener *kafka.ListenerError
	if !errors.As(err, &listener) || !listener.TLS || time.Since(begun) > 5*time.Second {
		t.Errorf("TLS to a plain listener, after %v: %v", time.Since(begun), err)
	}

	if err := cluster.StopBroker(0); err != nil {
		t.Fatal(err)
	}
	if err := produce(t.Context(), client, "t0", 0); err == nil || kafka.Lasting(err) {
		t.Errorf("without a broker: %v", err)
	}
	if err := cluster.RestartBroker(0); err != nil {
		t.Fatal(err)
	}
	coordinated()
	round(3)
}

// TestApacheKafkaRemembersWhatIsFetched: long polls for 200 partitions in which
// nothing happens are a few bytes each, and so is what a record costs,
// before a restart of the broker and behind it.
func TestApacheKafkaRemembersWhatIsFetched(t *testing.T) {
	cluster := apachekafka.ForTest(t, apachekafka.Config{})
	var written atomic.Int64
	client := kafka.Open(kafka.Config{Brokers: cluster.Addrs(), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return writtenConn{conn, &written}, err
	}})
	defer client.Close()
	const partitions = 200
	if _, err := client.CreateTopics(t.Context(), false, kafka.Topic{Name: "t0", Partitions: partitions, Replication: 1}); err != nil {
		t.Fatal(err)
	}
	var sources []*kafka.Source
	for p := range partitions {
		s := client.Source("t0", p, 0)
		defer s.Close()
		sources = append(sources, s)
	}
	read := func(p int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := client.Persist(ctx, "t0", p, func(ctx context.Context) error { return produce(ctx, client, "t0", p) }); err != nil {
			t.Fatal(err)
		}
		for n := 0; n == 0; {
			records, _, err := sources[p].Next(ctx)
			if n = len(records); err != nil && kafka.Sleep(ctx, 50*time.Millisecond) != nil {
				t.Fatal(err)
			}
		}
	}
	quiet := func() {
		t.Helper()
		for p := range partitions {
			read(p)
		}
		time.Sleep(time.Second)
		before := written.Load()
		for p := range 20 {
			read(p)
		}
		time.Sleep(5 * time.Second)
		if n := written.Load() - before; n > 20*partitions*8 {
			t.Errorf("%d bytes for 20 records of %d partitions: each request names them all", n, partitions)
		}
	}
	quiet()
	if err := cluster.StopBroker(0); err != nil {
		t.Fatal(err)
	}
	if err := cluster.RestartBroker(0); err != nil {
		t.Fatal(err)
	}
	quiet()
}

// writtenConn counts what is written.
type writtenConn struct {
	net.Conn
	written *atomic.Int64
}

func (c writtenConn) Write(b []byte) (int, error) {
	c.written.Add(int64(len(b)))
	return c.Conn.Write(b)
}
