package consumer_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Rows of the failure matrix in docs/guarantees.md that have no other test.

// poison is a record that can never work.
func poison(partition int32) *kgo.Record {
	return &kgo.Record{Topic: "requests", Partition: partition, Key: []byte("POISON"), Value: []byte("not json")}
}

// A worker dies at each step of one request; the next owner of the partition
// finds out what is left to do.
func TestAWorkerThatDies(t *testing.T) {
	commitsRefused := kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: -1}
	outcomesRefused := kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "outcomes", Err: kerr.NotEnoughReplicas, Count: -1}
	putOff := func(events.Request) consumer.Verdict {
		return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
	}
	for _, moment := range []struct {
		sentence string
		fault    *kfake.Fault // stops the first worker at the moment
		takes    time.Duration
		answer   func(events.Request) consumer.Verdict
		slots    int
		record   *kgo.Record
		before   *kgo.Record // read before record, by the same worker

		dead, heir int // calls for the record, by the two workers
		outcomes   int // of the record
		letters    int
	}{
		{sentence: "before the call", takes: time.Hour, slots: 1, before: to(0, "SLOW"), record: to(0, "T1"), dead: 0, heir: 1, outcomes: 1},
		{sentence: "during the call", takes: time.Hour, record: to(0, "T1"), dead: 1, heir: 1, outcomes: 1},
		{sentence: "after the call, before the outcome is acknowledged", fault: &outcomesRefused, record: to(0, "T1"), dead: 1, heir: 1, outcomes: 1},
		{sentence: "after the outcome, before the commit", fault: &commitsRefused, record: to(0, "T1"), dead: 1, heir: 1, outcomes: 2},
		{sentence: "after the commit", record: to(0, "T1"), dead: 1, heir: 0, outcomes: 1},
		{sentence: "after the retry record, before the commit", fault: &commitsRefused, answer: putOff, record: to(0, "T1"), dead: 1, heir: 2, outcomes: 2},
		{sentence: "after the retry record and the commit", answer: putOff, record: to(0, "T1"), dead: 1, heir: 1, outcomes: 1},
		{sentence: "after the dead letter, before its outcome", fault: &outcomesRefused, record: poison(0), outcomes: 1, letters: 2},
		{sentence: "after dead letter and outcome, before the commit", fault: &commitsRefused, record: poison(0), outcomes: 2, letters: 2},
	} {
		t.Run(moment.sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				var fault *kfake.FaultHandle
				if moment.fault != nil {
					fault = c.broker.Cluster().Fault(*moment.fault)
				}
				h := &host{net: c.net}
				first := &closing{takes: moment.takes, answer: moment.answer}
				kill := c.worker(first, func(cfg *consumer.Config) {
					cfg.Kafka.Dial, cfg.Grace = h.dial, time.Second
					if moment.slots > 0 {
						cfg.MaxInFlight = moment.slots
					}
				})
				p := c.manual()
				for _, r := range []*kgo.Record{moment.before, moment.record} {
					if r == nil {
						continue
					}
					if err := p.ProduceSync(t.Context(), r).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(5 * time.Second)
				h.cut(true)
				kill()
				if fault != nil {
					fault.Remove()
				}
				heir := &closing{}
				defer c.worker(heir, nil)()
				time.Sleep(5 * time.Minute)

				order := string(moment.record.Key)
				if dead, made := count(first.made(), order), count(heir.made(), order); dead != moment.dead || made != moment.heir {
					t.Errorf("the dead worker made %d calls and its heir %d, want %d and %d", dead, made, moment.dead, moment.heir)
				}
				ids := make(map[string]int)
				for _, o := range c.outcomes(int(c.end("outcomes"))) {
					if string(o.Key) == order {
						ids[o.ID]++
					}
				}
				if len(ids) != 1 {
					t.Errorf("event ids %v, want one", ids)
				}
				for _, n := range ids {
					if n != moment.outcomes {
						t.Errorf("%d outcomes, want %d", n, moment.outcomes)
					}
				}
				if n := c.end("dead"); n != int64(moment.letters) {
					t.Errorf("%d dead letters, want %d", n, moment.letters)
				}
				if at := c.committed()[0]; at.At != moment.record.Offset+1 {
					t.Errorf("committed %+v, want %d", at, moment.record.Offset+1)
				}
			})
		})
	}
}

func count(calls []string, order string) (n int) {
	for _, c := range calls {
		if c == order {
			n++
		}
	}
	return n
}

func TestAStopLetsCallsFinishAndCommitsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{takes: 10 * time.Second}
		stop := c.worker(closer, func(cfg *consumer.Config) { cfg.MaxInFlight = 20 })
		c.request(numbered("T", 30)...)
		time.Sleep(2 * time.Second)
		began := time.Now()
		stop()
		if took := time.Since(began); took < 7*time.Second || took > 9*time.Second {
			t.Errorf("the stop took %v, the calls in flight 8s", took)
		}
		if calls, outcomes := len(closer.made()), c.end("outcomes"); calls != 20 || outcomes != 20 {
			t.Errorf("%d calls and %d outcomes, want those of the 20 in flight", calls, outcomes)
		}
		heir := &closing{}
		defer c.worker(heir, nil)()
		c.outcomes(30)
		time.Sleep(time.Minute)
		if len(heir.made()) != 10 {
			t.Errorf("the next owner made %d calls, want 10: what was finished is committed", len(heir.made()))
		}
	})
}

func TestACallThatOutlastsADrainIsCutOffAndMadeByTheNextOwner(t *testing.T) {
	for sentence, wait := range map[string]func(c *cluster, stop func()) (stopHeir func()){
		"a stop": func(c *cluster, stop func()) func() {
			began := time.Now()
			stop()
			if took := time.Since(began); took > 8*time.Second {
				c.t.Errorf("the stop took %v, the grace is 5s", took)
			}
			return c.worker(&closing{}, nil)
		},
		"a rebalance": func(c *cluster, stop func()) func() {
			stopHeir := c.worker(&closing{}, nil)
			time.Sleep(30 * time.Second) // half of the rebalance time-out of 20 s is for the drain
			if n := c.end("outcomes"); n == 0 || n == 30 {
				c.t.Errorf("%d of 30 outcomes: the new member has no share of the work", n)
			}
			stop()
			return stopHeir
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				stuck := &closing{takes: time.Hour}
				stop := c.worker(stuck, func(cfg *consumer.Config) { cfg.Grace = 5 * time.Second })
				orders := numbered("T", 30)
				c.request(orders...)
				time.Sleep(2 * time.Second)
				defer wait(c, stop)()
				var got []string
				for _, o := range c.outcomes(len(orders)) {
					got = append(got, o.OutTradeNo)
				}
				slices.Sort(got)
				if !slices.Equal(got, orders) {
					t.Errorf("outcomes of %v", got)
				}
			})
		})
	}
}

// An embedded broker acknowledges at once whatever it is asked for, so the
// question itself is looked at.
func TestEveryRecordIsPublishedToAllInSyncReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		asked := make(map[string]int)
		kafka := c.broker.Cluster()
		kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
			kafka.KeepControl()
			produce := req.(*kmsg.ProduceRequest)
			for _, topic := range produce.Topics {
				asked[topic.Topic]++
				if produce.Acks != -1 {
					t.Errorf("%s: published with acks=%d, want all (-1)", topic.Topic, produce.Acks)
				}
			}
			return nil, nil, false
		})
		d := &diary{answer: func(_ events.Request, nth int) consumer.Verdict {
			if nth == 1 {
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return closedAnswer
		}}
		defer c.worker(&closing{answer: d.note}, nil)()
		c.request("T1")
		c.produce(poison(0))
		c.outcomes(2)
		for _, topic := range []string{"outcomes", "dead", "retry.10s"} {
			if asked[topic] == 0 {
				t.Errorf("nothing was published to %s", topic)
			}
		}
	})
}

func TestTheSameRequestTwiceHasTwoOutcomesOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{takes: time.Second}
		defer c.worker(closer, nil)()
		c.request("T1", "T1")
		outcomes := c.outcomes(2)
		if a, b := outcomes[0], outcomes[1]; a.ID == b.ID || a.RequestID != b.RequestID || a.Source == b.Source {
			t.Errorf("outcomes %+v and %+v", a, b)
		}
		if len(closer.made()) != 2 || len(closer.clashes) > 0 {
			t.Errorf("%d calls, side by side: %v", len(closer.made()), closer.clashes)
		}
	})
}

func TestAReplaySupersedesWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		mended := false
		closer := &closing{answer: func(events.Request) consumer.Verdict {
			if mended {
				return closedAnswer
			}
			return consumer.Verdict{Class: consumer.Failed, Code: events.CodeUnknownMerchant}
		}}
		defer c.worker(closer, nil)()
		c.request("T1")
		failed := c.outcomes(1)[0]
		letter, err := records.DecodeDeadLetter(messageOf(c.read("dead", 1)[0]))
		if err != nil {
			t.Fatal(err)
		}
		mended = true
		r := &kgo.Record{Topic: "requests", Key: letter.Original.Key, Value: letter.Original.Value}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: events.HeaderReplay, Value: []byte("1")})
		c.produce(r)
		for _, o := range c.outcomes(2) {
			if o.Result == events.Closed && o.Replay == 1 && events.Supersedes(failed, o) && !events.Supersedes(o, failed) {
				return
			}
		}
		t.Error("no closed outcome with replay number 1")
	})
}

