//go:build apachekafka

package brokertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/closeorder/closeorder/signing"
	"github.com/sirupsen/logrus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// waitLimit bounds every wait for something that must happen.
const waitLimit = 2 * time.Minute

// stand is what a test has of its own: topics, a group, a gateway.
type stand struct {
	t      *testing.T
	cfg    config.Config
	sim    *gatewaysim.Simulator
	client *kgo.Client // an order service, and whoever reads outcomes
	admin  *kadm.Client
	// dial, if set, opens the connections of the workers that are started next.
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// newStand makes the topics with so many partitions. settings are of the
// requests topic.
func newStand(t *testing.T, partitions int, settings map[string]string) *stand {
	t.Helper()
	return newStandWith(t, partitions, settings, time.Second, 2*time.Second, 5*time.Second)
}

// newStandWith has retry topics of these delays.
func newStandWith(t *testing.T, partitions int, settings map[string]string, delays ...time.Duration) *stand {
	t.Helper()
	return newStandAt(t, cluster.Addrs(), partitions, settings, delays...)
}

// newStandAt is at other brokers than those of all tests.
func newStandAt(t *testing.T, brokers []string, partitions int, settings map[string]string, delays ...time.Duration) *stand {
	t.Helper()
	name := "bt-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	cfg := config.Default()
	cfg.Kafka.Brokers, cfg.Kafka.Group, cfg.Kafka.ClientID = brokers, name, name
	cfg.Kafka.SessionTimeout, cfg.Kafka.RebalanceTimeout = 6*time.Second, 10*time.Second
	cfg.Topics = config.Topics{
		Requests: name + ".requests", Outcomes: name + ".outcomes", DeadLetters: name + ".dead-letters",
		RetriesPrefix: name + ".retries", RetryDelays: delays,
	}
	cfg.MinOrderAge, cfg.ShutdownGrace, cfg.MaxInFlight = 0, 10*time.Second, 64
	cfg.Gateway.AttemptTimeout, cfg.Gateway.Budget = 2*time.Second, 3*time.Second
	for _, m := range gatewaysim.DefaultMerchants() {
		cfg.Merchants = append(cfg.Merchants, closer.Merchant{
			MchID: m.MchID, AppID: m.AppID, Keys: []signing.Key{m.Key}, SignType: m.SignType, Institution: m.Institution, Rate: 5000,
		})
	}
	s := &stand{t: t, cfg: cfg}
	s.serveGateway()
	var err error
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ClientID("order-service"),
		kgo.DefaultProduceTopic(cfg.Topics.Requests), kgo.ProducerLinger(0), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	s.admin = kadm.NewClient(s.client)
	s.create(partitions, settings, cfg.Topics.Requests)
	s.create(partitions, nil, append(cfg.Topics.Retries(), cfg.Topics.Outcomes)...)
	s.create(1, nil, cfg.Topics.DeadLetters)
	return s
}

func (s *stand) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// context ends after waitLimit, or with the test.
func (s *stand) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.t.Context(), waitLimit)
}

func (s *stand) create(partitions int, settings map[string]string, topics ...string) {
	s.t.Helper()
	ctx, cancel := s.context()
	defer cancel()
	values := make(map[string]*string)
	for name, value := range settings {
		values[name] = &value
	}
	made, err := s.admin.CreateTopics(ctx, int32(partitions), 1, values, topics...)
	s.must(errors.Join(err, made.Error()))
}

// serveGateway serves the simulator until the test ends.
func (s *stand) serveGateway() {
	s.t.Helper()
	sim, err := gatewaysim.New(gatewaysim.Config{Latency: gatewaysim.Latency{Min: 5 * time.Millisecond, Max: 15 * time.Millisecond}, Slow: 4 * time.Second, History: 100})
	s.must(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	server := sim.Server()
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	s.t.Cleanup(func() {
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			s.t.Error(err)
		}
	})
	s.sim, s.cfg.Gateway.URLs = sim, []string{"http://" + ln.Addr().String()}
}

// running is a worker.
type running struct {
	log  *logBuffer
	stop context.CancelFunc
	done chan struct{}
	err  error // of Run; read after done
}

