package main

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/signing"
	"github.com/twmb/franz-go/pkg/kgo"
)

// purchases of a test: of each kind there is one at least.
const few = 20

// TestEachPurchaseIsPaidAtMostOnce runs the shop as its README says, and once more
// beside it.
func TestEachPurchaseIsPaidAtMostOnce(t *testing.T) {
	t.Parallel()
	for name, database := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Two processes with one database: that nothing is done twice.
			where := database(t)
			one, two := startShop(t, where, few), startShop(t, where, few)
			two.end(t)
			b := one.end(t)
			mustBeRight(t, where, b)
			if b.Reissued == 0 || b.GivenUp == 0 || b.Requests <= b.Numbers-b.Paid {
				t.Errorf("the demo shows too little: %+v", b)
			}
		})
	}
}

// TestAShopThatIsKilledAgainAndAgain kills it at any moment. What it has in
// hand then is drawn, and told.
func TestAShopThatIsKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	for name, database := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where := database(t)
			for range 6 {
				shop := startShop(t, where, few)
				life := time.Duration(rand.N(5000)) * time.Millisecond //nolint:gosec // any moment will do
				select {
				case <-shop.ended:
				case <-time.After(life):
				}
				shop.kill()
				t.Logf("killed after %v", life)
			}
			mustBeRight(t, where, startShop(t, where, few).end(t))
		})
	}
}

// TestAShopThatIsKilledInTheMiddleOfItsOutbox kills it when a request is
// published and not marked: the database refuses the mark.
func TestAShopThatIsKilledInTheMiddleOfItsOutbox(t *testing.T) {
	t.Parallel()
	refuse := map[string][2]string{
		"SQLite": {`CREATE TRIGGER refuse BEFORE UPDATE OF sent_at ON outbox BEGIN SELECT RAISE(FAIL, 'by the test'); END`,
			`DROP TRIGGER refuse`},
		"PostgreSQL": {`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''by the test''; END';
			CREATE TRIGGER refuse BEFORE UPDATE OF sent_at ON outbox FOR EACH ROW EXECUTE FUNCTION refuse()`,
			`DROP TRIGGER refuse ON outbox`},
	}
	for name, database := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where := database(t)
			db := look(t, where)
			mustExec(t, db, refuse[name][0])
			shop := startShop(t, where, few)
			until(t, "a request is published that is not marked", func() bool { return len(requestsOf(t, db)) > 0 })
			shop.kill()
			if marked := column(t, db, `SELECT request_id FROM outbox WHERE sent_at IS NOT NULL`); len(marked) > 0 {
				t.Fatalf("marked all the same: %v", marked)
			}
			published := requestsOf(t, db)
			mustExec(t, db, refuse[name][1])
			mustBeRight(t, where, startShop(t, where, few).end(t))
			again := requestsOf(t, db)
			for id := range published {
				if again[id] < 2 {
					t.Errorf("%s was published and not marked, and not published again", id)
				}
			}
		})
	}
}

