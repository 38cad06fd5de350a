package main

import (
	"database/sql"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/signing"
	"github.com/twmb/franz-go/pkg/kgo"
)

// bench is a shop with a database and nothing else.
func bench(t *testing.T) (*shop, *output) {
	t.Helper()
	db := look(t, filepath.Join(t.TempDir(), "shop.db"))
	key, err := signing.NewKey(demoKey)
	if err != nil {
		t.Fatal(err)
	}
	told := &output{}
	s := &shop{name: "TEST", db: db, gateway: &gateway{appID: appID, key: key}, log: log.New(told, "", 0)}
	if err := s.sell(t.Context(), "P", 500); err != nil {
		t.Fatal(err)
	}
	return s, told
}

// answer is the outcome of the n-th request for a number, as it stands at a
// place in the topic.
func answer(t *testing.T, number string, n int, offset int64, change func(*events.Outcome)) *kgo.Record {
	t.Helper()
	pay := payment{outTradeNo: number}
	o := events.NewOutcome(events.Request{MchID: merchant, OutTradeNo: number, RequestID: pay.requestID(n)}, []byte(number),
		events.Source{Topic: requestsTopic, Offset: offset})
	o.Result, o.CompletedAt = events.Closed, time.Now()
	change(&o)
	m, err := events.EncodeOutcome(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &kgo.Record{Topic: outcomesTopic, Key: m.Key, Value: m.Value, Offset: offset}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return r
}

func safe(o *events.Outcome) { o.SafeToReissue = true }
func failed(o *events.Outcome) {
	o.Result, o.Code, o.Message = events.Failed, "RETRIES_EXHAUSTED", "SYSTEMERROR again and again"
}
func replayed(o *events.Outcome) { o.Replay = 1 }

// receiveAll hands records to the inbox.
func receiveAll(t *testing.T, s *shop, records ...*kgo.Record) {
	t.Helper()
	for _, r := range records {
		if err := s.receive(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// numbers are those of the purchase, and their states.
func numbers(t *testing.T, s *shop) []string {
	t.Helper()
	return column(t, s.db, `SELECT out_trade_no || ' ' || state FROM payments ORDER BY n`)
}

func mustBe(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func stopped(t *testing.T, s *shop) {
	t.Helper()
	if err := s.stop(t.Context(), "P-1", "payment_failed", true); err != nil {
		t.Fatal(err)
	}
}

func TestARequestThatWasPublishedTwiceLeadsToOneNewNumber(t *testing.T) {
	s, _ := bench(t)
	stopped(t, s)
	// Two records, two outcomes with ids of their own, and the first one again.
	one, two := answer(t, "P-1", 1, 7, safe), answer(t, "P-1", 1, 9, safe)
	receiveAll(t, s, one, two, one, two)
	mustBe(t, "numbers", numbers(t, s), "P-1 closed", "P-2 created")
	id, _ := message(one).Header("ce_id")
	mustBe(t, "kept", column(t, s.db, `SELECT request_id || ' ' || event_id FROM outcomes`), "P-1/close/1 "+string(id))
}

func TestAFailureIsListedAndAskedAgainAndAnOutcomeThatSolvesItTakesItOff(t *testing.T) {
	s, _ := bench(t)
	stopped(t, s)
	failure := answer(t, "P-1", 1, 7, failed)
	receiveAll(t, s, failure, failure)
	mustBe(t, "numbers", numbers(t, s), "P-1 closing")
	mustBe(t, "requests", column(t, s.db, `SELECT request_id FROM outbox ORDER BY request_id`), "P-1/close/1", "P-1/close/2")
	list, err := s.todo(t.Context())
	if err != nil || len(list) != 1 || list[0].Kind != "close" || list[0].Subject != "P-1" {
		t.Fatalf("the list is %v, %v", list, err)
	}
	// The dead letter of the first request is replayed meanwhile.
	receiveAll(t, s, answer(t, "P-1", 1, 8, func(o *events.Outcome) { safe(o); replayed(o) }))
	mustBe(t, "numbers", numbers(t, s), "P-1 closed", "P-2 created")
	// The second request still has its answer to come.
	receiveAll(t, s, answer(t, "P-1", 2, 9, safe))
	mustBe(t, "numbers", numbers(t, s), "P-1 closed", "P-2 created")
	if list, err = s.todo(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("the list is %v, %v", list, err)
	}
}

func TestClosedAndNotSafeIsAskedAgainLaterWithTheAgeOfTheOrder(t *testing.T) {
	s, _ := bench(t)
	stopped(t, s)
	receiveAll(t, s, answer(t, "P-1", 1, 7, func(*events.Outcome) {}))
	mustBe(t, "numbers", numbers(t, s), "P-1 closing")
	var value string
	var due, sent int64
	if err := s.db.QueryRowContext(t.Context(), `SELECT value, send_after, create_sent_at FROM outbox, payments WHERE request_id = 'P-1/close/2'`).Scan(&value, &due, &sent); err != nil {
		t.Fatal(err)
	}
	if due < in(unsafePause-10*time.Second) {
		t.Errorf("asked again at %v", time.UnixMilli(due))
	}
	if want := `"order_created_at":"` + time.UnixMilli(sent).UTC().Format(time.RFC3339Nano) + `"`; !strings.Contains(value, want) {
		t.Errorf("%s has no %s", value, want)
	}
}

func TestWhatCannotBeReadGoesToAPersonAndStopsNobody(t *testing.T) {
	s, _ := bench(t)
	stopped(t, s)
	broken := answer(t, "P-1", 1, 7, safe)
	broken.Value = []byte("no outcome")
	receiveAll(t, s, broken, broken, answer(t, "P-1", 1, 8, safe))
	mustBe(t, "to do", column(t, s.db, `SELECT kind || ' ' || subject FROM todo`), "unreadable closeorder.outcomes/0/7")
	mustBe(t, "numbers", numbers(t, s), "P-1 closed", "P-2 created")
}

func TestOutcomesOfOthersAreLeftAlone(t *testing.T) {
	s, _ := bench(t)
	receiveAll(t, s, answer(t, "OTHER-1", 1, 7, safe), answer(t, "P-1", 1, 8, func(o *events.Outcome) { safe(o); o.MchID = "1900000110" }))
	mustBe(t, "kept", column(t, s.db, `SELECT request_id FROM outcomes`))
	mustBe(t, "numbers", numbers(t, s), "P-1 created")
}

func TestTheDatabaseItselfRefusesASecondNumberThatCanBePaid(t *testing.T) {
	s, _ := bench(t)
	err := s.db.change(t.Context(), func(tx *sql.Tx) error { return addPayment(t.Context(), tx, purchase{id: "P", fee: 500}, 2) })
	if err == nil {
		t.Error("it has taken it")
	}
}

func TestNoCreateCallFollowsARequestToClose(t *testing.T) {
	s, _ := bench(t)
	stopped(t, s)
	if n, err := s.create(t.Context()); n != 0 || err != nil {
		t.Errorf("%d calls, %v", n, err)
	}
}

// notice is what the gateway posts when P-1 was paid.
func notice(change func(map[string]string)) document {
	fields := map[string]string{
		"return_code": "SUCCESS", "result_code": "SUCCESS", "appid": appID, "mch_id": merchant, "nonce_str": "n",
		"out_trade_no": "P-1", "total_fee": "500", "transaction_id": "42",
	}
	change(fields)
	var d document
	for name, value := range fields {
		d = append(d, signing.Field{Name: name, Value: value})
	}
	return d
}

func (d document) signed(t *testing.T, text string) document {
	t.Helper()
	key, err := signing.NewKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return append(d, signing.Field{Name: signing.FieldSign, Value: string(signing.AppendSign(nil, d, key, signing.HMACSHA256))})
}

func post(t *testing.T, s *shop, d document) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/paid", strings.NewReader(string(d.xml()))))
	reply, err := readDocument(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.get("return_code")
}

func TestNotices(t *testing.T) {
	as := func(name, value string) func(map[string]string) {
		return func(fields map[string]string) { fields[name] = value }
	}
	same := as("nonce_str", "n")
	for _, tt := range []struct {
		what   string
		notice func(map[string]string)
		key    string
		before func(t *testing.T, s *shop)
		answer string
		state  string // of the purchase, and what was delivered
		todo   []string
	}{
		{what: "settles", notice: same, answer: "SUCCESS", state: "paid 1"},
		{what: "in the middle of a close", notice: same, before: stopped, answer: "SUCCESS", state: "paid 1"},
		{what: "that comes again", notice: same, before: func(t *testing.T, s *shop) { post(t, s, notice(same).signed(t, demoKey)) }, answer: "SUCCESS", state: "paid 1"},
		{what: "after the outcome said paid", notice: same, before: func(t *testing.T, s *shop) {
			stopped(t, s)
			receiveAll(t, s, answer(t, "P-1", 1, 7, func(o *events.Outcome) { o.Result = events.Paid }))
		}, answer: "SUCCESS", state: "paid 1"},
		{what: "after the purchase was given up", notice: same, before: func(t *testing.T, s *shop) {
			if err := s.stop(t.Context(), "P-1", "payment_timeout", false); err != nil {
				t.Fatal(err)
			}
			receiveAll(t, s, answer(t, "P-1", 1, 7, safe))
		}, answer: "SUCCESS", state: "given_up 0", todo: []string{"refund P-1"}},
		{what: "with too little", notice: as("total_fee", "1"), answer: "SUCCESS", state: "open 0", todo: []string{"amount P-1"}},
		{what: "without an amount", notice: as("total_fee", ""), answer: "SUCCESS", state: "open 0", todo: []string{"amount P-1"}},
		{what: "of a number that is not here", notice: as("out_trade_no", "X-1"), answer: "SUCCESS", state: "open 0", todo: []string{"notice X-1"}},
		{what: "of a payment that failed", notice: as("result_code", "FAIL"), answer: "SUCCESS", state: "open 0"},
		{what: "signed with another key", notice: same, key: "another key of thirty-two bytes!", answer: "FAIL", state: "open 0"},
		{what: "of another merchant", notice: as("mch_id", "1900000110"), answer: "FAIL", state: "open 0"},
		{what: "of another appid", notice: as("appid", "wx1"), answer: "FAIL", state: "open 0"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			s, told := bench(t)
			if tt.before != nil {
				tt.before(t, s)
			}
			key := demoKey
			if tt.key != "" {
				key = strings.ReplaceAll(tt.key, " ", "_")
			}
			d := notice(tt.notice).signed(t, key)
			if got := post(t, s, d); got != tt.answer {
				t.Errorf("answered %s, want %s\n%s", got, tt.answer, told.String())
			}
			mustBe(t, "purchase", column(t, s.db, `SELECT state || ' ' || delivered FROM purchases`), tt.state)
			mustBe(t, "to do", column(t, s.db, `SELECT kind || ' ' || subject FROM todo`), tt.todo...)
			if log := told.String(); strings.Contains(log, d.get("sign")) || strings.Contains(log, demoKey) {
				t.Errorf("the log has a signature or a key in it: %s", log)
			}
		})
	}
}

func TestANoticeIsNotTakenWhereTheDatabaseIsAway(t *testing.T) {
	s, _ := bench(t)
	s.db.Close()
	if got := post(t, s, notice(func(map[string]string) {}).signed(t, demoKey)); got != "FAIL" {
		t.Errorf("answered %s: the gateway will not tell it again", got)
	}
}
