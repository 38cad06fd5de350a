package main

import (
	"database/sql"
	"encoding/json"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/signing"
)

// TestACreateCallBetweenTheLookAndTheCloseIsTheAgeOfTheOrder has a create call sent
// while another transaction has looked at the number and has not asked for its close
// yet, as in a shop that was down for minutes: then both come at once. SQLite has one
// writer, so it cannot happen there.
func TestACreateCallBetweenTheLookAndTheCloseIsTheAgeOfTheOrder(t *testing.T) {
	t.Parallel()
	s := benchOn(t, postgresDatabase(t))
	mustExec(t, s.db, `UPDATE payments SET create_sent_at = 1764000000000, create_again_at = 1764000000000`)
	if err := s.db.change(t.Context(), func(tx *sql.Tx) error {
		_, pay, err := lockPayment(t.Context(), tx, "P-1")
		if err != nil {
			return err
		}
		if n, err := s.create(t.Context()); n != 1 || err != nil {
			t.Errorf("%d create calls, %v", n, err)
		}
		return askToClose(t.Context(), tx, pay, "payment_failed", 0)
	}); err != nil {
		t.Fatal(err)
	}
	var value string
	var sent int64
	if err := s.db.QueryRowContext(t.Context(), `SELECT value, create_sent_at FROM outbox, payments`).Scan(&value, &sent); err != nil {
		t.Fatal(err)
	}
	var request struct {
		OrderCreatedAt time.Time `json:"order_created_at"`
	}
	if err := json.Unmarshal([]byte(value), &request); err != nil {
		t.Fatal(err)
	}
	if request.OrderCreatedAt.UnixMilli() != sent || time.Since(request.OrderCreatedAt) > time.Hour {
		t.Errorf("the request says order_created_at %v, the last create call was sent at %v", request.OrderCreatedAt, time.UnixMilli(sent).UTC())
	}
}

// TestABrokerThatDoesNotAnswerHoldsARelayNoLongerThanItsClaim freezes the broker
// when the client has a connection, as nothing of it may be in flight before.
func TestABrokerThatDoesNotAnswerHoldsARelayNoLongerThanItsClaim(t *testing.T) {
	t.Parallel()
	own := &devProcess{}
	if err := own.start(); err != nil {
		t.Fatal(err)
	}
	defer own.end()
	s := benchOn(t, filepath.Join(t.TempDir(), "shop.db"))
	writer, err := requestWriter([]string{own.brokers})
	if err != nil {
		t.Fatal(err)
	}
	s.kafka = writer
	stopped(t, s)
	until(t, "a request is published", func() bool {
		n, _ := s.relay(t.Context()) // the topic may not be there yet
		return n == 1
	})
	mustExec(t, s.db, `UPDATE outbox SET sent_at = NULL, claimed_until = 0`)
	if err := own.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	given := make(chan error, 1)
	go func() {
		_, err := s.relay(t.Context())
		given <- err
	}()
	select {
	case err = <-given:
	case <-time.After(time.Minute):
		t.Error("it waits for the broker still")
	}
	if err := own.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Error("it says that all is published")
	}
	mustExec(t, s.db, `UPDATE outbox SET claimed_until = 0`)
	until(t, "it is published again", func() bool {
		n, _ := s.relay(t.Context())
		return n == 1
	})
	writer.Close()
}

// benchOn is a shop with one purchase on a database, whose gateway answers nothing
// that proves anything.
func benchOn(t *testing.T, where string) *shop {
	t.Helper()
	gatewayThatFails := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(gatewayThatFails.Close)
	key, err := signing.NewKey(demoKey)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{name: "TEST", db: look(t, where), log: log.New(t.Output(), "", 0),
		gateway: &gateway{url: gatewayThatFails.URL, appID: appID, key: key, client: http.DefaultClient}}
	if err := s.sell(t.Context(), "P", 500); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAnOutcomeThatTheDatabaseCannotHoldDoesNotStopTheOthers has a text with a NUL,
// which PostgreSQL does not take. The worker writes none; whoever else may write to
// the topic can.
func TestAnOutcomeThatTheDatabaseCannotHoldDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	s := benchOn(t, postgresDatabase(t))
	stopped(t, s)
	receiveAll(t, s,
		answer(t, "P-1\x00", 1, 7, safe),
		answer(t, "P-1", 1, 8, func(o *events.Outcome) { safe(o); o.RequestID += "\x00" }),
		answer(t, "P-1", 1, 9, safe))
	mustBe(t, "numbers", numbers(t, s), "P-1 closed", "P-2 created")
	mustBe(t, "to do", column(t, s.db, `SELECT kind || ' ' || subject FROM todo WHERE done_at IS NULL ORDER BY subject`),
		"unreadable closeorder.outcomes/0/7", "unreadable closeorder.outcomes/0/8")
}

// TestWhatIsNewOnTheListIsSeen: a line that was solved says something else later.
func TestWhatIsNewOnTheListIsSeen(t *testing.T) {
	t.Parallel()
	s := benchOn(t, filepath.Join(t.TempDir(), "shop.db"))
	list := func() []string {
		return column(t, s.db, `SELECT kind || ' ' || subject || ': ' || what FROM todo WHERE done_at IS NULL`)
	}
	stopped(t, s)
	receiveAll(t, s, answer(t, "P-1", 1, 7, failed))
	mustExec(t, s.db, `UPDATE todo SET done_at = 1`) // by a person, who takes it for mended
	receiveAll(t, s, answer(t, "P-1", 1, 7, failed))
	mustBe(t, "after a repeat", list())
	receiveAll(t, s, answer(t, "P-1", 2, 8, failed))
	mustBe(t, "failed again", list(), "close P-1: close failed, RETRIES_EXHAUSTED: SYSTEMERROR again and again")
	receiveAll(t, s, answer(t, "P-1", 2, 9, func(o *events.Outcome) { o.Result = events.Paid }))
	mustBe(t, "paid", list())
	receiveAll(t, s, answer(t, "P-1", 3, 10, safe))
	mustBe(t, "contradicted", list(), "close P-1: closed by an outcome, and paid by what came before: look at the gateway")
}
