package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	withoutPosition = "the group has no position for "
	neverServed     = "ALARM: " + withoutPosition
)

// lines returns the messages that contain a text.
func lines(hook *test.Hook, text string) (found []*logrus.Entry) {
	for _, e := range hook.AllEntries() {
		if strings.Contains(e.Message, text) {
			found = append(found, e)
		}
	}
	return found
}

// partitions gives a topic as many.
func (c *cluster) partitions(topic string, n int) {
	c.t.Helper()
	if _, err := c.admin().UpdatePartitions(c.t.Context(), n, topic); err != nil {
		c.t.Fatal(err)
	}
	time.Sleep(time.Minute) // for clients' metadata
}

// fill makes n requests for each of the partitions from first on.
func (c *cluster) fill(first, partitions, n int) {
	c.t.Helper()
	p := c.manual()
	for id := first; id < first+partitions; id++ {
		for i := range n {
			if err := p.ProduceSync(c.t.Context(), to(int32(id), fmt.Sprintf("P%02d-%d-%d", id, i, time.Now().UnixMilli()))).FirstErr(); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// forget deletes the group with its offsets.
func (c *cluster) forget() {
	c.t.Helper()
	if _, err := c.admin().DeleteGroup(c.t.Context(), "g"); err != nil {
		c.t.Fatal(err)
	}
}

func begins(hook **test.Hook, start consumer.Start) func(*consumer.Config) {
	return func(cfg *consumer.Config) { heard(hook)(cfg); cfg.Start = start }
}

// ended runs a worker until it ends by itself, and returns why.
func (c *cluster) ended(closer consumer.Closer, change func(*consumer.Config)) error {
	c.t.Helper()
	cfg := consumer.Config{
		Kafka: consumer.Kafka{Brokers: []string{c.broker.Addr()}, Dial: c.net.dial},
		Group: "g", Topics: consumer.Topics{Requests: "requests", Outcomes: "outcomes", DeadLetters: "dead", Retries: tiers},
		SessionTimeout: 10 * time.Second, RebalanceTimeout: 20 * time.Second, Grace: 25 * time.Second, MaxInFlight: 256,
		Closer: closer, Log: silentLog(),
	}
	if change != nil {
		change(&cfg)
	}
	w, err := consumer.New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Minute)
	defer cancel()
	if err = w.Run(ctx); ctx.Err() != nil {
		c.t.Error("the worker did not end by itself")
	}
	return err
}

func silentLog() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

func TestAGroupThatLostItsPositionsSaysSoOnceAndServesAllAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.partitions("requests", 24)
		since := time.Now()
		c.fill(0, 24, 2)
		retriedOnce := make(map[string]bool)
		closer := &closing{}
		closer.answer = func(r events.Request) consumer.Verdict {
			closer.mu.Lock()
			defer closer.mu.Unlock()
			if strings.HasPrefix(r.OutTradeNo, "P00") && !retriedOnce[r.OutTradeNo] {
				retriedOnce[r.OutTradeNo] = true
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return consumer.Verdict{Class: consumer.Closed, Code: "SUCCESS", SafeToReissue: true, ConfirmedBy: "closeorder", Calls: 1}
		}
		stop := c.worker(closer, nil)
		c.outcomes(48)
		time.Sleep(time.Minute)
		stop()
		c.forget()

		var hook *test.Hook
		closer = &closing{takes: 10 * time.Second}
		asked := c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "g", Count: -1, Observe: true})
		stop = c.worker(closer, begins(&hook, ""))
		all := c.outcomes(98)
		stop()
		ids := make(map[string]bool)
		for _, o := range all {
			ids[o.ID] = true
		}
		if len(ids) != 48 {
			t.Errorf("%d outcome ids for 48 requests", len(ids))
		}
		found := lines(hook, withoutPosition)
		if len(found) != 2 {
			t.Fatalf("told %d times, want once for the requests and once for the retries: %v", len(found), found)
		}
		slices.SortFunc(found, func(a, b *logrus.Entry) int {
			return strings.Compare(fmt.Sprint(a.Data["topics"]), fmt.Sprint(b.Data["topics"]))
		})
		for i, want := range []struct{ text, topic string }{
			{withoutPosition + "24 partitions that hold 48 records since " + since.UTC().Format(time.RFC3339) + ": all requests are served, those that were finished before included", "requests"},
			{withoutPosition + "1 partition that holds 2 records since " + since.UTC().Format(time.RFC3339) + ": all retry records are served, those that were finished before included", "retry.10s"},
		} {
			if e := found[i]; e.Level != logrus.WarnLevel || !strings.HasPrefix(e.Message, want.text) || fmt.Sprint(e.Data["topics"]) != "["+want.topic+"]" || e.Data["group"] != "g" {
				t.Errorf("%s: %s %v; want %s", e.Level, e.Message, e.Data, want.text)
			}
		}
		if n := asked.Hits(); n != 1 {
			t.Errorf("the coordinator was asked %d times for the positions of one assignment", n)
		}
	})
}

func TestWhereAGroupWithoutPositionsBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.fill(0, 3, 4)
		c.fill(0, 1, 1)
		err := c.ended(&closing{}, func(cfg *consumer.Config) { cfg.Start = consumer.StartError })
		refused, ok := errors.AsType[*consumer.NoPositionError](err)
		if !ok {
			t.Fatalf("with error the worker ends with %v", err)
		}
		if len(refused.Held) != 3 || refused.Since.IsZero() {
			t.Errorf("%+v, want three partitions and a time", refused)
		}
		for _, part := range []string{"group g has no position for 3 partitions that hold 13 records since 20", "requests[0]@0-4, requests[1]@0-3, requests[2]@0-3", "--reset-offsets", "kafka.start"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q is not in: %v", part, err)
			}
		}
		if got := c.committed(); len(got) != 0 {
			t.Errorf("a worker that refused to begin has committed %v", got)
		}

		var hook *test.Hook
		closer := &closing{}
		stop := c.worker(closer, begins(&hook, consumer.StartLatest))
		time.Sleep(time.Minute)
		c.request("NEW")
		c.outcomes(1)
		if !slices.Equal(closer.made(), []string{"NEW"}) {
			t.Errorf("with latest: calls for %v", closer.made())
		}
		alarms := lines(hook, neverServed)
		if len(alarms) != 1 || alarms[0].Level != logrus.ErrorLevel || !strings.Contains(alarms[0].Message, "closeorder audit") ||
			fmt.Sprint(alarms[0].Data["left_out"]) != "[requests[0]@0-4 requests[1]@0-3 requests[2]@0-3]" {
			t.Errorf("with latest: alarms %v", alarms)
		}
		stop()
		for _, start := range []consumer.Start{consumer.StartLatest, consumer.StartError, consumer.StartEarliest} {
			stop = c.worker(closer, begins(&hook, start))
			time.Sleep(time.Minute)
			stop()
			if n := len(lines(hook, withoutPosition)); n != 0 || len(closer.made()) != 1 {
				t.Errorf("%s, with positions: told %d times, %d calls", start, n, len(closer.made()))
			}
		}

		c.forget()
		stop = c.worker(closer, begins(&hook, consumer.StartEarliest))
		c.outcomes(1 + 14)
		stop()
		if n := len(lines(hook, withoutPosition)); n != 1 {
			t.Errorf("with earliest: told %d times", n)
		}
	})
}

func TestRequestsThatCameWhileTheFirstWorkerStartedAreNoneOfThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		refused := c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "g", Err: kerr.CoordinatorLoadInProgress, Count: -1})
		var hook *test.Hook
		defer c.worker(&closing{}, heard(&hook))()
		time.Sleep(time.Second)
		c.request("T1")
		refused.Remove()
		c.outcomes(1)
		time.Sleep(time.Second)
		if found := lines(hook, withoutPosition); len(found) != 1 || found[0].Level != logrus.InfoLevel {
			t.Errorf("told %v, want one line of level info", found)
		}
	})
}

