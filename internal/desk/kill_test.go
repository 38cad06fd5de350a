package desk_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/kafka"
)

// TestAKillInTheMiddleOfAReplayLosesNothing kills a console twice while it replays,
// and in the end every letter was sent: exactly once, but for the chunk that was
// being written at a kill. Of that nobody knows whether the broker had it when the
// next console read the topic's end, so that the rules allow it to be there twice: a
// worker closes the order of such a request as it does any other, and to close an
// order is idempotent.
func TestAKillInTheMiddleOfAReplayLosesNothing(t *testing.T) {
	const letters, rate, chunk = 600, 1000, 100 // of a tenth of a second
	s := newBroker(t)
	dir := t.TempDir()
	s.open(dir)
	var orders []string
	for i := range letters {
		orders = append(orders, fmt.Sprint("T", i))
	}
	s.bury(orders...)
	r := s.plans(desk.Wish{})
	// Nothing is sent by this process: it ends before its desk looks.
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	s.openIdle(dir)
	s.starts(r.ID, desk.Order{Reason: "r", Rate: rate})
	s.closeIdle()

	sent := 0
	for kill := range 2 {
		console := exec.CommandContext(t.Context(), os.Args[0])
		console.Env = append(os.Environ(), killedBroker+"="+s.broker.Addr(), killedDir+"="+dir)
		var said bytes.Buffer
		console.Stderr = &said
		if err := console.Start(); err != nil {
			t.Fatal(err)
		}
		sent = s.awaitRequests(sent + 150)
		if err := console.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := console.Wait(); err == nil || sent >= letters {
			t.Fatalf("kill %d came too late: %v, %d sent\n%s", kill, err, sent, &said)
		}
	}
	s.open(dir)
	r = s.until(r.ID, in(desk.Done))
	count, at, all := s.requests()
	if len(count) != letters || r.Sent != letters || r.Left != 0 {
		t.Errorf("%d of %d orders were sent, the database says %+v", len(count), letters, r)
	}
	if twice := len(all) - letters; twice > 2*chunk {
		t.Errorf("%d were sent twice, more than were being written", twice)
	} else {
		t.Logf("%d were sent twice", twice)
	}
	steps, err := s.Steps(t.Context(), r.ID, letters, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		if step.Sent == nil || count[step.OutTradeNo] == 1 && *step.Sent != at[step.OutTradeNo] {
			t.Errorf("%s is at %v, its step says %v", step.OutTradeNo, at[step.OutTradeNo], step.Sent)
		}
	}
	if again := s.plans(desk.Wish{}); again.Chosen != 0 {
		t.Errorf("%d are left for another replay", again.Chosen)
	}
}

// awaitRequests waits until the requests topic has so many records.
func (s *stage) awaitRequests(n int) int { return s.await(s.topics.Requests, n) }

// awaitOutcomes does so of the outcomes.
func (s *stage) awaitOutcomes(n int) { s.await(s.topics.Outcomes, n) }

func (s *stage) await(topic string, n int) int {
	s.t.Helper()
	r := &kafka.Reader{Client: s.client}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		end, err := r.End(s.t.Context(), topic)
		if err != nil {
			s.t.Fatal(err)
		}
		if got := int(kafka.Offsets{}.Until(end)); got >= n {
			return got
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain for %d records of %s, there are %v", n, topic, end)
		}
	}
}

func TestAConsoleThatEndsInTheMiddleGoesOnTheNextTime(t *testing.T) {
	s := newBroker(t)
	dir := t.TempDir()
	s.open(dir)
	s.bury("T1", "T2", "T3")
	r := s.plans(desk.Wish{})
	s.starts(r.ID, desk.Order{Reason: "r", Rate: 2})
	s.until(r.ID, func(r desk.Replay) bool { return r.Sent == 1 })
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	s.open(dir)
	r = s.until(r.ID, in(desk.Done))
	if count, _, all := s.requests(); len(all) != 3 || len(count) != 3 || r.Sent != 3 {
		t.Errorf("%v: %+v", count, r)
	}
	if got := s.entries(); got != "lilei plan\nlilei start r\n" {
		t.Errorf("who did what:\n%s", got)
	}
}

