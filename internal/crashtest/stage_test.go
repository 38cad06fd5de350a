//go:build apachekafka

package crashtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// settings say what a stage is made of.
type settings struct {
	kafka   apachekafka.Config
	gateway gatewaysim.Config
	// partitions of the requests topic and of the outcomes topic.
	partitions int
	// workers are their names; static gives them their names as
	// kafka.instance_id, those that are in it.
	workers []string
	static  []string
	// guarantee is the processing_guarantee of all workers; empty is the default.
	guarantee string
	// inFlight is the most calls of each worker; 0 is defaultInFlight.
	inFlight int
	// attempt is the gateway.attempt_timeout of all workers; 0 is defaultAttempt.
	attempt time.Duration
	// env are further settings of all workers, NAME=value.
	env []string
}

const (
	group       = "closeorder"
	requests    = "closeorder.requests"
	outcomes    = "closeorder.outcomes"
	deadLetters = "closeorder.dead-letters"
	retries     = "closeorder.retries"

	// defaultInFlight is what each worker may have where settings do not say.
	defaultInFlight = 32
	// defaultAttempt is how long a call may take where settings do not say.
	defaultAttempt = 2 * time.Second
	// waitLimit bounds every wait for something that must happen.
	waitLimit = 2 * time.Minute
)

// retryDelays are short: a test that has stopped to disturb waits for them.
var retryDelays = []string{"1s", "2s", "5s"}

// stage is a deployment of closeorder and all that it is seen by.
type stage struct {
	t        *testing.T
	kafka    *apachekafka.Cluster
	sim      *gatewaysim.Simulator
	workers  []*worker
	shop     *shop
	admin    *kadm.Client
	observer *world.Observer
	looks    []world.Look
	env      []string // of the workers, and of the other commands
	// merchants is the file that names them.
	merchants string

	maxInFlight int // of each worker
	attempt     time.Duration
	exactlyOnce bool

	answered map[events.Source]bool
	readTo   int // of the outcomes

	mu    sync.Mutex
	notes []string
}

// newStage starts a cluster and a gateway, creates the topics with the
// program itself, and prepares the workers. Everything ends with the test.
func newStage(t *testing.T, set settings) *stage {
	t.Helper()
	set.gateway.History = 1000
	sim, err := gatewaysim.New(set.gateway)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, kafka: apachekafka.ForTest(t, set.kafka), sim: sim, answered: make(map[events.Source]bool),
		maxInFlight: cmp.Or(set.inFlight, defaultInFlight), attempt: cmp.Or(set.attempt, defaultAttempt), exactlyOnce: set.guarantee == exactlyOnce}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what was done:\n%s", strings.Join(s.notes, "\n"))
		}
	})
	dir := t.TempDir()
	s.merchants = filepath.Join(dir, "merchants.yaml")
	if err := os.WriteFile(s.merchants, []byte(merchantsFile()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir,
		"GORACE=atexit_sleep_ms=0", // of workers with the race detector: else a stop takes a second longer
		"CLOSEORDER_KAFKA_BROKERS=" + strings.Join(s.kafka.Addrs(), ","),
		"CLOSEORDER_KAFKA_GROUP=" + group,
		// A broker that crashes must not cost all memberships, see
		// docs/non-obvious.md: it is back after about 7 s.
		"CLOSEORDER_KAFKA_SESSION_TIMEOUT=10s",
		"CLOSEORDER_KAFKA_REBALANCE_TIMEOUT=15s",
		"CLOSEORDER_TOPICS_RETRY_DELAYS=" + strings.Join(retryDelays, ","),
		"CLOSEORDER_MERCHANTS_FILE=" + s.merchants,
		"CLOSEORDER_GATEWAY_ATTEMPT_TIMEOUT=" + s.attempt.String(),
		"CLOSEORDER_GATEWAY_BUDGET=4s",
		"CLOSEORDER_MIN_ORDER_AGE=0s",
		"CLOSEORDER_MAX_IN_FLIGHT=" + strconv.Itoa(s.maxInFlight),
		"CLOSEORDER_SHUTDOWN_GRACE=10s",
		"CLOSEORDER_LOG_FORMAT=json",
	}, set.env...)
	if set.guarantee != "" {
		s.env = append(s.env, "CLOSEORDER_PROCESSING_GUARANTEE="+set.guarantee)
	}
	for _, name := range set.workers {
		w := &worker{name: name, host: serveGateway(t, sim), log: filepath.Join(dir, name+".log")}
		w.env = append(slices.Clone(s.env), "CLOSEORDER_KAFKA_CLIENT_ID="+name, "CLOSEORDER_GATEWAY_URLS="+w.host.url())
		if slices.Contains(set.static, name) {
			w.env = append(w.env, "CLOSEORDER_KAFKA_INSTANCE_ID="+name)
		}
		s.workers = append(s.workers, w)
		t.Cleanup(func() {
			if err := w.end(syscall.SIGKILL); err != nil && !errors.Is(err, errNotRunning) && !t.Failed() {
				t.Errorf("%s was still there at the end of the test: %v", w.name, err)
			}
			w.checkLog(t, []string{gatewaysim.DirectKey, gatewaysim.HMACKey, gatewaysim.InstitutionKey})
		})
	}
	s.run("topics", "create", "--partitions", strconv.Itoa(set.partitions))
	s.shop = openShop(t, s.kafka.Addrs(), requests)
	s.admin = kadm.NewClient(s.shop.client)
	if s.observer, err = world.NewObserver(group, s.topics(), kgo.SeedBrokers(s.kafka.Addrs()...), kgo.AlwaysRetryEOF()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.observer.Close)
	return s
}

