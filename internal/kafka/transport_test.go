package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	virtual "github.com/closeorder/closeorder/internal/world"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// inCluster runs a test in virtual time, with brokers and a client of a host of
// its own, and looks after it whether anything is left.
func inCluster(t *testing.T, brokers int, topics []broker.Topic, cfg kafka.Config, test func(t *testing.T, k *virtual.Kafka, client *kafka.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := virtual.NewNetwork()
		k, err := virtual.StartKafka(network, brokers, topics)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Brokers, cfg.Dial = k.Addrs(), network.Boot("client").DialContext
		client := kafka.Open(cfg)
		defer func() {
			for i := range brokers {
				k.Broker(i).Heal()
			}
			client.Close() // the bubble fails on a goroutine that is left
			if open := client.Connections(); len(open) != 0 {
				t.Errorf("connections are left: %v", open)
			}
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(t, k, client)
	})
}

func produce(ctx context.Context, client *kafka.Client, topic string, partition int) error {
	_, err := client.Produce(ctx, topic, partition, []events.Message{{Value: []byte("v")}}, kafka.Uncompressed)
	return err
}

// toCoordinator is a heartbeat with the word that routes it.
type toCoordinator heartbeat.Request

func (*toCoordinator) ApiKey() protocol.ApiKey { return protocol.Heartbeat }
func (r *toCoordinator) Group() string         { return r.GroupID }

func beat(ctx context.Context, client *kafka.Client, limit time.Duration) error {
	_, err := client.RoundTrip(ctx, limit, &toCoordinator{GroupID: "g", MemberID: "m"})
	return err
}

// TestAHandfulOfConnections, whatever the partitions: one for each purpose.
func TestAHandfulOfConnections(t *testing.T) {
	var topics []broker.Topic
	for i := range 4 {
		topics = append(topics, broker.Topic{Name: fmt.Sprint("t", i), Partitions: 24})
	}
	inCluster(t, 1, topics, kafka.Config{}, func(t *testing.T, k *virtual.Kafka, client *kafka.Client) {
		var all sync.WaitGroup
		all.Go(func() {
			if err := client.LongPoll(t.Context(), 4, 24, time.Second); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			_, err := client.RoundTrip(t.Context(), time.Minute, &joingroup.Request{
				GroupID: "g", SessionTimeoutMS: 10000, RebalanceTimeoutMS: 10000, ProtocolType: "consumer",
				Protocols: []joingroup.RequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}},
			})
			if err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if err := beat(t.Context(), client, time.Minute); err != nil {
				t.Error(err)
			}
		})
		for _, topic := range topics {
			for p := range topic.Partitions {
				all.Go(func() {
					if err := produce(t.Context(), client, topic.Name, p); err != nil {
						t.Error(err)
					}
					if end, err := client.Offset(t.Context(), topic.Name, p, kafka.LogEnd); err != nil || end != 1 {
						t.Errorf("the end of %s %d is %d, %v", topic.Name, p, end, err)
					}
					if err := client.LongPoll(t.Context(), 4, 24, 0); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		if open := client.Connections(); len(open) != 1 || open[k.Addrs()[0]] != 4 {
			t.Errorf("%v", open)
		}
		time.Sleep(3 * time.Minute)
		if open := client.Connections(); len(open) != 0 {
			t.Errorf("%v are open, and nobody has needed them for long", open)
		}
		if err := produce(t.Context(), client, "t0", 0); err != nil {
			t.Errorf("after a rest: %v", err)
		}
	})
}

// TestWhoWaitsAtTheBrokerHoldsUpNobody else: a join that is parked, a fetch
// without records.
func TestWhoWaitsAtTheBrokerHoldsUpNobody(t *testing.T) {
	inCluster(t, 1, []broker.Topic{{Name: "t0", Partitions: 1}, {Name: "u", Partitions: 1}}, kafka.Config{}, func(t *testing.T, k *virtual.Kafka, client *kafka.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		var parked sync.WaitGroup
		parked.Go(func() {
			if err := client.LongPoll(ctx, 1, 1, 30*time.Second); !errors.Is(err, context.Canceled) {
				t.Errorf("the fetch: %v", err)
			}
		})
		synctest.Wait()
		begun := time.Now()
		for range 3 {
			if err := errors.Join(produce(ctx, client, "u", 0), beat(ctx, client, time.Second)); err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(begun); d > 0 {
			t.Errorf("it took %v", d)
		}
		cancel()
		parked.Wait()
	})
}

// TestAMovedLeaderIsFoundByTheNextTry.
func TestAMovedLeaderIsFoundByTheNextTry(t *testing.T) {
	inCluster(t, 3, []broker.Topic{{Name: "t", Partitions: 1}}, kafka.Config{}, func(t *testing.T, k *virtual.Kafka, client *kafka.Client) {
		for node := range 3 {
			if err := k.MoveLeader("t", 0, node); err != nil {
				t.Fatal(err)
			}
			if produce(t.Context(), client, "t", 0) == nil {
				continue
			}
			if err := produce(t.Context(), client, "t", 0); err != nil {
				t.Errorf("leader %d: %v", node, err)
			}
		}
	})
}

// TestACoordinatorIsAskedForOnce, and again when a broker says that it is not
// the one, or goes away.
func TestACoordinatorIsAskedForOnce(t *testing.T) {
	inCluster(t, 1, []broker.Topic{{Name: "t", Partitions: 1}}, kafka.Config{}, func(t *testing.T, k *virtual.Kafka, client *kafka.Client) {
		looks := k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Observe: true, Count: -1})
		commit := func() error {
			each, err := client.Commit(t.Context(), kafka.Membership{Group: "g", Generation: -1}, []kafka.Commit{{Topic: "t"}})
			return errors.Join(append(each, err)...)
		}
		for range 5 {
			if err := commit(); err != nil {
				t.Error(err)
			}
		}
		if n := looks.Hits(); n != 1 {
			t.Errorf("it was asked for %d times", n)
		}
		k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.NotCoordinator})
		if err := commit(); err == nil {
			t.Error("a broker that is not the coordinator has committed")
		}
		if err := commit(); err != nil {
			t.Error(err)
		}
		if n := looks.Hits(); n != 2 {
			t.Errorf("after NOT_COORDINATOR it was asked for %d times", n)
		}
		k.Broker(0).Cut()
		synctest.Wait()
		if err := commit(); err != nil {
			t.Errorf("a connection that was lost while nobody used it: %v", err)
		}
		if n := looks.Hits(); n != 3 {
			t.Errorf("after a lost connection it was asked for %d times", n)
		}
		k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable, TopLevel: true})
		if _, err := client.Committed(t.Context(), "another", map[string][]int{"t": {0}}); err == nil || !strings.Contains(err.Error(), "oordinator") {
			t.Errorf("a coordinator that there is not: %v", err)
		}
	})
}

