package consumer_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/sirupsen/logrus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var tiers = []consumer.Tier{{Topic: "retry.10s", Delay: 10 * time.Second}, {Topic: "retry.1m", Delay: time.Minute}, {Topic: "retry.5m", Delay: 5 * time.Minute}}

// cluster is an embedded broker on an in-memory network, with a client to
// look at it from outside. It runs in virtual time inside a synctest bubble.
type cluster struct {
	t      *testing.T
	broker *broker.Broker
	net    *pipeNet
	client *kgo.Client
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	n := &pipeNet{listeners: make(map[string]*pipeListener)}
	b, err := broker.Start(broker.Config{Port: 9092, ListenFn: n.listen, Topics: []broker.Topic{
		{Name: "requests", Partitions: 3}, {Name: "outcomes", Partitions: 3}, {Name: "dead", Partitions: 1},
		{Name: "retry.10s", Partitions: 3}, {Name: "retry.1m", Partitions: 3}, {Name: "retry.5m", Partitions: 3},
	}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.Dialer(n.dial), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, broker: b, net: n, client: client}
	t.Cleanup(func() { client.Close(); b.Close() })
	return c
}

// pipeNet is a network of net.Pipe connections.
type pipeNet struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
}

type pipeListener struct {
	addr   pipeAddr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

type pipeAddr string

func (pipeAddr) Network() string  { return "tcp" }
func (a pipeAddr) String() string { return string(a) }

func (n *pipeNet) listen(_, addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &pipeListener{addr: pipeAddr(addr), conns: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

func (n *pipeNet) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial %s: refused", addr)
	}
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, fmt.Errorf("dial %s: refused", addr)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return l.addr }

// host is the network of one worker: it can be cut off like a machine that
// loses its power.
type host struct {
	net *pipeNet

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
	dials int
}

func (h *host) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead {
		return nil, fmt.Errorf("dial %s: this host is dead", addr)
	}
	conn, err := h.net.dial(ctx, network, addr)
	if err == nil {
		h.conns = append(h.conns, conn)
		h.dials++
	}
	return conn, err
}

// cut resets all connections; dead hosts do not get new ones.
func (h *host) cut(dead bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead = dead
	for _, c := range h.conns {
		c.Close()
	}
	h.conns = nil
}

// revive lets a dead host connect again.
func (h *host) revive() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead = false
}

