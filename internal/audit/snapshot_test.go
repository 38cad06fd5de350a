package audit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/kafka"
)

// TestAnAuditOfWorkersThatRunSeesNoFalseHole lets the workers make a few moves
// before each single question that the audit asks. Whatever comes between two
// questions, nothing is a hole: the order of the questions in Take is what
// makes it so. Another order fails here within a few seeds.
func TestAnAuditOfWorkersThatRunSeesNoFalseHole(t *testing.T) {
	seeds := 10
	if n, err := strconv.Atoi(os.Getenv("CLOSEORDER_AUDIT_SEEDS")); err == nil {
		seeds = n
	}
	waiting, flight, answered := int64(0), int64(0), int64(0)
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			p := plant(t)
			w := &workers{planted: p, r: rand.New(rand.NewPCG(uint64(seed), 1)), open: map[string][]*work{}, done: map[string]map[int][]bool{}}
			for range 40 {
				w.move()
			}
			client := kafka.Open(kafka.Config{Brokers: p.broker.Addrs(), Dial: w.dial})
			defer client.Close()
			defer w.rest()
			p.scope.Reader = &kafka.Reader{Client: client, Parallel: 1}
			r := p.audit()
			r.Notes = slices.DeleteFunc(r.Notes, func(n string) bool { return strings.HasSuffix(n, "were deleted during the audit") })
			if !r.Balanced || r.OutcomesWithoutRequest.Foreign != 0 || len(r.Notes) > 0 {
				t.Errorf("%+v", *r)
			}
			waiting, flight, answered = waiting+r.Waiting, flight+r.InFlight, answered+r.Closed+r.Failed
		})
	}
	if waiting == 0 || flight == 0 || answered == 0 {
		t.Errorf("%d waiting, %d in flight, %d answered: the workers did not do everything", waiting, flight, answered)
	}
}

// stepping lets the workers move before each request that goes out.
type stepping struct {
	net.Conn
	w *workers
}

func (s stepping) Write(b []byte) (int, error) {
	s.w.turn.Lock()
	for range 6 {
		if !s.w.resting {
			s.w.move()
		}
	}
	s.w.turn.Unlock()
	return s.Conn.Write(b)
}

func (w *workers) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	return stepping{conn, w}, err
}

// rest ends the moves.
func (w *workers) rest() {
	w.turn.Lock()
	w.resting = true
	w.turn.Unlock()
}

// workers are what workers do to the topics, in an order left to chance: a
// record is published, then its offset is finished, then that is committed.
type workers struct {
	*planted
	turn    sync.Mutex // of one connection at a time
	resting bool

	r    *rand.Rand
	n    int
	open map[string][]*work        // by topic: records that are not finished
	done map[string]map[int][]bool // by topic and partition: which offsets are
	// committed is by partition of the requests.
	committed [2]int64
}

// work is a record of the requests or of a retry topic.
type work struct {
	at, source events.Source
	order      string
}

func (w *workers) move() {
	topic := []string{"requests", "requests", "retries.10s", "retries.1m"}[w.r.IntN(4)]
	switch w.r.IntN(11) {
	case 0:
		// Retention never takes what is not committed, if it is long enough.
		if partition := w.r.IntN(2); w.committed[partition] > 0 {
			w.deletes("requests", partition, w.committed[partition])
		}
	case 1, 2, 3, 4:
		w.n++
		order := fmt.Sprint("order", w.n)
		at := w.request(w.r.IntN(2), order)
		w.opened(&work{at, at, order})
	case 5, 6, 7, 8:
		w.settle(topic)
	default:
		w.commit(topic)
	}
}

func (w *workers) opened(k *work) {
	t := k.at.Topic
	w.open[t] = append(w.open[t], k)
	if w.done[t] == nil {
		w.done[t] = map[int][]bool{}
	}
	w.done[t][k.at.Partition] = append(w.done[t][k.at.Partition], false)
}

// settle publishes what became of a record, and finishes it.
func (w *workers) settle(topic string) {
	if len(w.open[topic]) == 0 {
		return
	}
	i := w.r.IntN(len(w.open[topic]))
	k := w.open[topic][i]
	w.open[topic] = slices.Delete(w.open[topic], i, i+1)
	next := "retries.10s"
	if topic == next {
		next = "retries.1m"
	}
	switch w.r.IntN(4) {
	case 0:
		if topic == "retries.1m" {
			w.answers(k.source, k.order, events.Closed)
			break
		}
		w.opened(&work{w.waits(next, k.source, k.order), k.source, k.order})
	case 1:
		w.dies(k.source, k.order)
		w.answers(k.source, k.order, events.Failed)
	default:
		w.answers(k.source, k.order, events.Closed)
	}
	w.done[topic][k.at.Partition][k.at.Offset] = true
}

func (w *workers) commit(topic string) {
	for partition, done := range w.done[topic] {
		watermark := slices.Index(done, false)
		if watermark < 0 {
			watermark = len(done)
		}
		var above []int64
		for offset := watermark; offset < len(done); offset++ {
			if done[offset] {
				above = append(above, int64(offset))
			}
		}
		w.commits(topic, partition, int64(watermark), above...)
		if topic == "requests" {
			w.committed[partition] = int64(watermark)
		}
	}
}

func TestAnAuditEndsWithItsContext(t *testing.T) {
	p := plant(t)
	p.request(0, "A")
	s, err := audit.Take(p.ctx, p.scope)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(p.ctx)
	stop := fmt.Errorf("stopped")
	cancel(stop)
	if _, err := s.Audit(ctx, audit.Options{}); err != stop {
		t.Errorf("Audit: %v", err)
	}
	if err := p.broker.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancelCause(p.ctx)
	client := kafka.Open(kafka.Config{Brokers: p.broker.Addrs(), OnRetry: func(string, int, error) { cancel(stop) }})
	defer client.Close()
	p.scope.Reader = &kafka.Reader{Client: client}
	if _, err := audit.Take(ctx, p.scope); err == nil || time.Since(s.At) > time.Minute {
		t.Errorf("Take: %v", err)
	}
}

func TestTopicsThatDoNotExistAreNamed(t *testing.T) {
	p := plant(t)
	p.scope.Topics.RetryDelays = append(slices.Clone(topics.RetryDelays), 2*time.Hour, 3*time.Hour)
	if _, err := audit.Take(p.ctx, p.scope); err == nil || err.Error() != "topics retries.2h, retries.3h do not exist; create them with: closeorder topics create" {
		t.Error(err)
	}
}
