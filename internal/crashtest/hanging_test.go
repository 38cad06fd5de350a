//go:build apachekafka

package crashtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/apachekafka"
)

// TestTheTransactionOfADeadWorker kills workers whose transaction is open, and
// holds up what a Java reader with isolation.level=read_committed gets. With a
// static id the next process ends it when it comes; the brokers would leave it
// open for longer than any wait of this test. With a dynamic id nobody but the
// brokers does, after kafka.transaction_timeout. Either way the reader gets each
// outcome once.
func TestTheTransactionOfADeadWorker(t *testing.T) {
	s := newStage(t, settings{
		kafka:      apachekafka.Config{Properties: map[string]string{"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"}},
		partitions: 1, workers: []string{"worker-0", "worker-1"}, static: []string{"worker-0"},
		guarantee: exactlyOnce,
		// Long enough to be hit while it is open.
		env: []string{"CLOSEORDER_TRANSACTION_INTERVAL=2s"},
	})
	static, dynamic := s.workers[0], s.workers[1]
	static.env = append(static.env, "CLOSEORDER_KAFKA_TRANSACTION_TIMEOUT=10m")
	dynamic.env = append(dynamic.env, "CLOSEORDER_KAFKA_TRANSACTION_TIMEOUT=4s")
	s.step("of a static id is ended by its next process", func() {
		s.dieInATransaction(static, "static")
		if n := s.timedOut(); n != 0 {
			s.t.Errorf("the brokers ended %d transactions", n)
		}
		s.must(static.stop())
	})
	s.step("of a dynamic id is ended by the brokers", func() {
		s.dieInATransaction(dynamic, "dynamic")
		if n := s.timedOut(); n != 1 {
			s.t.Errorf("the brokers ended %d transactions, want 1", n)
		}
		s.eventually("no open transaction of an idle worker", func(ctx context.Context) (bool, error) {
			open, err := s.admin.ListTransactions(ctx, nil, []string{"Ongoing"})
			return len(open) == 0, err
		})
		s.must(dynamic.stop())
	})
	s.stopAndStart()
	s.check()
}

// dieInATransaction starts a worker, kills it while an outcome stands in its
// open transaction, and starts it again; it waits until a reader has got that.
func (s *stage) dieInATransaction(w *worker, name string) {
	s.t.Helper()
	s.must(w.start())
	s.awaitAssigned(w)
	s.ask(plain(name+"-1", "")) // the transaction after this one waits for its time
	before := len(s.observer.Records(outcomes))
	ctx, cancel := s.context()
	defer cancel()
	s.shop.send(ctx, plain(name+"-2", ""))
	_, err := s.shop.flush(ctx)
	s.must(err)
	s.eventually("an outcome in an open transaction", s.heldBack)
	s.must(w.kill())
	killed := time.Now()
	if held, err := s.heldBack(ctx); err != nil || !held {
		s.t.Fatalf("%s was killed between two transactions: %v", w.name, err)
	}
	read := make(chan []string, 1)
	go func() {
		ids, err := s.javaReads(before + 1)
		if err != nil {
			s.t.Error(err)
		}
		read <- ids
	}()
	s.must(w.start())
	ids := <-read
	s.t.Logf("a reader was held for %s after the kill (the start of Java is in it)", seconds(time.Since(killed)))
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != before+1 {
		s.t.Errorf("the reader got %d different outcomes, want %d", n, before+1)
	}
	s.awaitAnswers(before + 1)
}

// heldBack reports whether there are outcomes that a reader with
// isolation.level=read_committed does not get yet.
func (s *stage) heldBack(ctx context.Context) (bool, error) {
	ends, err := s.admin.ListEndOffsets(ctx, outcomes)
	stable, err2 := s.admin.ListCommittedOffsets(ctx, outcomes)
	if err = errors.Join(err, err2, ends.Error(), stable.Error()); err != nil {
		return false, err
	}
	end, _ := ends.Lookup(outcomes, 0)
	at, _ := stable.Lookup(outcomes, 0)
	if at.Offset >= end.Offset {
		err = fmt.Errorf("all of %d outcomes and markers can be read", end.Offset)
	}
	return at.Offset < end.Offset, err
}

// timedOut counts the transactions that the brokers have logged to have aborted
// for their time-out.
func (s *stage) timedOut() int {
	s.t.Helper()
	n := 0
	for _, file := range s.kafka.LogFiles() {
		text, err := os.ReadFile(file)
		s.must(err)
		n += strings.Count(string(text), "due to timeout")
	}
	return n
}
