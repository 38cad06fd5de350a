package desk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/database"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/sirupsen/logrus"
)

// The environment of a process that is a console and nothing else, to be killed.
const (
	killedBroker = "CLOSEORDER_TEST_DESK_BROKER"
	killedDir    = "CLOSEORDER_TEST_DESK_DIR"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(killedBroker); addr != "" {
		fmt.Fprintln(os.Stderr, serve(addr, os.Getenv(killedDir)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// serve runs a desk until it is killed.
func serve(addr, dir string) error {
	db, err := database.Open(context.Background(), dir)
	if err != nil {
		return err
	}
	client := kafka.Open(kafka.Config{Brokers: []string{addr}})
	d, err := desk.Open(context.Background(), configOf(client, config.Default().Topics, db, logrus.New()))
	if err != nil {
		return err
	}
	return d.Run(context.Background())
}

func configOf(client *kafka.Client, topics config.Topics, db *database.DB, log logrus.FieldLogger) desk.Config {
	return desk.Config{
		Reader: &kafka.Reader{Client: client, Patience: time.Minute}, Writer: &kafka.Writer{Client: client},
		Topics: topics, Group: "closeorder", DB: db, Log: log,
	}
}

// stage is a broker, and a desk at it.
type stage struct {
	*desk.Desk
	t      *testing.T
	broker *broker.Broker
	client *kafka.Client
	db     *database.DB
	topics config.Topics
	log    *text
	end    func() error // of the desk
	hasty  bool
	buried int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := newBroker(t)
	s.open("")
	return s
}

func newBroker(t *testing.T) *stage {
	t.Helper()
	return brokerWith(t, broker.Config{})
}

func brokerWith(t *testing.T, cfg broker.Config) *stage {
	t.Helper()
	b, err := broker.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, broker: b, topics: config.Default().Topics, log: &text{}}
	client := kafka.Open(kafka.Config{Brokers: b.Addrs()})
	t.Cleanup(func() {
		client.Close()
		if err := s.broker.Close(); err != nil {
			t.Error(err)
		}
	})
	s.client = client
	return s
}

// open opens a desk in a folder, and runs it.
func (s *stage) open(dir string) {
	s.t.Helper()
	db, err := database.Open(s.t.Context(), dir)
	if err != nil {
		s.t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(s.log)
	log.SetFormatter(&logrus.JSONFormatter{})
	s.db = db
	if s.Desk, err = desk.Open(s.t.Context(), configOf(s.client, s.topics, db, log)); err != nil {
		s.t.Fatal(err)
	}
	if s.hasty {
		s.Impatient()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.end = sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-done, db.Close())
	})
	s.t.Cleanup(func() {
		if err := s.end(); err != nil {
			s.t.Error(err)
		}
	})
}

// openIdle opens a desk that does nothing, and closeIdle closes it.
func (s *stage) openIdle(dir string) {
	s.t.Helper()
	var err error
	if s.db, err = database.Open(s.t.Context(), dir); err != nil {
		s.t.Fatal(err)
	}
	if s.Desk, err = desk.Open(s.t.Context(), configOf(s.client, s.topics, s.db, logrus.New())); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) closeIdle() {
	s.t.Helper()
	if err := s.db.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// bury puts a dead letter of each order into the topic, and returns their places.
func (s *stage) bury(orders ...string) []events.Source {
	s.t.Helper()
	var letters []events.Message
	var to []int
	for i, order := range orders {
		s.buried++
		letters = append(letters, records.EncodeDeadLetter(records.DeadLetter{
			Original:  events.Message{Key: []byte(order), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q,"request_id":%q}`, order, order)},
			ErrorCode: "UNKNOWN_MERCHANT", ErrorMessage: "no merchant", FailedAt: time.Now().Add(-time.Minute + time.Duration(s.buried)*time.Millisecond),
			Source: events.Source{Topic: s.topics.Requests, Partition: 3, Offset: int64(1000 + s.buried)},
		}))
		to = append(to, i%2)
	}
	results, err := (&kafka.Writer{Client: s.client}).Write(s.t.Context(), s.topics.DeadLetters, letters, to...)
	if err != nil {
		s.t.Fatal(err)
	}
	var at []events.Source
	for _, r := range results {
		at = append(at, r.At)
	}
	return at
}

// answers writes the final outcome of an order.
func (s *stage) answers(order string) {
	s.t.Helper()
	m := events.Message{Key: []byte(order), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q,"request_id":%q}`, order, order)}
	q, err := events.DecodeRequest(m)
	if err != nil {
		s.t.Fatal(err)
	}
	o := events.NewOutcome(q, m.Key, events.Source{Topic: s.topics.Requests, Partition: 4, Offset: int64(5000 + s.buried)})
	o.Result, o.CompletedAt = events.Closed, time.Now()
	m, err = events.EncodeOutcome(o)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := (&kafka.Writer{Client: s.client}).Write(s.t.Context(), s.topics.Outcomes, []events.Message{m}); err != nil {
		s.t.Fatal(err)
	}
}

// requests counts the records of the requests topic by order and replay, and
// returns where each landed last.
func (s *stage) requests() (count map[string]int, at map[string]events.Source, all []events.Message) {
	s.t.Helper()
	r := &kafka.Reader{Client: s.client}
	from, err := r.First(s.t.Context(), s.topics.Requests)
	if err != nil {
		s.t.Fatal(err)
	}
	to, err := r.End(s.t.Context(), s.topics.Requests)
	if err != nil {
		s.t.Fatal(err)
	}
	count, at = map[string]int{}, map[string]events.Source{}
	if err := r.Read(s.t.Context(), s.topics.Requests, from, to, func(rec kafka.Record) error {
		count[string(rec.Key)]++
		at[string(rec.Key)] = rec.Source()
		all = append(all, rec.Message)
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return count, at, all
}

// work has a worker answer what is asked.
func (s *stage) work() {
	s.t.Helper()
	sim, err := gatewaysim.New(gatewaysim.Config{})
	if err != nil {
		s.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	cfg, err := config.Load(config.Source{Env: []string{
		"CLOSEORDER_KAFKA_BROKERS=" + s.broker.Addr(), "CLOSEORDER_KAFKA_SESSION_TIMEOUT=6s", "CLOSEORDER_GATEWAY_URLS=http://" + ln.Addr().String(),
		"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_APPID=wx8888888888888888", "CLOSEORDER_API_KEY=" + gatewaysim.DirectKey,
	}}, config.Connection, config.TopicNames, config.Work, config.Calls, config.Logging)
	if err != nil {
		s.t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(&bytes.Buffer{})
	w, err := worker.New(cfg, worker.Deps{Log: log})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- sim.Serve(ctx, ln) }()
	working, stop := context.WithCancel(context.Background())
	go func() { done <- w.Run(working) }()
	s.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			s.t.Error(err)
		}
	})
}

var who = desk.Who{Name: "lilei", Remote: "192.0.2.7"}

// plans plans a replay and waits until it is planned.
func (s *stage) plans(w desk.Wish) desk.Replay {
	s.t.Helper()
	r, err := s.Plan(s.t.Context(), who, w)
	if err != nil {
		s.t.Fatal(err)
	}
	if r.State != desk.Planning && r.State != desk.Planned || r.MadeBy != "lilei" {
		s.t.Errorf("it is planned: %+v", r)
	}
	return s.until(r.ID, func(r desk.Replay) bool { return r.State != desk.Planning })
}

func (s *stage) starts(id string, o desk.Order) {
	s.t.Helper()
	if err := s.Start(s.t.Context(), who, id, o); err != nil {
		s.t.Fatal(err)
	}
}

// until waits until a replay is as it should be.
func (s *stage) until(id string, is func(desk.Replay) bool) desk.Replay {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for version := uint64(0); ; {
		r, err := s.Replay(ctx, id)
		if err != nil {
			s.t.Fatal(err)
		}
		if is(r) {
			return r
		}
		if version, err = s.Changed(ctx, version); err != nil {
			s.t.Fatalf("waited in vain: %+v, %v", r, err)
		}
	}
}

func in(state desk.State) func(desk.Replay) bool {
	return func(r desk.Replay) bool { return r.State == state }
}

// steps tells the steps of a replay in lines.
func (s *stage) steps(id string) string {
	s.t.Helper()
	steps, err := s.Steps(s.t.Context(), id, 1000, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	var b strings.Builder
	for _, step := range steps {
		told := step.Told()
		b.WriteString(strings.TrimSpace(fmt.Sprint(told.OutTradeNo, " ", told.Action, " ", told.Reason)) + "\n")
	}
	return b.String()
}

// entries tells the log in lines, the oldest first.
func (s *stage) entries() string {
	s.t.Helper()
	all, err := s.Entries(s.t.Context(), 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	text := ""
	for _, e := range all {
		text = strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Who, e.Did, e.Reason)) + "\n" + text
	}
	return text
}

// text is an output that can be read while it is written.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *text) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(b)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}
