//go:build apachekafka

package crashtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// plain is a request as an order service writes it by hand.
func plain(outTradeNo string, more string) world.Message {
	return world.Message{Key: []byte(outTradeNo), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q%s}`, outTradeNo, more)}
}

// TestFinishedOffsetsSurvive kills worker and broker while one slow order
// holds the committed offset back: what is finished above it stands in the
// commit's metadata, and is not done again.
func TestFinishedOffsetsSurvive(t *testing.T) {
	const behind = 300
	s := newStage(t, settings{
		gateway:    gatewaysim.Config{Slow: 8 * time.Second},
		partitions: 1, workers: []string{"worker-0"}, static: []string{"worker-0"},
		attempt: 30 * time.Second,
		env:     []string{"CLOSEORDER_GATEWAY_BUDGET=60s"},
	})
	s.startAll()
	ctx, cancel := s.context()
	defer cancel()
	s.shop.send(ctx, plain("SLOW-1", ""))
	for i := range behind {
		s.shop.send(ctx, plain(fmt.Sprint("T", i), ""))
	}
	sent, err := s.shop.flush(ctx)
	s.must(err)
	s.eventually("a commit that knows all but the slow order", func(ctx context.Context) (bool, error) {
		err := s.look(ctx)
		if err != nil {
			return false, err
		}
		commit := s.looks[len(s.looks)-1].Commits[world.Place{Topic: requests}]
		finished, err := consumer.Finished(requests, 0, commit.Offset, commit.Metadata)
		if err != nil || commit.Offset > 0 {
			t.Fatalf("committed is %+v: %v", commit, err)
		}
		for o := range int64(behind) {
			if !finished(o + 1) {
				return false, nil
			}
		}
		return true, nil
	})
	s.must(s.workers[0].kill())
	var done disturbances
	s.must(s.bounceBroker(0, true, 0, &done))
	s.startAll()
	s.awaitAnswers(sent)
	s.stopAndStart()
	report, e := s.check()
	for _, entry := range e.Book {
		if want := 1; entry.Behaviour == "" && entry.Closes != want {
			t.Errorf("order %s was closed %d times", entry.OutTradeNo, entry.Closes)
		}
	}
	if report.Closed != behind+1 || report.Duplicates != 0 {
		t.Error(report)
	}
}

// TestRecordsOnApacheKafka is about records that need an answer of their own
// from a real broker.
func TestRecordsOnApacheKafka(t *testing.T) {
	s := newStage(t, settings{partitions: 2, workers: []string{"worker-0"}})
	ctx, cancel := s.context()
	defer cancel()
	s.limit(ctx, deadLetters, 10_000)
	for _, d := range retryDelays {
		s.limit(ctx, retries+"."+d, 10_000)
	}
	s.startAll()
	noise := make([]byte, 20_000) // what compression would not make small enough
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	padding := fmt.Sprintf(`,"padding":"%x"`, noise)

	s.step("a dead letter that the broker refuses for its size goes without its value", func() {
		o := s.ask(plain("DEAD-large", padding))
		s.expect(o, events.Failed, "PARAM_ERROR")
		d := s.deadLetterOf(o.Source)
		if d.Value != nil || header(d, "closeorder-value-omitted") != events.CodeRecordTooLarge {
			s.t.Errorf("%d bytes of value, headers %v", len(d.Value), d.Headers)
		}
	})
	s.step("a request that cannot be put off because of its size fails with a clear code", func() {
		o := s.ask(plain("SYSERR-large", padding))
		s.expect(o, events.Failed, events.CodeRecordTooLarge)
		s.deadLetterOf(o.Source)
	})
	s.step("others are served beside them", func() {
		s.expect(s.ask(plain("PAID-small", "")), events.Paid, "ORDERPAID")
	})
	s.step("the markers of transactions are stepped over", s.transactions)

	sent, err := s.shop.flush(ctx)
	s.must(err)
	s.awaitAnswers(sent)
	s.stopAndStart()
	// That nobody calls for what was aborted is for the checker to see.
	if _, e := s.check(); len(e.Aborted) != 2 {
		t.Errorf("%d requests were aborted, want one of each partition", len(e.Aborted))
	}
}

// limit sets max.message.bytes of a topic.
func (s *stage) limit(ctx context.Context, topic string, bytes int) {
	s.t.Helper()
	value := fmt.Sprint(bytes)
	got, err := s.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &value}}, topic)
	s.must(err)
	for _, r := range got {
		s.must(r.Err)
	}
}

// ask publishes a request and returns its outcome.
func (s *stage) ask(m world.Message) events.Outcome {
	s.t.Helper()
	ctx, cancel := s.context()
	defer cancel()
	s.shop.send(ctx, m)
	_, err := s.shop.flush(ctx)
	s.must(err)
	var found events.Outcome
	s.eventually("the outcome of "+string(m.Key), func(ctx context.Context) (bool, error) {
		if err := s.look(ctx); err != nil {
			return false, err
		}
		for _, r := range s.observer.Records(outcomes) {
			if o, err := events.DecodeOutcome(r.Message); err == nil && string(o.Key) == string(m.Key) {
				found = o
				return true, nil
			}
		}
		return false, nil
	})
	return found
}

func (s *stage) expect(o events.Outcome, result events.Result, code string) {
	s.t.Helper()
	if o.Result != result || o.Code != code {
		s.t.Errorf("%s %s (%s), want %s %s", o.Result, o.Code, o.Message, result, code)
	}
}

func (s *stage) deadLetterOf(source events.Source) (found events.Message) {
	s.t.Helper()
	// The outcome and the dead letter are published at the same time: the one that
	// has to be made smaller first comes later.
	s.eventually(fmt.Sprintf("a dead letter of %+v", source), func(ctx context.Context) (bool, error) {
		if err := s.look(ctx); err != nil {
			return false, err
		}
		for _, r := range s.observer.Records(deadLetters) {
			if d, err := records.DecodeDeadLetter(r.Message); err == nil && d.Source == source {
				found = r.Message
				return true, nil
			}
		}
		return false, nil
	})
	return found
}

func header(m events.Message, key string) string {
	value, _ := m.Header(key)
	return string(value)
}

// transactions publishes requests in transactions of franz-go, one of them
// aborted, so that markers stand between them and behind the last one of each
// partition.
func (s *stage) transactions() {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.Addrs()...), kgo.DefaultProduceTopic(requests),
		kgo.TransactionalID("order-service"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	s.must(err)
	defer client.Close()
	manual, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	s.must(err)
	defer manual.Close()
	ctx, cancel := s.context()
	defer cancel()
	const rounds, aborted = 5, 2
	for round := range rounds {
		s.must(client.BeginTransaction())
		for partition := range int32(2) {
			m := plain(fmt.Sprintf("TX-%d-%d", round, partition), "")
			s.must(client.ProduceSync(ctx, &kgo.Record{Key: m.Key, Value: m.Value, Partition: partition}).FirstErr())
		}
		s.must(client.EndTransaction(ctx, kgo.TransactionEndTry(round != aborted)))
	}
	ends, err := s.admin.ListEndOffsets(ctx, requests)
	s.must(err)
	s.eventually("the markers at the end to be committed", func(ctx context.Context) (bool, error) {
		commits, err := s.admin.FetchOffsets(ctx, group)
		if err != nil {
			return false, err
		}
		for partition := range int32(2) {
			end, _ := ends.Lookup(requests, partition)
			at, _ := commits.Lookup(requests, partition)
			if at.At < end.Offset {
				return false, fmt.Errorf("partition %d: committed %d of %d", partition, at.At, end.Offset)
			}
		}
		return true, nil
	})
	s.run("audit") // reads up to the markers, too, and does not wait for more
	// The observer reads up to the last record: no marker may be that.
	for partition := range int32(2) {
		m := plain(fmt.Sprintf("TX-last-%d", partition), "")
		s.must(manual.ProduceSync(ctx, &kgo.Record{Topic: requests, Key: m.Key, Value: m.Value, Partition: partition}).FirstErr())
	}
	s.shop.sent += 2*(rounds-1) + 2
}
