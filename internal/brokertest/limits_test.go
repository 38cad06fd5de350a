//go:build apachekafka

package brokertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestRecordsAreDeletedUnderTheConsumer: retention, or somebody, takes requests
// that nobody has read. The worker says how many and goes on, and the audit
// finds that they are missing while the commit shows it.
func TestRecordsAreDeletedUnderTheConsumer(t *testing.T) {
	s := newStand(t, 1, nil)
	w := s.worker(nil)
	s.send(requests("A", 50)...)
	s.awaitAnswers(50)
	s.awaitCommitted()
	s.must(w.end())
	s.send(requests("B", 30)...)
	ctx, cancel := s.context()
	defer cancel()
	_, err := s.admin.DeleteRecords(ctx, kadm.Offsets{s.cfg.Topics.Requests: {0: {Topic: s.cfg.Topics.Requests, At: 70}}})
	s.must(err)
	if report := s.audit(time.Time{}); report.Balanced || report.DeletedUnread != 20 {
		t.Errorf("20 requests were deleted unread, and the audit says: %+v", report)
	}
	w = s.worker(nil)
	s.send(requests("C", 10)...)
	s.awaitAnswers(50 + 10 + 10)
	s.awaitCommitted()
	if n := strings.Count(w.log.String(), "ALARM: 20 offsets were deleted before they were read"); n != 1 {
		t.Errorf("the alarm was raised %d times", n)
	}
}

// TestSegmentsAreDeletedWhileTheWorkerReads: the topic keeps so little that the
// broker deletes segments right behind the worker, or before it has them where
// the machine is slow. What it could read is answered, and no gap goes untold.
func TestSegmentsAreDeletedWhileTheWorkerReads(t *testing.T) {
	s := newStand(t, 1, map[string]string{"retention.bytes": "4000", "segment.bytes": "1048576", "segment.ms": "300"})
	w := s.worker(nil)
	// A group without a position begins where the log does, and misses nothing.
	s.send(request("FIRST", ""))
	s.awaitAnswers(1)
	s.awaitCommitted()
	n := 1
	for range 8 {
		s.send(requests(fmt.Sprint("S", n, "-"), 200)...)
		n += 200
		time.Sleep(400 * time.Millisecond) // the next one begins a segment
	}
	var start kadm.ListedOffset
	s.eventually("segments to be deleted", func(ctx context.Context) (bool, error) {
		starts, err := s.admin.ListStartOffsets(ctx, s.cfg.Topics.Requests)
		start, _ = starts.Lookup(s.cfg.Topics.Requests, 0)
		return start.Offset > 0, err
	})
	s.awaitCommitted()
	ctx, cancel := s.context()
	defer cancel()
	answered, err := s.outcomes(ctx)
	s.must(err)
	if len(answered) < n && !strings.Contains(w.log.String(), "ALARM: ") {
		t.Errorf("%d of %d were answered, and no alarm", len(answered), n)
	}
	if len(answered) == 0 {
		t.Error("nothing was answered")
	}
	t.Logf("%d of %d answered, the log begins at %d", len(answered), n, start.Offset)
}

// TestPartitionsAreAddedUnderTheConsumer: to requests and retries, while
// requests come and some are put off.
func TestPartitionsAreAddedUnderTheConsumer(t *testing.T) {
	s := newStandWith(t, 2, nil, time.Second)
	s.worker(nil)
	s.send(requests("A", 40)...)
	ctx, cancel := s.context()
	defer cancel()
	for _, topic := range []string{s.cfg.Topics.Retries()[0], s.cfg.Topics.Requests} {
		made, err := s.admin.UpdatePartitions(ctx, 5, topic)
		s.must(err)
		s.must(made.Error())
	}
	s.eventually("the broker to know them", func(ctx context.Context) (bool, error) {
		topics, err := s.admin.ListTopics(ctx, s.cfg.Topics.Requests)
		return len(topics[s.cfg.Topics.Requests].Partitions) == 5, err
	})
	// To each partition, the new ones too.
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(100*time.Millisecond))
	s.must(err)
	defer client.Close()
	for p := range int32(5) {
		for i := range 10 {
			r := request(fmt.Sprint("N", p, "-", i), "")
			r.Topic, r.Partition = s.cfg.Topics.Requests, p
			s.must(client.ProduceSync(ctx, r).FirstErr())
		}
	}
	s.awaitAnswers(90)
	s.awaitCommitted()
	s.balanced()
}

// TestAMistypedTopicIsNotMade: the broker makes topics for whoever asks for
// them with leave to. The worker does not, and says which topic is missing.
func TestAMistypedTopicIsNotMade(t *testing.T) {
	s := newStand(t, 1, nil)
	const wrong = "bt-requets"
	w := s.worker(func(c *config.Config) { c.Topics.Requests = wrong })
	s.eventually("the worker to say what is missing", func(context.Context) (bool, error) {
		return w.ended() || strings.Contains(w.log.String(), "topic "+wrong+" does not exist"), nil
	})
	w.stop()
	<-w.done
	if w.err != nil && !strings.Contains(w.err.Error(), wrong) {
		t.Error(w.err)
	}
	// Nor do the commands, whatever they ask for or write.
	ctx, cancel := s.context()
	defer cancel()
	client := kafka.Open(kafka.Config{Brokers: cluster.Addrs()})
	defer client.Close()
	var missing *kafka.MissingTopicsError
	if _, err := client.Partitions(ctx, wrong); !errors.As(err, &missing) {
		t.Error(err)
	}
	if _, err := client.Produce(ctx, wrong, 0, []events.Message{{Value: []byte("x")}}, kafka.Uncompressed); !kafka.NoPartition(err) {
		t.Error(err)
	}
	if _, err := client.Offset(ctx, wrong, 0, kafka.LogEnd); !kafka.NoPartition(err) {
		t.Error(err)
	}
	topics, err := s.admin.ListTopics(ctx)
	s.must(err)
	if topics.Has(wrong) {
		t.Error("the topic was made")
	}
	// For those who ask with leave to, it does.
	careless, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...), kgo.AllowAutoTopicCreation())
	s.must(err)
	defer careless.Close()
	s.must(careless.ProduceSync(ctx, &kgo.Record{Topic: "bt-made-by-itself", Value: []byte("x")}).FirstErr())
}

