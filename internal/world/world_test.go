package world

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/sirupsen/logrus"
)

// stage is a world with an observer and an order service, for a test.
type stage struct {
	*World
	t        *testing.T
	observer *Observer
	shop     *Shop
	began    time.Time
}

// inVirtualTime runs a test in a world of its own, with short retries.
func inVirtualTime(t *testing.T, cfg Config, test func(t *testing.T, s *stage)) {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = testLog()
	}
	if cfg.Log == nil {
		t.Parallel() // logs of several worlds nobody can read
	}
	inOneBubble(t, cfg, test)
}

// inOneBubble is inVirtualTime for a part of a test, which waits for it.
func inOneBubble(t *testing.T, cfg Config, test func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tune := cfg.Tune
		cfg.Tune = func(c *config.Config) {
			// Retries that are over within minutes, and few topics to fetch.
			c.Topics.RetryDelays = []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute}
			if tune != nil {
				tune(c)
			}
		}
		w, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}()
		s := &stage{World: w, t: t, began: time.Now()}
		if s.observer, err = w.Observe(); err != nil {
			t.Fatal(err)
		}
		if s.shop, err = w.OpenShop("shop"); err != nil {
			t.Fatal(err)
		}
		test(t, s)
	})
}

// testLog shows the workers' log where CLOSEORDER_SIM_LOG names a level.
func testLog() logrus.FieldLogger {
	level, err := logrus.ParseLevel(os.Getenv("CLOSEORDER_SIM_LOG"))
	if err != nil {
		return nil
	}
	log := logrus.New()
	log.SetLevel(level)
	log.SetOutput(os.Stderr)
	log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: "15:04:05.000"})
	return log
}

// workers starts n workers: worker-0, worker-1 and so on.
func (s *stage) workers(n int) []*Worker {
	s.t.Helper()
	all := make([]*Worker, n)
	for i := range all {
		all[i] = s.worker(fmt.Sprintf("worker-%d", i), nil)
	}
	return all
}

func (s *stage) worker(name string, tune func(*config.Config)) *Worker {
	s.t.Helper()
	wk, err := s.StartWorker(name, tune)
	if err != nil {
		s.t.Fatal(err)
	}
	return wk
}

// asks publishes in the background and returns what waits for the end of it.
func (s *stage) asks(tr Traffic) (wait func()) {
	done := make(chan error, 1)
	tr.Begin = time.Now()
	go func() { done <- s.shop.Ask(s.t.Context(), tr.Publications()) }()
	return func() {
		s.t.Helper()
		if err := <-done; err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *stage) look() Look {
	s.t.Helper()
	l, err := s.observer.Look(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// answered waits until every request has an outcome, for at most so long.
func (s *stage) answered(atMost time.Duration) {
	s.t.Helper()
	for end := time.Now().Add(atMost); ; time.Sleep(atMost / 60) {
		open := s.unanswered()
		if open == 0 {
			return
		}
		if time.Now().After(end) {
			s.t.Errorf("%v after the last request %d are not answered", atMost, open)
			return
		}
	}
}

// unanswered looks, and counts the requests without an outcome.
func (s *stage) unanswered() int {
	s.t.Helper()
	s.look()
	return s.observer.unanswered(s.World)
}

// unanswered counts the requests without an outcome, as far as it has read. What
// cannot be read answers none.
func (o *Observer) unanswered(w *World) int {
	outcomes := o.records[w.Config.Topics.Outcomes]
	for _, r := range outcomes[len(o.answered):] {
		a, err := readOutcome(r)
		if err != nil {
			a.Source = events.Source{}
		}
		o.answered = append(o.answered, a.Source)
	}
	answered := make(map[events.Source]bool, len(outcomes))
	for i := range outcomes {
		if !outcomes[i].aborted { // which may have shown since it was read
			answered[o.answered[i]] = true
		}
	}
	open := 0
	for _, r := range o.Records(w.Config.Topics.Requests) {
		if !answered[r.Source()] {
			open++
		}
	}
	return open
}

// heldUp reports whether at the last look a transaction was open in any topic.
func (o *Observer) heldUp() bool {
	for at, end := range o.looks[len(o.looks)-1].Ends {
		if o.stable[at] < end {
			return true
		}
	}
	return false
}

// check takes a last look and fails the test for every finding.
func (s *stage) check(limit func(*Evidence)) Report {
	s.t.Helper()
	s.look()
	e := s.Evidence(s.observer)
	e.Settled = true
	var err error
	if e.Aborted, err = s.observer.Aborted(s.t.Context(), s.Config.Topics.Requests); err != nil {
		s.t.Fatal(err)
	}
	if limit != nil {
		limit(&e)
	}
	report := Check(e)
	for i, f := range report.Findings {
		if i == 20 {
			s.t.Errorf("and %d more findings", len(report.Findings)-i)
			break
		}
		s.t.Error(f)
	}
	if !report.Balanced() {
		s.t.Errorf("the counts do not add up: %v", report)
	}
	s.t.Logf("%v of virtual time: %v", time.Since(s.began).Round(time.Second), report)
	return report
}

// stays lets time pass, and looks at the commits every few seconds.
func (s *stage) stays(d time.Duration) {
	s.t.Helper()
	for end := time.Now().Add(d); ; {
		time.Sleep(min(5*time.Second, time.Until(end)))
		s.look()
		if !time.Now().Before(end) {
			return
		}
	}
}

// stopped looks at what is committed while no worker runs.
func (s *stage) stopped() {
	s.look()
	looks := s.observer.Looks()
	looks[len(looks)-1].Stopped = true
}

// generation is that of the workers' group.
func (s *stage) generation() int32 {
	info := s.Kafka.Cluster().GroupInfo(s.Config.Kafka.Group)
	if info == nil {
		return -1
	}
	return info.Epoch
}

func (s *stage) eachBroker(do func(Path)) {
	for i := range s.Kafka.Nodes() {
		do(s.Kafka.Broker(i))
	}
}