func (s *stage) topics() []string {
	all := []string{requests, outcomes, deadLetters}
	for _, d := range retryDelays {
		all = append(all, retries+"."+d)
	}
	return all
}

// merchantsFile names the merchants of the simulator.
func merchantsFile() string {
	return `merchants:
  - {mch_id: "1900000109", appid: wx8888888888888888, rate: 5000, key: ` + gatewaysim.DirectKey + `}
  - {mch_id: "1900000110", appid: wx8888888888888888, rate: 5000, sign_type: HMAC-SHA256, key: ` + gatewaysim.HMACKey + `}
  - {mch_id: "1900000111", appid: wx8888888888888888, rate: 5000, mode: institution, key: ` + gatewaysim.InstitutionKey + `}
`
}

// run runs a command of the program to its end, which must be good, and
// returns what it wrote.
func (s *stage) run(args ...string) string {
	s.t.Helper()
	code, stdout, stderr := s.runWith(nil, args...)
	if code != 0 {
		s.t.Fatalf("closeorder %s: exit code %d\n%s%s", strings.Join(args, " "), code, stderr, stdout)
	}
	return stderr + stdout
}

// runWith runs a command with further settings, and returns its exit code and what
// it wrote. It is killed when it has not ended after waitLimit.
func (s *stage) runWith(env []string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	ctx, cancel := s.context()
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = slices.Concat(s.env, env)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("closeorder %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

const noteTime = "15:04:05.000 "

// note remembers what was done to the stage, for the log of a test that fails.
func (s *stage) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, time.Now().UTC().Format(noteTime)+fmt.Sprintf(format, args...))
}

// notesBetween are those of a span of time.
func (s *stage) notesBetween(from, to time.Time) (notes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.notes {
		if n >= from.UTC().Format(noteTime) && n <= to.UTC().Format(noteTime) {
			notes = append(notes, n)
		}
	}
	return notes
}

// step runs a part of a test as a test of its own.
func (s *stage) step(name string, f func()) {
	outer := s.t
	defer func() { s.t = outer }()
	outer.Run(name, func(t *testing.T) {
		s.t = t
		f()
	})
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// context ends after waitLimit, or with the test.
func (s *stage) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.t.Context(), waitLimit)
}

// eventually waits until done says true. It fails the test when that takes
// longer than waitLimit.
func (s *stage) eventually(what string, done func(ctx context.Context) (bool, error)) {
	s.t.Helper()
	s.must(s.wait(what, done))
}

// wait is eventually for a caller who can go on without.
func (s *stage) wait(what string, done func(ctx context.Context) (bool, error)) error {
	ctx, cancel := s.context()
	defer cancel()
	for {
		ok, err := done(ctx)
		if ok && err == nil {
			return nil
		}
		if !pause(ctx.Done(), 50*time.Millisecond) {
			return fmt.Errorf("waited in vain for %s (last: %w)", what, err)
		}
	}
}

// startAll starts all workers and waits until each has partitions.
func (s *stage) startAll() {
	s.t.Helper()
	for _, w := range s.workers {
		s.must(w.start())
	}
	s.awaitAssigned(s.workers...)
}

func (s *stage) awaitAssigned(workers ...*worker) {
	s.t.Helper()
	for _, w := range workers {
		s.eventually(w.name+" to get partitions", func(context.Context) (bool, error) { return w.assigned() })
	}
}

// awaitGroup waits until the group is stable and has so many members.
func (s *stage) awaitGroup(members int) {
	s.t.Helper()
	s.eventually("a stable group", func(ctx context.Context) (bool, error) {
		found, err := s.admin.DescribeGroups(ctx, group)
		if err != nil {
			return false, err
		}
		if g := found[group]; g.State != "Stable" || len(g.Members) != members {
			return false, fmt.Errorf("it is %s and has %d members", g.State, len(g.Members))
		}
		return true, nil
	})
}