// logBuffer keeps what a worker logs.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// worker starts a worker in this process. change, which may be nil, changes its
// configuration. It is stopped at the end of the test at the latest.
func (s *stand) worker(change func(*config.Config)) *running {
	s.t.Helper()
	cfg := s.cfg
	if change != nil {
		change(&cfg)
	}
	r := &running{log: &logBuffer{}, done: make(chan struct{})}
	log := logrus.New()
	log.SetOutput(r.log)
	w, err := worker.New(cfg, worker.Deps{Log: log, DialKafka: s.dial})
	s.must(err)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.done)
		r.err = w.Run(ctx)
	}()
	s.t.Cleanup(func() {
		stop()
		<-r.done
		if s.t.Failed() {
			lines := strings.Split(strings.TrimSpace(r.log.String()), "\n")
			s.t.Logf("the last lines that a worker logged:\n%s", strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
	return r
}

// end stops a worker as SIGTERM does and returns what Run returned.
func (r *running) end() error {
	r.stop()
	<-r.done
	return r.err
}

// ended reports whether Run has returned by itself.
func (r *running) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// eventually waits until done says true.
func (s *stand) eventually(what string, done func(ctx context.Context) (bool, error)) {
	s.t.Helper()
	ctx, cancel := s.context()
	defer cancel()
	for {
		ok, err := done(ctx)
		if ok && err == nil {
			return
		}
		if kafka.Sleep(ctx, 100*time.Millisecond) != nil {
			s.t.Fatalf("waited in vain for %s (last: %v)", what, err)
		}
	}
}

// request is a request for an order, as plain JSON; more are further fields,
// with a comma before each.
func request(outTradeNo, more string) *kgo.Record {
	return &kgo.Record{Key: []byte(outTradeNo), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q%s}`, outTradeNo, more)}
}

// requests are n requests for orders of their own.
func requests(prefix string, n int) (all []*kgo.Record) {
	for i := range n {
		all = append(all, request(fmt.Sprintf("%s%d", prefix, i), ""))
	}
	return all
}

// send publishes and waits for all acknowledgements.
func (s *stand) send(all ...*kgo.Record) {
	s.t.Helper()
	ctx, cancel := s.context()
	defer cancel()
	s.must(s.client.ProduceSync(ctx, all...).FirstErr())
}

// read reads a topic as it is now, uncommitted.
func (s *stand) read(ctx context.Context, topic string) ([]*kgo.Record, error) {
	starts, err := s.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends, err := s.admin.ListEndOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error(), starts.Error()); err != nil {
		return nil, err
	}
	from, left := make(map[int32]kgo.Offset), make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) {
		if start, _ := starts.Lookup(topic, o.Partition); start.Offset < o.Offset {
			from[o.Partition], left[o.Partition] = kgo.NewOffset().At(start.Offset), o.Offset
		}
	})
	if len(left) == 0 {
		return nil, nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.cfg.Kafka.Brokers...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var all []*kgo.Record
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, open := left[r.Partition]
			if !open || r.Offset >= end {
				return
			}
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
			if r.Offset == end-1 {
				delete(left, r.Partition)
			}
		})
	}
	return all, nil
}

func message(r *kgo.Record) events.Message {
	m := events.Message{Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, events.Header{Key: h.Key, Value: h.Value})
	}
	return m
}

// outcomes are those in the topic now, by the request that they answer.
func (s *stand) outcomes(ctx context.Context) (map[events.Source][]events.Outcome, error) {
	all, err := s.read(ctx, s.cfg.Topics.Outcomes)
	if err != nil {
		return nil, err
	}
	answers := make(map[events.Source][]events.Outcome)
	for _, r := range all {
		o, err := events.DecodeOutcome(message(r))
		if err != nil {
			return nil, err
		}
		answers[o.Source] = append(answers[o.Source], o)
	}
	return answers, nil
}

// awaitAnswers waits until so many requests have outcomes and returns them; one
// that has more than one fails the test.
func (s *stand) awaitAnswers(n int) map[events.Source]events.Outcome {
	s.t.Helper()
	var found map[events.Source][]events.Outcome
	s.eventually(fmt.Sprintf("the outcomes of %d requests", n), func(ctx context.Context) (bool, error) {
		var err error
		found, err = s.outcomes(ctx)
		if err == nil && len(found) < n {
			err = fmt.Errorf("%d are there", len(found))
		}
		return err == nil, err
	})
	if len(found) > n {
		s.t.Errorf("%d requests have outcomes, want %d", len(found), n)
	}
	first := make(map[events.Source]events.Outcome)
	for source, all := range found {
		if len(all) > 1 {
			s.t.Errorf("%+v has %d outcomes", source, len(all))
		}
		first[source] = all[0]
	}
	return first
}

// committed is what the group has committed for a topic.
func (s *stand) committed(ctx context.Context, topic string) (map[int32]int64, error) {
	offsets, err := s.admin.FetchOffsets(ctx, s.cfg.Kafka.Group)
	if err != nil {
		return nil, err
	}
	at := make(map[int32]int64)
	for p, o := range offsets[topic] {
		at[p] = o.At
	}
	return at, nil
}

// awaitCommitted waits until the group has committed all of the requests.
func (s *stand) awaitCommitted() {
	s.t.Helper()
	s.eventually("everything to be committed", func(ctx context.Context) (bool, error) {
		ends, err := s.admin.ListEndOffsets(ctx, s.cfg.Topics.Requests)
		if err != nil {
			return false, err
		}
		at, err := s.committed(ctx, s.cfg.Topics.Requests)
		if err != nil {
			return false, err
		}
		ends.Each(func(o kadm.ListedOffset) {
			if at[o.Partition] < o.Offset {
				err = fmt.Errorf("partition %d: %d of %d", o.Partition, at[o.Partition], o.Offset)
			}
		})
		return err == nil, err
	})
}

// awaitGroup waits until the group has so many members, whatever protocol it
// runs, and none of them has something to do yet.
func (s *stand) awaitGroup(members int) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("a stable group of %d", members), func(ctx context.Context) (bool, error) {
		state, n, err := s.group(ctx)
		if err == nil && (state != "Stable" && members > 0 || n != members) {
			err = fmt.Errorf("it is %s and has %d members", state, n)
		}
		return err == nil, err
	})
}

// group asks franz-go what the group is, with the question for groups of the
// new protocol first.
func (s *stand) group(ctx context.Context) (state string, members int, err error) {
	name := s.cfg.Kafka.Group
	described, err := s.admin.DescribeConsumerGroups(ctx, name)
	if err != nil {
		return "", 0, err
	}
	if g := described[name]; g.Err == nil {
		return g.State, len(g.Members), nil
	}
	classic, err := s.admin.DescribeGroups(ctx, name)
	if err != nil {
		return "", 0, err
	}
	return classic[name].State, len(classic[name].Members), nil
}

// balanced audits the stand: everything is answered, and once.
func (s *stand) balanced() *audit.Report {
	s.t.Helper()
	report := s.audit(time.Time{})
	if !report.Balanced || report.InFlight+report.Waiting+report.Holes+report.Unproven != 0 || report.Duplicates+report.DuplicatesThatDiffer != 0 {
		s.t.Errorf("the audit says: %+v", report)
	}
	return report
}

func (s *stand) audit(since time.Time) *audit.Report {
	s.t.Helper()
	ctx, cancel := s.context()
	defer cancel()
	report, err := s.snapshot(since).Audit(ctx, audit.Options{})
	s.must(err)
	return report
}

func (s *stand) snapshot(since time.Time) *audit.Snapshot {
	s.t.Helper()
	ctx, cancel := s.context()
	defer cancel()
	client := kafka.Open(kafka.Config{Brokers: s.cfg.Kafka.Brokers, ReadUncommitted: s.cfg.Kafka.Isolation == config.ReadUncommitted})
	s.t.Cleanup(client.Close)
	snapshot, err := audit.Take(ctx, audit.Scope{Reader: &kafka.Reader{Client: client}, Group: s.cfg.Kafka.Group, Topics: s.cfg.Topics, Since: since})
	s.must(err)
	return snapshot
}
