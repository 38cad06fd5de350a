package world

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A gateway that takes its time, so that something is always in flight.
var unhurried = gatewaysim.Config{Latency: gatewaysim.Latency{Min: 50 * time.Millisecond, Max: 400 * time.Millisecond}}

func TestGoodDay(t *testing.T) {
	inVirtualTime(t, Config{Brokers: 3, Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.workers(3)
		s.asks(Traffic{Seed: 1, Requests: 500, Over: time.Minute, Poison: .02, Repeats: .1, Hot: .02})()
		s.answered(time.Minute)
		report := s.check(func(e *Evidence) { e.MaxInFlight = 3 * s.Config.MaxInFlight })
		if report.Duplicates > 0 {
			t.Errorf("%d duplicates on a good day", report.Duplicates)
		}
	})
}

// Orders that never get an answer are put off again and again, beside others
// that do: without those the gateway itself would seem to be away.
func TestEveryKindOfOrderEndsAsItShould(t *testing.T) {
	var prefixes []string
	for _, b := range gatewaysim.Behaviours() {
		if !strings.HasPrefix(b.Outcome, "none") && b.Prefix != "CODE-" {
			prefixes = append(prefixes, b.Prefix)
		}
	}
	inVirtualTime(t, Config{Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.workers(1)
		ordinary := s.asks(Traffic{Seed: 1, Requests: 400, Over: 30 * time.Minute})
		s.asks(Traffic{Seed: 2, Requests: 200, Over: time.Minute, Behaviours: prefixes})()
		ordinary()
		s.answered(5 * time.Minute)
		s.check(nil)
	})
}

// The worst moment to die: the outcomes are out, and nobody knows.
func TestCrashBetweenPublishAndCommit(t *testing.T) {
	inVirtualTime(t, Config{Gateway: unhurried}, func(t *testing.T, s *stage) {
		victim := s.worker("worker-0", nil)
		refused := s.Kafka.Cluster().Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: -1,
		})
		s.asks(Traffic{Seed: 3, Requests: 100, Over: 10 * time.Second})()
		s.answered(time.Minute)
		victim.Kill()
		refused.Remove()
		s.worker("worker-1", nil)
		s.stays(2 * time.Minute)
		if report := s.check(nil); report.Duplicates != 100 {
			t.Errorf("%d duplicates, want one of each of the 100 outcomes", report.Duplicates)
		}
	})
}

func TestCrashUnderLoad(t *testing.T) {
	inVirtualTime(t, Config{Brokers: 3, Gateway: unhurried}, func(t *testing.T, s *stage) {
		all := s.workers(3)
		wait := s.asks(Traffic{Seed: 4, Requests: 500, Over: 2 * time.Minute, Repeats: .1, Hot: .02})
		s.stays(30 * time.Second)
		all[1].Kill()
		s.stays(30 * time.Second)
		s.worker("worker-1", nil)
		wait()
		s.answered(3 * time.Minute)
		if report := s.check(nil); report.Duplicates > s.Config.MaxInFlight {
			t.Errorf("%d duplicates of one crash, want no more than the %d requests in flight", report.Duplicates, s.Config.MaxInFlight)
		}
	})
}

func TestRebalancesInTheMiddle(t *testing.T) {
	inVirtualTime(t, Config{Brokers: 3, Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.worker("worker-0", nil)
		wait := s.asks(Traffic{Seed: 5, Requests: 600, Over: 2 * time.Minute, Repeats: .1, Hot: .02})
		for i := range 8 {
			s.stays(10 * time.Second)
			joining := s.worker(fmt.Sprintf("worker-%d", i+1), nil)
			s.stays(5 * time.Second)
			if err := joining.Stop(); err != nil {
				t.Error(err)
			}
		}
		wait()
		s.answered(time.Minute)
		if report := s.check(nil); report.Duplicates > 0 {
			t.Errorf("%d duplicates, want none: every member left cleanly", report.Duplicates)
		}
	})
}

func TestCleanStop(t *testing.T) {
	inVirtualTime(t, Config{Gateway: gatewaysim.Config{Latency: gatewaysim.Latency{Min: time.Second, Max: 5 * time.Second}}}, func(t *testing.T, s *stage) {
		all := s.workers(2)
		wait := s.asks(Traffic{Seed: 6, Requests: 300, Over: 30 * time.Second})
		s.stays(20 * time.Second)
		began := time.Now()
		for _, wk := range all {
			wk.stop()
		}
		for _, wk := range all {
			if err := wk.Wait(); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("the stop took %v, want no more than a close and a query of 5 s each", took)
		}
		s.stopped()
		wait()
		s.workers(2)
		s.answered(time.Minute)
		report := s.check(nil)
		if report.Duplicates > 0 {
			t.Errorf("%d duplicates after a clean stop", report.Duplicates)
		}
		if want := 2 * report.Requests; report.Calls != want {
			t.Errorf("%d calls, want a close and a query for each request, %d: calls were cut off", report.Calls, want)
		}
	})
}

