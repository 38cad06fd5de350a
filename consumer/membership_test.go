package consumer_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAMemberThatDrainsForLongerThanASessionKeepsItsPartitionsAndCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		// 9 s calls, 6 s session: a client without heartbeats while draining
		// would be thrown out and its work done again.
		closer := &closing{takes: 9 * time.Second}
		short := func(cfg *consumer.Config) {
			cfg.SessionTimeout, cfg.RebalanceTimeout = 6*time.Second, 30*time.Second
		}
		orders := numbered("T", 30)
		c.request(orders...)
		stop1 := c.worker(closer, short)
		time.Sleep(2 * time.Second) // all in flight
		stop2 := c.worker(closer, short)
		c.outcomes(len(orders))
		time.Sleep(30 * time.Second)
		stop1()
		stop2()
		if len(closer.made()) != len(orders) {
			t.Errorf("%d calls for %d requests", len(closer.made()), len(orders))
		}
	})
}

func TestLostConnectionsAreNotALostMembership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		h := &host{net: c.net}
		var hook *test.Hook
		closer := &closing{takes: 300 * time.Millisecond}
		stop := c.worker(closer, func(cfg *consumer.Config) { heard(&hook)(cfg); cfg.Kafka.Dial = h.dial; cfg.MaxInFlight = 5 })
		orders := numbered("T", 300)
		c.request(orders...)
		for range 4 {
			time.Sleep(3 * time.Second)
			h.cut(true) // and no way to connect for a while
			time.Sleep(2 * time.Second)
			h.revive()
		}
		c.outcomes(len(orders))
		time.Sleep(10 * time.Second)
		stop()
		if n := logged(hook, "partitions assigned"); n != 1 {
			t.Errorf("%d generations, want 1", n)
		}
		if len(closer.made()) != len(orders) {
			t.Errorf("%d calls for %d requests", len(closer.made()), len(orders))
		}
	})
}

func TestAMemberThatCannotReachTheCoordinatorStartsNothingAfterItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		h := &host{net: c.net}
		closer := &closing{takes: time.Second}
		stop := c.worker(closer, func(cfg *consumer.Config) {
			cfg.Kafka.Dial = h.dial
			cfg.MaxInFlight = 1
			cfg.SessionTimeout = 10 * time.Second
		})
		c.request(numbered("T", 100)...)
		time.Sleep(5 * time.Second)
		h.cut(true)
		time.Sleep(11 * time.Second)
		closer.mu.Lock()
		started := len(closer.calls)
		closer.mu.Unlock()
		time.Sleep(5 * time.Minute)
		closer.mu.Lock()
		after := len(closer.calls)
		closer.mu.Unlock()
		if after != started {
			t.Errorf("%d calls were started after the session was over", after-started)
		}
		stop()
	})
}

func TestAStoppedMemberLeavesAtOnceAlsoWhileItJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		busy := &closing{takes: 15 * time.Second}
		stop1 := c.worker(busy, func(cfg *consumer.Config) { cfg.RebalanceTimeout = time.Minute })
		c.request("T1")
		time.Sleep(time.Second)
		stop2 := c.worker(&closing{}, nil) // parked: the first one drains for 15 s
		time.Sleep(5 * time.Second)
		began := time.Now()
		stop2()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("leaving took %v", took)
		}
		c.outcomes(1)
		stop1()
	})
}

func TestTheOthersGetThePartitionsOfAStoppedMemberAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		stop1 := c.worker(&closing{}, nil)
		stop2 := c.worker(&closing{}, nil)
		defer stop2()
		time.Sleep(30 * time.Second)
		stop1()
		began := time.Now()
		c.request(numbered("T", 30)...)
		c.outcomes(30)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v: the session of the stopped member had to time out", took)
		}
	})
}

// assigned are the partitions that a worker has been given last, as it says.
// kfake begins a rebalance when a static member comes back with another
// subscription, which Apache Kafka does not: what counts is what moves.
func assigned(hook *test.Hook) string {
	last := "nothing"
	for _, e := range hook.AllEntries() {
		if e.Message == "partitions assigned" {
			last = fmt.Sprint(e.Data["assigned"])
		}
	}
	return last
}

func TestARestartedStaticMemberMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{takes: 100 * time.Millisecond}
		static := func(id string, hook **test.Hook) func(*consumer.Config) {
			return func(cfg *consumer.Config) {
				heard(hook)(cfg)
				cfg.InstanceID = id
				cfg.MaxInFlight = 4
				cfg.SessionTimeout = 30 * time.Second
			}
		}
		var hooks [3]*test.Hook
		var stops [3]func()
		for i, id := range []string{"a", "b", "c"} {
			stops[i] = c.worker(closer, static(id, &hooks[i]))
		}
		orders := numbered("T", 1500)
		c.request(orders...)
		time.Sleep(20 * time.Second)
		before := [3]string{assigned(hooks[0]), assigned(hooks[1]), assigned(hooks[2])}
		for i, id := range []string{"a", "b", "c"} {
			stops[i]()
			time.Sleep(3 * time.Second)
			var again *test.Hook
			stops[i] = c.worker(closer, static(id, &again))
			time.Sleep(5 * time.Second)
			if got := assigned(again); got != before[i] {
				t.Errorf("%s has %s after its restart, %s before", id, got, before[i])
			}
			for j, h := range hooks {
				if got := assigned(h); j > i && got != before[j] {
					t.Errorf("the restart of %s moved partitions of member %d: it has %s, %s before", id, j, got, before[j])
				}
			}
		}
		c.outcomes(len(orders))
		for _, stop := range stops {
			stop()
		}
		if len(closer.made()) != len(orders) {
			t.Errorf("%d calls for %d requests: something was started twice", len(closer.made()), len(orders))
		}
	})
}

func TestASecondMemberWithTheSameInstanceIDEndsTheFirstWithAClearError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		run := func(ctx context.Context) error {
			var hook *test.Hook
			cfg := consumer.Config{
				Kafka: consumer.Kafka{Brokers: []string{c.broker.Addr()}, Dial: c.net.dial},
				Group: "g", InstanceID: "same", SessionTimeout: 10 * time.Second, RebalanceTimeout: time.Minute, MaxInFlight: 1,
				Topics: consumer.Topics{Requests: "requests", Outcomes: "outcomes", DeadLetters: "dead", Retries: tiers}, Closer: &closing{},
			}
			heard(&hook)(&cfg)
			w, err := consumer.New(cfg)
			if err != nil {
				return err
			}
			return w.Run(ctx)
		}
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- run(ctx) }()
		time.Sleep(5 * time.Second)
		go func() { second <- run(ctx) }()
		if err := <-first; err == nil || !strings.Contains(err.Error(), "group.instance.id") {
			t.Errorf("the first one ended with %v", err)
		}
		cancel()
		if err := <-second; err != nil {
			t.Errorf("the second one ended with %v", err)
		}
	})
}

// A member that reads the requests alone leaves the retries of its numbers to
// the worker, whoever leads, and the worker says so.
func TestAMemberOfAnotherLibrarySharesTheGroup(t *testing.T) {
	for _, order := range []string{"ours leads", "theirs leads"} {
		t.Run(order, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				var mu sync.Mutex
				var theirs []string
				foreign := func() func() {
					client, err := kgo.NewClient(kgo.SeedBrokers(c.broker.Addr()), kgo.Dialer(c.net.dial),
						kgo.ConsumerGroup("g"), kgo.ConsumeTopics("requests"), kgo.Balancers(kgo.RangeBalancer(), kgo.CooperativeStickyBalancer()))
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithCancel(t.Context())
					done := make(chan struct{})
					go func() {
						defer close(done)
						for ctx.Err() == nil {
							fetches := client.PollFetches(ctx)
							mu.Lock()
							fetches.EachRecord(func(r *kgo.Record) { theirs = append(theirs, string(r.Key)) })
							mu.Unlock()
						}
					}()
					return func() { cancel(); <-done; client.Close() }
				}
				closer := &closing{}
				var hook *test.Hook
				var stops []func()
				if order == "ours leads" {
					stops = append(stops, c.worker(closer, heard(&hook)))
					time.Sleep(5 * time.Second)
					stops = append(stops, foreign())
				} else {
					stops = append(stops, foreign())
					time.Sleep(5 * time.Second)
					stops = append(stops, c.worker(closer, heard(&hook)))
				}
				time.Sleep(20 * time.Second)
				orders := numbered("T", 300)
				c.request(orders...)
				time.Sleep(time.Minute)
				mu.Lock()
				got := append(slices.Clone(theirs), closer.made()...)
				// Another library's leader may think the retries alone a fair share.
				if len(theirs) == 0 || len(closer.made()) == 0 && order == "ours leads" {
					t.Errorf("theirs got %d, ours %d", len(theirs), len(closer.made()))
				}
				mu.Unlock()
				if n := logged(hook, "ALARM: the group gives this worker retries without the requests of that number"); n != 1 {
					t.Errorf("it is told %d times that retries are apart from their requests", n)
				}
				slices.Sort(got)
				if !slices.Equal(got, orders) {
					t.Errorf("%d of %d requests were read", len(slices.Compact(got)), len(orders))
				}
				for _, stop := range stops {
					stop()
				}
			})
		})
	}
}