// TestTheBrokerTakesLittleCommitMetadata: offset.metadata.max.bytes is small, and
// a worker that has finished many requests behind an unfinished one has more to
// say. It commits without, and once told.
func TestTheBrokerTakesLittleCommitMetadata(t *testing.T) {
	s := newStandWith(t, 1, nil, time.Second)
	w := s.worker(func(c *config.Config) {
		c.MaxInFlight, c.Gateway.AttemptTimeout, c.Gateway.Budget = 256, 10*time.Second, 20*time.Second
	})
	// Slow ones far and wide: what is finished between them is long to tell.
	var all []*kgo.Record
	for i := range 600 {
		if i%15 == 0 {
			all = append(all, request(fmt.Sprint("SLOW", i), ""))
		} else {
			all = append(all, request(fmt.Sprint("M", i), ""))
		}
	}
	s.send(all...)
	s.awaitAnswers(len(all))
	s.awaitCommitted()
	s.balanced()
	if n := strings.Count(w.log.String(), "offset.metadata.max.bytes"); n != 1 {
		t.Errorf("it was told %d times that the broker takes less metadata", n)
	}
	if strings.Contains(w.log.String(), "level=error") {
		t.Error("something is logged as an error")
	}
}

// TestASessionShorterThanTheBrokerAllows ends the worker with the name of the
// setting.
func TestASessionShorterThanTheBrokerAllows(t *testing.T) {
	s := newStand(t, 1, nil)
	w := s.worker(func(c *config.Config) { c.Kafka.SessionTimeout = 3 * time.Second })
	s.eventually("the worker to end", func(context.Context) (bool, error) { return w.ended(), nil })
	if w.err == nil || !strings.Contains(w.err.Error(), "kafka.session_timeout 3s") || !strings.Contains(w.err.Error(), "group.min.session.timeout.ms") {
		t.Errorf("it ended with %v", w.err)
	}
}

// quota sets a quota of the client ids of this stand's workers, and takes it
// away after the test.
func (s *stand) quota(values map[string]float64) {
	s.t.Helper()
	s.quotaOf("client-id", s.cfg.Kafka.ClientID, values)
}

// quotaOf sets a quota of whatever there can be one of.
func (s *stand) quotaOf(kind, name string, values map[string]float64) {
	s.t.Helper()
	alter := func(remove bool) {
		entry := kadm.AlterClientQuotaEntry{Entity: kadm.ClientQuotaEntity{{Type: kind, Name: &name}}}
		for key, value := range values {
			entry.Ops = append(entry.Ops, kadm.AlterClientQuotaOp{Key: key, Value: value, Remove: remove})
		}
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		defer cancel()
		altered, err := s.admin.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{entry})
		s.must(err)
		for _, a := range altered {
			s.must(a.Err)
		}
	}
	alter(false)
	s.t.Cleanup(func() { alter(true) })
}

// throttled serves requests, so many at a time, under a quota until the broker
// holds the worker back, and then some more: it slows down, says so, keeps its
// membership and answers everything once.
func throttled(t *testing.T, each int, quota map[string]float64) {
	s := newStandWith(t, 2, nil, time.Second)
	s.quota(quota)
	began := time.Now()
	w := s.worker(nil)
	// How much a quota of time lets pass depends on how fast the broker is.
	held := func() bool { return strings.Contains(w.log.String(), "quotas hold this worker back") }
	sent := 0
	for round := 0; round < 4 || !held(); round++ {
		if round == 100 {
			t.Fatalf("%d requests took %v: the quota had no effect", sent, time.Since(began))
		}
		s.send(requests(fmt.Sprint("Q", round, "-"), each)...)
		sent += each
		s.awaitAnswers(sent)
	}
	s.send(requests("LAST", each)...)
	sent += each
	s.awaitAnswers(sent)
	s.awaitCommitted()
	s.balanced()
	if assigned := strings.Count(w.log.String(), "partitions assigned"); assigned != 1 {
		t.Errorf("it was assigned partitions %d times", assigned)
	}
	t.Logf("%d requests took %v", sent, time.Since(began).Round(100*time.Millisecond))
}

// TestQuotasOfBytes: the broker throttles the worker by what it writes and reads.
func TestQuotasOfBytes(t *testing.T) {
	t.Run("produced", func(t *testing.T) { throttled(t, 100, map[string]float64{"producer_byte_rate": 20_000}) })
	t.Run("fetched", func(t *testing.T) { throttled(t, 50, map[string]float64{"consumer_byte_rate": 500}) })
}
