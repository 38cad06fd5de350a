//go:build apachekafka

package brokertest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/leftout"
	"github.com/twmb/franz-go/pkg/kgo"
)

// orderService publishes requests in rounds transactions of each, every second
// one aborted, to a topic of brokers.
type orderService func(ctx context.Context, t *testing.T, brokers, topic, prefix string, rounds, each int)

func javaTransactions(ctx context.Context, t *testing.T, brokers, topic, prefix string, rounds, each int) {
	t.Helper()
	if _, err := cluster.Tool(ctx, "testdata/Transactions.java", brokers, topic, prefix, strconv.Itoa(rounds), strconv.Itoa(each)); err != nil {
		t.Fatal(err)
	}
}

func librdkafkaTransactions(ctx context.Context, t *testing.T, brokers, topic, prefix string, rounds, each int) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "transactions")
	if out, err := exec.CommandContext(ctx, "cc", "-O1", "-Wall", "-o", program, "testdata/transactions.c", "-lrdkafka").CombinedOutput(); err != nil {
		leftout.Test(t, fmt.Sprintf("librdkafka is not tested: it takes a C compiler and librdkafka-dev (apt-get install gcc librdkafka-dev): %v\n%s", err, out), "CLOSEORDER_REQUIRE_LIBRDKAFKA")
	}
	if out, err := exec.CommandContext(ctx, program, brokers, topic, prefix, strconv.Itoa(rounds), strconv.Itoa(each)).CombinedOutput(); err != nil {
		t.Fatalf("librdkafka: %v\n%s", err, out)
	}
}

// embedded starts an embedded broker for a test and returns its addresses.
func embedded(t *testing.T) []string {
	t.Helper()
	b, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b.Addrs()
}

// TestRequestsThatAnOrderServiceRolledBackAreNotServed: half of the transactions
// of an order service are aborted. The gateway is asked for none of their
// orders; all others are answered once, and what is committed ends at the high
// watermark, behind the last marker.
func TestRequestsThatAnOrderServiceRolledBackAreNotServed(t *testing.T) {
	const rounds, each = 8, 25
	for client, publish := range map[string]orderService{"Java": javaTransactions, "librdkafka": librdkafkaTransactions} {
		for where, brokers := range map[string]func(*testing.T) []string{
			"Apache Kafka":        func(*testing.T) []string { return cluster.Addrs() },
			"the embedded broker": embedded,
		} {
			for _, guarantee := range []string{config.AtLeastOnce, config.ExactlyOnce} {
				t.Run(client+" and "+where+" "+guarantee, func(t *testing.T) {
					s := newStandAt(t, brokers(t), 3, nil, time.Second)
					s.worker(func(cfg *config.Config) { cfg.ProcessingGuarantee = guarantee })
					ctx, cancel := s.context()
					defer cancel()
					publish(ctx, t, strings.Join(s.cfg.Kafka.Brokers, ","), s.cfg.Topics.Requests, "TX", rounds, each)
					s.awaitCommitted() // the last of all is a marker of an abort
					for _, o := range s.awaitAnswers(rounds / 2 * each) {
						if o.Result != events.Closed || !strings.HasPrefix(o.OutTradeNo, "TX-kept-") {
							t.Errorf("%s is %s: %s", o.OutTradeNo, o.Result, o.Message)
						}
					}
					s.onlyKept(rounds / 2 * each)
					s.balanced()
				})
			}
		}
	}
}

// onlyKept looks into the order book of the gateway: each of n orders that were
// to be closed was closed once, and nobody asked for any that was not.
func (s *stand) onlyKept(n int) {
	s.t.Helper()
	kept := 0
	for _, entry := range s.sim.Book() {
		switch {
		case strings.Contains(entry.OutTradeNo, "-aborted-"):
			s.t.Errorf("order %s was rolled back, and the gateway was called for it: %+v", entry.OutTradeNo, entry)
		case entry.Closes != 1:
			s.t.Errorf("order %s was closed %d times", entry.OutTradeNo, entry.Closes)
		default:
			kept++
		}
	}
	if kept != n {
		s.t.Errorf("%d orders were closed once, want %d", kept, n)
	}
}

// TestAnOpenTransactionDelaysWhatIsBehindIt: nothing at or behind the first
// record of an open transaction is served, whoever published it; when the
// transaction is aborted, or committed, what is left of it is.
func TestAnOpenTransactionDelaysWhatIsBehindIt(t *testing.T) {
	for where, brokers := range map[string]func(*testing.T) []string{
		"Apache Kafka":        func(*testing.T) []string { return cluster.Addrs() },
		"the embedded broker": embedded,
	} {
		for _, commits := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s and commit %v", where, commits), func(t *testing.T) {
				s := newStandAt(t, brokers(t), 1, nil, time.Second)
				service, err := kgo.NewClient(kgo.SeedBrokers(s.cfg.Kafka.Brokers...), kgo.DefaultProduceTopic(s.cfg.Topics.Requests),
					kgo.TransactionalID(s.cfg.Topics.Requests), kgo.ProducerLinger(0))
				s.must(err)
				defer service.Close()
				ctx, cancel := s.context()
				defer cancel()
				s.send(request("BEFORE", ""))
				s.must(service.BeginTransaction())
				s.must(service.ProduceSync(ctx, request("WITHIN", "")).FirstErr())
				s.send(request("BEHIND", ""))
				s.worker(nil)
				s.awaitAnswers(1)
				// A worker that reads what is behind has asked for it by now: it came with the first.
				for _, entry := range s.sim.Book() {
					if entry.OutTradeNo != "BEFORE" {
						t.Errorf("the gateway was called for %s while the transaction is open", entry.OutTradeNo)
					}
				}
				s.must(service.EndTransaction(ctx, kgo.TransactionEndTry(commits)))
				want := map[string]bool{"BEFORE": true, "BEHIND": true, "WITHIN": commits}
				s.awaitCommitted()
				n := 2
				if commits {
					n = 3
				}
				for _, o := range s.awaitAnswers(n) {
					if o.Result != events.Closed || !want[o.OutTradeNo] {
						t.Errorf("%s is %s: %s", o.OutTradeNo, o.Result, o.Message)
					}
				}
				s.balanced()
			})
		}
	}
}