// TestAFrozenBrokerHoldsUpNoOther.
func TestAFrozenBrokerHoldsUpNoOther(t *testing.T) {
	inCluster(t, 3, []broker.Topic{{Name: "t", Partitions: 3}}, kafka.Config{}, func(t *testing.T, k *virtual.Kafka, client *kafka.Client) {
		for p := range 3 {
			if err := k.MoveLeader("t", p, p); err != nil {
				t.Fatal(err)
			}
		}
		for p := range 3 {
			if err := produce(t.Context(), client, "t", p); err != nil {
				t.Fatal(err)
			}
		}
		k.Broker(1).Freeze()
		var frozen sync.WaitGroup
		frozen.Go(func() {
			begun := time.Now()
			err := produce(t.Context(), client, "t", 1)
			if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "has not answered Produce") || kafka.Lasting(err) {
				t.Errorf("the frozen one: %v", err)
			}
			if d := time.Since(begun); d > 16*time.Second {
				t.Errorf("it took %v", d)
			}
		})
		for range 60 {
			begun := time.Now()
			for _, p := range []int{0, 2} {
				if err := produce(t.Context(), client, "t", p); err != nil {
					t.Error(err)
				}
			}
			if _, err := client.Partitions(t.Context(), "t"); err != nil {
				t.Error(err)
			}
			if d := time.Since(begun); d > 2*time.Second {
				t.Errorf("the others took %v", d)
			}
			time.Sleep(500 * time.Millisecond)
		}
		frozen.Wait()
		k.Broker(1).Heal()
		if err := produce(t.Context(), client, "t", 1); err != nil {
			t.Errorf("after it was healed: %v", err)
		}
	})
}

