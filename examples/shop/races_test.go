package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"log"
	"net/http"
	"net/http/httptest"
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

var _ = context.Background
var _ events.Outcome