func TestEmptyTopicsAreBegunInSilenceAndWhatComesIsServedAlsoAfterACrash(t *testing.T) {
	for _, start := range []consumer.Start{consumer.StartEarliest, consumer.StartLatest, consumer.StartError} {
		t.Run(string(start), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				var hook *test.Hook
				h := &host{net: c.net}
				stop := c.worker(&closing{takes: time.Hour}, func(cfg *consumer.Config) {
					begins(&hook, start)(cfg)
					cfg.Kafka.Dial = h.dial
					cfg.Grace = 0
				})
				time.Sleep(time.Minute)
				c.request("T1", "T2", "T3", "T4", "T5", "T6")
				time.Sleep(time.Minute)
				h.cut(true) // in the first call
				stop()
				told := len(lines(hook, withoutPosition))
				stop = c.worker(&closing{}, begins(&hook, start))
				c.outcomes(6)
				stop()
				if told += len(lines(hook, withoutPosition)); told != 0 {
					t.Errorf("told %d times of what was empty", told)
				}
			})
		})
	}
}

func TestAPartitionThatWasAddedBeginsWithItsFirstRecordWhateverIsSet(t *testing.T) {
	for _, start := range []consumer.Start{consumer.StartEarliest, consumer.StartLatest, consumer.StartError} {
		t.Run(string(start), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				stop := c.worker(&closing{}, func(cfg *consumer.Config) { cfg.Start = start })
				time.Sleep(time.Minute)
				stop()
				c.partitions("requests", 5)
				c.fill(3, 2, 3) // before any worker has seen them
				var hook *test.Hook
				stop = c.worker(&closing{}, begins(&hook, start))
				c.outcomes(6)
				stop()
				found := lines(hook, withoutPosition)
				if len(found) != 1 || found[0].Level != logrus.InfoLevel || !strings.HasPrefix(found[0].Message, withoutPosition+"2 partitions that hold 6 records since ") {
					t.Errorf("told %v, want one line of level info", found)
				}
			})
		})
	}
}

func TestAMemberThatComesLaterBeginsWhereTheFirstOneDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.fill(0, 3, 5)
		closer := &closing{}
		var hooks [2]*test.Hook
		var stops [2]func()
		for i := range stops {
			stops[i] = c.worker(closer, begins(&hooks[i], consumer.StartLatest))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		c.request("NEW")
		c.outcomes(1)
		for _, stop := range stops {
			stop()
		}
		if !slices.Equal(closer.made(), []string{"NEW"}) {
			t.Errorf("calls for %v", closer.made())
		}
		if a, b := len(lines(hooks[0], withoutPosition)), len(lines(hooks[1], withoutPosition)); a != 1 || b != 0 {
			t.Errorf("told %d times by the first and %d times by the second", a, b)
		}
	})
}

func TestNoMemberBeginsWhereOneMustNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.fill(2, 1, 3) // of one member; those of the other are empty
		for round := range 3 {
			errs := make(chan error, 2)
			closer := &closing{}
			for range 2 {
				go func() {
					errs <- c.ended(closer, func(cfg *consumer.Config) { cfg.Start = consumer.StartError })
				}()
			}
			for range 2 {
				if _, ok := errors.AsType[*consumer.NoPositionError](<-errs); !ok {
					t.Errorf("start %d: a worker has not refused", round)
				}
			}
			if len(closer.made()) != 0 || len(c.committed()) != 0 {
				t.Errorf("start %d: calls for %v, commits %v", round, closer.made(), c.committed())
			}
		}
	})
}

func TestACoordinatorThatLoadsIsToldOfOnceAndWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "g", Err: kerr.CoordinatorLoadInProgress, Count: 10})
		var hook *test.Hook
		defer c.worker(&closing{}, heard(&hook))()
		c.request("T1", "T2", "T3")
		c.outcomes(3)
		if n := logged(hook, "cannot find out where to begin"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

func TestALogThatCannotBeAskedHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.fill(0, 3, 1)
		away := c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "requests", Partitions: []int32{1}, Err: kerr.LeaderNotAvailable, Count: -1})
		var hook *test.Hook
		defer c.worker(&closing{}, heard(&hook))()
		c.outcomesWithin(2, 10*time.Second)
		time.Sleep(time.Minute)
		if n := logged(hook, withoutPosition+"2 partitions that hold 2 records"); n != 1 {
			t.Errorf("told %d times of those that are known", n)
		}
		away.Remove()
		c.outcomes(3)
		time.Sleep(time.Second)
		if n := logged(hook, withoutPosition+"1 partition that holds 1 records"); n != 1 {
			t.Errorf("told %d times of the last one", n)
		}
		if n := logged(hook, "cannot find out where to begin"); n != 1 {
			t.Errorf("%d warnings", n)
		}
	})
}
