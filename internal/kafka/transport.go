package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

const (
	// slowAfter is how long a broker may work on one request before what is
	// asked meanwhile goes round it.
	slowAfter = 400 * time.Millisecond
	// hedgeAfter is how long one broker may keep silent before another one is
	// asked beside it, where any of them may answer.
	hedgeAfter = 300 * time.Millisecond
	// newTopicWait bounds the wait until a topic that was made is in the metadata.
	newTopicWait = 5 * time.Second
)

// transport takes kafka-go's requests to the brokers that they are for, in
// place of kafka-go's own Transport: few connections, each for a purpose (see
// [purpose]), and an error for what that one drops without a word. It is safe
// for concurrent use.
//
//	request --cluster: which broker--> link: one connection --conn: pipelined--> answer
type transport struct {
	cfg    Config
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	cluster

	running sync.WaitGroup
	mu      sync.Mutex
	closed  bool
	links   map[way]*link
	conns   map[*conn]struct{}
}

// way is what a link is found by.
type way struct {
	address string
	purpose purpose
}

func newTransport(cfg Config, topics []string) *transport {
	t := &transport{cfg: cfg, dial: cfg.Dial, links: make(map[way]*link), conns: make(map[*conn]struct{})}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.cluster = cluster{topics: topics, coordinators: make(map[group]string)}
	if t.dial == nil {
		t.dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	return t
}

// RoundTrip implements [kafkago.RoundTripper]. The address is not looked at:
// the brokers of the Config are meant.
func (t *transport) RoundTrip(ctx context.Context, _ net.Addr, req kafkago.Request) (kafkago.Response, error) {
	switch r := req.(type) {
	case *metadata.Request:
		return t.known(ctx, r)
	case protocol.Splitter:
		return t.split(ctx, r)
	case *createtopics.Request:
		answer, err := t.send(ctx, req)
		if err == nil && !r.ValidateOnly {
			t.await(ctx, answer.(*createtopics.Response))
		}
		return answer, err
	}
	return t.send(ctx, req)
}

// split sends the parts of a request at the same time and puts the answers
// together.
func (t *transport) split(ctx context.Context, req protocol.Splitter) (protocol.Message, error) {
	v, err := t.view(ctx, routing)
	if err != nil {
		return nil, err
	}
	parts, merger, err := req.Split(v.layout)
	if err != nil {
		return nil, err
	}
	results := make([]any, len(parts))
	var sent sync.WaitGroup
	for i, part := range parts {
		sent.Go(func() {
			if answer, err := t.send(ctx, part); err != nil {
				results[i] = err
			} else {
				results[i] = answer
			}
		})
	}
	sent.Wait()
	return merger.Merge(parts, results)
}

// send takes a request to the broker that it is for.
func (t *transport) send(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	switch r := req.(type) {
	case protocol.BrokerMessage:
		return t.sendToBroker(ctx, r, req)
	case protocol.GroupMessage:
		return t.sendToCoordinator(ctx, group{r.Group(), 0}, req)
	case protocol.TransactionalMessage:
		return t.sendToCoordinator(ctx, group{r.Transaction(), 1}, req)
	}
	return t.sendToAny(ctx, req)
}

func (t *transport) sendToBroker(ctx context.Context, route protocol.BrokerMessage, req protocol.Message) (protocol.Message, error) {
	v, broker, err := t.route(ctx, route)
	if err != nil {
		return nil, err
	}
	if broker.ID < 0 {
		return t.sendToAny(ctx, req)
	}
	answer, err := t.ask(ctx, addressOf(broker.Host, broker.Port), req)
	if err == nil && moved(answer) {
		v.stale.Store(true)
	}
	return answer, err
}

func (t *transport) sendToCoordinator(ctx context.Context, g group, req protocol.Message) (protocol.Message, error) {
	address, err := t.coordinator(ctx, g)
	if err != nil {
		return nil, err
	}
	answer, err := t.ask(ctx, address, req)
	if err == nil && notCoordinator(answer) {
		t.forget(g, address)
	}
	return answer, err
}

// sendToAny sends a request that any broker may answer to the first one that
// there is a connection to.
func (t *transport) sendToAny(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	var failed brokersError
	for _, address := range t.anyone() {
		l := t.link(address, asking)
		if _, err := l.open(ctx); err != nil {
			failed = append(failed, err)
			continue
		}
		return l.ask(ctx, req)
	}
	return nil, failed.err()
}

// ask sends a request to the broker at an address. A commit, of offsets or
// of a transaction, goes over the
// connection for joins, if nobody joins: both wait for replicas, and a produce
// request would wait behind each commit and each commit behind a produce request.
// So does what would come behind a request that takes long; a fifth connection is
// not made for that. Nor does the question where a broker is wait for a quota of
// bytes: a membership would end for it.
func (t *transport) ask(ctx context.Context, address string, req protocol.Message) (protocol.Message, error) {
	l := t.link(address, purposeOf(req))
	round := false
	switch req.ApiKey() {
	case protocol.OffsetCommit, protocol.AddPartitionsToTxn, protocol.AddOffsetsToTxn, protocol.TxnOffsetCommit, protocol.EndTxn:
		round = true
	case protocol.InitProducerId:
		_, round = req.(protocol.TransactionalMessage) // what ends a transaction must not wait for what it ends
	case protocol.FindCoordinator, protocol.Metadata:
		round = l.holds() > 0
	}
	if l.purpose == asking && (round || l.slow(time.Now())) {
		if spare := t.link(address, joining); !spare.joins() {
			l = spare
		}
	}
	return l.ask(ctx, req)
}

// prepare opens the connections of a member to its coordinator.
func (t *transport) prepare(ctx context.Context, g group) error {
	address, err := t.coordinator(ctx, g)
	if err != nil {
		return err
	}
	for _, p := range []purpose{asking, joining, beating, fetching} {
		if _, err := t.link(address, p).open(ctx); err != nil {
			return err
		}
	}
	return nil
}

// versionAt is the version of an API between kafka-go and the coordinator of a
// group or a transactional id.
func (t *transport) versionAt(ctx context.Context, g group, api protocol.ApiKey) (int16, error) {
	address, err := t.coordinator(ctx, g)
	if err != nil {
		return 0, err
	}
	c, err := t.link(address, asking).open(ctx)
	if err != nil {
		return 0, err
	}
	return c.versions.both(address, api)
}

// hedged sends a request that any broker may answer, and that does no harm
// twice: to another one as well where the first keeps silent or fails.
func (t *transport) hedged(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	begun := time.Now()
	addresses := t.anyone()
	replies := make(chan reply, len(addresses))
	under := 0
	next := func() error {
		if len(addresses) == 0 {
			return nil
		}
		address := addresses[0]
		addresses = addresses[1:]
		under++
		return t.spawn(func() {
			// The error of a dial says more than that the time is over.
			once, cancel := context.WithTimeout(ctx, dialTimeout+time.Second)
			defer cancel()
			answer, err := t.ask(once, address, req)
			replies <- reply{answer, err}
		})
	}
	if err := next(); err != nil {
		return nil, err
	}
	silence := time.NewTicker(hedgeAfter)
	defer silence.Stop()
	var failed brokersError
	for under > 0 {
		var err error
		select {
		case r := <-replies:
			if under--; r.err == nil {
				return r.answer, nil
			}
			failed = append(failed, r.err)
			err = next()
		case <-silence.C:
			err = next()
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, ctx.Err()
			}
			return nil, append(failed, fmt.Errorf("no broker has answered %s within %v: %w", req.ApiKey(), time.Since(begun).Round(time.Millisecond), os.ErrDeadlineExceeded)).err()
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, failed.err()
}

// anyone lists the addresses to try where any broker may answer: those that
// there is a free connection to, then the other brokers, then those of the
// Config that are none of these.
func (t *transport) anyone() []string {
	known := t.addresses()
	var free, others, given []string
	for address := range known {
		if t.free(address) {
			free = append(free, address)
		} else {
			others = append(others, address)
		}
	}
	for _, address := range t.cfg.Brokers {
		if _, ok := known[address]; !ok {
			given = append(given, address)
		}
	}
	all := make([]string, 0, len(free)+len(others)+len(given))
	for _, some := range [][]string{free, others, given} {
		rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
		all = append(all, some...)
	}
	return all
}

// free reports whether a connection waits for something to ask, and may be asked.
func (t *transport) free(address string) bool {
	t.mu.Lock()
	l := t.links[way{address, asking}]
	t.mu.Unlock()
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn != nil && l.conn.usable() && !l.conn.busy() && !time.Now().Before(l.heldUntil)
}

func (t *transport) link(address string, p purpose) *link {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := way{address, p}
	l := t.links[at]
	if l == nil {
		l = &link{transport: t, address: address, purpose: p}
		t.links[at] = l
	}
	return l
}

// spawn runs what close waits for.
func (t *transport) spawn(run func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errClosed
	}
	t.running.Go(run)
	return nil
}

// errClosed is the error of what was under way when the client was closed.
var errClosed = fmt.Errorf("the client is closed: %w", net.ErrClosed)

// add takes note of a connection that is open.
func (t *transport) add(c *conn) error {
	t.mu.Lock()
	t.conns[c] = struct{}{}
	closed := t.closed
	t.mu.Unlock()
	if closed {
		c.end(errClosed)
		return errClosed
	}
	return nil
}

// lost is told of each connection that has ended.
func (t *transport) lost(c *conn, why error) {
	t.mu.Lock()
	delete(t.conns, c)
	t.mu.Unlock()
	if !errors.Is(why, errIdle) {
		t.unreachable(c.address)
	}
}

// each calls do for all connections that are open.
func (t *transport) each(do func(*conn)) {
	t.mu.Lock()
	conns := make([]*conn, 0, len(t.conns))
	for c := range t.conns {
		conns = append(conns, c)
	}
	t.mu.Unlock()
	for _, c := range conns {
		do(c)
	}
}

// close ends all connections and goroutines, and waits for these.
func (t *transport) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.each(func(c *conn) { c.end(errClosed) })
	t.running.Wait()
}

// brokersError is what several brokers failed with.
type brokersError []error

// err is the error of all; they are told apart by what they say.
func (e brokersError) err() error {
	switch len(e) {
	case 0:
		return errors.New("kafka.brokers is empty")
	case 1:
		return e[0]
	}
	return e
}

func (e brokersError) Error() string {
	var texts []string
	for _, err := range e {
		texts = append(texts, err.Error())
	}
	slices.Sort(texts) // brokers are asked in any order, and what lasts has one text
	return strings.Join(texts, "; ")
}

func (e brokersError) Unwrap() []error { return e }

func addressOf(host string, port int32) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