func TestRollingRestartWithStaticIDs(t *testing.T) {
	// As many partitions for each: one that is over is dealt to anybody.
	inVirtualTime(t, Config{Brokers: 3, Partitions: 6, Gateway: unhurried}, func(t *testing.T, s *stage) {
		static := func(name string) *Worker {
			return s.worker(name, func(c *config.Config) { c.Kafka.InstanceID = name })
		}
		all := []*Worker{static("worker-0"), static("worker-1"), static("worker-2")}
		wait := s.asks(Traffic{Seed: 7, Requests: 500, Over: 2 * time.Minute})
		s.stays(20 * time.Second)
		for i, wk := range all {
			owners := s.owners()
			if err := wk.Stop(); err != nil {
				t.Error(err)
			}
			s.stays(2 * time.Second)
			all[i] = static(wk.Name)
			s.stays(10 * time.Second)
			// Apache Kafka does not even begin a rebalance, see crashtest's
			// TestRollingRestart; kfake does, as the member says something else
			// of itself than it did.
			if now := s.owners(); !maps.Equal(now, owners) {
				t.Errorf("restarting %s moved partitions: %v, then %v", wk.Name, owners, now)
			}
		}
		wait()
		s.answered(time.Minute)
		if report := s.check(nil); report.Duplicates > 0 {
			t.Errorf("%d requests were answered twice", report.Duplicates)
		}
	})
}

// A worker whose way to Kafka is gone for longer than its session: it must
// neither call nor publish for partitions that others own by then.
func TestWorkerThatWasDeclaredDeadComesBack(t *testing.T) {
	inVirtualTime(t, Config{Brokers: 3, Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.workers(3)
		wait := s.asks(Traffic{Seed: 8, Requests: 500, Over: 4 * time.Minute, Repeats: .1})
		s.stays(30 * time.Second)
		for i := range 3 {
			s.Network.Between("worker-2", BrokerName(i)).Freeze()
		}
		s.stays(2 * time.Minute)
		for i := range 3 {
			s.Network.Between("worker-2", BrokerName(i)).Heal()
		}
		wait()
		s.answered(3 * time.Minute)
		s.check(nil)
	})
}

// The same with a backlog that would last for minutes: it belongs to others.
func TestWorkerThatWasDeclaredDeadLeavesItsBacklog(t *testing.T) {
	slow := gatewaysim.Config{Latency: gatewaysim.Latency{Min: time.Second, Max: 2 * time.Second}}
	few := func(c *config.Config) { c.MaxInFlight = 4 }
	inVirtualTime(t, Config{Gateway: slow, Tune: few}, func(t *testing.T, s *stage) {
		s.workers(2)
		s.stays(10 * time.Second)
		s.asks(Traffic{Seed: 15, Requests: 400})()
		s.stays(10 * time.Second)
		path := s.Network.Between("worker-1", BrokerName(0))
		path.Freeze()
		s.stays(3 * time.Minute)
		path.Heal()
		s.answered(20 * time.Minute)
		report := s.check(func(e *Evidence) { e.MaxInFlight = 8 })
		if most := 2 * 4; report.Duplicates > most {
			t.Errorf("%d duplicates, want no more than %d", report.Duplicates, most)
		}
	})
}

// Requests reach Kafka and its answers never come back.
func TestAnswersOfKafkaAreLost(t *testing.T) {
	inVirtualTime(t, Config{Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.workers(2)
		wait := s.asks(Traffic{Seed: 9, Requests: 300, Over: 4 * time.Minute})
		s.stays(30 * time.Second)
		path := s.Network.Way(BrokerName(0), "worker-0")
		path.Freeze()
		s.stays(20 * time.Second)
		path.Heal()
		s.stays(20 * time.Second)
		path.Freeze()
		s.stays(2 * time.Minute)
		path.Heal()
		wait()
		s.answered(3 * time.Minute)
		s.check(nil)
	})
}