// TestAShopThatIsKilledInTheMiddleOfItsInbox kills it in a transaction that has
// acted on an outcome and is not committed. Then it gets all outcomes again, as
// after a crash between the transaction and its offset.
func TestAShopThatIsKilledInTheMiddleOfItsInbox(t *testing.T) {
	t.Parallel()
	hold := map[string][2]string{
		// A statement that takes minutes.
		"SQLite": {`CREATE TRIGGER hold AFTER INSERT ON outcomes BEGIN
			SELECT count(*) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000000000) SELECT i FROM n); END`,
			`DROP TRIGGER hold`},
		"PostgreSQL": {`CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END';
			CREATE TRIGGER hold AFTER INSERT ON outcomes FOR EACH ROW EXECUTE FUNCTION hold()`,
			`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
			DROP TRIGGER hold ON outcomes`},
	}
	held := map[string]func(t *testing.T, db *database) bool{
		// Nobody else can write for a second, and each of the shop's other
		// transactions takes milliseconds.
		"SQLite": func(t *testing.T, db *database) bool {
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			mustExec(t, conn, `PRAGMA busy_timeout = 1000`)
			_, err = conn.ExecContext(t.Context(), `UPDATE shop SET one = one`)
			return err != nil
		},
		"PostgreSQL": func(t *testing.T, db *database) bool {
			return len(column(t, db, `SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`)) > 0
		},
	}
	for name, database := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where := database(t)
			db := look(t, where)
			mustExec(t, db, hold[name][0])
			shop := startShop(t, where, few)
			until(t, "an outcome is acted on and not committed", func() bool { return held[name](t, db) })
			shop.kill()
			mustExec(t, db, hold[name][1])
			if kept := column(t, db, `SELECT request_id FROM outcomes`); len(kept) > 0 {
				t.Fatalf("committed all the same: %v", kept)
			}
			mustBeRight(t, where, startShop(t, where, few).end(t))

			forgetOffsets(t, db)
			before := everything(t, db)
			shop = startShop(t, where, few+1) // one more, whose outcomes stand behind all others
			mustBeRight(t, where, shop.end(t))
			if after := everything(t, db); !strings.HasPrefix(after, before) {
				t.Errorf("outcomes that came again have changed something:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// everything is what the shop has made of outcomes, the oldest purchase first.
func everything(t *testing.T, db *database) string {
	t.Helper()
	return strings.Join(column(t, db, `SELECT p.created_at || ' ' || p.id || ' ' || p.state || ' ' || p.delivered || ' ' || n.out_trade_no || ' ' || n.state || ' ' || n.requests
		FROM purchases p JOIN payments n ON n.purchase = p.id ORDER BY p.created_at, p.id, n.n`), "\n")
}

// forgetOffsets lets the shop begin its outcomes anew.
func forgetOffsets(t *testing.T, db *database) {
	t.Helper()
	admin, group := consumerGroup(t, db)
	until(t, "the group is empty and can be deleted", func() bool {
		_, err := admin.DeleteGroup(t.Context(), group)
		return err == nil
	})
}

// requestsOf counts the records of each request of a shop in the topic.
func requestsOf(t *testing.T, db *database) map[string]int {
	t.Helper()
	ours := map[string]int{}
	for _, id := range column(t, db, `SELECT request_id FROM outbox`) {
		ours[id] = 0
	}
	count := map[string]int{}
	for _, r := range topic(t, requestsTopic) {
		request, err := events.DecodeRequest(message(r))
		if _, found := ours[request.RequestID]; err == nil && found {
			count[request.RequestID]++
		}
	}
	return count
}

func message(r *kgo.Record) events.Message {
	m := events.Message{Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, events.Header{Key: h.Key, Value: h.Value})
	}
	return m
}

// mustBeRight sums up by itself what the shop has printed, by what the gateway
// says of each number, and holds it to what Kafka's topics say was allowed.
func mustBeRight(t *testing.T, where string, b balance) {
	t.Helper()
	db := look(t, where)
	key, err := signing.NewKey(demoKey)
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{url: closeorderDev(t).gateway, appID: appID, key: key, client: http.DefaultClient}
	var paidNow int
	var taken int64
	for _, row := range column(t, db, `SELECT id || ' ' || delivered || ' ' || state FROM purchases`) {
		var id, state string
		var delivered int
		if _, err := fmt.Sscan(row, &id, &delivered, &state); err != nil {
			t.Fatal(err)
		}
		times := 0
		for _, number := range column(t, db, `SELECT out_trade_no FROM payments WHERE purchase = $1`, id) {
			is, fee, err := g.query(t.Context(), number)
			switch {
			case err != nil:
				t.Fatalf("%s: %v", number, err)
			case is == "SUCCESS":
				times++
				taken += fee
			case is == "NOTPAY" || is == "USERPAYING" || is == "PAYERROR":
				t.Errorf("%s can still be paid", number)
			}
		}
		if times != delivered {
			t.Errorf("%s: paid %d times, delivered %d times", id, times, delivered)
		}
		if (state == paid) != (delivered == 1) || state == open {
			t.Errorf("%s: %s, delivered %d times", id, state, delivered)
		}
		paidNow += times
	}
	if b.Paid != paidNow || b.Taken != taken || b.Sold != taken {
		t.Errorf("the shop says %d paid, %d fen taken, %d fen sold; the gateway says %d paid, %d fen", b.Paid, b.Taken, b.Sold, paidNow, taken)
	}
	// No number but the first before an outcome has said that the one before it
	// is safe.
	safe := map[string]int64{}
	for _, r := range topic(t, outcomesTopic) {
		if o, err := events.DecodeOutcome(message(r)); err == nil && o.SafeToReissue {
			safe[o.OutTradeNo] = min(o.CompletedAt.UnixMilli(), cmp.Or(safe[o.OutTradeNo], math.MaxInt64))
		}
	}
	for _, row := range column(t, db, `SELECT b.out_trade_no || ' ' || a.created_at FROM payments b JOIN payments a ON a.purchase = b.purchase AND a.n = b.n + 1`) {
		var before string
		var at int64
		if _, err := fmt.Sscan(row, &before, &at); err != nil {
			t.Fatal(err)
		}
		if since, found := safe[before]; !found || at < since {
			t.Errorf("the number after %s is of %v; it was safe from %v on", before, time.UnixMilli(at), time.UnixMilli(since))
		}
	}
	// Nothing is lost on its way, and nobody has asked twice in one name.
	for id, times := range requestsOf(t, db) {
		if times == 0 {
			t.Errorf("%s stands in the outbox and not in the topic", id)
		}
	}
	if left := column(t, db, `SELECT kind || ' ' || subject || ': ' || what FROM todo WHERE done_at IS NULL`); len(left) > 0 {
		t.Errorf("for a person: %v", left)
	}
}