// request publishes a close request with the order as its key.
func (c *cluster) request(orders ...string) {
	c.t.Helper()
	var records []*kgo.Record
	for _, o := range orders {
		records = append(records, &kgo.Record{Topic: "requests", Key: []byte(o), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q}`, o)})
	}
	c.produce(records...)
}

func (c *cluster) produce(records ...*kgo.Record) {
	c.t.Helper()
	if err := c.client.ProduceSync(c.t.Context(), records...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// read returns all n records of a topic, waiting for them.
func (c *cluster) read(topic string, n int) []*kgo.Record {
	c.t.Helper()
	return c.readWithin(topic, n, 10*time.Minute)
}

// end is the number of records ever written to a topic.
func (c *cluster) end(topic string) (n int64) {
	c.t.Helper()
	ends, err := c.admin().ListEndOffsets(c.t.Context(), topic)
	if err != nil {
		c.t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

func (c *cluster) readWithin(topic string, n int, d time.Duration) []*kgo.Record {
	c.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.broker.Addr()), kgo.Dialer(c.net.dial), kgo.ConsumeTopics(topic))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), d)
	defer cancel()
	var all []*kgo.Record
	for len(all) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			c.t.Fatalf("read %s: %d of %d records: %v", topic, len(all), n, err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}

func (c *cluster) outcomes(n int) []events.Outcome {
	c.t.Helper()
	return c.outcomesWithin(n, 10*time.Minute)
}

func (c *cluster) outcomesWithin(n int, d time.Duration) []events.Outcome {
	c.t.Helper()
	var out []events.Outcome
	for _, r := range c.readWithin("outcomes", n, d) {
		o, err := events.DecodeOutcome(messageOf(r))
		if err != nil {
			c.t.Fatal(err)
		}
		out = append(out, o)
	}
	return out
}

// worker starts a worker and returns what stops it and waits for it.
func (c *cluster) worker(closer consumer.Closer, change func(*consumer.Config)) (stop func()) {
	c.t.Helper()
	_, stop = c.workerOf(closer, change)
	return stop
}

func (c *cluster) workerOf(closer consumer.Closer, change func(*consumer.Config)) (w *consumer.Worker, stop func()) {
	c.t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	if testing.Verbose() {
		log.SetOutput(c.t.Output())
		log.SetLevel(logrus.DebugLevel)
	}
	cfg := consumer.Config{
		Kafka: consumer.Kafka{Brokers: []string{c.broker.Addr()}, Dial: c.net.dial},
		Group: "g", Topics: consumer.Topics{Requests: "requests", Outcomes: "outcomes", DeadLetters: "dead", Retries: tiers},
		SessionTimeout: 10 * time.Second, RebalanceTimeout: 20 * time.Second, Grace: 25 * time.Second, MaxInFlight: 256,
		Closer: closer, Log: log,
	}
	if change != nil {
		change(&cfg)
	}
	w, err := consumer.New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return w, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("Run: %v", err)
		}
	})
}

// closing answers every request after a while and notes what was asked.
type closing struct {
	takes  time.Duration
	answer func(r events.Request) consumer.Verdict
	asked  func(r events.Request) consumer.Verdict // nil: the order is open
	alive  func() bool                             // nil: it is

	mu       sync.Mutex
	calls    []string
	tried    map[string][]bool // of each call for an order
	inFlight map[events.Order]int
	clashes  []events.Order
	most     int
}

func (c *closing) Close(ctx context.Context, r events.Request, tried bool, _ consumer.Place) consumer.Verdict {
	c.mu.Lock()
	if c.inFlight == nil {
		c.inFlight, c.tried = make(map[events.Order]int), make(map[string][]bool)
	}
	c.tried[r.OutTradeNo] = append(c.tried[r.OutTradeNo], tried)
	c.calls = append(c.calls, r.OutTradeNo)
	c.inFlight[r.Order()]++
	if c.inFlight[r.Order()] > 1 {
		c.clashes = append(c.clashes, r.Order())
	}
	total := 0
	for _, n := range c.inFlight {
		total += n
	}
	c.most = max(c.most, total)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.inFlight[r.Order()]--
		c.mu.Unlock()
	}()
	select {
	case <-time.After(c.takes):
	case <-ctx.Done():
		return consumer.Verdict{Class: consumer.Interrupted}
	}
	if c.answer != nil {
		return c.answer(r)
	}
	return consumer.Verdict{Class: consumer.Closed, Code: "SUCCESS", SafeToReissue: true, ConfirmedBy: "closeorder", Calls: 1}
}

// made are the calls so far, by out_trade_no.
func (c *closing) made() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

func (c *closing) Query(ctx context.Context, r events.Request, tried bool, _ consumer.Place) consumer.Verdict {
	if c.asked != nil {
		return c.asked(r)
	}
	return consumer.Verdict{Class: consumer.Failed, Code: "NOTPAY", Message: "orderquery says NOTPAY", Calls: 1}
}

func (c *closing) Refuse(events.Request) (consumer.Verdict, bool) { return consumer.Verdict{}, false }

func (c *closing) Probe(context.Context, events.Request) bool { return c.alive == nil || c.alive() }

func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%04d", prefix, i)
	}
	return out
}

func TestEveryRequestGetsItsOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{takes: 100 * time.Millisecond}
		stop := c.worker(closer, nil)
		orders := numbered("T", 1000)
		c.request(orders...)
		var got []string
		for _, o := range c.outcomes(len(orders)) {
			got = append(got, o.OutTradeNo)
		}
		stop()
		slices.Sort(got)
		if !slices.Equal(got, orders) {
			t.Errorf("outcomes of %d orders, want those of %d: %v", len(got), len(orders), got)
		}
		if closer.most != 256 {
			t.Errorf("%d calls at once, want 256", closer.most)
		}
		if len(closer.made()) != len(orders) {
			t.Errorf("%d calls for %d requests", len(closer.made()), len(orders))
		}
	})
}

func TestPoisonBecomesADeadLetterAndAFailedOutcomeAndTheNextRecordGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		stop := c.worker(&closing{}, nil)
		defer stop()
		bad := []*kgo.Record{
			{Topic: "requests", Value: []byte("not json")},
			{Topic: "requests", Value: []byte(`{"mch_id":"1900000109"}`)},
			{Topic: "requests", Value: []byte{}},
			{Topic: "requests", Value: nil, Key: []byte("tombstone")},
			{Topic: "requests", Value: []byte(`{"mch_id":"1900000109","out_trade_no":"` + strings.Repeat("x", 900<<10) + `"}`)},
		}
		for _, r := range bad {
			c.produce(r)
		}
		c.request("T1")
		outcomes := c.outcomes(len(bad) + 1)
		failed := 0
		for _, o := range outcomes {
			if o.Result == events.Failed {
				failed++
				if o.Code != events.CodeInvalidRequest {
					t.Errorf("code %s, want %s: %s", o.Code, events.CodeInvalidRequest, o.Message)
				}
			}
		}
		if failed != len(bad) {
			t.Errorf("%d failed outcomes, want %d", failed, len(bad))
		}
		c.read("dead", len(bad))
	})
}

func TestRequestsOfOneOrderRunOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{takes: time.Second}
		stop := c.worker(closer, nil)
		var orders []string
		for range 20 {
			orders = append(orders, "HOT")
		}
		orders = append(orders, numbered("T", 100)...)
		c.request(orders...)
		began := time.Now()
		c.outcomes(len(orders))
		stop()
		if len(closer.clashes) > 0 {
			t.Errorf("calls of one order side by side: %v", closer.clashes)
		}
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("took %v: the hot order held up the others", took)
		}
	})
}

func TestARebalanceLosesNothingAndRepeatsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		closer := &closing{takes: 2 * time.Second}
		orders := numbered("T", 3000)
		few := func(cfg *consumer.Config) { cfg.MaxInFlight = 20 }
		c.request(orders...)
		stop1 := c.worker(closer, few)
		time.Sleep(20 * time.Second)
		stop2 := c.worker(closer, few)
		time.Sleep(20 * time.Second)
		stop3 := c.worker(closer, few)
		time.Sleep(20 * time.Second)
		stop1()
		outcomes := c.outcomes(len(orders))
		stop2()
		stop3()
		seen := make(map[string]int)
		for _, o := range outcomes {
			seen[o.OutTradeNo]++
		}
		if len(seen) != len(orders) {
			t.Errorf("outcomes of %d orders, want %d", len(seen), len(orders))
		}
		if len(closer.made()) != len(orders) {
			t.Errorf("%d calls for %d requests: something was done twice", len(closer.made()), len(orders))
		}
	})
}