func TestARetryTopicWithAnotherNumberOfPartitionsIsWarnedOfAndServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		if _, err := c.admin().CreateTopic(t.Context(), 1, 1, nil, "retry.20s"); err != nil {
			t.Fatal(err)
		}
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			if nth == 1 {
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return closedAnswer
		}}
		var hook *test.Hook
		defer c.worker(&closing{answer: d.note}, func(cfg *consumer.Config) {
			heard(&hook)(cfg)
			cfg.Topics.Retries = []consumer.Tier{{Topic: "retry.20s", Delay: 20 * time.Second}}
		})()
		c.request(numbered("T", 30)...)
		for _, o := range c.outcomes(30) {
			if o.Result != events.Closed {
				t.Errorf("%s: %s %s", o.OutTradeNo, o.Result, o.Code)
			}
		}
		if n := logged(hook, "another number of partitions"); n != 1 {
			t.Errorf("warned of %d times", n)
		}
	})
}

func TestARecordInARetryTopicThatIsNoRetryBecomesADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{}
		defer c.worker(closer, nil)()
		c.produce(&kgo.Record{Topic: "retry.10s", Key: []byte("T1"), Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T1"}`)})
		if o := c.outcomes(1)[0]; o.Result != events.Failed || o.Code != events.CodeInvalidRequest {
			t.Errorf("outcome %s %s", o.Result, o.Code)
		}
		c.read("dead", 1)
		if len(closer.made()) > 0 {
			t.Errorf("calls for %v", closer.made())
		}
	})
}

func TestADeletedOutcomesTopicHoldsRequestsAndLosesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.worker(&closing{}, nil)()
		c.request("T1")
		c.outcomes(1)
		time.Sleep(time.Second)
		before := c.committed()
		if _, err := c.admin().DeleteTopics(t.Context(), "outcomes"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		orders := numbered("U", 30)
		c.request(orders...)
		time.Sleep(10 * time.Minute)
		for p, at := range c.committed() {
			if at.At != before[p].At {
				t.Errorf("partition %d: committed %d without an outcome", p, at.At)
			}
		}
		if _, err := c.admin().CreateTopic(t.Context(), 3, 1, nil, "outcomes"); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range c.outcomes(len(orders)) {
			got = append(got, o.OutTradeNo)
		}
		slices.Sort(got)
		if !slices.Equal(slices.Compact(got), orders) {
			t.Errorf("outcomes of %v", got)
		}
	})
}

// Kafka forgets the commits of a topic that is deleted, the running worker does
// not: it must not take the records of the new topic for those that it has
// served.
func TestARequestsTopicThatIsMadeAgainStopsItsPartitionsUntilARestart(t *testing.T) {
	for _, partitions := range []int32{2, 3, 5} {
		t.Run(fmt.Sprintf("with %d partitions instead of 3", partitions), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				var hook *test.Hook
				before := &closing{}
				stop := c.worker(before, heard(&hook))
				c.request(numbered("T", 30)...) // some in each partition
				c.outcomes(30)
				time.Sleep(5 * time.Second)
				if _, err := c.admin().DeleteTopics(t.Context(), "requests"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if _, err := c.admin().CreateTopic(t.Context(), partitions, 1, nil, "requests"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				// More than there were: what lies above the old position is as
				// new as what lies below.
				var fresh, all []string
				p := c.manual()
				for id := range partitions {
					for i := range 40 {
						order := fmt.Sprintf("U%d-%02d", id, i)
						if err := p.ProduceSync(t.Context(), to(id, order)).FirstErr(); err != nil {
							t.Fatal(err)
						}
						all = append(all, order)
						if id >= 3 {
							fresh = append(fresh, order)
						}
					}
				}
				time.Sleep(time.Minute)
				stop()
				if got := slices.Sorted(slices.Values(before.made()[30:])); !slices.Equal(got, fresh) {
					t.Errorf("calls for %v, want those of new partitions alone: %v", got, fresh)
				}
				if n := logged(hook, "ALARM: the committed offset lies beyond the end"); n < int(min(partitions, 3)) {
					t.Errorf("%d alarms", n)
				}
				after := &closing{}
				defer c.worker(after, nil)()
				c.outcomes(30 + len(all))
				if got := slices.Sorted(slices.Values(append(before.made()[30:], after.made()...))); !slices.Equal(got, all) {
					t.Errorf("after a restart: calls for %v, want %v", got, all)
				}
			})
		})
	}
}

func TestWhatCompactionHasTakenIsSteppedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		compact := "compact"
		if _, err := c.admin().AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &compact}}, "requests"); err != nil {
			t.Fatal(err)
		}
		p := c.manual()
		for i := range 50 { // the last ones of T0 and T1 are all that stays
			if err := p.ProduceSync(t.Context(), to(0, fmt.Sprint("T", i%2))).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		c.broker.Cluster().Compact()
		closer := &closing{}
		defer c.worker(closer, nil)()
		c.outcomes(2)
		time.Sleep(time.Minute)
		if n := len(closer.made()); n > 5 {
			t.Errorf("%d calls: the topic was not compacted", n)
		}
		if at := c.committed()[0]; at.At != 50 {
			t.Errorf("committed %+v, want 50", at)
		}
	})
}
