//go:build apachekafka

package apachekafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// produce writes values with acks=all, again and again until each is
// acknowledged: leaders move in these tests.
func produce(ctx context.Context, t *testing.T, c *Cluster, topic string, partition int, values ...string) {
	t.Helper()
	client := kafka.Open(kafka.Config{Brokers: c.Addrs()})
	defer client.Close()
	for _, value := range values {
		for {
			_, err := client.Produce(ctx, topic, partition, []events.Message{{Value: []byte(value)}}, kafka.Uncompressed)
			if err == nil {
				break
			}
			if pause(ctx) != nil {
				t.Fatalf("produce %q: %v", value, err)
			}
		}
	}
}

// consume reads n values from the start of a topic with the Java console
// consumer.
func consume(ctx context.Context, t *testing.T, c *Cluster, topic string, n int, more ...string) []string {
	t.Helper()
	args := append([]string{
		"--bootstrap-server", c.Bootstrap(), "--topic", topic, "--from-beginning",
		"--max-messages", strconv.Itoa(n), "--timeout-ms", "30000",
	}, more...)
	out, err := c.Tool(ctx, ConsoleConsumer, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(out)
}

// written is the number of records in a topic.
func written(ctx context.Context, t *testing.T, c *Cluster, topic string, partitions int) (n int) {
	t.Helper()
	client := kafka.Open(kafka.Config{Brokers: c.Addrs()})
	defer client.Close()
	for p := range partitions {
		end, err := client.Offset(ctx, topic, p, kafka.LogEnd)
		if err != nil {
			t.Fatal(err)
		}
		n += int(end)
	}
	return n
}

// createTopic creates a topic with a replica on every broker and waits until
// each partition can be read and written.
func (c *Cluster) createTopic(ctx context.Context, name string, partitions int) error {
	client, admin, err := admin(c.Addrs()...)
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := admin.CreateTopic(ctx, int32(partitions), int16(c.cfg.Brokers), nil, name); err != nil {
		return fmt.Errorf("apache kafka: create topic %s: %w", name, err)
	}
	for {
		// Answered by the leaders: right after the creation a leader may not
		// know yet that it is one.
		offsets, err := admin.ListEndOffsets(ctx, name)
		if err == nil {
			err = offsets.Error()
		}
		if err == nil && len(offsets[name]) == partitions {
			return nil
		}
		if pause(ctx) != nil {
			return fmt.Errorf("apache kafka: create topic %s: not ready: %w (last: %w)", name, context.Cause(ctx), err)
		}
	}
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestOneNode(t *testing.T) {
	c := ForTest(t, Config{Properties: map[string]string{"message.max.bytes": "2000"}})
	t.Run("a record above the limit is refused", func(t *testing.T) { refusesTooLarge(t, c) })
	t.Run("a Java member leaves its group when its context ends", func(t *testing.T) { memberLeaves(t, c) })
	t.Run("records and offsets survive a kill and a stop", func(t *testing.T) { survives(t, c) })
	t.Run("close leaves nothing behind", func(t *testing.T) {
		for range 2 { // the second does no harm
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if listens(c.Addrs()[0]) {
			t.Error("the broker runs on")
		}
		if _, err := os.Stat(c.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", c.dir, err)
		}
	})
}

func listens(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func refusesTooLarge(t *testing.T, c *Cluster) {
	ctx := testContext(t)
	if err := c.createTopic(ctx, "small", 1); err != nil {
		t.Fatal(err)
	}
	client := kafka.Open(kafka.Config{Brokers: c.Addrs()})
	defer client.Close()
	if _, err := client.Produce(ctx, "small", 0, []events.Message{{Value: make([]byte, 3000)}}, kafka.Uncompressed); !kafka.TooLarge(err) {
		t.Errorf("3000 bytes where 2000 are allowed: %v", err)
	}
}

func memberLeaves(t *testing.T, c *Cluster) {
	ctx := testContext(t)
	if err := c.createTopic(ctx, "shared", 2); err != nil {
		t.Fatal(err)
	}
	client, admin, err := admin(c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	waitFor := func(state string) {
		t.Helper()
		for {
			groups, err := admin.DescribeGroups(ctx, "leaving")
			if err == nil && groups["leaving"].State == state {
				return
			}
			if pause(ctx) != nil {
				t.Fatalf("the group is not %s but %q: %v", state, groups["leaving"].State, err)
			}
		}
	}
	member, leave := context.WithCancel(ctx)
	left := make(chan error)
	go func() {
		_, err := c.Tool(member, ConsoleConsumer, "--bootstrap-server", c.Bootstrap(), "--topic", "shared", "--group", "leaving",
			"--command-property", "session.timeout.ms=600000") // longer than this test may take
		left <- err
	}()
	waitFor("Stable")
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the tool ended with %v", err)
	}
	waitFor("Empty")
}

func survives(t *testing.T, c *Cluster) {
	ctx := testContext(t)
	if err := c.createTopic(ctx, "numbers", 1); err != nil {
		t.Fatal(err)
	}
	produce(ctx, t, c, "numbers", 0, "one", "two")
	if got := consume(ctx, t, c, "numbers", 2, "--group", "java"); !slices.Equal(got, []string{"one", "two"}) {
		t.Fatalf("the Java consumer read %q", got)
	}

	for _, end := range []struct {
		how string
		do  func(int) error
	}{{"kill", c.KillBroker}, {"stop", c.StopBroker}} {
		if err := end.do(0); err != nil {
			t.Fatal(err)
		}
		if listens(c.Addrs()[0]) {
			t.Fatalf("after %s the broker still listens", end.how)
		}
		if err := end.do(0); !errors.Is(err, errNotRunning) {
			t.Errorf("a second %s: %v", end.how, err)
		}
		if err := c.RestartBroker(0); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		produce(ctx, t, c, "numbers", 0, "after-"+end.how)
	}
	if got := consume(ctx, t, c, "numbers", 4); !slices.Equal(got, []string{"one", "two", "after-kill", "after-stop"}) {
		t.Fatalf("the Java consumer read %q", got)
	}

	// Committed offsets survive too.
	out, err := c.Tool(ctx, ConsumerGroupCommand, "--bootstrap-server", c.Bootstrap(), "--describe", "--group", "java")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(out, "\n"); !slices.ContainsFunc(lines, func(l string) bool {
		f := strings.Fields(l)
		return len(f) > 5 && slices.Equal(f[:6], []string{"java", "numbers", "0", "2", "4", "2"})
	}) {
		t.Errorf("the group's offset is not 2 of 4:\n%s", out)
	}
}

func TestThreeBrokersGoOnWithoutOne(t *testing.T) {
	c := ForTest(t, Config{Brokers: 3})
	ctx := testContext(t)
	if err := c.createTopic(ctx, "numbers", 3); err != nil {
		t.Fatal(err)
	}
	var want []string
	write := func(when string) {
		for p := range 3 { // one leader each
			value := fmt.Sprintf("%s-%d", when, p)
			produce(ctx, t, c, "numbers", p, value)
			want = append(want, value)
		}
	}
	write("before")
	if err := c.KillBroker(0); err != nil {
		t.Fatal(err)
	}
	write("without-one") // acknowledged by both that are left: min.insync.replicas=2
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.KillBroker(1); err != nil {
		t.Fatal(err)
	}
	if err := c.RestartBroker(0); err != nil {
		t.Fatal(err)
	}
	write("another-one") // by the broker that is back, too
	if err := c.RestartBroker(1); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	// kafka-go has no idempotent producer: a retry may have written twice.
	got := consume(ctx, t, c, "numbers", written(ctx, t, c, "numbers", 3))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(slices.Compact(got), want) {
		t.Fatalf("read   %q\nwritten %q", got, want)
	}
}

func TestABrokerThatDiesIsToldWithItsLog(t *testing.T) {
	ctx := testContext(t)
	_, err := Start(ctx, Config{Properties: map[string]string{"num.io.threads": "0"}})
	if err == nil {
		t.Fatal("started with a setting that Kafka refuses")
	}
	if !strings.Contains(err.Error(), "num.io.threads") {
		t.Errorf("the error does not say why: %v", err)
	}
}