// stopAll stops all workers that run, at the same time.
func (s *stage) stopAll() {
	s.t.Helper()
	errs := make(chan error)
	n := 0
	for _, w := range s.workers {
		if w.cmd != nil {
			n++
			go func() { errs <- w.stop() }()
		}
	}
	for range n {
		if err := <-errs; err != nil {
			s.t.Error(err)
		}
	}
}

// look reads what was committed and what stands in the topics.
func (s *stage) look(ctx context.Context) error {
	look, err := s.observer.Look(ctx)
	if err != nil {
		return err
	}
	// In real time the commits are only as old as the answer, not as the
	// question.
	look.At = time.Now()
	s.looks = append(s.looks, look)
	for _, r := range s.observer.Records(outcomes)[s.readTo:] {
		if o, err := events.DecodeOutcome(r.Message); err == nil {
			s.answered[o.Source] = true
		}
		s.readTo++
	}
	return nil
}

// watch looks again and again until stop is closed. While brokers are away a
// look may fail.
func (s *stage) watch(stop <-chan struct{}) {
	for pause(stop, 500*time.Millisecond) {
		ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
		_ = s.look(ctx)
		cancel()
	}
}

// awaitAnswers waits until every one of so many requests has an outcome, as
// long as outcomes come. Where they end too early the test fails and goes on:
// the check says why.
func (s *stage) awaitAnswers(requests int) {
	s.t.Helper()
	began := time.Now()
	for len(s.answered) < requests {
		had := len(s.answered)
		err := s.wait("one more outcome", func(ctx context.Context) (bool, error) {
			// A look reads little but takes a moment: it need not be often.
			if !pause(ctx.Done(), 250*time.Millisecond) {
				return false, ctx.Err()
			}
			err := s.look(ctx)
			return len(s.answered) > had, err
		})
		if err != nil {
			s.t.Errorf("%v: %d of %d are there", err, len(s.answered), requests)
			return
		}
	}
	s.t.Logf("all is answered %s after the load has ended", seconds(time.Since(began)))
}

// stopAndStart stops all workers well, looks, and starts them again for a
// moment: they must find nothing to do.
func (s *stage) stopAndStart() {
	s.t.Helper()
	s.stopAll()
	s.eventually("a look", func(ctx context.Context) (bool, error) { return true, s.look(ctx) })
	s.looks[len(s.looks)-1].Stopped = true
	s.startAll()
	pause(s.t.Context().Done(), 2*time.Second)
	s.eventually("a look", func(ctx context.Context) (bool, error) { return true, s.look(ctx) })
	s.stopAll()
}

// evidence is what the topics and the order book say, after everything had
// time to end.
func (s *stage) evidence() world.Evidence {
	s.t.Helper()
	ctx, cancel := s.context()
	defer cancel()
	aborted, err := s.observer.Aborted(ctx, requests)
	s.must(err)
	e := world.Evidence{
		Requests:    s.observer.Records(requests),
		Outcomes:    s.observer.Records(outcomes),
		DeadLetters: s.observer.Records(deadLetters),
		Aborted:     aborted,
		ExactlyOnce: s.exactlyOnce,
		Looks:       s.looks,
		Settled:     true,
		Book:        s.sim.Book(),
		MaxInFlight: s.maxInFlight * len(s.workers),
	}
	for _, name := range s.topics()[3:] {
		e.Retries = append(e.Retries, s.observer.Records(name)...)
	}
	e.Calls = callsIn(s.t, e.Book, s.workers, s.attempt)
	return e
}

// check has everything checked, by the checker of the test world and by
// closeorder audit, and reports what is wrong.
func (s *stage) check() (world.Report, world.Evidence) {
	s.t.Helper()
	e := s.evidence()
	report := world.Check(e)
	for i, f := range report.Findings {
		if i == 10 {
			s.t.Errorf("and %d more findings", len(report.Findings)-i)
			break
		}
		s.t.Errorf("%v\n%s", f, e.History(f.Order))
	}
	if !report.Balanced() {
		s.t.Errorf("the counts do not add up: %v", report)
	}
	s.t.Logf("closeorder audit says:\n%s", s.run("audit"))
	return report, e
}

// random is a source that is drawn anew for each run, or given by
// CLOSEORDER_CRASH_SEED.
func random(t testing.TB) (*rand.Rand, uint64) {
	t.Helper()
	seed := rand.Uint64N(1_000_000)
	if text := os.Getenv("CLOSEORDER_CRASH_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CLOSEORDER_CRASH_SEED is %q, want a number", text)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to draw the same disturbances again: CLOSEORDER_CRASH_SEED=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0x6372617368)), seed
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