// TestFrozenBrokersHoldUpNoStart: another one of the list is asked long before
// the time of a dial is over.
func TestFrozenBrokersHoldUpNoStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := virtual.NewNetwork()
		k, err := virtual.StartKafka(network, 3, []broker.Topic{{Name: "t", Partitions: 1}})
		if err != nil {
			t.Fatal(err)
		}
		host := network.Boot("client")
		k.Broker(0).Freeze()
		k.Broker(2).Freeze()
		for range 20 { // the order is random
			client := kafka.Open(kafka.Config{Brokers: k.Addrs(), Dial: host.DialContext}, "t")
			begun := time.Now()
			if _, err := client.Partitions(t.Context(), "t"); err != nil || time.Since(begun) > time.Second {
				t.Errorf("after %v: %v", time.Since(begun), err)
			}
			client.Close()
		}
		k.Broker(0).Heal()
		k.Broker(2).Heal()
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestARequestBehindASlowOneHasItsWholeTime: the connection is closed for the
// request that the broker works on, not for those that queue.
func TestARequestBehindASlowOneHasItsWholeTime(t *testing.T) {
	inCluster(t, 1, []broker.Topic{{Name: "t", Partitions: 1}}, kafka.Config{}, func(t *testing.T, k *virtual.Kafka, client *kafka.Client) {
		if err := produce(t.Context(), client, "t", 0); err != nil {
			t.Fatal(err)
		}
		slow := true
		k.Cluster().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			k.Cluster().KeepControl()
			if slow {
				slow = false
				k.Cluster().SleepControl(func() { time.Sleep(12 * time.Second) })
			}
			return nil, nil, false
		})
		var first sync.WaitGroup
		first.Go(func() {
			if err := produce(t.Context(), client, "t", 0); err != nil {
				t.Errorf("the slow one: %v", err)
			}
		})
		synctest.Wait()
		var last sync.WaitGroup
		last.Go(func() {
			time.Sleep(time.Millisecond) // behind the one below
			if err := produce(t.Context(), client, "t", 0); err != nil {
				t.Errorf("the one at the end: %v", err)
			}
		})
		// Its own time is over before the slow one is answered.
		if _, err := client.Offset(t.Context(), "t", 0, kafka.LogEnd); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the one behind it: %v", err)
		}
		first.Wait()
		last.Wait()
		if end, err := client.Offset(t.Context(), "t", 0, kafka.LogEnd); err != nil || end != 3 {
			t.Errorf("the end is %d, %v", end, err)
		}
	})
}

// TestQuotasAreObeyed: the client waits for what the broker says (KIP-219), all
// but heartbeats.
func TestQuotasAreObeyed(t *testing.T) {
	var told []string
	cfg := kafka.Config{OnThrottle: func(broker int, api string, d time.Duration) {
		told = append(told, fmt.Sprintf("%d %s %v", broker, api, d))
	}}
	inCluster(t, 1, []broker.Topic{{Name: "t", Partitions: 1}}, cfg, func(t *testing.T, k *virtual.Kafka, client *kafka.Client) {
		k.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
			res := answer(req.(*kmsg.ProduceRequest), 0)
			res.ThrottleMillis = 4000
			return res, nil, true
		})
		if err := beat(t.Context(), client, time.Second); err != nil { // the coordinator is known
			t.Fatal(err)
		}
		begun := time.Now()
		if err := produce(t.Context(), client, "t", 0); err != nil || time.Since(begun) != 0 {
			t.Errorf("the answer came after %v: %v", time.Since(begun), err)
		}
		if err := beat(t.Context(), client, time.Second); err != nil || time.Since(begun) != 0 {
			t.Errorf("the heartbeat was answered after %v: %v", time.Since(begun), err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := produce(short, client, "t", 0); err == nil || !strings.Contains(err.Error(), "quotas") {
			t.Errorf("a caller without so much time: %v", err)
		}
		cancel()
		if err := produce(t.Context(), client, "t", 0); err != nil || time.Since(begun) != 4*time.Second {
			t.Errorf("the next one was answered after %v: %v", time.Since(begun), err)
		}
		if len(told) != 1 || told[0] != "0 Produce 4s" {
			t.Errorf("told: %q", told)
		}
	})
}

// TestQuotasEndNoMembership: what a connection waits for by quotas of bytes holds
// up neither heartbeats nor the question where to send them, and ends no
// connection.
func TestQuotasEndNoMembership(t *testing.T) {
	inCluster(t, 1, []broker.Topic{{Name: "t", Partitions: 1}}, kafka.Config{}, func(t *testing.T, k *virtual.Kafka, client *kafka.Client) {
		slow := false
		k.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
			k.Cluster().KeepControl()
			if slow {
				k.Cluster().SleepControl(func() { time.Sleep(1500 * time.Millisecond) })
			}
			slow = true
			res := answer(req.(*kmsg.ProduceRequest), 0)
			res.ThrottleMillis = 4000
			return res, nil, true
		})
		beats := func(when string) {
			t.Helper()
			begun := time.Now()
			if err := beat(t.Context(), client, time.Second); err != nil || time.Since(begun) != 0 {
				t.Errorf("%s: the heartbeat was answered after %v: %v", when, time.Since(begun), err)
			}
		}
		beats("at first")
		if err := produce(t.Context(), client, "t", 0); err != nil {
			t.Fatal(err)
		}
		beats("while quotas hold")
		before := client.Connections()
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := produce(short, client, "t", 0); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with one second left for a broker that takes 1.5: %v", err)
		}
		if left := client.Connections(); !maps.Equal(left, before) {
			t.Errorf("connections after a request whose time went into quotas: %v, before: %v", left, before)
		}
		time.Sleep(2 * time.Second) // it is answered, and again there is to wait
		k.Broker(0).Cut()           // the coordinator has to be found again
		synctest.Wait()
		beats("when its connection was lost")
	})
}