func TestBrokerTrouble(t *testing.T) {
	for sentence, trouble := range map[string]struct{ begin, end func(s *stage) }{
		"a slow broker holds up, and loses nothing": {
			func(s *stage) { s.Kafka.Broker(0).Slow(400*time.Millisecond, 20_000) },
			func(s *stage) { s.Kafka.Broker(0).Heal() },
		},
		"a frozen broker comes back": {
			func(s *stage) { s.Kafka.Broker(0).Freeze() },
			func(s *stage) { s.Kafka.Broker(0).Heal() },
		},
		"all brokers are frozen": {
			func(s *stage) { s.eachBroker(Path.Freeze) },
			func(s *stage) { s.eachBroker(Path.Heal) },
		},
		"a broker is switched off, others take over": {
			func(s *stage) { s.takeDown(0) },
			func(s *stage) { s.Kafka.Broker(0).Heal() },
		},
		"the coordinator is switched off": {
			func(s *stage) {
				s.takeDown(int(s.Kafka.Cluster().CoordinatorFor(s.Config.Kafka.Group)))
			},
			func(s *stage) { s.eachBroker(Path.Heal) },
		},
		"the leaders move every second": {
			func(s *stage) {
				for i := range 30 {
					for _, topic := range s.Topics {
						for p := range topic.Partitions {
							if err := s.Kafka.MoveLeader(topic.Name, p, (p+i)%3); err != nil {
								s.t.Error(err)
							}
						}
					}
					s.stays(time.Second)
				}
			},
			func(*stage) {},
		},
		"every connection to Kafka is cut every second": {
			func(s *stage) {
				for range 30 {
					s.eachBroker(func(p Path) { p.Cut() })
					s.stays(time.Second)
				}
			},
			func(*stage) {},
		},
		"the coordinator moves every five seconds": {
			func(s *stage) {
				for range 6 {
					s.Kafka.MoveCoordinator(s.Config.Kafka.Group)
					s.stays(5 * time.Second)
				}
			},
			func(*stage) {},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			inVirtualTime(t, Config{Brokers: 3, Gateway: unhurried}, func(t *testing.T, s *stage) {
				s.workers(2)
				wait := s.asks(Traffic{Seed: 10, Requests: 300, Over: 2 * time.Minute, Repeats: .1})
				s.stays(30 * time.Second)
				trouble.begin(s)
				s.stays(30 * time.Second)
				trouble.end(s)
				wait()
				s.answered(3 * time.Minute)
				s.check(nil)
			})
		})
	}
}

func TestBrokerErrors(t *testing.T) {
	produce, commit := []kmsg.Key{kmsg.Produce}, []kmsg.Key{kmsg.OffsetCommit}
	for sentence, fault := range map[string]kfake.Fault{
		"outcomes are written, and the broker says that it ran out of time":     {Keys: produce, Topic: "closeorder.outcomes", Err: kerr.RequestTimedOut, Count: 40},
		"outcomes are written, and too few replicas have them":                  {Keys: produce, Topic: "closeorder.outcomes", Err: kerr.NotEnoughReplicasAfterAppend, Count: 40},
		"outcomes are refused for want of replicas":                             {Keys: produce, Topic: "closeorder.outcomes", Err: kerr.NotEnoughReplicas, Count: 40},
		"outcomes are refused with an error that nobody knows":                  {Keys: produce, Topic: "closeorder.outcomes", Count: 40},
		"dead letters are written, and the broker says that it ran out of time": {Keys: produce, Topic: "closeorder.dead-letters", Err: kerr.RequestTimedOut, Count: 10},
		"commits are done, and the broker says that it ran out of time":         {Keys: commit, Err: kerr.RequestTimedOut, Count: 40},
		"commits are refused":                             {Keys: commit, Err: kerr.CoordinatorNotAvailable, Count: 40},
		"commits are refused: a rebalance is in progress": {Keys: commit, Err: kerr.RebalanceInProgress, Count: 10},
		"heartbeats are refused: not the coordinator":     {Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.NotCoordinator, Count: 20},
		"heartbeats are refused: unknown member":          {Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, Count: 3},
		"heartbeats are refused: illegal generation":      {Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.IllegalGeneration, Count: 3},
		"fetches are refused":                             {Keys: []kmsg.Key{kmsg.Fetch}, Topic: "closeorder.requests", Err: kerr.KafkaStorageError, Count: 40},
		"joins are refused for a while":                   {Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.CoordinatorLoadInProgress, Count: 10},
		"the committed offset cannot be read for a while": {Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.CoordinatorLoadInProgress, Count: 10},
	} {
		t.Run(sentence, func(t *testing.T) {
			inVirtualTime(t, Config{Brokers: 3, Gateway: unhurried}, func(t *testing.T, s *stage) {
				s.worker("worker-0", nil)
				wait := s.asks(Traffic{Seed: 11, Requests: 200, Over: time.Minute, Poison: .05})
				s.stays(10 * time.Second)
				installed := s.Kafka.Cluster().Fault(fault)
				s.stays(10 * time.Second)
				s.worker("worker-1", nil) // joins in the middle of it
				wait()
				s.answered(3 * time.Minute)
				if installed.Hits() == 0 {
					t.Error("the fault met no request")
				}
				s.check(nil)
			})
		})
	}
}