// TestKafkaGoesAwayInTheMiddleOfAReplay: what was being written is not known, so it
// pauses and says why; to read it waits, and says so; somebody goes on with it when
// Kafka is back.
func TestKafkaGoesAwayInTheMiddleOfAReplay(t *testing.T) {
	data := broker.Config{DataDir: t.TempDir()}
	s := brokerWith(t, data)
	s.hasty = true
	s.open("")
	var orders []string
	for i := range 60 {
		orders = append(orders, fmt.Sprint("T", i))
	}
	s.bury(orders...)
	r := s.plans(desk.Wish{})
	s.starts(r.ID, desk.Order{Reason: "r", Rate: 50})
	s.until(r.ID, func(r desk.Replay) bool { return r.Sent > 0 })
	back := s.away(data)
	r = s.until(r.ID, in(desk.Paused))
	if !strings.Contains(r.Trouble, "produce") || !strings.HasSuffix(r.Trouble, "; see to it, then resume: what was sent is not sent again") || r.Sent == 60 {
		t.Errorf("paused: %+v", r)
	}
	if got := s.entries(); got != "lilei plan\nlilei start r\npause\n" {
		t.Errorf("who did what:\n%s", got)
	}
	// While it is away nothing can be planned, and that is said until somebody stops it.
	silent := func(r desk.Replay) bool { return strings.HasPrefix(r.Trouble, "Kafka has brought nothing for") }
	other, err := s.Plan(t.Context(), who, desk.Wish{})
	if err != nil {
		t.Fatal(err)
	}
	s.until(other.ID, silent)
	if err := s.Stop(t.Context(), who, other.ID); err != nil {
		t.Fatal(err)
	}
	s.until(other.ID, in(desk.Stopped))
	if err := s.Resume(t.Context(), who, r.ID); err != nil {
		t.Fatal(err)
	}
	s.until(r.ID, silent)
	back()
	r = s.until(r.ID, in(desk.Done))
	count, _, all := s.requests()
	if r.Sent != 60 || len(count) != 60 || len(all) > 65 || r.Trouble != "" {
		t.Errorf("%d records of %d orders: %+v", len(all), len(count), r)
	}
}

// away takes the broker away, until it is brought back with what it had.
func (s *stage) away(data broker.Config) (back func()) {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.broker.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	if data.Port, err = strconv.Atoi(port); err != nil {
		s.t.Fatal(err)
	}
	if err := s.broker.Close(); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		s.t.Helper()
		if s.broker, err = broker.Start(data); err != nil {
			s.t.Fatal(err)
		}
	}
}