// TestWhatIsNoKafkaIsCalledThat, before anything of the size that it claims is
// read.
func TestWhatIsNoKafkaIsCalledThat(t *testing.T) {
	for says, want := range map[string]string{
		"HTTP/1.1 400 Bad Request\r\n\r\n": "it speaks HTTP",
		"\x15\x03\x03\x00\x02\x02\x50":     "it sends a TLS alert: set kafka.tls.enabled",
		"\x7f\xff\xff\xff\x00\x00\x00\x01": "it begins an answer of 2147483647 bytes",
		"\x00\x00\x00\x0c\x00\x00\x00\x09": "it answers request 9 instead of 1",
		"":                                 "perhaps its listener speaks TLS",
	} {
		t.Run(want, func(t *testing.T) {
			client := kafka.Open(kafka.Config{Brokers: []string{"kafka:9092"}, Dial: func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					far.Read(make([]byte, 1024))
					far.Write([]byte(says))
					far.Close()
				}()
				return near, nil
			}})
			defer client.Close()
			_, err := client.Partitions(t.Context(), "t")
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "kafka:9092") || kafka.Lasting(err) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// TestManyWhoAskDialAsOftenAsOne: each partition tries again in its own time, and
// a broker that refuses is not asked for each of them.
func TestManyWhoAskDialAsOftenAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := virtual.NewNetwork()
		k, err := virtual.StartKafka(network, 1, []broker.Topic{{Name: "t", Partitions: 1}})
		if err != nil {
			t.Fatal(err)
		}
		var dials, refusing atomic.Int64
		dial := network.Boot("client").DialContext
		client := kafka.Open(kafka.Config{Brokers: k.Addrs(), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1); refusing.Load() > 0 {
				return nil, errors.New("refused")
			}
			return dial(ctx, network, address)
		}})
		defer func() {
			client.Close()
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		}()
		refusing.Store(1)
		var asking sync.WaitGroup
		for range 24 {
			asking.Go(func() {
				for range 1000 {
					if _, err := client.Partitions(t.Context(), "t"); err == nil || !strings.HasSuffix(err.Error(), ": refused") {
						t.Error(err)
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		asking.Wait()
		if n := dials.Load(); n < 20 || n > 25 {
			t.Errorf("%d dials in 10 s", n)
		}
		refusing.Store(0)
		time.Sleep(500 * time.Millisecond)
		if _, err := client.Partitions(t.Context(), "t"); err != nil {
			t.Error(err)
		}
	})
}

// A broker works on the requests of a connection one at a time, and both a
// produce request and a commit wait for replicas. Neither waits for the other's.
func TestCommitsAndProducedBatchesDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, client, _, cluster := virtualKafka(t, 1)
		defer end()
		const replicas = 20 * time.Millisecond
		for _, api := range []kmsg.Key{kmsg.Produce, kmsg.OffsetCommit} {
			cluster.ControlKey(int16(api), func(kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				cluster.SleepControl(func() { time.Sleep(replicas) })
				return nil, nil, false
			})
		}
		produce := func() error {
			_, err := client.Produce(t.Context(), "t", 0, []events.Message{{Value: []byte("v")}}, kafka.Uncompressed)
			return err
		}
		commit := func() error {
			each, err := client.Commit(t.Context(), kafka.Membership{Group: "g", Generation: -1}, []kafka.Commit{{Topic: "t"}})
			return errors.Join(append(each, err)...)
		}
		if err := errors.Join(produce(), commit()); err != nil { // the connections are made
			t.Fatal(err)
		}
		begun := time.Now()
		var both errgroup.Group
		for _, ask := range []func() error{produce, commit} {
			both.Go(func() error {
				for range 10 {
					if err := ask(); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := both.Wait(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 10*replicas+replicas/2 {
			t.Errorf("ten batches and ten commits took %v, where each takes %v", took, replicas)
		}
		for address, n := range client.Connections() {
			if n > 2 {
				t.Errorf("%d connections to %s", n, address)
			}
		}
	})
}