func TestGatewayTrouble(t *testing.T) {
	slow := gatewaysim.Config{Latency: gatewaysim.Latency{Min: 200 * time.Millisecond, Max: time.Second, Jitter: time.Second}}
	for sentence, trouble := range map[string]struct{ begin, end func(s *stage) }{
		"the main host is frozen": {
			func(s *stage) { s.Gateway.Host(0).Freeze() },
			func(s *stage) { s.Gateway.Host(0).Heal() },
		},
		"the main host refuses connections": {
			func(s *stage) { s.Gateway.Host(0).Refuse() },
			func(s *stage) { s.Gateway.Host(0).Heal() },
		},
		"the main host answers 502": {
			func(s *stage) { s.Gateway.SetOutage(GatewayName(0), gatewaysim.Outage5xx) },
			func(s *stage) { s.Gateway.SetOutage(GatewayName(0), gatewaysim.NoOutage) },
		},
		"replies of the main host are lost": {
			func(s *stage) { s.Network.Way(GatewayName(0), "").Freeze() },
			func(s *stage) { s.Network.Way(GatewayName(0), "").Heal() },
		},
		"connections are cut every second": {
			func(s *stage) {
				for range 30 {
					s.Gateway.Host(0).Cut()
					s.Gateway.Host(1).Cut()
					s.stays(time.Second)
				}
			},
			func(*stage) {},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			inVirtualTime(t, Config{GatewayHosts: 2, Gateway: slow}, func(t *testing.T, s *stage) {
				s.workers(2)
				wait := s.asks(Traffic{Seed: 12, Requests: 300, Over: 2 * time.Minute, Repeats: .1})
				s.stays(30 * time.Second)
				trouble.begin(s)
				s.stays(30 * time.Second)
				trouble.end(s)
				wait()
				s.answered(3 * time.Minute)
				s.check(nil)
			})
		})
	}
}

// A member of another library joins, takes partitions and leaves: ours go on.
func TestForeignMemberInTheGroup(t *testing.T) {
	inVirtualTime(t, Config{Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.workers(2)
		wait := s.asks(Traffic{Seed: 13, Requests: 300, Over: 2 * time.Minute})
		s.stays(20 * time.Second)
		foreign, err := kgo.NewClient(append(reach(s.World, s.Network.Boot("foreign")),
			kgo.ConsumerGroup(s.Config.Kafka.Group), kgo.ConsumeTopics(s.Config.Topics.Requests),
			kgo.Balancers(kgo.RangeBalancer()), kgo.DisableAutoCommit(),
		)...)
		if err != nil {
			t.Fatal(err)
		}
		s.stays(30 * time.Second)
		if fetched := foreign.PollFetches(t.Context()); fetched.NumRecords() == 0 {
			t.Errorf("the foreign member got nothing to do: %v", fetched.Errors())
		}
		foreign.Close()
		wait()
		s.answered(2 * time.Minute)
		s.check(nil)
	})
}

func TestHotOrderStarvesNobody(t *testing.T) {
	inVirtualTime(t, Config{Gateway: unhurried, Tune: func(c *config.Config) { c.MaxInFlight = 8 }}, func(t *testing.T, s *stage) {
		hot := make([]Publication, 300)
		for i := range hot {
			hot[i].Message = Message{Key: []byte("hot"), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":"hot","request_id":"r%d"}`, i)}
		}
		if err := s.shop.Ask(t.Context(), hot); err != nil {
			t.Fatal(err)
		}
		if err := s.shop.Ask(t.Context(), Traffic{Seed: 14, Requests: 100}.Publications()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.workers(1)
		s.answered(10 * time.Minute)
		s.check(func(e *Evidence) { e.MaxInFlight = 8 })
		var last time.Time
		for _, r := range s.observer.Records(s.Config.Topics.Outcomes) {
			if a, _ := readOutcome(r); a.OutTradeNo != "hot" && a.CompletedAt.After(last) {
				last = a.CompletedAt
			}
		}
		if took := last.Sub(began); took > 20*time.Second {
			t.Errorf("the 100 other orders took %v beside a hot one", took)
		}
	})
}
