//go:build apachekafka

package crashtest

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/apachekafka"
)

// TestTheTransactionOfADeadWorker kills workers whose transaction is open, which
// holds up a Java reader with isolation.level=read_committed. The next process
// ends it when it comes, where it has the same static id or knows the dead one by
// its machine: the brokers would leave it open for longer than this test waits.
// Where there is none, the brokers end it after kafka.transaction_timeout. The
// reader gets each outcome once.
func TestTheTransactionOfADeadWorker(t *testing.T) {
	s := newStage(t, settings{
		kafka:      apachekafka.Config{Properties: map[string]string{"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"}},
		partitions: 1, workers: []string{"worker-0", "worker-1", "worker-2"}, static: []string{"worker-0"},
		guarantee: exactlyOnce,
		// Long enough to be hit while it is open.
		env: []string{"CLOSEORDER_TRANSACTION_INTERVAL=2s"},
	})
	for i, timeout := range []string{"10m", "10m", "4s"} {
		s.workers[i].env = append(s.workers[i].env, "CLOSEORDER_KAFKA_TRANSACTION_TIMEOUT="+timeout)
	}
	none := func() {}
	s.step("of a static id is ended by its next process", func() { s.dieInATransaction(s.workers[0], none, 0) })
	s.step("of a dynamic id is ended by the next process of its machine", func() { s.dieInATransaction(s.workers[1], none, 0) })
	s.step("is ended by the brokers where there is no next process", func() {
		s.dieInATransaction(s.workers[2], func() {
			s.eventually("the brokers to end it", func(ctx context.Context) (bool, error) {
				held, err := s.heldBack(ctx)
				return !held, err
			})
		}, 1)
	})
	s.stopAndStart()
	s.check()
}

// dieInATransaction starts a worker, kills it while an outcome stands in its
// open transaction, waits for then, and starts it again. A reader gets that
// outcome once, when so many transactions were ended by the brokers, and then no
// transaction is open.
func (s *stage) dieInATransaction(w *worker, then func(), byBrokers int) {
	s.t.Helper()
	s.must(w.start())
	s.awaitAssigned(w)
	s.ask(plain(w.name+"-1", "")) // the transaction after this one waits for its time
	all := len(s.observer.Records(outcomes)) + 1
	ctx, cancel := s.context()
	defer cancel()
	s.shop.send(ctx, plain(w.name+"-2", ""))
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
		ids, err := s.javaReads(all)
		if err != nil {
			s.t.Error(err)
		}
		read <- ids
	}()
	then()
	s.must(w.start())
	ids := <-read
	s.t.Logf("a reader was held for %s after the kill (starts of Java and of the worker are in it)", seconds(time.Since(killed)))
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != all {
		s.t.Errorf("the reader got %d different outcomes, want %d", n, all)
	}
	if n := s.timedOut(); n != byBrokers {
		s.t.Errorf("the brokers ended %d transactions, want %d", n, byBrokers)
	}
	s.awaitAnswers(all)
	s.eventually("no open transaction of an idle worker", func(ctx context.Context) (bool, error) {
		open, err := s.admin.ListTransactions(ctx, nil, []string{"Ongoing"})
		return len(open) == 0, err
	})
	s.must(w.stop())
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
	return at.Offset < end.Offset, nil
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