// Outcomes that could not be published before a rebalance are not published
// while the member cannot join: another one owns the partition by then.
func TestNothingIsPublishedWhileAMemberCannotJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		says := func(code string) *closing {
			return &closing{answer: func(events.Request) consumer.Verdict {
				return consumer.Verdict{Class: consumer.Closed, Code: code, Calls: 1}
			}}
		}
		refused := c.refuse("outcomes", kerr.NotEnoughReplicas, -1)
		var first atomic.Value
		var block atomic.Bool
		c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.CoordinatorLoadInProgress, Count: -1, TopLevel: true, When: func(r kmsg.Request) bool {
			j := r.(*kmsg.JoinGroupRequest)
			if j.MemberID != "" && first.Load() == nil {
				first.Store(j.MemberID)
			}
			return block.Load() && j.MemberID == first.Load().(string)
		}})
		defer c.worker(says("FIRST"), nil)()
		c.publish(to(0, "T1"))
		time.Sleep(5 * time.Second)
		block.Store(true)
		defer c.worker(says("SECOND"), nil)()
		time.Sleep(2 * time.Minute)
		refused.Remove()
		time.Sleep(30 * time.Second)
		for _, o := range c.outcomes(1) {
			if o.Code != "SECOND" {
				t.Errorf("published by the %s member", o.Code)
			}
		}
		if n := c.end("outcomes"); n != 1 {
			t.Errorf("%d outcomes", n)
		}
	})
}

// A commit that is refused as one of another generation ends the generation:
// without a heartbeat that says the same, nothing would be committed any more.
func TestAfterARefusedGenerationTheGroupIsJoinedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.worker(&closing{}, nil)()
		time.Sleep(5 * time.Second)
		c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.IllegalGeneration, Count: 1})
		for i := range 10 {
			c.publish(to(0, fmt.Sprint("T", i)))
			time.Sleep(10 * time.Second)
		}
		if at := c.committed()[0].At; at != 10 {
			t.Errorf("committed %d of 10", at)
		}
	})
}

// One connection that a firewall has forgotten swallows what is written to it:
// that is no lost membership, however short the rebalance time-out.
func TestOneSilentConnectionIsNotALostMembership(t *testing.T) {
	for _, rebalance := range []time.Duration{10 * time.Second, 30 * time.Second, time.Minute} {
		t.Run(rebalance.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				var hook *test.Hook
				var now atomic.Pointer[atomic.Bool]
				now.Store(new(atomic.Bool))
				stop := c.worker(&closing{}, func(cfg *consumer.Config) {
					heard(&hook)(cfg)
					cfg.SessionTimeout, cfg.RebalanceTimeout = 45*time.Second, rebalance
					dial := cfg.Kafka.Dial
					cfg.Kafka.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
						conn, err := dial(ctx, network, addr)
						return silentConn{conn, now.Load()}, err
					}
				})
				time.Sleep(20 * time.Second)
				now.Swap(new(atomic.Bool)).Store(true)
				time.Sleep(5 * time.Minute)
				stop()
				if n := logged(hook, "membership lost"); n > 0 {
					t.Errorf("lost %d times", n)
				}
			})
		})
	}
}

// silentConn swallows what is written once it is gone.
type silentConn struct {
	net.Conn
	gone *atomic.Bool
}

func (c silentConn) Write(b []byte) (int, error) {
	if c.gone.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// Requests and retry topics get more partitions: a retry goes to the number of
// its request, also when that is new.
func TestARetryGoesToTheNewPartitionOfItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			if nth == 1 {
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return closedAnswer
		}}
		defer c.worker(&closing{answer: d.note}, nil)()
		c.publish(to(0, "T0"))
		c.outcomes(1)
		if _, err := c.admin().UpdatePartitions(t.Context(), 6, "requests", "retry.10s", "retry.1m", "retry.5m"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		c.publish(to(4, "T4"))
		for _, r := range c.read("retry.10s", 2) {
			if string(r.Key) == "T4" && r.Partition != 4 {
				t.Errorf("the retry of %s is in partition %d", r.Key, r.Partition)
			}
		}
	})
}

// A worker that is stopped while it gives up some of its partitions starts no
// call for the others either, and has one grace period for all.
func TestAStopWhilePartitionsAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{takes: time.Hour}
		stop := c.worker(closer, func(cfg *consumer.Config) {
			cfg.MaxInFlight, cfg.RebalanceTimeout, cfg.Grace = 1000, 2*time.Minute, 10*time.Second
		})
		for id := range int32(3) {
			c.publish(to(id, fmt.Sprint("T", id)))
		}
		time.Sleep(5 * time.Second)
		defer c.worker(&closing{}, nil)()
		time.Sleep(5 * time.Second)
		began := time.Now()
		go func() {
			time.Sleep(time.Second)
			c.publish(to(0, "LATE"))
		}()
		stop()
		if took := time.Since(began); took > 13*time.Second {
			t.Errorf("the stop took %v, with a grace period of 10s", took)
		}
		if slices.Contains(closer.made(), "LATE") {
			t.Error("a call was started after the stop")
		}
		c.outcomes(4)
	})
}