// An audit waits for Kafka as a plan does, for longer than the reader's patience.
func TestKafkaIsAwayWhenAnAuditRuns(t *testing.T) {
	data := broker.Config{DataDir: t.TempDir()}
	s := brokerWith(t, data)
	s.hasty = true
	s.open("")
	s.Reader.Patience = 200 * time.Millisecond
	s.bury("T1")
	back := s.away(data)
	a, err := s.RunAudit(t.Context(), who, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	a = s.untilAudit(a.ID, func(a desk.Audit) bool {
		return over(a) || strings.HasPrefix(a.Trouble, "Kafka has brought nothing for 1s")
	})
	if over(a) {
		t.Errorf("while Kafka is away it ends: %s", a.Trouble)
	}
	back()
	if a = s.untilAudit(a.ID, over); a.Report == nil || a.Read != 1 || a.Trouble != "" {
		t.Errorf("when Kafka is back: %+v", a)
	}
}

// What failed while no console ran counts as well, when it goes on by itself.
func TestWhatFailsWhileNoConsoleRunsPausesAReplay(t *testing.T) {
	s := newBroker(t)
	dir := t.TempDir()
	s.open(dir)
	var orders []string
	for i := range 30 {
		orders = append(orders, fmt.Sprint("DEAD", i))
	}
	s.bury(orders...)
	r := s.plans(desk.Wish{})
	s.starts(r.ID, desk.Order{Reason: "r", Rate: 10, PauseAfter: 2})
	s.until(r.ID, func(r desk.Replay) bool { return r.Sent >= 3 })
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	sent := s.awaitRequests(3)
	s.work()
	s.awaitOutcomes(sent)
	s.open(dir)
	r = s.until(r.ID, in(desk.Paused))
	if want := fmt.Sprintf("paused: %d outcomes failed (PARAM_ERROR %d)", sent, sent); r.Trouble != want || r.Sent != sent {
		t.Errorf("it goes on by itself: %+v", r)
	}
	// Who resumes it has seen those.
	if err := s.Resume(t.Context(), who, r.ID); err != nil {
		t.Fatal(err)
	}
	r = s.until(r.ID, func(r desk.Replay) bool { return r.State == desk.Paused && r.Trouble != "" })
	if r.Trouble != "paused: 2 outcomes failed (PARAM_ERROR 2)" || r.Sent < sent+2 {
		t.Errorf("somebody resumes it: %+v", r)
	}
}

// What was sent before a restart and fails after it counts as well.
func TestWhatWasSentBeforeARestartIsWatchedAfterIt(t *testing.T) {
	s := newBroker(t)
	dir := t.TempDir()
	s.open(dir)
	s.bury("DEAD1", "DEAD2", "DEAD3")
	r := s.plans(desk.Wish{})
	s.starts(r.ID, desk.Order{Reason: "r", Rate: 0.001, PauseAfter: 2}) // one at once
	s.until(r.ID, func(r desk.Replay) bool { return r.Sent == 1 })
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	s.open(dir)
	s.until(r.ID, func(r desk.Replay) bool { return r.Sent == 2 })
	s.work()
	if r = s.until(r.ID, in(desk.Paused)); r.Trouble != "paused: 2 outcomes failed (PARAM_ERROR 2)" || r.Sent != 2 {
		t.Errorf("%+v", r)
	}
}

// Who resumes a replay has seen what failed, whatever comes in between: that is not
// to pause it once more.
func TestWhatSomebodyHasSeenFailDoesNotPauseAReplayAgain(t *testing.T) {
	s := newBroker(t)
	dir := t.TempDir()
	s.openIdle(dir)
	var orders []string
	for i := range 60 {
		orders = append(orders, fmt.Sprint("DEAD", i))
	}
	s.bury(orders...)
	s.work()
	r, err := s.Plan(t.Context(), who, desk.Wish{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PlanLate(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	s.starts(r.ID, desk.Order{Reason: "r", Rate: 20, PauseAfter: 2})
	sent := 0
	goesOn := func(when string) {
		t.Helper()
		if err := s.CarryLate(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		r := s.until(r.ID, in(desk.Paused))
		if r.Trouble != "paused: 2 outcomes failed (PARAM_ERROR 2)" || r.Sent <= sent {
			t.Errorf("%s: %d sent, %d before: %s", when, r.Sent, sent, r.Trouble)
		}
		sent = r.Sent
		s.awaitOutcomes(sent) // none of them fails later
	}
	goesOn("started")
	if err := s.Resume(t.Context(), who, r.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Resume(t.Context(), who, r.ID); err == nil {
		t.Error("it is resumed twice")
	}
	goesOn("clicked twice")
	if err := s.Resume(t.Context(), who, r.ID); err != nil {
		t.Fatal(err)
	}
	s.closeIdle() // killed before it has read anything
	s.openIdle(dir)
	defer s.closeIdle()
	goesOn("after a kill")
}
